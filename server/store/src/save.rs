//! Saves what a batch decided: one statement per table, every changed row guarded.

use crate::{
    Db, StoreError, bulk, on_backend,
    row::{Stored, answer_to, api_key_to, audit_to, event_to, payment_to},
    schema::{AnswerRow, ApiKeyRow, AuditRow, EventRow, PaymentRow, SequenceRow},
    sql::Sql,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{Guarded, NewEvent, State, SubscriptionRecord};
use ifmatch_types::{Invoice, Namespace, Plan, Timestamp, Workspace};

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
        self.save_objects::<Workspace>(state)?;
        self.save_objects::<Namespace>(state)?;
        self.save_objects::<Plan>(state)?;
        self.save_objects::<SubscriptionRecord>(state)?;
        self.save_objects::<Invoice>(state)?;
        self.save_payments(state)?;
        self.save_api_keys(state)?;
        bulk::insert::<EventRow>(self, state.events.iter().map(event_to).collect())?;
        bulk::insert::<AuditRow>(self, state.audits.iter().map(audit_to).collect())?;
        let answers: Vec<AnswerRow> = state
            .new_answers()
            .map(|((scope, key), answer)| answer_to(scope.clone(), key.clone(), answer, now))
            .collect();
        bulk::insert::<AnswerRow>(self, answers)?;
        let sequences: Vec<(SequenceRow, i64)> = state
            .sequences
            .changes()
            .map(|change| {
                let row =
                    SequenceRow { series: change.row.series.to_owned(), last: change.row.last };
                (row, change.guard.unwrap_or_default())
            })
            .collect();
        bulk::update(self, "last", sequences)
    }

    fn save_objects<R: Stored>(&mut self, state: &State) -> Result<(), StoreError> {
        let mut updated = Vec::new();
        let mut inserted = Vec::new();
        for change in R::rows(state).changes() {
            match change.guard {
                Some(guard) => updated.push((R::to_row(change.row), guard)),
                None => inserted.push(R::to_row(change.row)),
            }
        }
        bulk::update(self, "version", updated)?;
        bulk::insert(self, inserted)
    }

    fn save_payments(&mut self, state: &State) -> Result<(), StoreError> {
        let mut updated: Vec<(PaymentRow, i64)> = Vec::new();
        let mut inserted = Vec::new();
        for change in state.payments.changes() {
            let row = payment_to(change.row, change.row.guard());
            match change.guard {
                Some(guard) => updated.push((row, guard)),
                None => inserted.push(row),
            }
        }
        bulk::update(self, "version", updated)?;
        bulk::insert(self, inserted)
    }

    fn save_api_keys(&mut self, state: &State) -> Result<(), StoreError> {
        let mut updated: Vec<(ApiKeyRow, i64)> = Vec::new();
        let mut inserted = Vec::new();
        for change in state.api_keys.changes() {
            let row = api_key_to(change.row, change.row.guard());
            match change.guard {
                Some(guard) => updated.push((row, guard)),
                None => inserted.push(row),
            }
        }
        bulk::update(self, "version", updated)?;
        bulk::insert(self, inserted)
    }

    /// Whether this very event was committed: the answer to a commit whose own answer was lost.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn was_committed(&mut self, event: &NewEvent) -> Result<bool, StoreError> {
        let sql = Sql::new("SELECT request_id FROM events WHERE resource_id = ")
            .bind(event.id.as_str())
            .text(" AND version = ")
            .bind(event.entry.version)
            .text(" AND at = ")
            .bind(event.entry.at.as_micros())
            .returning::<Text>();
        let found: Vec<String> = on_backend!(self, c => sql.load(c))?;
        Ok(found.contains(&event.entry.request_id))
    }
}
