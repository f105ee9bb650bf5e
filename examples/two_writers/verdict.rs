//! The proof: the acknowledged edits compared with the server's history.

use crate::{
    ledger::{Edit, Fate, Ledger, Mark},
    support::Result,
    writer::Job,
};
use futures::TryStreamExt;
use ifmatch::{Client, Difference, HistoryEntry, Parked, SubscriptionId, Version};
use std::{collections::BTreeMap, fmt};

/// Every mark that was found, with its places.
type Found<P> = BTreeMap<(SubscriptionId, Mark), Vec<P>>;

pub struct Verdict {
    subscriptions: usize,
    versions: usize,
    committed: BTreeMap<&'static str, usize>,
    unresolved: usize,
    /// The errors; empty if no edit was lost.
    faults: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Compares the ledger with the histories and the open conflicts.
pub async fn of(
    admin: &Client,
    subscriptions: &[SubscriptionId],
    ledger: &Ledger,
    open: &[Parked],
) -> Result<Verdict> {
    let edits = ledger.edits().clone();
    let mut faults = Vec::new();
    let mut versions = 0;
    let mut in_history: Found<HistoryEntry> = BTreeMap::new();
    for id in subscriptions {
        let now = admin.subscriptions().get(id).await?;
        let history = admin.subscriptions().history(id).limit(200).stream();
        let mut history: Vec<HistoryEntry> = history.try_collect().await?;
        history.sort_by_key(|entry| entry.version);
        versions += history.len();
        let numbers: Vec<Version> = history.iter().map(|entry| entry.version).collect();
        if numbers != (1..=now.version()).collect::<Vec<_>>() {
            faults.push(format!("{id}: the history has gaps up to version {}", now.version()));
        }
        // The first version is the creation; each other version is one edit.
        for entry in history.into_iter().skip(1) {
            match marks(&entry.changes).as_slice() {
                [mark] => in_history.entry((id.clone(), mark.clone())).or_default().push(entry),
                marks => faults.push(format!("{id}: version {} has {marks:?}", entry.version)),
            }
        }
    }
    let mut in_conflicts: Found<&Parked> = BTreeMap::new();
    for parked in open {
        let id = SubscriptionId::from_unchecked(&parked.conflict.resource_id);
        for mark in marks(&parked.conflict.attempted) {
            in_conflicts.entry((id.clone(), mark)).or_default().push(parked);
        }
    }

    // Each edit is in exactly one place, the one that its writer was told.
    for edit in &edits {
        let key = (edit.subscription.clone(), edit.mark.clone());
        let applied = in_history.remove(&key).unwrap_or_default();
        let parked = in_conflicts.remove(&key).unwrap_or_default();
        let kept = match (&edit.fate, applied.as_slice(), parked.as_slice()) {
            (Fate::Committed(version), [entry], []) => is_of(entry, edit, *version),
            (Fate::Unresolved(conflict), [], [parked]) => parked.id == *conflict,
            _ => false,
        };
        if !kept {
            let (times, waits) = (applied.len(), parked.len());
            faults.push(format!("{edit:?}: in the history {times} times, in conflicts {waits}"));
        }
    }
    // No edit exists that no writer knows of.
    faults.extend(in_history.keys().map(|key| format!("{key:?} was applied, and no writer knows")));
    faults.extend(in_conflicts.keys().map(|key| format!("{key:?} waits, and no writer knows")));

    let committed = |job| {
        let committed = |edit: &&Edit| edit.job == job && matches!(edit.fate, Fate::Committed(_));
        edits.iter().filter(committed).count()
    };
    Ok(Verdict {
        subscriptions: subscriptions.len(),
        versions,
        committed: Job::ALL.map(|job| (job.key_name(), committed(job))).into(),
        unresolved: open.len(),
        faults,
    })
}

/// The marks in some changes. The metadata keys are the writers' names.
fn marks(changes: &[Difference]) -> Vec<Mark> {
    let mark = |change: &Difference| {
        let writer = change.path.strip_prefix("/metadata/")?.to_owned();
        Some(Mark { writer, number: change.to.as_str()?.to_owned() })
    };
    changes.iter().filter_map(mark).collect()
}

/// Whether the entry is this edit: its writer, its version and its path.
fn is_of(entry: &HistoryEntry, edit: &Edit, version: Version) -> bool {
    entry.version == version
        && entry.by.actor == edit.job.key_name()
        && entry.changes.iter().any(|change| change.path.starts_with(edit.path))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscriptions, versions, committed, unresolved, faults } = self;
        if !faults.is_empty() {
            for fault in faults {
                writeln!(f, "FAULT  {fault}")?;
            }
            return write!(f, "\nVERDICT: NOT EVERY EDIT IS WHERE IT SHOULD BE");
        }
        writeln!(f, "checked against the server's history:")?;
        writeln!(f, "  {versions} versions of {subscriptions} subscriptions, without a gap")?;
        for (key, count) in committed {
            writeln!(f, "  {count} edits acknowledged to {key}, each in the history exactly once")?;
        }
        writeln!(f, "  {unresolved} edits unresolved, each as exactly one open conflict")?;
        write!(f, "\nVERDICT: no edit was lost")
    }
}
