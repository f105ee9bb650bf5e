//! What scopes have that may still count.

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
use ifmatch_domain::{AssignmentRecord, BoostRecord, Holdings, PackageRecord, Row, State};
use ifmatch_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What some scopes have that may still count, with what the packages grant.
pub(super) struct Found {
    pub(super) assignments: Vec<Row<AssignmentRecord>>,
    pub(super) boosts: Vec<Row<BoostRecord>>,
    pub(super) packages: Vec<Row<PackageRecord>>,
}

/// Puts what scopes have, and where their months begin.
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
        state.assignments.load(assignment.id.to_string(), Some(row));
    }
    for row in found.boosts {
        let boost = &row.record.boost;
        let holdings = of_scopes.entry(boost.scope.clone()).or_default();
        holdings.anchor = Some(row.record.anchor_at);
        holdings.boosts.push(boost.id.to_string());
        state.boosts.load(boost.id.to_string(), Some(row));
    }
    for row in found.packages {
        let id = row.record.package.id.to_string();
        state.package_grants.insert(id, row.record.grants);
    }
    put_earlier_anchors(db, &mut of_scopes)?;
    state.holdings.extend(of_scopes);
    Ok(())
}

/// Where the months begin of scopes that have nothing now: all that a scope ever had has one anchor.
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
