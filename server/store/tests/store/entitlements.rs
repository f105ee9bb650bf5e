//! Rows of features, packages, holdings and usage are loaded as they were saved, by each of their
//! needs.

use crate::{
    ENDED_AT_ONCE,
    commands::at,
    database::{Database, both_databases, execute},
    lane::{read, save},
    roundtrip::ODD,
};
use ifmatch_domain::{
    Need, State,
    core::{self, Row, Tombstone},
    entitlement::{
        self, AssignmentRecord, BURNT_OUT_KEPT_US, BoostRecord, Burns, Counter, DueHolds,
        FeatureRecord, Holdings, LogLine, PackageRecord, PoolGrant, PoolTerms, RolledOff,
        StoredHold, StoredRecord, addon_key,
    },
};
use ifmatch_store::{Db, StoreError};
use ifmatch_types::{
    Assignment, AssignmentId, AssignmentStatus, Boost, BoostDuration, BoostId, BoostKind, By,
    CatalogStatus, EntitlementLogEntry, Feature, FeatureId, FeatureType, GrantKind, Hold, HoldId,
    HoldStatus, Kind, Metadata, Package, PackageId, RecordId, Reset, Source, Timestamp,
    UsageRecord,
};
use serde_json::json;
use std::collections::BTreeSet;

/// The name of a case, and the rows that a batch puts into its state.
type Case = (&'static str, fn(&mut State));

const SCOPE: &str = "workspaces/wsp_1";

fn instant(n: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_123_456 + n).unwrap()
}

fn extremes() -> (Timestamp, Timestamp) {
    (at("0000-01-01T00:00:00Z"), at("9999-12-30T22:00:00Z"))
}

fn deleted(full: bool) -> Option<Tombstone> {
    full.then(|| Tombstone { at: instant(9), by: ODD.to_owned(), last_version: None })
}

fn feature(full: bool) -> Row<FeatureRecord> {
    let feature = Feature {
        id: FeatureId::from_unchecked(format!("ftr_{full}")),
        version: if full { i64::MAX } else { 1 },
        code: format!("{ODD}{full}"),
        name: if full { ODD.repeat(9) } else { String::new() },
        feature_type: if full { FeatureType::Unlimited } else { FeatureType::Limit },
        reset: if full { Reset::Rolling } else { Reset::None },
        rolling_days: full.then_some(366),
        parent_code: full.then(|| ODD.to_owned()),
        releasable: full,
        status: if full { CatalogStatus::Archived } else { CatalogStatus::Active },
        created_at: extremes().0,
        updated_at: extremes().1,
        updated_by: ODD.to_owned(),
    };
    let pool = PoolTerms {
        code: ODD.to_owned(),
        reset: if full { Reset::Monthly } else { Reset::Rolling },
        rolling_days: (!full).then_some(1),
    };
    Row { record: FeatureRecord { feature, pool, granted: full }, deleted: deleted(full) }
}

fn package(full: bool) -> Row<PackageRecord> {
    let grant = |grant, limit| PoolGrant {
        feature: ODD.to_owned(),
        pool: format!("{ODD}p"),
        grant,
        limit,
        is_unlimited: limit.is_none(),
    };
    let grants = match full {
        true => vec![grant(GrantKind::Limit, Some(i64::MAX)), grant(GrantKind::Unlimited, None)],
        false => vec![],
    };
    let package = Package {
        id: PackageId::from_unchecked(format!("pkg_{full}")),
        version: 1,
        code: format!("{ODD}{full}"),
        name: ODD.to_owned(),
        is_base: full,
        is_stackable: !full,
        grants: grants.iter().map(PoolGrant::shown).collect(),
        status: if full { CatalogStatus::Archived } else { CatalogStatus::Active },
        created_at: extremes().1,
        updated_at: extremes().0,
        updated_by: ODD.to_owned(),
    };
    Row { record: PackageRecord { package, grants }, deleted: deleted(full) }
}

fn assignment(full: bool) -> Row<AssignmentRecord> {
    let optional = |n| full.then(|| instant(n));
    let assignment = Assignment {
        id: AssignmentId::from_unchecked(format!("asg_{full}")),
        version: 2,
        scope: SCOPE.to_owned(),
        package: ODD.to_owned(),
        status: if full { AssignmentStatus::Expired } else { AssignmentStatus::Suspended },
        is_base: !full,
        starts_at: extremes().0,
        expires_at: optional(1),
        cancel_at: optional(2),
        ended_at: optional(3),
        anchor_at: instant(-5),
        external_service_id: full.then(|| ODD.to_owned()),
        created_at: instant(4),
        updated_at: instant(5),
        updated_by: ODD.to_owned(),
    };
    let package_id = package(full).record.package.id;
    Row { record: AssignmentRecord { assignment, package_id }, deleted: None }
}

fn boost(full: bool) -> Row<BoostRecord> {
    let boost = Boost {
        id: BoostId::from_unchecked(format!("bst_{full}")),
        version: 1,
        scope: SCOPE.to_owned(),
        feature: ODD.to_owned(),
        kind: if full { BoostKind::AddLimit } else { BoostKind::Enable },
        duration: if full { BoostDuration::Consumable } else { BoostDuration::CycleBound },
        amount: full.then_some(i64::MAX),
        consumed: if full { i64::MAX } else { 0 },
        priority: if full { 1_000 } else { 0 },
        expires_at: full.then(|| extremes().1),
        source: full.then(|| ODD.to_owned()),
        external_addon_id: full.then(|| ODD.to_owned()),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: ODD.to_owned(),
    };
    let (pool, anchor_at) = (format!("{ODD}p"), instant(-5));
    Row { record: BoostRecord { boost, pool, anchor_at, is_over: full }, deleted: None }
}

/// Burnt units of two boosts, in an order that is not that of their ids.
fn burns(units: i64) -> Burns {
    let mut burns = Burns::default();
    burns.push("z", 1);
    burns.push(ODD, units - 2);
    burns.push("z", 1);
    burns
}

fn counter(full: bool) -> Counter {
    Counter {
        id: format!("{SCOPE}/{ODD}/{full}"),
        version: if full { i64::MAX } else { 1 },
        scope: SCOPE.to_owned(),
        pool: ODD.to_owned(),
        window_start: full.then(|| extremes().0),
        used: if full { i64::MAX } else { 0 },
        held: if full { i64::MAX } else { 0 },
        burns: if full { burns(i64::MAX) } else { Burns::default() },
        rolling_burnt: if full { i64::MAX } else { 0 },
        rolled_until: full.then(|| extremes().1),
        expired_until: full.then(|| extremes().0),
        notified: if full { 100 } else { 0 },
        events: if full { i64::MAX } else { 0 },
    }
}

fn by(full: bool) -> By {
    By {
        actor: ODD.to_owned(),
        key_id: full.then(|| ifmatch_types::ApiKeyId::from_unchecked(ODD)),
        on_behalf_of: full.then(|| ODD.to_owned()),
        source: if full { Source::Worker } else { Source::Cli },
        forced: false,
    }
}

fn record(full: bool) -> StoredRecord {
    let metadata = Metadata::from([(ODD.to_owned(), String::new())]);
    let record = UsageRecord {
        id: RecordId::from_unchecked(format!("usg_{full}")),
        scope: SCOPE.to_owned(),
        charged_scope: ODD.to_owned(),
        feature: ODD.to_owned(),
        quantity: if full { i64::MAX } else { 1 },
        reversed: if full { i64::MAX - 1 } else { 0 },
        metadata: if full { metadata } else { Metadata::new() },
        at: instant(7),
        by: by(full),
        request_id: ODD.to_owned(),
    };
    let burns = if full { burns(9) } else { Burns::default() };
    StoredRecord { record, counter_id: counter(full).id, is_rolling: full, burns }
}

fn hold(full: bool) -> StoredHold {
    let hold = Hold {
        id: HoldId::from_unchecked(format!("hld_{full}")),
        scope: SCOPE.to_owned(),
        feature: ODD.to_owned(),
        quantity: i64::MAX,
        status: if full { HoldStatus::Settled } else { HoldStatus::Active },
        expires_at: instant(8),
        settled_quantity: full.then_some(3),
        record_id: full.then(|| record(full).record.id),
        created_at: instant(1),
        ended_at: full.then(|| instant(2)),
    };
    let burns = if full { burns(7) } else { Burns::default() };
    let (counter_id, charged_scope) = (counter(full).id, SCOPE.to_owned());
    StoredHold { hold, counter_id, charged_scope, burns }
}

fn line(full: bool) -> LogLine {
    let entry = EntitlementLogEntry {
        id: format!("elg_{full}"),
        log_type: "usage.denied".to_owned(),
        at: instant(i64::from(full)),
        by: by(full),
        request_id: ODD.to_owned(),
        details: json!({ODD: [1.5, ODD], "zeta": i64::MAX, "alpha": null}),
    };
    LogLine { scope: SCOPE.to_owned(), entry }
}

fn put(state: &mut State, full: bool) {
    let id = |prefix: &str| format!("{prefix}_{full}");
    state.entitlement_mut().features.put(id("ftr"), feature(full));
    state.entitlement_mut().packages.put(id("pkg"), package(full));
    state.entitlement_mut().assignments.put(id("asg"), assignment(full));
    state.entitlement_mut().boosts.put(id("bst"), boost(full));
    state.entitlement_mut().counters.put(counter(full).id, counter(full));
    state.entitlement_mut().records.put(id("usg"), record(full));
    state.entitlement_mut().holds.put(id("hld"), hold(full));
    state.entitlement_mut().log.push(line(full));
}

fn needs_of(full: bool) -> Vec<Need> {
    let kinds = [Kind::Feature, Kind::Package, Kind::Assignment, Kind::Boost];
    let mut needs: Vec<Need> = kinds
        .map(|kind| Need::Core(core::Need::Object(kind, format!("{}{full}", kind.id_prefix()))))
        .to_vec();
    needs.push(Need::Entitlement(entitlement::Need::Counter(counter(full).id)));
    needs.push(Need::Entitlement(entitlement::Need::Record(format!("usg_{full}"))));
    needs.push(Need::Entitlement(entitlement::Need::Hold(format!("hld_{full}"))));
    needs
}

#[track_caller]
fn assert_rows(state: &State, full: bool) {
    let id = |prefix: &str| format!("{prefix}_{full}");
    assert_eq!(state.entitlement().features.get(&id("ftr")), Some(&feature(full)));
    assert_eq!(state.entitlement().packages.get(&id("pkg")), Some(&package(full)));
    assert_eq!(state.entitlement().assignments.get(&id("asg")), Some(&assignment(full)));
    assert_eq!(state.entitlement().boosts.get(&id("bst")), Some(&boost(full)));
    assert_eq!(state.entitlement().counters.get(&counter(full).id), Some(&counter(full)));
    assert_eq!(state.entitlement().records.get(&id("usg")), Some(&record(full)));
    assert_eq!(state.entitlement().holds.get(&id("hld")), Some(&hold(full)));
}

fn saved(db: &mut Db) {
    save(db, |state| [true, false].into_iter().for_each(|full| put(state, full))).unwrap();
}

fn every_row_comes_back_as_it_was_saved(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    for full in [true, false] {
        assert_rows(&read(&mut db, needs_of(full)), full);
    }
    assert_eq!(
        db.entitlement_log(SCOPE, None, None, 9).unwrap(),
        [line(true).entry, line(false).entry],
        "newest first"
    );
    assert_eq!(
        db.entitlement_log(SCOPE, Some("usage.denied"), Some("elg_true"), 9).unwrap().len(),
        1
    );
    assert_eq!(db.entitlement_log(SCOPE, Some("other"), None, 9).unwrap(), []);
    assert_eq!(db.usage_record("usg_true").unwrap(), Some(record(true).record));
    assert_eq!(db.hold("hld_true").unwrap(), Some(hold(true).hold));
    let records = db.usage_records(SCOPE, Some(ODD), None, 9).unwrap();
    assert_eq!(records, [record(true).record, record(false).record]);
}

fn every_column_of_a_row_that_changes_is_updated(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    db.begin().unwrap();
    let mut state = State::default();
    db.load(needs_of(false), &mut state).unwrap();
    let mut changed = counter(true);
    (changed.id, changed.scope) = (counter(false).id, "namespaces/nsp_1".to_owned());
    changed.held = 5;
    state.entitlement_mut().counters.put(changed.id.clone(), changed.clone());
    let mut reversed = record(false);
    reversed.record.reversed = 1;
    state.entitlement_mut().records.put("usg_false".to_owned(), reversed.clone());
    let mut ended = hold(true);
    ended.hold.id = hold(false).hold.id;
    ended.counter_id = changed.id.clone();
    state.entitlement_mut().holds.put("hld_false".to_owned(), ended.clone());
    let mut burnt = boost(true);
    burnt.record.boost.id = boost(false).record.boost.id;
    burnt.record.boost.external_addon_id = Some("other".to_owned());
    state.entitlement_mut().boosts.put("bst_false".to_owned(), burnt.clone());
    let mut over = assignment(true);
    over.record.assignment.id = assignment(false).record.assignment.id;
    over.record.assignment.external_service_id = None;
    state.entitlement_mut().assignments.put("asg_false".to_owned(), over.clone());
    let mut granted = feature(true);
    granted.record.feature.id = feature(false).record.feature.id;
    state.entitlement_mut().features.put("ftr_false".to_owned(), granted.clone());
    let mut other = package(true);
    other.record.package.id = package(false).record.package.id;
    state.entitlement_mut().packages.put("pkg_false".to_owned(), other.clone());
    db.save(&state, instant(0)).unwrap();
    db.commit().unwrap();
    let state = read(&mut db, needs_of(false));
    assert_eq!(state.entitlement().counters.get(&changed.id), Some(&changed));
    assert_eq!(state.entitlement().records.get("usg_false"), Some(&reversed));
    assert_eq!(state.entitlement().holds.get("hld_false"), Some(&ended));
    assert_eq!(state.entitlement().boosts.get("bst_false"), Some(&burnt));
    assert_eq!(state.entitlement().assignments.get("asg_false"), Some(&over));
    assert_eq!(state.entitlement().features.get("ftr_false"), Some(&granted));
    assert_eq!(state.entitlement().packages.get("pkg_false"), Some(&other));
}

fn what_is_not_there_is_loaded_as_absent(database: &Database) {
    let mut db = database.lane();
    let none = || "nothing".to_owned();
    let state = read(
        &mut db,
        vec![
            Need::Entitlement(entitlement::Need::FeatureCode(none())),
            Need::Entitlement(entitlement::Need::PackageCode(none())),
            Need::Entitlement(entitlement::Need::ExternalService(none())),
            Need::Entitlement(entitlement::Need::Addon(none())),
            Need::Entitlement(entitlement::Need::Holdings(none())),
            Need::Entitlement(entitlement::Need::Counter(none())),
            Need::Entitlement(entitlement::Need::Record(none())),
            Need::Entitlement(entitlement::Need::Hold(none())),
            Need::Entitlement(entitlement::Need::RolledOff(none(), None, instant(0))),
            Need::Entitlement(entitlement::Need::DueHolds(none(), None, instant(0))),
            Need::Entitlement(entitlement::Need::DueCounters(none(), instant(0))),
            Need::Core(core::Need::Owner(Kind::Namespace, none())),
            Need::Core(core::Need::Owner(Kind::Assignment, none())),
        ],
    );
    assert!(
        state.entitlement().feature_codes.is_loaded("nothing")
            && state.entitlement().package_codes.is_loaded("nothing")
    );
    assert!(
        state.entitlement().external_services.get("nothing").is_none()
            && state.entitlement().addons.get("nothing").is_none()
    );
    assert!(
        state.entitlement().counters.get("nothing").is_none()
            && state.entitlement().records.get("nothing").is_none()
    );
    assert!(
        state.entitlement().holds.get("nothing").is_none()
            && state.entitlement().feature_terms.is_empty()
    );
    assert_eq!(state.entitlement().holdings.get("nothing"), Some(&Holdings::default()));
    let nothing = RolledOff { until: instant(0), quantity: 0, burnt: 0, oldest: None };
    assert_eq!(state.entitlement().rolled["nothing"], nothing);
    assert!(
        state.entitlement().due_holds["nothing"] == due(0, &[])
            && state.entitlement().due_counters["nothing"].is_empty()
    );
    assert_eq!(state.owners.values().collect::<Vec<_>>(), [&None, &None]);
}

fn a_code_is_the_living_ones(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    let needs = [true, false]
        .map(|full| Need::Entitlement(entitlement::Need::FeatureCode(format!("{ODD}{full}"))));
    let packages = [true, false]
        .map(|full| Need::Entitlement(entitlement::Need::PackageCode(format!("{ODD}{full}"))));
    let state = read(&mut db, [needs, packages].concat());
    for (full, found) in [(true, None), (false, Some("_false"))] {
        let code = format!("{ODD}{full}");
        let feature = state.entitlement().feature_codes.get(&code).map(|holder| holder.id.clone());
        assert_eq!(feature, found.map(|id| format!("ftr{id}")));
        let package = state.entitlement().package_codes.get(&code).map(|holder| holder.id.clone());
        assert_eq!(package, found.map(|id| format!("pkg{id}")));
    }
    assert_eq!(state.entitlement().feature_terms.keys().collect::<Vec<_>>(), ["ftr_false"]);
    let addon = addon_key(Some(ODD), Some(ODD)).unwrap();
    let state = read(
        &mut db,
        vec![
            Need::Entitlement(entitlement::Need::ExternalService(ODD.to_owned())),
            Need::Entitlement(entitlement::Need::Addon(addon.clone())),
        ],
    );
    assert_eq!(state.entitlement().external_services.get(ODD).unwrap().id, "asg_true");
    assert_eq!(state.entitlement().assignments.get("asg_true"), Some(&assignment(true)));
    assert_eq!(state.entitlement().addons.get(&addon).unwrap().id, "bst_true");
    assert_eq!(state.entitlement().boosts.get("bst_true"), Some(&boost(true)));
}

fn holdings_are_what_may_still_count_and_the_anchor_of_all_there_was(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    let load = |db: &mut Db| {
        read(db, vec![Need::Entitlement(entitlement::Need::Holdings(SCOPE.to_owned()))])
    };
    let state = load(&mut db);
    let expected = Holdings {
        assignments: vec!["asg_false".to_owned()],
        boosts: vec!["bst_false".to_owned()],
        anchor: Some(instant(-5)),
    };
    assert_eq!(state.entitlement().holdings.get(SCOPE), Some(&expected));
    assert_eq!(state.entitlement().package_grants["pkg_false"], []);
    execute(&mut db, "UPDATE assignments SET status = 'active' WHERE id = 'asg_true'");
    let state = load(&mut db);
    let holdings = state.entitlement().holdings.get(SCOPE).unwrap();
    assert_eq!(holdings.assignments, ["asg_false", "asg_true"]);
    assert_eq!(state.entitlement().package_grants["pkg_true"], package(true).record.grants);
    execute(
        &mut db,
        "UPDATE assignments SET status = 'cancelled'; UPDATE boosts SET is_over = true",
    );
    let expected = Holdings { anchor: Some(instant(-5)), ..Holdings::default() };
    assert_eq!(load(&mut db).entitlement().holdings.get(SCOPE), Some(&expected));
}

/// Records are at 0 to 4. The one at 2 was reversed in part, the one at 3 completely. `from` is
/// excluded, `until` is included.
fn what_left_a_rolling_window_is_summed_up(database: &Database) {
    let mut db = database.lane();
    save(&mut db, |state| {
        state.entitlement_mut().counters.put(counter(true).id, counter(true));
        state.entitlement_mut().counters.put(counter(false).id, counter(false));
        for n in 0..5 {
            for full in [true, false] {
                let mut row = record(full);
                row.record.id = RecordId::from_unchecked(format!("usg_{n}_{full}"));
                row.record.at = instant(n);
                row.record.quantity = 10_i64.pow(u32::try_from(n).unwrap());
                row.burns = Burns::default();
                row.burns.push("bst_1", n);
                row.record.reversed = match n {
                    2 => 70,
                    3 => row.record.quantity,
                    _ => 0,
                };
                // Rows of another counter and rows that do not roll are not counted.
                row.is_rolling = full;
                state.entitlement_mut().records.put(row.record.id.to_string(), row);
            }
        }
    })
    .unwrap();
    for (from, until, quantity, burnt, oldest) in [
        (None, -1, 0, 0, Some(0)),
        (None, 0, 1, 0, Some(1)),
        (None, 2, 41, 1 + 2, Some(4)),
        (Some(0), 2, 40, 1 + 2, Some(4)),
        (Some(2), 3, 0, 0, Some(4)),
        (Some(3), 9, 10_000, 4, None),
        (Some(9), 9, 0, 0, None),
    ] {
        let id = counter(true).id;
        let need = Need::Entitlement(entitlement::Need::RolledOff(
            id.clone(),
            from.map(instant),
            instant(until),
        ));
        let rolled = read(&mut db, vec![need]).entitlement().rolled[&id];
        let (until, oldest) = (instant(until), oldest.map(instant));
        assert_eq!(rolled, RolledOff { until, quantity, burnt, oldest });
    }
    let id = counter(false).id;
    let need = Need::Entitlement(entitlement::Need::RolledOff(id.clone(), None, instant(9)));
    assert_eq!(read(&mut db, vec![need]).entitlement().rolled[&id].quantity, 0);
}

/// What is due on a counter with these expired holds.
fn due(until: i64, ids: &[&str]) -> DueHolds {
    let ids: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let burns = Burns::default();
    DueHolds { until: instant(until), ids, is_cut: false, units: 0, burns }
}

/// The rows of a slice are loaded. The units, and what they burnt, are those of all holds that
/// expired since the counter took holds back.
fn of_very_many_holds_that_are_over_a_slice_is_loaded_and_all_are_added_up(database: &Database) {
    let mut db = database.lane();
    let id = counter(false).id;
    let count = i64::try_from(ENDED_AT_ONCE).unwrap() + 3;
    save(&mut db, |state| {
        state.entitlement_mut().counters.put(id.clone(), counter(false));
        for n in 0..count {
            let mut over = hold(false);
            over.hold.id = HoldId::from_unchecked(format!("hld_{n:04}"));
            over.hold.quantity = n + 1;
            // A hold with a later id expired earlier.
            over.hold.expires_at = instant(1_000 - n);
            over.burns.push(&format!("bst_{}", n % 2), n);
            state.entitlement_mut().holds.put(over.hold.id.to_string(), over);
        }
    })
    .unwrap();
    let sum = |numbers: std::ops::RangeInclusive<i64>| numbers.sum::<i64>();
    for (from, until, first, units, burnt) in [
        (None, 1_000, "hld_0003", sum(1..=count), sum(0..=count - 1)),
        (Some(997), 1_000, "hld_0003", 1 + 2 + 3, 1 + 2),
        (Some(1_000), 1_000, "hld_0003", 0, 0),
        (None, 997, "hld_0003", sum(4..=count), sum(3..=count - 1)),
        (Some(995), 997, "hld_0003", 4 + 5, 3 + 4),
    ] {
        let need = entitlement::Need::DueHolds(id.clone(), from.map(instant), instant(until));
        let state = &mut read(&mut db, vec![Need::Entitlement(need)]);
        let due = state.entitlement_mut().due_holds.remove(&id).unwrap();
        let ids = (due.ids.len(), due.ids.first().unwrap().as_str());
        assert_eq!(ids, (ENDED_AT_ONCE, first), "{from:?} {until}");
        assert!(due.is_cut);
        assert_eq!((due.units, due.burns.units()), (units, burnt), "{from:?} {until}");
    }
    let need = entitlement::Need::DueHolds(id.clone(), Some(instant(500)), instant(501));
    let state = &mut read(&mut db, vec![Need::Entitlement(need)]);
    let due = state.entitlement_mut().due_holds.remove(&id).unwrap();
    assert_eq!((due.ids.len(), due.is_cut), (4, false), "those that expired earlier must end too");
    assert_eq!((due.units, due.burns.units()), (500, 499));
}

fn holds_are_due_from_the_instant_at_which_they_expire(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    save(&mut db, |state| {
        let mut other = hold(false);
        other.hold.id = HoldId::from_unchecked("hld_other");
        other.hold.expires_at = instant(20);
        other.charged_scope = "workspaces/wsp_2".to_owned();
        state.entitlement_mut().holds.put("hld_other".to_owned(), other);
    })
    .unwrap();
    let id = counter(false).id;
    for (now, ids, counters) in [
        (7, vec![], false),
        (8, vec!["hld_false"], true),
        (20, vec!["hld_false", "hld_other"], true),
    ] {
        let needs = vec![
            Need::Entitlement(entitlement::Need::DueHolds(id.clone(), None, instant(now))),
            Need::Entitlement(entitlement::Need::DueCounters(SCOPE.to_owned(), instant(now))),
        ];
        let state = read(&mut db, needs);
        let units = i64::MAX.saturating_mul(i64::try_from(ids.len()).unwrap());
        let expected = DueHolds { units, ..due(now, &ids) };
        assert_eq!(state.entitlement().due_holds[&id], expected);
        assert!(expected.ids.iter().all(|hold| state.entitlement().holds.is_loaded(hold)));
        assert_eq!(state.entitlement().due_counters[SCOPE].contains(&id), counters);
    }
    let over = |db: &mut Db, now| {
        let mut scopes = db.scopes_with_something_over(instant(now), 9).unwrap();
        scopes.sort();
        scopes
    };
    assert_eq!(over(&mut db, 7), [""; 0]);
    assert_eq!(over(&mut db, 8), [SCOPE]);
    assert_eq!(over(&mut db, 20), [SCOPE, "workspaces/wsp_2"]);
    execute(
        &mut db,
        "UPDATE usage_holds SET status = 'released', ended_at = 1 WHERE status = 'active'",
    );
    assert_eq!(over(&mut db, 20), [""; 0], "what is over is over");
    // A consumable without a unit left ends some weeks after its last unit was burnt.
    execute(&mut db, "UPDATE assignments SET status = 'cancelled'");
    let updated_at = instant(5).as_micros();
    let sql =
        format!("UPDATE boosts SET is_over = false, expires_at = NULL, updated_at = {updated_at}");
    execute(&mut db, &sql);
    assert_eq!(over(&mut db, BURNT_OUT_KEPT_US + 5), [""; 0]);
    assert_eq!(over(&mut db, BURNT_OUT_KEPT_US + 6), [SCOPE]);
    execute(&mut db, "UPDATE boosts SET consumed = 0");
    assert_eq!(over(&mut db, BURNT_OUT_KEPT_US + 6), [""; 0]);
}

/// Each row that a lane changes is guarded: a change by another writer in between fails the batch.
fn a_row_changed_behind_the_lanes_back_fails_the_batch(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    let cases: [Case; 6] = [
        ("counters", |s| {
            s.entitlement_mut()
                .counters
                .put(counter(false).id, Counter { version: 2, ..counter(false) })
        }),
        ("usage_records", |s| {
            let mut row = record(true);
            row.record.reversed += 1;
            s.entitlement_mut().records.put("usg_true".to_owned(), row);
        }),
        ("usage_holds", |s| {
            let mut row = hold(false);
            (row.hold.status, row.hold.ended_at) = (HoldStatus::Released, Some(instant(1)));
            s.entitlement_mut().holds.put("hld_false".to_owned(), row);
        }),
        ("boosts", |s| {
            let mut row = boost(false);
            row.record.boost.version = 2;
            s.entitlement_mut().boosts.put("bst_false".to_owned(), row);
        }),
        ("assignments", |s| {
            let mut row = assignment(false);
            row.record.assignment.version = 3;
            s.entitlement_mut().assignments.put("asg_false".to_owned(), row);
        }),
        ("features", |s| {
            let mut row = feature(false);
            row.record.feature.version = 2;
            s.entitlement_mut().features.put("ftr_false".to_owned(), row);
        }),
    ];
    for (table, change) in cases {
        for is_raced in [false, true] {
            db.begin().unwrap();
            let mut state = State::default();
            let needs = [needs_of(true), needs_of(false)].concat();
            db.load(needs, &mut state).unwrap();
            change(&mut state);
            if is_raced {
                execute(
                    &mut db,
                    &format!("UPDATE {table} SET version = version + 7 WHERE version < 9"),
                );
                if table == "usage_records" {
                    execute(&mut db, "UPDATE usage_records SET version = 1");
                }
            }
            let done = db.save(&state, instant(0));
            db.rollback().unwrap();
            match done {
                Ok(()) => assert!(!is_raced, "{table}"),
                Err(StoreError::LostGuard { table: found, .. }) => {
                    assert!(is_raced && found == table, "{table} {found}");
                }
                Err(other) => panic!("{table}: {other}"),
            }
        }
    }
}

/// A permanently unique key is unique in the database, too. The second writer gets `Raced`.
fn a_key_that_was_taken_meanwhile_is_a_race(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    let cases: [Case; 7] = [
        ("an external service id", |s| {
            let mut row = assignment(true);
            row.record.assignment.id = AssignmentId::from_unchecked("asg_new");
            s.entitlement_mut().assignments.put("asg_new".to_owned(), row);
        }),
        ("a base package", |s| {
            let mut row = assignment(false);
            row.record.assignment.id = AssignmentId::from_unchecked("asg_new");
            row.record.assignment.status = AssignmentStatus::Active;
            s.entitlement_mut().assignments.put("asg_new".to_owned(), row);
        }),
        ("an add-on", |s| {
            let mut row = boost(true);
            row.record.boost.id = BoostId::from_unchecked("bst_new");
            s.entitlement_mut().boosts.put("bst_new".to_owned(), row);
        }),
        ("a feature's code", |s| {
            let mut row = feature(false);
            row.record.feature.id = FeatureId::from_unchecked("ftr_new");
            s.entitlement_mut().features.put("ftr_new".to_owned(), row);
        }),
        ("a package's code", |s| {
            let mut row = package(false);
            row.record.package.id = PackageId::from_unchecked("pkg_new");
            s.entitlement_mut().packages.put("pkg_new".to_owned(), row);
        }),
        ("a counter", |s| s.entitlement_mut().counters.put(counter(false).id, counter(false))),
        ("a line of the log", |s| s.entitlement_mut().log.push(line(true))),
    ];
    for (what, add) in cases {
        let error = save(&mut db, add).expect_err(what);
        assert!(matches!(error, StoreError::Raced(_)), "{what}: {error:?}");
        assert!(error.is_transient());
    }
    // A scope whose base package ended may get another one, and the code of a deleted object is
    // free.
    save(&mut db, |s| {
        let mut row = assignment(true);
        row.record.assignment.id = AssignmentId::from_unchecked("asg_new");
        (row.record.assignment.is_base, row.record.assignment.external_service_id) = (true, None);
        s.entitlement_mut().assignments.put("asg_new".to_owned(), row);
        let mut row = feature(true);
        (row.record.feature.id, row.deleted) = (FeatureId::from_unchecked("ftr_new"), None);
        s.entitlement_mut().features.put("ftr_new".to_owned(), row);
    })
    .unwrap();
}

fn the_database_refuses_what_no_rule_of_entitlements_would_write(database: &Database) {
    let mut db = database.lane();
    saved(&mut db);
    for sql in [
        "UPDATE features SET feature_type = 'other'",
        "UPDATE features SET reset = 'daily'",
        "UPDATE features SET rolling_days = 367",
        "UPDATE features SET status = 'gone'",
        "UPDATE packages SET status = 'gone'",
        "UPDATE assignments SET status = 'gone'",
        "UPDATE assignments SET package_id = 'nothing'",
        "UPDATE boosts SET kind = 'other'",
        "UPDATE boosts SET duration = 'other'",
        "UPDATE boosts SET amount = 0 WHERE amount IS NOT NULL",
        "UPDATE boosts SET consumed = -1",
        "UPDATE boosts SET consumed = 1 WHERE amount IS NULL",
        "UPDATE counters SET used = -1",
        "UPDATE counters SET held = -1",
        "UPDATE counters SET notified = 85",
        "UPDATE counters SET version = 0",
        "UPDATE usage_records SET quantity = 0",
        "UPDATE usage_records SET reversed = quantity + 1 WHERE quantity < 9",
        "UPDATE usage_records SET reversed = -1",
        "UPDATE usage_holds SET quantity = 0",
        "UPDATE usage_holds SET status = 'lost'",
        "UPDATE usage_holds SET ended_at = 1 WHERE status = 'active'",
        "UPDATE usage_holds SET record_id = NULL WHERE status = 'settled'",
        "UPDATE usage_holds SET counter_id = 'nothing'",
        "UPDATE entitlement_log SET source = 'rumour'",
    ] {
        use diesel::connection::SimpleConnection;
        let done = ifmatch_store::on_backend!(&mut db, c => c.batch_execute(sql));
        let error = StoreError::from(done.expect_err(sql));
        assert!(!error.is_transient() && !error.is_gone(), "{sql}: {error:?}");
    }
}

both_databases!(
    every_row_comes_back_as_it_was_saved,
    every_column_of_a_row_that_changes_is_updated,
    what_is_not_there_is_loaded_as_absent,
    a_code_is_the_living_ones,
    holdings_are_what_may_still_count_and_the_anchor_of_all_there_was,
    what_left_a_rolling_window_is_summed_up,
    holds_are_due_from_the_instant_at_which_they_expire,
    of_very_many_holds_that_are_over_a_slice_is_loaded_and_all_are_added_up,
    a_row_changed_behind_the_lanes_back_fails_the_batch,
    a_key_that_was_taken_meanwhile_is_a_race,
    the_database_refuses_what_no_rule_of_entitlements_would_write,
);
