//! Earlier states of an object: the loaded history, followed by the changes of this batch.

use super::{edit::json, resource::Resource, state::State};
use ifmatch_types::{HistoryEntry, Version};
use serde_json::Value;

impl State {
    /// All changes of an object after a version, oldest first; `None` if some are not known.
    pub(crate) fn changes_since(&self, id: &str, base: Version) -> Option<Vec<&HistoryEntry>> {
        let loaded = self.histories.get(id);
        let batch: Vec<&HistoryEntry> =
            self.events.iter().filter(|event| event.id == id).map(|event| &event.entry).collect();
        let first_in_batch = batch.first().map(|entry| entry.version);
        let known = loaded.is_some_and(|history| history.since <= base)
            || first_in_batch.is_some_and(|first| first <= base.saturating_add(1));
        // The entries of this batch directly follow the loaded ones.
        known.then(|| {
            loaded
                .into_iter()
                .flat_map(|history| history.entries.iter().map(|entry| &**entry))
                .chain(batch)
                .filter(|entry| entry.version > base)
                .collect()
        })
    }

    /// The state of an object at an old version, if this batch knows it.
    ///
    /// The batch knows a version that it made, the version that it loaded the object at, and the
    /// snapshots that were loaded.
    pub(crate) fn snapshot<R: Resource>(&self, id: &str, version: Version) -> Option<Value> {
        let mut snapshot = self.loaded_snapshot::<R>(id, version)?;
        // Their past is rewritten after the commit, and must be over for the rest of the batch, too.
        let of_object = self.redactions.iter().filter(|redaction| redaction.object_id == id);
        for redaction in of_object.filter(|redaction| version <= redaction.version) {
            redaction.redact(&mut snapshot);
        }
        Some(snapshot)
    }

    fn loaded_snapshot<R: Resource>(&self, id: &str, version: Version) -> Option<Value> {
        let made_here =
            self.events.iter().find(|event| event.id == id && event.entry.version == version);
        if let Some(event) = made_here {
            return Some(Value::clone(&event.state));
        }
        let loaded = R::rows(self).original(id);
        if let Some(row) = loaded.filter(|row| row.record.version() == version) {
            return Some(json(row.record.entity()));
        }
        self.histories.get(id)?.bases.get(&version).map(|state| Value::clone(state))
    }
}
