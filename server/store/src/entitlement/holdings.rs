//! The holdings of scopes: assignments and boosts that may still count.

use crate::core::{
    db::Db,
    error::StoreError,
    select::{Each, load_all},
    sql::Cell,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use ifmatch_domain::{
    State,
    core::Row,
    entitlement::{AssignmentRecord, BoostRecord, Holdings, PackageRecord},
};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The holdings of some scopes, with the grants of their packages.
pub(super) struct Found {
    pub(super) assignments: Vec<Row<AssignmentRecord>>,
    pub(super) boosts: Vec<Row<BoostRecord>>,
    pub(super) packages: Vec<Row<PackageRecord>>,
}

/// Puts the holdings of scopes, with the anchors of their months.
pub(super) fn put_holdings(
    db: &mut Db,
    scopes: BTreeSet<String>,
    found: Found,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut of_scopes: BTreeMap<String, Holdings> =
        scopes.into_iter().map(|scope| (scope, Holdings::default())).collect();
    for row in found.assignments {
        let assignment = &row.record.assignment;
        let holdings = of_scopes.entry(assignment.scope.clone()).or_default();
        holdings.anchor = Some(assignment.anchor_at);
        holdings.assignments.push(assignment.id.to_string());
        state.entitlement_mut().assignments.load(assignment.id.to_string(), Some(row));
    }
    for row in found.boosts {
        let boost = &row.record.boost;
        let holdings = of_scopes.entry(boost.scope.clone()).or_default();
        holdings.anchor = Some(row.record.anchor_at);
        holdings.boosts.push(boost.id.to_string());
        state.entitlement_mut().boosts.load(boost.id.to_string(), Some(row));
    }
    for row in found.packages {
        let id = row.record.package.id.to_string();
        state.entitlement_mut().package_grants.insert(id, row.record.grants);
    }
    put_earlier_anchors(db, &mut of_scopes)?;
    for (scope, holdings) in of_scopes {
        state.entitlement_mut().holdings.load(scope, Some(holdings));
    }
    Ok(())
}

/// The anchors of scopes that have no holdings now.
///
/// All assignments and boosts that a scope ever had share one anchor.
const ANCHORS: Each<'_> = Each {
    texts: &[
        "SELECT CAST(",
        " AS text) AS scope, min(anchor_at) FROM (SELECT anchor_at FROM assignments WHERE scope = ",
        " UNION ALL SELECT anchor_at FROM boosts WHERE scope = ",
    ],
    tail: ") AS had",
};

fn put_earlier_anchors(
    db: &mut Db,
    of_scopes: &mut BTreeMap<String, Holdings>,
) -> Result<(), StoreError> {
    let bare = of_scopes.iter().filter(|(_, holdings)| holdings.anchor.is_none());
    let bare: Vec<Vec<Cell>> = bare.map(|(scope, _)| vec![Cell::Text(scope.clone()); 3]).collect();
    let anchors: Vec<(String, Option<i64>)> =
        load_all!(db, ANCHORS.of(db.is_sqlite(), bare), (Text, Nullable<BigInt>));
    for (scope, anchor) in anchors {
        of_scopes.entry(scope).or_default().anchor = anchor.and_then(Timestamp::from_micros);
    }
    Ok(())
}
