//! The explanation of a stale write: what changed since, by whom, and whether it can be merged.

use crate::{id::Ids, resource::Scope};
use ifmatch_types::{
    Conflict, ConflictChange, Difference, HistoryEntry, Kind, MergeReport, ResourceRef, Version,
    merge::{self, touches},
};
use serde_json::Value;

/// Explains why a write that names `named` cannot be applied to the object at `current_version`.
#[expect(clippy::too_many_arguments, reason = "a conflict is about so many things")]
pub(crate) fn explain(
    kind: Kind,
    id: &str,
    named: Option<Version>,
    current_version: Version,
    current: &Value,
    base: Option<&Value>,
    attempted: &[Difference],
    scope: &mut Scope<'_>,
) -> Conflict {
    let since = named.and_then(|named| scope.state.changes_since(id, named));
    // A weak tag may name the current version: it does not match, but nothing changed since.
    let since = since.or_else(|| (named == Some(current_version)).then(Vec::new));
    let (changes, merge) = match (base, since) {
        (Some(base), Some(since)) => {
            let net = merge::diff(base, current);
            let report = merge::judge(kind, attempted, &net);
            (net.into_iter().filter_map(|change| authored(change, &since)).collect(), report)
        }
        _ => (Vec::new(), MergeReport::unknown_base()),
    };
    Conflict {
        conflict_id: conflict_id(&mut scope.ids),
        resource: ResourceRef { kind, id: id.to_owned() },
        expected_version: named,
        current_version,
        current: current.clone(),
        changes,
        attempted: attempted.iter().map(|difference| difference.path.clone()).collect(),
        merge,
    }
}

fn conflict_id(ids: &mut Ids) -> String {
    ids.fresh("cfl_")
}

/// The net change with the author of the latest change of its path.
fn authored(change: Difference, since: &[&HistoryEntry]) -> Option<ConflictChange> {
    let latest = since
        .iter()
        .rev()
        .find(|entry| entry.changes.iter().any(|made| touches(&made.path, &change.path)))?;
    Some(ConflictChange {
        path: change.path,
        base: change.from,
        current: change.to,
        version: latest.version,
        at: latest.at,
        by: latest.by.clone(),
    })
}
