//! Explains a stale write: what changed since, who changed it, and whether a merge is possible.

use super::{commit::Found, context::Context, resource::Resource, state::State};
use foldhash::HashMap;
use ifmatch_types::{
    Conflict, ConflictChange, Difference, HistoryEntry, MergeReport, ResourceRef, Version,
    merge::{self, touches},
};
use serde_json::Value;

/// What changed between an old state and the current one, and how a write compares with it.
struct Comparison<'a> {
    net: Vec<Difference>,
    since: Vec<&'a HistoryEntry>,
    report: MergeReport,
}

/// Compares a stale write with what changed since its base; `None` if that is not known.
fn compare<'a, R: Resource>(
    found: &Found<R>,
    named: Option<Version>,
    base: Option<&Value>,
    attempted: &[Difference],
    state: &'a State,
) -> Option<Comparison<'a>> {
    let since = state.changes_since(found.record.id(), named?)?;
    let net = net_changes(base?, &found.body, &since);
    let report = merge::judge(R::KIND, attempted, &net);
    Some(Comparison { net, since, report })
}

/// How a stale write compares with what changed since the version `named`.
pub(crate) fn judge<R: Resource>(
    found: &Found<R>,
    named: Version,
    base: Option<&Value>,
    attempted: &[Difference],
    state: &State,
) -> MergeReport {
    let compared = compare(found, Some(named), base, attempted, state);
    compared.map_or_else(MergeReport::unknown_base, |compared| compared.report)
}

/// Explains why a request that names the version `named` cannot be applied to the found object.
pub(crate) fn explain<R: Resource>(
    found: &Found<R>,
    named: Option<Version>,
    base: Option<&Value>,
    attempted: &[Difference],
    ctx: &mut Context<'_>,
) -> Conflict {
    let id = found.record.id();
    let (changes, merge) = match compare(found, named, base, attempted, ctx.state) {
        Some(Comparison { net, since, report }) => (authored(net, &since), report),
        None => (Vec::new(), MergeReport::unknown_base()),
    };
    Conflict {
        conflict_id: ctx.ids.fresh("cfl_"),
        resource: ResourceRef { resource_type: R::KIND.name().to_owned(), id: id.to_owned() },
        expected_version: named,
        current_version: found.version(),
        current: found.body.clone(),
        changes,
        attempted: attempted.iter().map(|difference| difference.path.clone()).collect(),
        merge,
    }
}

/// The difference between an old state and the current one, by the changes between them.
///
/// Both states look the same where a value was redacted since. Such a path is listed as well: the
/// caller may have seen the value, and a merge must not write it again.
pub(crate) fn net_changes(
    base: &Value,
    current: &Value,
    since: &[&HistoryEntry],
) -> Vec<Difference> {
    let mut net = merge::diff(base, current);
    let redactions = since.iter().filter(|entry| is_redaction(entry));
    let is_still_so = |change: &&Difference| current.pointer(&change.path) == Some(&change.to);
    for change in redactions.flat_map(|entry| &entry.changes).filter(is_still_so) {
        if !net.iter().any(|known| touches(&known.path, &change.path)) {
            net.push(change.clone());
        }
    }
    net
}

/// Whether a version was made by a redaction. Of the other changes, only forced ones have a reason.
fn is_redaction(entry: &HistoryEntry) -> bool {
    entry.reason.is_some() && !entry.by.forced
}

/// Net changes, each with the author of the latest change to its path.
///
/// One pass over the changes since, because there may be many of both.
fn authored(net: Vec<Difference>, since: &[&HistoryEntry]) -> Vec<ConflictChange> {
    let mut at: HashMap<&str, &HistoryEntry> = HashMap::default();
    let mut within: HashMap<&str, &HistoryEntry> = HashMap::default();
    for entry in since {
        for made in &entry.changes {
            at.insert(&made.path, entry);
            within.extend(outer(&made.path).map(|path| (path, *entry)));
        }
    }
    let latest = |path: &str| {
        let around = outer(path).filter_map(|outer| at.get(outer));
        let touching = at.get(path).into_iter().chain(within.get(path)).chain(around);
        touching.max_by_key(|entry| entry.version).copied()
    };
    let authored = net.into_iter().filter_map(|change| {
        let latest = latest(&change.path)?;
        Some(ConflictChange {
            path: change.path,
            base: change.from,
            current: change.to,
            version: latest.version,
            at: latest.at,
            by: latest.by.clone(),
        })
    });
    authored.collect()
}

/// The paths that a path lies within, the longest first. A path touches those and what lies in it.
fn outer(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0)).skip(1)
}
