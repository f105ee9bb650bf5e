//! What time takes off counters: holds that have expired, and usage that has left a rolling window.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::ENDED_AT_ONCE,
        record::Record,
        select::{Each, load_all, run},
        sql::Cell,
    },
    schema::{StoredRow, UsageHoldRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use ifmatch_domain::{DueHolds, Need, RolledOff, State, StoredHold};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Needs by counter or scope.
#[derive(Default)]
pub(super) struct TimeNeeds {
    rolled: BTreeMap<String, (Option<Timestamp>, Timestamp)>,
    due_holds: BTreeMap<String, Timestamp>,
    due_counters: BTreeMap<String, Timestamp>,
}

impl TimeNeeds {
    /// Takes a need that is about time; hands back any other.
    pub(super) fn add(&mut self, need: Need) -> Option<Need> {
        match need {
            Need::RolledOff(id, from, until) => {
                self.rolled.insert(id, (from, until));
            }
            Need::DueHolds(id, now) => {
                self.due_holds.insert(id, now);
            }
            Need::DueCounters(scope, now) => {
                self.due_counters.insert(scope, now);
            }
            other => return Some(other),
        }
        None
    }
}

/// Loads all of it, one statement for each kind of need.
pub(super) fn load(db: &mut Db, wanted: TimeNeeds, state: &mut State) -> Result<(), StoreError> {
    load_rolled(db, wanted.rolled, state)?;
    load_due_holds(db, wanted.due_holds, state)?;
    load_due_counters(db, wanted.due_counters, state)
}

/// What left a rolling window since its counter was written, and the oldest record that did not.
///
/// Each record leaves once, so that the cost of all this is in proportion to the records made. Not
/// `min(at)`: over a table that was small when the plan was made, PostgreSQL would look at every
/// record of the window for it.
const ROLLED_OFF: Each<'_> = Each {
    texts: &[
        "SELECT CAST(",
        " AS text) AS id, (SELECT coalesce(CAST(sum(quantity - reversed) AS bigint), 0) \
         FROM usage_records WHERE is_rolling AND reversed < quantity AND counter_id = ",
        " AND at > ",
        " AND at <= ",
        ") AS quantity, (SELECT at FROM usage_records WHERE is_rolling AND reversed < quantity \
         AND counter_id = ",
        " AND at > ",
    ],
    tail: " ORDER BY at LIMIT 1) AS oldest",
};

fn load_rolled(
    db: &mut Db,
    wanted: BTreeMap<String, (Option<Timestamp>, Timestamp)>,
    state: &mut State,
) -> Result<(), StoreError> {
    let keys = wanted.iter().map(|(id, (from, until))| {
        let from = Cell::Int(from.map_or(i64::MIN, Timestamp::as_micros));
        let (id, until) = (Cell::Text(id.clone()), Cell::Int(until.as_micros()));
        vec![id.clone(), id.clone(), from, until.clone(), id, until]
    });
    let found: Vec<(String, i64, Option<i64>)> =
        load_all!(db, ROLLED_OFF.of(db.is_sqlite(), keys), (Text, BigInt, Nullable<BigInt>));
    for (id, quantity, oldest) in found {
        if let Some((_, until)) = wanted.get(&id) {
            let oldest = oldest.and_then(Timestamp::from_micros);
            state.rolled.insert(id, RolledOff { until: *until, quantity, oldest });
        }
    }
    Ok(())
}

fn load_due_holds(
    db: &mut Db,
    wanted: BTreeMap<String, Timestamp>,
    state: &mut State,
) -> Result<(), StoreError> {
    let at_most = |id: &String| {
        // Which consumables get units back, and which do not, each hold of such a counter decides.
        let counter = state.counters.original(id);
        match counter.is_some_and(|counter| !counter.burns.is_empty()) {
            true => i64::MAX,
            false => ENDED_AT_ONCE,
        }
    };
    let limits: BTreeMap<String, i64> = wanted.keys().map(|id| (id.clone(), at_most(id))).collect();
    let mut found: BTreeMap<String, Vec<StoredHold>> = BTreeMap::new();
    for row in expired_holds(db, &wanted, &limits)? {
        let stored = StoredHold::from_row(row)?;
        found.entry(stored.counter_id.clone()).or_default().push(stored);
    }
    let is_cut = |id: &String| {
        let count = found.get(id).map_or(0, Vec::len);
        limits.get(id).is_some_and(|limit| i64::try_from(count).is_ok_and(|count| count >= *limit))
    };
    let cut = wanted.iter().filter(|(id, _)| is_cut(id));
    let mut held: BTreeMap<String, i64> = held_by_expired(db, cut)?.into_iter().collect();
    for id in wanted.into_keys() {
        let mut due = DueHolds::default();
        let mut rest = held.remove(&id).unwrap_or_default();
        for stored in found.remove(&id).unwrap_or_default() {
            rest = rest.saturating_sub(stored.hold.quantity);
            due.ids.insert(stored.hold.id.to_string());
            state.holds.load(stored.hold.id.to_string(), Some(stored));
        }
        due.rest = rest.max(0);
        state.due_holds.insert(id, due);
    }
    Ok(())
}

/// The holds of counters that expired first, up to a limit for each counter.
fn expired_holds(
    db: &mut Db,
    wanted: &BTreeMap<String, Timestamp>,
    limits: &BTreeMap<String, i64>,
) -> Result<Vec<UsageHoldRow>, StoreError> {
    let head = format!("SELECT {} FROM usage_holds", UsageHoldRow::column_list());
    let head = format!("{head} WHERE status = 'active' AND counter_id = ");
    let order = ") ORDER BY expires_at, id LIMIT ";
    // Compared as a row, PostgreSQL cannot use the index of all counters' expiries: a plan made when
    // there were no holds would. SQLite finds the right index by itself, and only without that.
    let texts: [&str; 4] = match db.is_sqlite() {
        true => [&head, " AND (counter_id = ", " AND expires_at <= ", order],
        false => [&head, " AND (counter_id, expires_at) <= (", ", ", order],
    };
    let keys = wanted.iter().map(|(id, now)| {
        let limit = limits.get(id).copied().unwrap_or_default();
        let (id, now) = (Cell::Text(id.clone()), Cell::Int(now.as_micros()));
        vec![id.clone(), id, now, Cell::Int(limit)]
    });
    run(db, Each { texts: &texts, tail: "" }.of(db.is_sqlite(), keys))
}

/// What all expired holds of counters hold together.
fn held_by_expired<'a>(
    db: &mut Db,
    counters: impl Iterator<Item = (&'a String, &'a Timestamp)>,
) -> Result<Vec<(String, i64)>, StoreError> {
    let each = Each {
        texts: &[
            "SELECT counter_id, CAST(sum(quantity) AS bigint) FROM usage_holds \
             WHERE status = 'active' AND counter_id = ",
            " AND expires_at <= ",
        ],
        tail: " GROUP BY counter_id",
    };
    let keys = counters.map(|(id, now)| vec![Cell::Text(id.clone()), Cell::Int(now.as_micros())]);
    Ok(load_all!(db, each.of(db.is_sqlite(), keys), (Text, BigInt)))
}

fn load_due_counters(
    db: &mut Db,
    wanted: BTreeMap<String, Timestamp>,
    state: &mut State,
) -> Result<(), StoreError> {
    let each = Each {
        texts: &[
            "SELECT DISTINCT charged_scope, counter_id FROM usage_holds \
             WHERE status = 'active' AND charged_scope = ",
            " AND expires_at <= ",
        ],
        tail: "",
    };
    let keys = wanted
        .iter()
        .map(|(scope, now)| vec![Cell::Text(scope.clone()), Cell::Int(now.as_micros())]);
    let found: Vec<(String, String)> = load_all!(db, each.of(db.is_sqlite(), keys), (Text, Text));
    let mut counters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (scope, counter) in found {
        counters.entry(scope).or_default().insert(counter);
    }
    for scope in wanted.into_keys() {
        let due = counters.remove(&scope).unwrap_or_default();
        state.due_counters.insert(scope, due);
    }
    Ok(())
}
