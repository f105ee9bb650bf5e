//! Loads the rows that decisions about entitlements need.
//!
//! Nothing is locked here. The scope's own row is locked.

use super::{
    holdings::{Found, put_holdings},
    time::{self, TimeNeeds},
};
use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::System,
        lookup::{Lookups, Place},
        record::{Record, records},
        select::{Lock, select_by, select_where},
        sql::{Column, Sql},
        table::{keys, load_rows, put_holders, put_rows},
    },
    schema::{AssignmentRow, BoostRow, CounterRow, FeatureRow, PackageRow, StoredRow},
};
use ifmatch_domain::{
    State,
    core::Row,
    entitlement::{AssignmentRecord, FeatureRecord, FeatureTerms, Need},
};
use std::{collections::BTreeSet, mem::take};

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    feature_codes: BTreeSet<String>,
    holdings: BTreeSet<String>,
    counters: BTreeSet<String>,
    package_codes: BTreeSet<String>,
    external_services: BTreeSet<String>,
    addons: BTreeSet<String>,
    records: BTreeSet<String>,
    holds: BTreeSet<String>,
    burnt_boosts: BTreeSet<String>,
    time: TimeNeeds,
    asked: Option<Asked>,
}

/// The lookups that every recording of usage needs.
struct Asked {
    features: Place,
    assignments: Place,
    boosts: Place,
    packages: Place,
    counters: Place,
    running: [Place; 2],
}

const LIVING: &str = "deleted_at IS NULL AND ";
const LIVING_ASSIGNMENT: &str = "status IN ('active', 'suspended') AND ";
const LIVING_BOOST: &str = "NOT is_over AND ";

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        let (ids, id) = match need {
            Need::FeatureCode(code) | Need::FeatureToGrant(code) => (&mut self.feature_codes, code),
            Need::Holdings(scope) => (&mut self.holdings, scope),
            Need::Counter(id) => (&mut self.counters, id),
            Need::PackageCode(code) => (&mut self.package_codes, code),
            Need::ExternalService(id) => (&mut self.external_services, id),
            Need::Addon(key) => (&mut self.addons, key),
            Need::Record(id) => (&mut self.records, id),
            Need::Hold(id) => (&mut self.holds, id),
            Need::BurntBoost(id) => (&mut self.burnt_boosts, id),
            Need::RolledOff(id, from, until) => return self.time.rolled_off(id, from, until),
            Need::DueHolds(id, from, until) => return self.time.due_holds(id, from, until),
            Need::DueCounters(scope, now) => return self.time.due_counters(scope, now),
        };
        ids.insert(id);
    }
}

impl System for Wanted {
    fn ask(&mut self, lookups: &mut Lookups, _state: &mut State) {
        let scopes = || keys(&self.holdings);
        let asked = Asked {
            features: lookups.rows::<FeatureRow>(LIVING, "code", keys(&self.feature_codes)),
            assignments: lookups.rows::<AssignmentRow>(LIVING_ASSIGNMENT, "scope", scopes()),
            boosts: lookups.rows::<BoostRow>(LIVING_BOOST, "scope", scopes()),
            packages: lookups.add(packages_of(lookups.is_sqlite(), scopes())),
            counters: lookups.rows::<CounterRow>("", "id", keys(&self.counters)),
            running: ask_running_counters(lookups, scopes()),
        };
        self.asked = Some(asked);
    }

    fn put(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        put_features(lookups.take(asked.features, db)?, take(&mut self.feature_codes), state)?;
        let assignments = records(lookups.take(asked.assignments, db)?)?;
        let boosts = records(lookups.take(asked.boosts, db)?)?;
        let packages = match db.is_sqlite() {
            true => packages_in(&assignments, db)?,
            false => lookups.take(asked.packages, db)?,
        };
        let found = Found { assignments, boosts, packages: records(packages)? };
        put_holdings(db, take(&mut self.holdings), found, state)?;
        let mut counters = lookups.take(asked.counters, db)?;
        for place in asked.running {
            counters.append(&mut lookups.take(place, db)?);
        }
        let wanted = take(&mut self.counters);
        put_rows(
            counters,
            wanted,
            |counter| counter.id.as_str(),
            &mut state.entitlement_mut().counters,
        )
    }

    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        load_package_codes(db, take(&mut self.package_codes), state)?;
        load_external_services(db, take(&mut self.external_services), state)?;
        load_addons(db, take(&mut self.addons), state)?;
        time::load(db, take(&mut self.time), state)?;
        let records = take(&mut self.records);
        load_rows(
            db,
            records,
            Lock::None,
            |of| of.record.id.as_str(),
            &mut state.entitlement_mut().records,
        )?;
        let boosts = take(&mut self.burnt_boosts);
        load_rows(
            db,
            boosts,
            Lock::None,
            |of| of.record.boost.id.as_str(),
            &mut state.entitlement_mut().boosts,
        )?;
        let holds = take(&mut self.holds);
        load_rows(
            db,
            holds,
            Lock::None,
            |of| of.hold.id.as_str(),
            &mut state.entitlement_mut().holds,
        )
    }
}

/// The longest window of a counter and a day, in microseconds.
const WINDOW_US: i64 = 32 * 86_400_000_000;

/// Asks for the counters whose windows may be running; most commands about a scope need them.
///
/// On PostgreSQL they come in the same round trip as what the scope has. SQLite has no round trip to
/// save, so that each counter is looked up when it is needed.
fn ask_running_counters(lookups: &mut Lookups, scopes: Vec<String>) -> [Place; 2] {
    if lookups.is_sqlite() || scopes.is_empty() {
        return [lookups.add(Vec::new()), lookups.add(Vec::new())];
    }
    let monthly = format!("window_start > ({}) - {WINDOW_US} AND ", lookups.now());
    [
        lookups.rows::<CounterRow>("window_start IS NULL AND ", "scope", scopes.clone()),
        lookups.rows::<CounterRow>(&monthly, "scope", scopes),
    ]
}

/// A query for the packages of scopes, one lookup per assignment.
///
/// See [`Each`](crate::core::select::Each). On SQLite there is none: the packages are looked up
/// when the assignments are known.
fn packages_of(is_sqlite: bool, scopes: Vec<String>) -> Vec<Sql> {
    if is_sqlite || scopes.is_empty() {
        return Vec::new();
    }
    let head = "SELECT p.* FROM assignments AS a CROSS JOIN LATERAL (SELECT ";
    let sql = Sql::new(format!("{head}{} FROM packages", PackageRow::column_list()))
        .text(format!(
            " WHERE id = a.package_id LIMIT 1) AS p WHERE a.{LIVING_ASSIGNMENT}a.scope = ANY("
        ))
        .array(Column::Text(scopes))
        .text(")");
    vec![sql]
}

/// The packages of assignments.
fn packages_in(
    assignments: &[Row<AssignmentRecord>],
    db: &mut Db,
) -> Result<Vec<PackageRow>, StoreError> {
    let ids: BTreeSet<String> =
        assignments.iter().map(|row| row.record.package_id.to_string()).collect();
    select_by(db, "id", keys(&ids), Lock::None)
}

fn put_features(
    rows: Vec<FeatureRow>,
    codes: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for row in records::<Row<FeatureRecord>>(rows)? {
        let feature = &row.record.feature;
        let id = feature.id.to_string();
        found.push((feature.code.clone(), id.clone()));
        state.entitlement_mut().feature_terms.insert(id, FeatureTerms::from(&row.record));
    }
    put_holders(found, codes, &mut state.entitlement_mut().feature_codes);
    Ok(())
}

fn load_package_codes(
    db: &mut Db,
    codes: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let rows: Vec<PackageRow> = select_where(db, LIVING, "code", keys(&codes))?;
    let found = rows.into_iter().map(|row| (row.code, row.id));
    put_holders(found, codes, &mut state.entitlement_mut().package_codes);
    Ok(())
}

fn load_external_services(
    db: &mut Db,
    ids: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    let column = "external_service_id";
    for row in select_by::<AssignmentRow>(db, column, keys(&ids), Lock::None)? {
        found.extend(row.external_service_id.clone().map(|external| (external, row.id.clone())));
        state.entitlement_mut().assignments.load(row.id.clone(), Some(Record::from_row(row)?));
    }
    put_holders(found, ids, &mut state.entitlement_mut().external_services);
    Ok(())
}

fn load_addons(
    db: &mut Db,
    addon_keys: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for row in select_by::<BoostRow>(db, "addon_key", keys(&addon_keys), Lock::None)? {
        found.extend(row.addon_key.clone().map(|key| (key, row.id.clone())));
        state.entitlement_mut().boosts.load(row.id.clone(), Some(Record::from_row(row)?));
    }
    put_holders(found, addon_keys, &mut state.entitlement_mut().addons);
    Ok(())
}
