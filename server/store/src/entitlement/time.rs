//! Loads what counters lose over time: expired holds, and usage that left a rolling window.

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
use ifmatch_domain::{
    State,
    entitlement::{DueHolds, RolledOff, StoredHold},
};
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
    /// Adds a need for the usage that left a counter's rolling window after `from`, up to `until`.
    pub(super) fn rolled_off(
        &mut self,
        counter_id: String,
        from: Option<Timestamp>,
        until: Timestamp,
    ) {
        self.rolled.insert(counter_id, (from, until));
    }

    /// Adds a need for the holds of a counter that have expired at `now`.
    pub(super) fn due_holds(&mut self, counter_id: String, now: Timestamp) {
        self.due_holds.insert(counter_id, now);
    }

    /// Adds a need for the counters of a scope with holds that have expired at `now`.
    pub(super) fn due_counters(&mut self, scope: String, now: Timestamp) {
        self.due_counters.insert(scope, now);
    }
}

/// Loads all of these needs.
pub(super) fn load(db: &mut Db, wanted: TimeNeeds, state: &mut State) -> Result<(), StoreError> {
    load_rolled(db, wanted.rolled, state)?;
    load_due_holds(db, wanted.due_holds, state)?;
    load_due_counters(db, wanted.due_counters, state)
}

/// The usage that left a rolling window since its counter was written, and the oldest record still
/// in it.
///
/// Each record leaves once, so the total cost is proportional to the number of records. `min(at)`
/// is not used: with a plan that was made when the table was small, PostgreSQL would read every
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
            state
                .entitlement_mut()
                .rolled
                .insert(id, RolledOff { until: *until, quantity, oldest });
        }
    }
    Ok(())
}

fn load_due_holds(
    db: &mut Db,
    wanted: BTreeMap<String, Timestamp>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut found: BTreeMap<String, Vec<StoredHold>> = BTreeMap::new();
    for row in expired_holds(db, &wanted)? {
        let stored = StoredHold::from_row(row)?;
        found.entry(stored.counter_id.clone()).or_default().push(stored);
    }
    let is_cut = |id: &String| {
        let count = found.get(id).map_or(0, Vec::len);
        i64::try_from(count).is_ok_and(|count| count >= ENDED_AT_ONCE)
    };
    let cut = wanted.iter().filter(|(id, _)| is_cut(id));
    let mut held: BTreeMap<String, i64> = held_by_expired(db, cut)?.into_iter().collect();
    for id in wanted.into_keys() {
        let mut due = DueHolds::default();
        let mut rest = held.remove(&id).unwrap_or_default();
        for stored in found.remove(&id).unwrap_or_default() {
            rest = rest.saturating_sub(stored.hold.quantity);
            due.ids.insert(stored.hold.id.to_string());
            state.entitlement_mut().holds.load(stored.hold.id.to_string(), Some(stored));
        }
        due.rest = rest.max(0);
        state.entitlement_mut().due_holds.insert(id, due);
    }
    Ok(())
}

/// The expired holds of counters, earliest first, up to [`ENDED_AT_ONCE`] for each counter.
fn expired_holds(
    db: &mut Db,
    wanted: &BTreeMap<String, Timestamp>,
) -> Result<Vec<UsageHoldRow>, StoreError> {
    let head = format!("SELECT {} FROM usage_holds", UsageHoldRow::column_list());
    let head = format!("{head} WHERE status = 'active' AND counter_id = ");
    let order = ") ORDER BY expires_at, id LIMIT ";
    // The row comparison keeps PostgreSQL from using the index on all counters' expiries. A plan
    // that was made when there were no holds would use it. SQLite chooses the right index by
    // itself, but only without the row comparison.
    let texts: [&str; 4] = match db.is_sqlite() {
        true => [&head, " AND (counter_id = ", " AND expires_at <= ", order],
        false => [&head, " AND (counter_id, expires_at) <= (", ", ", order],
    };
    let keys = wanted.iter().map(|(id, now)| {
        let (id, now) = (Cell::Text(id.clone()), Cell::Int(now.as_micros()));
        vec![id.clone(), id, now, Cell::Int(ENDED_AT_ONCE)]
    });
    run(db, Each { texts: &texts, tail: "" }.of(db.is_sqlite(), keys))
}

/// The total quantity of all expired holds of each counter.
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
        state.entitlement_mut().due_counters.insert(scope, due);
    }
    Ok(())
}
