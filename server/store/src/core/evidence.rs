//! Finds out whether a commit took place whose answer was lost.

use super::{db::Db, error::StoreError, sql::Sql};
use crate::{on_backend, systems::EVIDENCE};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::State;
use ifmatch_types::{Timestamp, Version};

/// A row that only one run of a batch stores. If it exists, that run was committed.
///
/// Another run of the same batch may have decided otherwise. Nothing that both store is evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A version made by one request.
    Event {
        /// The object.
        id: String,
        /// The version.
        version: Version,
        /// When the batch was decided. The same request may also have been sent to another server.
        at: Timestamp,
        /// The request.
        request_id: String,
    },
    /// A row whose id is derived from its command's seed.
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// When the batch was decided. Each run of the same command makes the same id.
        at: Timestamp,
    },
    /// Versions of rows that hold a stamp of the run that made them. One of them is enough: other
    /// writers may have changed the others since.
    Changes {
        /// The table.
        table: &'static str,
        /// Each row's id, with its stamp.
        stamps: Vec<(String, String)>,
    },
    /// A kept answer.
    Answer {
        /// The key's owner: the id of an API key.
        scope: String,
        /// The Idempotency-Key.
        key: String,
        /// The digest of the request.
        fingerprint: String,
        /// When the batch was decided. The same request may also have been sent to another server.
        at: Timestamp,
    },
}

impl Evidence {
    /// The evidence that a batch decided at `now` will leave. `None` if it changes nothing.
    pub fn of(state: &State, now: Timestamp) -> Option<Self> {
        let event = state.events.last().map(|event| Self::Event {
            id: event.id.clone(),
            version: event.entry.version,
            at: event.entry.at,
            request_id: event.entry.request_id.clone(),
        });
        let audit = || {
            let audit = state.audits.last()?;
            Some(Self::Row { table: "audits", id: audit.id.clone(), at: audit.at })
        };
        let answer = || {
            state.new_answers().next().map(|((scope, key), answer)| Self::Answer {
                scope: scope.clone(),
                key: key.clone(),
                fingerprint: answer.fingerprint.clone(),
                at: now,
            })
        };
        let of_a_system = || EVIDENCE.iter().find_map(|evidence| evidence(state));
        event.or_else(audit).or_else(answer).or_else(of_a_system)
    }
}

impl Db {
    /// Whether a commit took place whose answer was lost.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn was_committed(&mut self, evidence: &Evidence) -> Result<bool, StoreError> {
        let stored = match evidence {
            Evidence::Event { id, version, at, request_id } => {
                let sql = Sql::new("SELECT request_id FROM events WHERE resource_id = ")
                    .bind(id.as_str())
                    .text(" AND version = ")
                    .bind(*version)
                    .text(" AND at = ")
                    .bind(at.as_micros());
                vec![(sql, request_id)]
            }
            Evidence::Row { table, id, at } => {
                let sql = Sql::new(format!("SELECT id FROM {table} WHERE id = "))
                    .bind(id.as_str())
                    .text(" AND at = ")
                    .bind(at.as_micros());
                vec![(sql, id)]
            }
            Evidence::Changes { table, stamps } => {
                let select = || Sql::new(format!("SELECT changed_by FROM {table} WHERE id = "));
                let stamps = stamps.iter();
                stamps.map(|(id, stamp)| (select().bind(id.as_str()), stamp)).collect()
            }
            Evidence::Answer { scope, key, fingerprint, at } => {
                let sql = Sql::new("SELECT fingerprint FROM answers WHERE scope = ")
                    .bind(scope.as_str())
                    .text(" AND key = ")
                    .bind(key.as_str())
                    .text(" AND created_at = ")
                    .bind(at.as_micros());
                vec![(sql, fingerprint)]
            }
        };
        for (sql, expected) in stored {
            let found: Vec<String> = on_backend!(self, c => sql.returning::<Text>().load(c))?;
            if found.contains(expected) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
