//! Loads what counters lose over time: expired holds, and usage that left a rolling window.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::ENDED_AT_ONCE,
        record::{Record, read_column},
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
    entitlement::{Burns, DueHolds, RolledOff, StoredHold},
};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Needs by counter or scope.
#[derive(Default)]
pub(super) struct TimeNeeds {
    rolled: BTreeMap<String, (Option<Timestamp>, Timestamp)>,
    due_holds: BTreeMap<String, Due>,
    due_counters: BTreeMap<String, Timestamp>,
}

/// The holds of a counter that have expired by `until`. It still counts those that expired after
/// `from`.
struct Due {
    from: Option<Timestamp>,
    until: Timestamp,
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

    /// Adds a need for the holds of a counter that have expired by `until`.
    pub(super) fn due_holds(
        &mut self,
        counter_id: String,
        from: Option<Timestamp>,
        until: Timestamp,
    ) {
        self.due_holds.insert(counter_id, Due { from, until });
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
        ") AS quantity, (SELECT coalesce(CAST(sum(burnt) AS bigint), 0) \
         FROM usage_records WHERE is_rolling AND reversed < quantity AND counter_id = ",
        " AND at > ",
        " AND at <= ",
        ") AS burnt, (SELECT at FROM usage_records WHERE is_rolling AND reversed < quantity \
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
        let range = [id.clone(), from, until.clone()];
        [vec![id.clone()], range.to_vec(), range.to_vec(), vec![id, until]].concat()
    });
    let sql = ROLLED_OFF.of(db.is_sqlite(), keys);
    let found: Vec<(String, i64, i64, Option<i64>)> =
        load_all!(db, sql, (Text, BigInt, BigInt, Nullable<BigInt>));
    for (id, quantity, burnt, oldest) in found {
        if let Some((_, until)) = wanted.get(&id) {
            let oldest = oldest.and_then(Timestamp::from_micros);
            state
                .entitlement_mut()
                .rolled
                .insert(id, RolledOff { until: *until, quantity, burnt, oldest });
        }
    }
    Ok(())
}

fn load_due_holds(
    db: &mut Db,
    wanted: BTreeMap<String, Due>,
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
    let cut: BTreeMap<&String, &Due> = wanted.iter().filter(|(id, _)| is_cut(id)).collect();
    let mut sums: BTreeMap<String, i64> = counted(db, &cut)?.into_iter().collect();
    let mut burnt = burnt_for(db, &cut)?;
    let is_cut: BTreeSet<String> = cut.into_keys().cloned().collect();
    for (id, Due { from, until }) in wanted {
        let rows = found.remove(&id).unwrap_or_default();
        let ids = rows.iter().map(|stored| stored.hold.id.to_string()).collect();
        let is_cut = is_cut.contains(&id);
        let mut due = DueHolds { until, ids, is_cut, units: 0, burns: Burns::default() };
        if is_cut {
            due.units = sums.remove(&id).unwrap_or_default();
            due.burns = burnt.remove(&id).unwrap_or_default();
        } else {
            for stored in rows.iter().filter(|stored| Some(stored.hold.expires_at) > from) {
                due.units = due.units.saturating_add(stored.hold.quantity);
                due.burns.append(&stored.burns);
            }
        }
        for stored in rows {
            state.entitlement_mut().holds.load(stored.hold.id.to_string(), Some(stored));
        }
        state.entitlement_mut().due_holds.insert(id, due);
    }
    Ok(())
}

/// The expired holds of counters, earliest first, up to [`ENDED_AT_ONCE`] for each counter.
fn expired_holds(
    db: &mut Db,
    wanted: &BTreeMap<String, Due>,
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
    let keys = wanted.iter().map(|(id, due)| {
        let (id, now) = (Cell::Text(id.clone()), Cell::Int(due.until.as_micros()));
        vec![id.clone(), id, now, Cell::Int(ENDED_AT_ONCE)]
    });
    run(db, Each { texts: &texts, tail: "" }.of(db.is_sqlite(), keys))
}

/// The number of units of each counter in all holds that it still counts and that have expired.
fn counted(db: &mut Db, due: &BTreeMap<&String, &Due>) -> Result<Vec<(String, i64)>, StoreError> {
    let each = Each {
        texts: &[
            "SELECT counter_id, CAST(sum(quantity) AS bigint) FROM usage_holds \
             WHERE status = 'active' AND counter_id = ",
            " AND expires_at > ",
            " AND expires_at <= ",
        ],
        tail: " GROUP BY counter_id",
    };
    Ok(load_all!(db, each.of(db.is_sqlite(), ranges(due)), (Text, BigInt)))
}

/// What those holds burnt, by counter; only in rolling windows.
///
/// Each hold is read once, because the counter then takes it back.
fn burnt_for(
    db: &mut Db,
    due: &BTreeMap<&String, &Due>,
) -> Result<BTreeMap<String, Burns>, StoreError> {
    let each = Each {
        texts: &[
            "SELECT counter_id, burns FROM usage_holds \
             WHERE status = 'active' AND burnt > 0 AND counter_id = ",
            " AND expires_at > ",
            " AND expires_at <= ",
        ],
        tail: "",
    };
    let found: Vec<(String, String)> =
        load_all!(db, each.of(db.is_sqlite(), ranges(due)), (Text, Text));
    let mut burnt: BTreeMap<String, Burns> = BTreeMap::new();
    for (counter_id, text) in found {
        let burns: Burns = read_column::<UsageHoldRow, _>(&counter_id, "burns", text)?;
        burnt.entry(counter_id).or_default().append(&burns);
    }
    Ok(burnt)
}

/// A key of each counter, with the instants between which its holds expired.
fn ranges<'a>(due: &'a BTreeMap<&String, &Due>) -> impl Iterator<Item = Vec<Cell>> + 'a {
    due.iter().map(|(id, Due { from, until })| {
        let from = Cell::Int(from.map_or(i64::MIN, Timestamp::as_micros));
        vec![Cell::Text((*id).clone()), from, Cell::Int(until.as_micros())]
    })
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
