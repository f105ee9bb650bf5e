//! The latest versions of contended objects, kept in memory between batches.
//!
//! Each stale write needs the version that it names and all changes since. With many writers of one
//! object, a batch would read and parse as many versions as there are writers, again and again. What
//! is kept here only spares that. It is used for a batch only if its latest version is the one that
//! the batch has loaded and locked, so that no other process has written in between.

use super::{
    journal::{History, NewEvent},
    mutant::Mutant,
    outcome::Document,
    state::State,
};
use ifmatch_types::{HistoryEntry, Kind, Version};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// Maximum objects, but for those of one batch. The one asked for least recently is forgotten.
const OBJECTS_MAX: usize = 32;
/// Maximum versions of an object.
const VERSIONS_MAX: usize = 1_000;
/// Maximum bytes of the states of an object, as text.
const BYTES_MAX: usize = 1024 * 1024;

/// The latest versions of the objects that stale writes have asked for.
#[derive(Debug, Default)]
pub struct Recent {
    objects: HashMap<String, Tail>,
    asked: u64,
}

/// The latest versions of an object, without a gap, oldest first.
#[derive(Debug, Default)]
struct Tail {
    versions: VecDeque<Made>,
    bytes: usize,
    asked: u64,
}

/// A version: the change that made it, and the object after it.
#[derive(Debug)]
struct Made {
    entry: Arc<HistoryEntry>,
    state: Arc<Document>,
}

impl Recent {
    /// Puts the known ones of these versions into a batch's state, with all changes since.
    ///
    /// Returns those that are not known. The objects must be loaded.
    pub fn recall(
        &mut self,
        wanted: BTreeSet<(String, Version)>,
        state: &mut State,
    ) -> BTreeSet<(String, Version)> {
        let mut unknown = BTreeSet::new();
        let began = self.asked;
        let mut known: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
        for (id, version) in wanted {
            let tail = self.tail_of(&id, began);
            let loaded = Kind::of_id(&id).and_then(|kind| state.loaded_version(kind, &id));
            if tail.reaches(version, loaded) {
                known.entry(id).or_default().insert(version);
            } else {
                unknown.insert((id, version));
            }
        }
        for (id, versions) in known {
            let Some(tail) = self.objects.get(&id) else { continue };
            let mut history = tail.history_of(versions);
            if let Some(before) = state.histories.remove(&id) {
                history.merge(before);
            }
            state.histories.insert(id, history);
        }
        unknown
    }

    /// Keeps the versions that a committed batch made of these objects.
    pub fn keep(&mut self, state: &State) {
        if self.objects.is_empty() {
            return;
        }
        for event in &state.events {
            if let Some(tail) = self.objects.get_mut(&event.id) {
                tail.push(event);
            }
        }
        // Their past is rewritten.
        for redaction in &state.redactions {
            self.objects.remove(&redaction.object_id);
        }
    }

    /// Forgets everything, because the database may be another one.
    pub fn clear(&mut self) {
        self.objects.clear();
    }

    /// The tail of an object; a new one takes the place of one that was asked for before `began`.
    fn tail_of(&mut self, id: &str, began: u64) -> &Tail {
        self.asked = self.asked.saturating_add(1);
        if !self.objects.contains_key(id) && self.objects.len() >= OBJECTS_MAX {
            let before = self.objects.iter().filter(|(_, tail)| tail.asked <= began);
            let oldest = before.min_by_key(|(_, tail)| tail.asked);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.objects.remove(&oldest);
            }
        }
        let tail = self.objects.entry(id.to_owned()).or_default();
        tail.asked = self.asked;
        tail
    }
}

impl Tail {
    /// Whether it has everything from a version up to the loaded one.
    fn reaches(&self, version: Version, loaded: Option<Version>) -> bool {
        let (Some(first), Some(last)) = (self.versions.front(), self.versions.back()) else {
            return false;
        };
        let is_current = Some(last.entry.version) == loaded || Mutant::TrustRecent.is_planted();
        is_current && first.entry.version <= version
    }

    fn history_of(&self, asked: BTreeSet<Version>) -> History {
        let since = asked.first().copied().unwrap_or(Version::MAX);
        let wanted = self.versions.iter().filter(|made| made.entry.version >= since);
        let mut history = History { since, asked, ..History::default() };
        for made in wanted {
            history.entries.push(Arc::clone(&made.entry));
            if history.asked.contains(&made.entry.version) {
                history.bases.insert(made.entry.version, Arc::clone(&made.state));
            }
        }
        history
    }

    fn push(&mut self, event: &NewEvent) {
        let next = self.versions.back().map(|made| made.entry.version.saturating_add(1));
        if next.is_some_and(|next| next != event.entry.version) {
            self.versions.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(event.state.text().len());
        let (entry, state) = (Arc::new(event.entry.clone()), Arc::clone(&event.state));
        self.versions.push_back(Made { entry, state });
        while self.bytes > BYTES_MAX || self.versions.len() > VERSIONS_MAX {
            let Some(oldest) = self.versions.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.state.text().len());
        }
    }
}
