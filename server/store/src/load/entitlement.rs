//! What decisions about entitlements must see. The scope's own row is locked; nothing here is.

use crate::{
    Db, StoreError,
    bulk::{Lock, select_by, select_where},
    on_backend,
    row::{Stored, counter_from, hold_from, record_from},
    schema::{
        AssignmentRow, BoostRow, CounterRow, FeatureRow, PackageRow, StoredRow, UsageHoldRow,
        UsageRecordRow,
    },
    sql::Sql,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable},
};
use ifmatch_domain::{
    AssignmentRecord, BoostRecord, CodeHolder, FeatureRecord, FeatureTerms, Holdings, Need,
    PackageRecord, RolledOff, State,
};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Needs by what they ask for, each sorted.
#[derive(Default)]
pub(super) struct EntitlementNeeds {
    feature_codes: BTreeSet<String>,
    package_codes: BTreeSet<String>,
    external_services: BTreeSet<String>,
    addons: BTreeSet<String>,
    holdings: BTreeSet<String>,
    counters: BTreeSet<String>,
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
                self.feature_codes.insert(code);
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
                self.holdings.insert(scope);
            }
            Need::Counter(id) => {
                self.counters.insert(id);
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
        self.load_feature_codes(wanted.feature_codes, state)?;
        self.load_package_codes(wanted.package_codes, state)?;
        self.load_external_services(wanted.external_services, state)?;
        self.load_addons(wanted.addons, state)?;
        self.load_holdings(wanted.holdings, state)?;
        self.load_counters(wanted.counters, state)?;
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

    fn load_feature_codes(
        &mut self,
        codes: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if codes.is_empty() {
            return Ok(());
        }
        let living = "deleted_at IS NULL AND ";
        for row in select_where::<FeatureRow>(self, living, "code", keys(&codes), Lock::None)? {
            let record = FeatureRecord::from_row(row)?.record;
            let id = record.feature.id.to_string();
            state
                .feature_codes
                .load(record.feature.code.clone(), Some(CodeHolder { id: id.clone() }));
            state.feature_terms.insert(id, FeatureTerms::from(&record));
        }
        for code in codes {
            state.feature_codes.load(code, None);
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
        let living = "deleted_at IS NULL AND ";
        for row in select_where::<PackageRow>(self, living, "code", keys(&codes), Lock::None)? {
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
    fn load_holdings(
        &mut self,
        scopes: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if scopes.is_empty() {
            return Ok(());
        }
        let mut found: BTreeMap<String, Holdings> = BTreeMap::new();
        let mut packages = BTreeSet::new();
        let living = "status IN ('active', 'suspended') AND ";
        for row in select_where::<AssignmentRow>(self, living, "scope", keys(&scopes), Lock::None)?
        {
            let row = AssignmentRecord::from_row(row)?;
            let assignment = &row.record.assignment;
            let holdings = found.entry(assignment.scope.clone()).or_default();
            holdings.anchor = Some(assignment.anchor_at);
            holdings.assignments.push(assignment.id.to_string());
            packages.insert(row.record.package_id.to_string());
            state.assignments.load(assignment.id.to_string(), Some(row));
        }
        let living = "NOT is_over AND ";
        for row in select_where::<BoostRow>(self, living, "scope", keys(&scopes), Lock::None)? {
            let row = BoostRecord::from_row(row)?;
            let boost = &row.record.boost;
            let holdings = found.entry(boost.scope.clone()).or_default();
            holdings.anchor = Some(row.record.anchor_at);
            holdings.boosts.push(boost.id.to_string());
            state.boosts.load(boost.id.to_string(), Some(row));
        }
        if !packages.is_empty() {
            for row in select_by::<PackageRow>(self, "id", keys(&packages), Lock::None)? {
                let record = PackageRecord::from_row(row)?.record;
                state.package_grants.insert(record.package.id.to_string(), record.grants);
            }
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

    fn load_counters(
        &mut self,
        ids: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for row in select_by::<CounterRow>(self, "id", keys(&ids), Lock::None)? {
            let counter = counter_from(row)?;
            state.counters.load(counter.id.clone(), Some(counter));
        }
        for id in ids {
            state.counters.load(id, None);
        }
        Ok(())
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
        let left = Sql::new(
            "SELECT coalesce(CAST(sum(quantity - reversed) AS bigint), 0) FROM usage_records \
             WHERE is_rolling AND counter_id = ",
        )
        .bind(counter_id)
        .text(" AND at > ")
        .bind(from.map_or(i64::MIN, Timestamp::as_micros))
        .text(" AND at <= ")
        .bind(until.as_micros())
        .returning::<BigInt>();
        let quantity: i64 = on_backend!(self, c => left.get_result(c))?;
        let oldest =
            Sql::new("SELECT min(at) FROM usage_records WHERE is_rolling AND counter_id = ")
                .bind(counter_id)
                .text(" AND at > ")
                .bind(until.as_micros())
                .returning::<Nullable<BigInt>>();
        let oldest: Option<i64> = on_backend!(self, c => oldest.get_result(c))?;
        Ok(RolledOff { until, quantity, oldest: oldest.and_then(Timestamp::from_micros) })
    }

    fn load_due_holds(
        &mut self,
        counter_id: String,
        now: Timestamp,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let sql = UsageHoldRow::select()
            .text(" WHERE status = 'active' AND counter_id = ")
            .bind(counter_id.as_str())
            .text(" AND expires_at <= ")
            .bind(now.as_micros())
            .text(" ORDER BY id");
        let due = state.due_holds.entry(counter_id).or_default();
        for row in UsageHoldRow::query(self, sql)? {
            let stored = hold_from(row)?;
            due.insert(stored.hold.id.to_string());
            state.holds.load(stored.hold.id.to_string(), Some(stored));
        }
        Ok(())
    }

    fn load_due_counters(
        &mut self,
        scope: String,
        now: Timestamp,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let sql = UsageHoldRow::select()
            .text(" WHERE status = 'active' AND charged_scope = ")
            .bind(scope.as_str())
            .text(" AND expires_at <= ")
            .bind(now.as_micros());
        let rows = UsageHoldRow::query(self, sql)?;
        let counters = rows.into_iter().map(|row| row.counter_id).collect();
        state.due_counters.insert(scope, counters);
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
