//! Deletes old versions of objects, a bounded number at once.
//!
//! A version is old when the one after it is: then nobody has seen it as the current one since. So
//! the newest version stays, and every version that a recent write may be based on. Versions go in
//! their order, so that a history has no gap, and the oldest that is kept holds its full state.

use super::{
    db::Db,
    error::StoreError,
    event_log,
    select::{Each, load_all},
    sql::{Cell, Sql},
    states::{self, VersionKey},
};
use crate::on_backend;
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_types::{Timestamp, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Number of events that one call looks at.
const SLICE: i64 = 500;

/// What one call pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedHistory {
    /// The place to go on from. `None` if the rest is too young.
    pub reached: Option<i64>,
    /// Number of versions that were deleted.
    pub versions: usize,
}

/// An old version, and how its object's history goes on.
struct Successor {
    version: Version,
    at: i64,
    is_derived: bool,
}

impl Db {
    /// Deletes versions that were replaced before an instant, from a place of the event stream on.
    ///
    /// One call is one short transaction. Several processes may prune at the same time.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn prune_history(
        &mut self,
        before: Timestamp,
        after: i64,
    ) -> Result<PrunedHistory, StoreError> {
        let sql = Sql::new("SELECT seq, resource_id, at FROM events WHERE seq > ")
            .bind(after)
            .text(" ORDER BY seq LIMIT ")
            .bind(SLICE)
            .returning::<(BigInt, Text, BigInt)>();
        let slice: Vec<(i64, String, i64)> = on_backend!(self, c => sql.load(c))?;
        let is_old = |at: &i64| *at < before.as_micros();
        let reached = slice.last().filter(|(_, _, at)| is_old(at)).map(|(seq, ..)| *seq);
        let old = slice.into_iter().filter(|(_, _, at)| is_old(at));
        let ids: BTreeSet<String> = old.map(|(_, id, _)| id).collect();
        if ids.is_empty() {
            return Ok(PrunedHistory { reached, versions: 0 });
        }
        self.begin()?;
        match self.prune_objects(before, ids).and_then(|versions| {
            self.commit()?;
            Ok(versions)
        }) {
            Ok(versions) => Ok(PrunedHistory { reached, versions }),
            Err(error) => {
                // If this fails, too, the connection is not used again.
                let _ = self.rollback();
                Err(error)
            }
        }
    }

    /// Deletes the old versions of these objects, at most [`SLICE`] of each.
    fn prune_objects(
        &mut self,
        before: Timestamp,
        ids: BTreeSet<String>,
    ) -> Result<usize, StoreError> {
        event_log::lock(self)?;
        let mut oldest_kept = Vec::new();
        for (id, versions) in self.oldest_versions(ids)? {
            // The first version, and any whose predecessor was replaced long ago.
            let mut kept = None;
            for next in versions.into_iter().skip(1) {
                if next.at >= before.as_micros() {
                    break;
                }
                kept = Some(next);
            }
            oldest_kept.extend(kept.map(|kept| (id, kept)));
        }
        let derived: BTreeSet<VersionKey> = oldest_kept
            .iter()
            .filter(|(_, kept)| kept.is_derived)
            .map(|(id, kept)| (id.clone(), kept.version))
            .collect();
        for ((id, version), state) in states::derive(self, &derived)? {
            let sql = Sql::new("UPDATE events SET state = ").bind(state);
            let sql = sql.text(" WHERE resource_id = ").bind(id);
            let sql = sql.text(" AND version = ").bind(version);
            on_backend!(self, c => sql.execute(c))?;
        }
        if !oldest_kept.is_empty() {
            self.note_pruned(before)?;
        }
        let mut pruned = 0usize;
        for (id, kept) in oldest_kept {
            self.note_missing(&id, kept.version)?;
            let sql = Sql::new("DELETE FROM events WHERE resource_id = ").bind(id);
            let sql = sql.text(" AND version < ").bind(kept.version);
            pruned = pruned.saturating_add(on_backend!(self, c => sql.execute(c))?);
        }
        Ok(pruned)
    }

    /// Moves the beginning of the event log behind the versions of an object that are deleted.
    ///
    /// A follower that has not seen them is then told so, instead of missing them in silence.
    fn note_missing(&mut self, id: &str, before: Version) -> Result<(), StoreError> {
        let last = || {
            Sql::new("(SELECT coalesce(max(seq), 0) FROM events WHERE resource_id = ")
                .bind(id)
                .text(" AND version < ")
                .bind(before)
                .text(")")
        };
        let sql = Sql::new("UPDATE event_log SET oldest = ").query(last());
        let sql = sql.text(" WHERE oldest < ").query(last());
        on_backend!(self, c => sql.execute(c))?;
        Ok(())
    }

    /// Stores up to which instant versions may be missing, for `verify`.
    fn note_pruned(&mut self, before: Timestamp) -> Result<(), StoreError> {
        let sql = Sql::new("INSERT INTO sequences (series, last) VALUES ('history_pruned', ")
            .bind(before.as_micros())
            .text(
                ") ON CONFLICT (series) DO UPDATE SET last = excluded.last \
                 WHERE sequences.last < excluded.last",
            );
        on_backend!(self, c => sql.execute(c))?;
        Ok(())
    }

    /// The oldest versions of each object, in order.
    fn oldest_versions(
        &mut self,
        ids: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<Successor>>, StoreError> {
        let head = "SELECT resource_id, version, at, \
             CAST(CASE WHEN state = '' THEN 1 ELSE 0 END AS bigint) AS is_derived FROM events WHERE resource_id = ";
        let tail = format!(" ORDER BY version LIMIT {SLICE}");
        let each = Each { texts: &[head], tail: &tail };
        let keys = ids.into_iter().map(|id| vec![Cell::Text(id)]);
        let queries = each.of(self.is_sqlite(), keys);
        let found: Vec<(String, i64, i64, i64)> =
            load_all!(self, queries, (Text, BigInt, BigInt, BigInt));
        let mut versions: BTreeMap<String, Vec<Successor>> = BTreeMap::new();
        for (id, version, at, is_derived) in found {
            let of_one = versions.entry(id).or_default();
            of_one.push(Successor { version, at, is_derived: is_derived != 0 });
        }
        for of_one in versions.values_mut() {
            of_one.sort_unstable_by_key(|one| one.version);
        }
        Ok(versions)
    }
}
