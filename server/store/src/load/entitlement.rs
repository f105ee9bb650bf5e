//! What decisions about entitlements must see. The scope's own row is locked; nothing here is.

use super::ENDED_AT_ONCE;
use crate::{
    Db, StoreError,
    bulk::{Lock, select_by, select_where},
    lookup::{Lookups, Place},
    on_backend,
    row::{Stored, counter_from, hold_from, record_from},
    schema::{
        AssignmentRow, BoostRow, CounterRow, FeatureRow, PackageRow, StoredRow, UsageHoldRow,
        UsageRecordRow,
    },
    sql::{Column, Sql},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use ifmatch_domain::{
    AssignmentRecord, BoostRecord, CodeHolder, DueHolds, FeatureRecord, FeatureTerms, Holdings,
    Need, PackageRecord, RolledOff, State,
};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What every recording of usage needs, each sorted.
#[derive(Default)]
pub(super) struct HotNeeds {
    feature_codes: BTreeSet<String>,
    holdings: BTreeSet<String>,
    counters: BTreeSet<String>,
}

/// Where the answers to hot needs are.
pub(super) struct AskedHot {
    features: Option<Place>,
    holdings: Option<(Place, Place, Option<Place>)>,
    counters: Option<Place>,
}

/// Needs by what they ask for, each sorted.
#[derive(Default)]
pub(super) struct EntitlementNeeds {
    hot: HotNeeds,
    package_codes: BTreeSet<String>,
    external_services: BTreeSet<String>,
    addons: BTreeSet<String>,
    rolled: BTreeMap<String, (Option<Timestamp>, Timestamp)>,
    due_holds: BTreeMap<String, Timestamp>,
    due_counters: BTreeMap<String, Timestamp>,
    records: BTreeSet<String>,
    holds: BTreeSet<String>,
}

impl EntitlementNeeds {
    pub(super) fn add(&mut self, need: Need) {
        match need {
            Need::FeatureCode(code) => {
                self.hot.feature_codes.insert(code);
            }
            Need::PackageCode(code) => {
                self.package_codes.insert(code);
            }
            Need::ExternalService(id) => {
                self.external_services.insert(id);
            }
            Need::Addon(key) => {
                self.addons.insert(key);
            }
            Need::Holdings(scope) => {
                self.hot.holdings.insert(scope);
            }
            Need::Counter(id) => {
                self.hot.counters.insert(id);
            }
            Need::RolledOff(id, from, until) => {
                self.rolled.insert(id, (from, until));
            }
            Need::DueHolds(id, now) => {
                self.due_holds.insert(id, now);
            }
            Need::DueCounters(scope, now) => {
                self.due_counters.insert(scope, now);
            }
            Need::Record(id) => {
                self.records.insert(id);
            }
            Need::Hold(id) => {
                self.holds.insert(id);
            }
            _ => unreachable!("every other need was taken by the caller"),
        }
    }

    /// What is looked up at once, and what is not.
    pub(super) fn split(mut self) -> (HotNeeds, Self) {
        (std::mem::take(&mut self.hot), self)
    }
}

const LIVING: &str = "deleted_at IS NULL AND ";
const LIVING_ASSIGNMENT: &str = "status IN ('active', 'suspended') AND ";
const LIVING_BOOST: &str = "NOT is_over AND ";

impl HotNeeds {
    pub(super) fn ask(&self, is_sqlite: bool, lookups: &mut Lookups) -> AskedHot {
        let features = (!self.feature_codes.is_empty())
            .then(|| lookups.rows::<FeatureRow>(LIVING, "code", keys(&self.feature_codes)));
        let holdings = (!self.holdings.is_empty()).then(|| {
            let scopes = || keys(&self.holdings);
            let assignments = lookups.rows::<AssignmentRow>(LIVING_ASSIGNMENT, "scope", scopes());
            let boosts = lookups.rows::<BoostRow>(LIVING_BOOST, "scope", scopes());
            // On SQLite they are looked up when the assignments are known.
            let packages = (!is_sqlite).then(|| lookups.add(vec![packages_of(scopes())]));
            (assignments, boosts, packages)
        });
        let counters = (!self.counters.is_empty())
            .then(|| lookups.rows::<CounterRow>("", "id", keys(&self.counters)));
        AskedHot { features, holdings, counters }
    }
}

/// The packages that scopes have, one by one: see the lookup of kept answers.
fn packages_of(scopes: Vec<String>) -> Sql {
    Sql::new(format!(
        "SELECT p.* FROM assignments AS a CROSS JOIN LATERAL (SELECT {} FROM packages",
        PackageRow::column_list()
    ))
    .text(format!(
        " WHERE id = a.package_id LIMIT 1) AS p WHERE a.{LIVING_ASSIGNMENT}a.scope = ANY("
    ))
    .array(Column::Text(scopes))
    .text(")")
}

fn keys(ids: &BTreeSet<String>) -> Vec<String> {
    ids.iter().cloned().collect()
}

impl Db {
    pub(super) fn load_entitlements(
        &mut self,
        wanted: EntitlementNeeds,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.load_package_codes(wanted.package_codes, state)?;
        self.load_external_services(wanted.external_services, state)?;
        self.load_addons(wanted.addons, state)?;
        for (counter_id, (from, until)) in wanted.rolled {
            let rolled = self.rolled_off(&counter_id, from, until)?;
            state.rolled.insert(counter_id, rolled);
        }
        for (counter_id, now) in wanted.due_holds {
            self.load_due_holds(counter_id, now, state)?;
        }
        for (scope, now) in wanted.due_counters {
            self.load_due_counters(scope, now, state)?;
        }
        self.load_records(wanted.records, state)?;
        self.load_holds(wanted.holds, state)
    }

    /// Puts what was looked up into a batch's state.
    pub(super) fn put_hot(
        &mut self,
        wanted: HotNeeds,
        asked: AskedHot,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if let Some(place) = asked.features {
            put_features(lookups.take(place, self)?, wanted.feature_codes, state)?;
        }
        if let Some((assignments, boosts, packages)) = asked.holdings {
            let assignments = lookups.take(assignments, self)?;
            let boosts = lookups.take(boosts, self)?;
            let packages = match packages {
                Some(place) => lookups.take(place, self)?,
                None => {
                    let ids: BTreeSet<String> = assignments
                        .iter()
                        .map(|row: &AssignmentRow| row.package_id.clone())
                        .collect();
                    select_by::<PackageRow>(self, "id", keys(&ids), Lock::None)?
                }
            };
            self.put_holdings(wanted.holdings, assignments, boosts, packages, state)?;
        }
        if let Some(place) = asked.counters {
            for row in lookups.take::<CounterRow>(place, self)? {
                let counter = counter_from(row)?;
                state.counters.load(counter.id.clone(), Some(counter));
            }
            for id in wanted.counters {
                state.counters.load(id, None);
            }
        }
        Ok(())
    }

    fn load_package_codes(
        &mut self,
        codes: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if codes.is_empty() {
            return Ok(());
        }
        for row in select_where::<PackageRow>(self, LIVING, "code", keys(&codes), Lock::None)? {
            state.package_codes.load(row.code, Some(CodeHolder { id: row.id }));
        }
        for code in codes {
            state.package_codes.load(code, None);
        }
        Ok(())
    }

    fn load_external_services(
        &mut self,
        ids: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let column = "external_service_id";
        for row in select_by::<AssignmentRow>(self, column, keys(&ids), Lock::None)? {
            let external = row.external_service_id.clone().unwrap_or_default();
            state.external_services.load(external, Some(CodeHolder { id: row.id.clone() }));
            let id = row.id.clone();
            state.assignments.load(id, Some(AssignmentRecord::from_row(row)?));
        }
        for id in ids {
            state.external_services.load(id, None);
        }
        Ok(())
    }

    fn load_addons(
        &mut self,
        addon_keys: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if addon_keys.is_empty() {
            return Ok(());
        }
        for row in select_by::<BoostRow>(self, "addon_key", keys(&addon_keys), Lock::None)? {
            let key = row.addon_key.clone().unwrap_or_default();
            state.addons.load(key, Some(CodeHolder { id: row.id.clone() }));
            let id = row.id.clone();
            state.boosts.load(id, Some(BoostRecord::from_row(row)?));
        }
        for key in addon_keys {
            state.addons.load(key, None);
        }
        Ok(())
    }

    /// What scopes have that may still count, with what the packages grant.
    fn put_holdings(
        &mut self,
        scopes: BTreeSet<String>,
        assignments: Vec<AssignmentRow>,
        boosts: Vec<BoostRow>,
        packages: Vec<PackageRow>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let mut found: BTreeMap<String, Holdings> = BTreeMap::new();
        for row in assignments {
            let row = AssignmentRecord::from_row(row)?;
            let assignment = &row.record.assignment;
            let holdings = found.entry(assignment.scope.clone()).or_default();
            holdings.anchor = Some(assignment.anchor_at);
            holdings.assignments.push(assignment.id.to_string());
            state.assignments.load(assignment.id.to_string(), Some(row));
        }
        for row in boosts {
            let row = BoostRecord::from_row(row)?;
            let boost = &row.record.boost;
            let holdings = found.entry(boost.scope.clone()).or_default();
            holdings.anchor = Some(row.record.anchor_at);
            holdings.boosts.push(boost.id.to_string());
            state.boosts.load(boost.id.to_string(), Some(row));
        }
        for row in packages {
            let record = PackageRecord::from_row(row)?.record;
            state.package_grants.insert(record.package.id.to_string(), record.grants);
        }
        for scope in scopes {
            let mut holdings = found.remove(&scope).unwrap_or_default();
            if holdings.anchor.is_none() {
                holdings.anchor = self.anchor_of(&scope)?;
            }
            state.holdings.insert(scope, holdings);
        }
        Ok(())
    }

    /// Where the months of a scope begin that has nothing now: all it ever had has the same anchor.
    fn anchor_of(&mut self, scope: &str) -> Result<Option<Timestamp>, StoreError> {
        let sql = Sql::new(
            "SELECT min(anchor_at) FROM (SELECT anchor_at FROM assignments WHERE scope = ",
        )
        .bind(scope)
        .text(" UNION ALL SELECT anchor_at FROM boosts WHERE scope = ")
        .bind(scope)
        .text(") AS had")
        .returning::<Nullable<BigInt>>();
        let anchor: Option<i64> = on_backend!(self, c => sql.get_result(c))?;
        Ok(anchor.and_then(Timestamp::from_micros))
    }

    /// What left a rolling window since its counter was written, and the oldest that did not.
    ///
    /// Each record leaves once, so that the cost of all this is in proportion to the records made.
    fn rolled_off(
        &mut self,
        counter_id: &str,
        from: Option<Timestamp>,
        until: Timestamp,
    ) -> Result<RolledOff, StoreError> {
        // Not `min(at)`: over a table that was small when the plan was made, PostgreSQL would look at
        // every record of the window for it.
        let sql = Sql::new(
            "SELECT (SELECT coalesce(CAST(sum(quantity - reversed) AS bigint), 0) \
             FROM usage_records WHERE is_rolling AND reversed < quantity AND counter_id = ",
        )
        .bind(counter_id)
        .text(" AND at > ")
        .bind(from.map_or(i64::MIN, Timestamp::as_micros))
        .text(" AND at <= ")
        .bind(until.as_micros())
        .text(
            "), (SELECT at FROM usage_records WHERE is_rolling AND reversed < quantity \
             AND counter_id = ",
        )
        .bind(counter_id)
        .text(" AND at > ")
        .bind(until.as_micros())
        .text(" ORDER BY at LIMIT 1)")
        .returning::<(BigInt, Nullable<BigInt>)>();
        let (quantity, oldest): (i64, Option<i64>) = on_backend!(self, c => sql.get_result(c))?;
        Ok(RolledOff { until, quantity, oldest: oldest.and_then(Timestamp::from_micros) })
    }

    fn load_due_holds(
        &mut self,
        counter_id: String,
        now: Timestamp,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let over = |sql: Sql| {
            sql.text(" WHERE status = 'active' AND counter_id = ")
                .bind(counter_id.as_str())
                .text(" AND expires_at <= ")
                .bind(now.as_micros())
        };
        // Which consumables get units back, and which do not, each hold of such a counter decides.
        let counter = state.counters.original(&counter_id);
        let at_most = match counter.is_some_and(|counter| !counter.burns.is_empty()) {
            true => i64::MAX,
            false => ENDED_AT_ONCE,
        };
        let sql = over(UsageHoldRow::select()).text(" ORDER BY expires_at, id LIMIT ");
        let rows = UsageHoldRow::query(self, sql.bind(at_most))?;
        let is_cut = i64::try_from(rows.len()).is_ok_and(|found| found >= at_most);
        let mut due = DueHolds::default();
        let mut loaded = 0i64;
        for row in rows {
            let stored = hold_from(row)?;
            loaded = loaded.saturating_add(stored.hold.quantity);
            due.ids.insert(stored.hold.id.to_string());
            state.holds.load(stored.hold.id.to_string(), Some(stored));
        }
        if is_cut {
            let sum = "SELECT coalesce(CAST(sum(quantity) AS bigint), 0) FROM usage_holds";
            let sum = over(Sql::new(sum)).returning::<BigInt>();
            let all: i64 = on_backend!(self, c => sum.get_result(c))?;
            due.rest = all.saturating_sub(loaded).max(0);
        }
        state.due_holds.insert(counter_id, due);
        Ok(())
    }

    fn load_due_counters(
        &mut self,
        scope: String,
        now: Timestamp,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let sql = Sql::new(
            "SELECT DISTINCT counter_id FROM usage_holds WHERE status = 'active' \
             AND charged_scope = ",
        )
        .bind(scope.as_str())
        .text(" AND expires_at <= ")
        .bind(now.as_micros())
        .returning::<Text>();
        let counters: Vec<String> = on_backend!(self, c => sql.load(c))?;
        state.due_counters.insert(scope, counters.into_iter().collect());
        Ok(())
    }

    fn load_records(&mut self, ids: BTreeSet<String>, state: &mut State) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for row in select_by::<UsageRecordRow>(self, "id", keys(&ids), Lock::None)? {
            let stored = record_from(row)?;
            state.records.load(stored.record.id.to_string(), Some(stored));
        }
        for id in ids {
            state.records.load(id, None);
        }
        Ok(())
    }

    fn load_holds(&mut self, ids: BTreeSet<String>, state: &mut State) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for row in select_by::<UsageHoldRow>(self, "id", keys(&ids), Lock::None)? {
            let stored = hold_from(row)?;
            state.holds.load(stored.hold.id.to_string(), Some(stored));
        }
        for id in ids {
            state.holds.load(id, None);
        }
        Ok(())
    }
}

fn put_features(
    rows: Vec<FeatureRow>,
    codes: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    for row in rows {
        let record = FeatureRecord::from_row(row)?.record;
        let id = record.feature.id.to_string();
        let holder = CodeHolder { id: id.clone() };
        state.feature_codes.load(record.feature.code.clone(), Some(holder));
        state.feature_terms.insert(id, FeatureTerms::from(&record));
    }
    for code in codes {
        state.feature_codes.load(code, None);
    }
    Ok(())
}
