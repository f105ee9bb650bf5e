//! Saves what a batch decided: one statement per table, every changed row guarded.

use crate::{
    Db, StoreError,
    bulk::{Update, Writes},
    mistimed, on_backend,
    row::{
        Stored, answer_to, api_key_to, audit_to, booking_day_to, counter_to, event_to, hold_to,
        log_to, payment_to, record_to,
    },
    schema::{AnswerRow, AuditRow, EventRow, SequenceRow, StoredRow},
    sql::Sql,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    AssignmentRecord, BookingRecord, BoostRecord, FeatureRecord, Mutant, PackageRecord, Row,
    RowChange, Sequence, State, SubscriptionRecord,
};
use ifmatch_types::{Bookable, Invoice, Namespace, Plan, Timestamp, Version, Workspace};

impl Db {
    /// Saves all changes of a batch, inside its transaction.
    ///
    /// Updates go before inserts, so that a deleted object's unique key is free for a new one, and
    /// parents before children. The sequence is saved last.
    ///
    /// # Errors
    ///
    /// [`StoreError::LostGuard`] if a row is not as it was loaded; [`StoreError::Raced`] if a new
    /// row's unique key was taken meanwhile; in both cases the batch can be run again.
    pub fn save(&mut self, state: &State, now: Timestamp) -> Result<(), StoreError> {
        let mut writes = Writes::to(self);
        write_objects::<Workspace>(state, &mut writes);
        write_objects::<Namespace>(state, &mut writes);
        write_objects::<Plan>(state, &mut writes);
        write_objects::<SubscriptionRecord>(state, &mut writes);
        write_objects::<Invoice>(state, &mut writes);
        write_objects::<Bookable>(state, &mut writes);
        // Nothing refers to a booking, and it has no unique key but its id.
        append_rows(in_order(state), BookingRecord::to_row, "version", &mut writes);
        write_rows(state.booking_days.changes(), booking_day_to, "version", &mut writes);
        let mut payments: Vec<_> = state.payments.changes().collect();
        // Writers that add the same unique keys wait for each other in one order.
        payments.sort_unstable_by(|a, b| a.row.0.provider_ref.cmp(&b.row.0.provider_ref));
        write_rows(payments, payment_to, "version", &mut writes);
        write_objects::<FeatureRecord>(state, &mut writes);
        write_objects::<PackageRecord>(state, &mut writes);
        write_objects::<AssignmentRecord>(state, &mut writes);
        write_objects::<BoostRecord>(state, &mut writes);
        let mut counters: Vec<_> = state.counters.changes().collect();
        counters.sort_unstable_by(|a, b| a.row.id.cmp(&b.row.id));
        write_rows(counters, counter_to, "version", &mut writes);
        append_rows(state.records.changes(), record_to, "version", &mut writes);
        write_rows(state.holds.changes(), hold_to, "version", &mut writes);
        writes.append(state.log.iter().map(log_to).collect());
        write_rows(state.api_keys.changes(), api_key_to, "version", &mut writes);
        writes.append::<EventRow>(state.events.iter().map(event_to).collect());
        writes.append::<AuditRow>(state.audits.iter().map(audit_to).collect());
        if Mutant::SplitAnswer.is_planted() {
            writes = mistimed::commit_early(writes, self)?;
        }
        let mut answers: Vec<AnswerRow> = state
            .new_answers()
            .map(|((scope, key), answer)| answer_to(scope.clone(), key.clone(), answer, now))
            .collect();
        answers.sort_unstable_by(|a, b| (&a.scope, &a.key).cmp(&(&b.scope, &b.key)));
        writes.append(answers);
        write_rows(state.sequences.changes(), sequence_to, "last", &mut writes);
        writes.run(self)?;
        if Mutant::ReadUnsettledEvents.is_planted() {
            mistimed::dawdle(now);
        }
        Ok(())
    }

    /// Whether a commit whose own answer was lost took place.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn was_committed(&mut self, evidence: &Evidence) -> Result<bool, StoreError> {
        let (sql, expected) = match evidence {
            Evidence::Event { id, version, at, request_id } => (
                Sql::new("SELECT request_id FROM events WHERE resource_id = ")
                    .bind(id.as_str())
                    .text(" AND version = ")
                    .bind(*version)
                    .text(" AND at = ")
                    .bind(at.as_micros()),
                request_id,
            ),
            Evidence::Audit { id } => {
                (Sql::new("SELECT id FROM audits WHERE id = ").bind(id.as_str()), id)
            }
            Evidence::Log { id } => {
                (Sql::new("SELECT id FROM entitlement_log WHERE id = ").bind(id.as_str()), id)
            }
            Evidence::Answer { scope, key, fingerprint, at } => (
                Sql::new("SELECT fingerprint FROM answers WHERE scope = ")
                    .bind(scope.as_str())
                    .text(" AND key = ")
                    .bind(key.as_str())
                    .text(" AND created_at = ")
                    .bind(at.as_micros()),
                fingerprint,
            ),
        };
        let found: Vec<String> = on_backend!(self, c => sql.returning::<Text>().load(c))?;
        Ok(found.contains(expected))
    }
}

/// Writes the changed objects of one kind, in the order of their ids.
fn write_objects<R: Stored>(state: &State, writes: &mut Writes) {
    write_rows(in_order::<R>(state), R::to_row, "version", writes);
}

/// The changed objects of one kind, in the order of their ids.
fn in_order<R: Stored>(state: &State) -> Vec<RowChange<'_, Row<R>>> {
    let mut changes: Vec<_> = R::rows(state).changes().collect();
    changes.sort_unstable_by(|a, b| a.row.record.id().cmp(b.row.record.id()));
    changes
}

/// Writes changed rows: those that were loaded guarded, the others as new ones.
fn write_rows<'a, V: 'a, R: StoredRow>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    to_row: impl Fn(&V) -> R,
    guard_column: &'static str,
    writes: &mut Writes,
) {
    let (updated, inserted) = changed_rows(changes, to_row);
    writes.update(guard_column, updated);
    writes.insert(inserted);
}

/// As [`write_rows`], of a table that no other row refers to and whose unique keys are never freed.
fn append_rows<'a, V: 'a, R: StoredRow>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    to_row: impl Fn(&V) -> R,
    guard_column: &'static str,
    writes: &mut Writes,
) {
    let (updated, appended) = changed_rows(changes, to_row);
    writes.update(guard_column, updated);
    writes.append(appended);
}

fn changed_rows<'a, V: 'a, R: StoredRow>(
    changes: impl IntoIterator<Item = RowChange<'a, V>>,
    to_row: impl Fn(&V) -> R,
) -> (Vec<Update<R>>, Vec<R>) {
    let mut updated = Vec::new();
    let mut inserted = Vec::new();
    for RowChange { row, original, guard } in changes {
        match (original, guard) {
            (Some(original), Some(guard)) => {
                updated.push(Update { before: to_row(original), after: to_row(row), guard });
            }
            _ => inserted.push(to_row(row)),
        }
    }
    (updated, inserted)
}

fn sequence_to(sequence: &Sequence) -> SequenceRow {
    SequenceRow { series: sequence.series.to_owned(), last: sequence.last }
}

/// Something that a batch stores and nobody else does: if it is there, the batch was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A version that one request made.
    Event {
        /// The object.
        id: String,
        /// The version.
        version: Version,
        /// When it was decided: the same request may have been sent to another server, too.
        at: Timestamp,
        /// The request.
        request_id: String,
    },
    /// An audit record; its id is derived from its command's seed.
    Audit {
        /// The record.
        id: String,
    },
    /// A line of an entitlement log; its id is derived from its command's seed.
    Log {
        /// The line.
        id: String,
    },
    /// A kept answer.
    Answer {
        /// The API key's id.
        scope: String,
        /// The Idempotency-Key.
        key: String,
        /// The digest of the request.
        fingerprint: String,
        /// When it was decided: the same request may have been sent to another server, too.
        at: Timestamp,
    },
}

impl Evidence {
    /// The evidence that a batch decided at an instant will leave, if it changes anything.
    pub fn of(state: &State, now: Timestamp) -> Option<Self> {
        let event = state.events.last().map(|event| Self::Event {
            id: event.id.clone(),
            version: event.entry.version,
            at: event.entry.at,
            request_id: event.entry.request_id.clone(),
        });
        let audit = || state.audits.last().map(|audit| Self::Audit { id: audit.id.clone() });
        let answer = || {
            state.new_answers().next().map(|((scope, key), answer)| Self::Answer {
                scope: scope.clone(),
                key: key.clone(),
                fingerprint: answer.fingerprint.clone(),
                at: now,
            })
        };
        let log = || state.log.last().map(|line| Self::Log { id: line.entry.id.clone() });
        event.or_else(audit).or_else(answer).or_else(log)
    }
}
