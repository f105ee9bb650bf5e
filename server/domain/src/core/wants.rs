//! Collects what commands must load: a pure function of the command and the loaded state.

use super::{
    need::Need,
    precondition::{DeleteObject, UpdateObject},
    state::State,
};
use foldhash::HashSet;
use ifmatch_types::{Kind, Timestamp, Version};
use serde_json::{Map, Value};

/// Maximum number of versions to look back when a refused write is repeated.
const REFUSAL_REACH: Version = 50;

/// A need of the core or of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<N> {
    /// A need of the core.
    Core(Need),
    /// A need of the system.
    Own(N),
}

impl<N> From<Need> for Wanted<N> {
    fn from(need: Need) -> Self {
        Self::Core(need)
    }
}

/// The features, by scope, that were already requested in this round. Many commands of a busy batch
/// name the same feature.
pub type Asked<'c> = HashSet<(Kind, &'c str, &'c str)>;

/// Collects the needs of one system's commands that `state` does not have yet.
///
/// The lane collects needs and loads them, and repeats this until no need is left. Several rounds
/// are necessary because some needs depend on loaded rows: the plan terms that a bill needs are
/// known only from the subscription.
pub struct Wants<'w, 'c, N> {
    /// The loaded state.
    pub state: &'w State,
    sink: &'w mut dyn FnMut(Wanted<N>),
    asked: &'w mut Asked<'c>,
}

impl<'w, 'c, N> Wants<'w, 'c, N> {
    /// Sends needs to `sink`. `asked` lasts for one round.
    pub fn new(
        state: &'w State,
        asked: &'w mut Asked<'c>,
        sink: &'w mut dyn FnMut(Wanted<N>),
    ) -> Self {
        Self { state, sink, asked }
    }

    /// Requests a need of the system.
    pub fn push(&mut self, need: N) {
        (self.sink)(Wanted::Own(need));
    }

    /// Requests needs of another system, as needs of this one.
    pub(crate) fn through<M>(&mut self, wrap: fn(M) -> N, ask: impl FnOnce(&mut Wants<'_, 'c, M>)) {
        let sink = &mut *self.sink;
        let mut inner = |wanted: Wanted<M>| match wanted {
            Wanted::Core(need) => sink(Wanted::Core(need)),
            Wanted::Own(need) => sink(Wanted::Own(wrap(need))),
        };
        ask(&mut Wants::new(self.state, self.asked, &mut inner));
    }

    fn push_core(&mut self, need: Need) {
        (self.sink)(Wanted::Core(need));
    }

    /// Marks this feature as requested; returns whether it was the first time in this round.
    pub(crate) fn is_first(&mut self, about: (Kind, &'c str, &'c str)) -> bool {
        self.asked.insert(about)
    }

    /// Requests an object that may be changed.
    pub fn object(&mut self, kind: Kind, id: &str) {
        if !self.state.is_locked(kind, id) {
            self.push_core(Need::Object(kind, id.to_owned()));
        }
    }

    /// Requests an object that is only referred to.
    pub fn reference(&mut self, kind: Kind, id: &str) {
        if !self.state.is_object_loaded(kind, id) {
            self.push_core(Need::Reference(kind, id.to_owned()));
        }
    }

    /// Requests the objects that these fields of a body refer to.
    pub(crate) fn references(&mut self, fields: &[(&str, Kind)], body: &Map<String, Value>) {
        for (field, kind) in fields {
            if let Some(id) = body.get(*field).and_then(Value::as_str) {
                self.reference(*kind, id);
            }
        }
    }

    /// Requests the kept answer for an API key and its Idempotency-Key.
    pub fn answer(&mut self, owner: &str, key: &str) {
        let both = (owner.to_owned(), key.to_owned());
        if !self.state.answers.is_loaded(&both) {
            self.push_core(Need::Answer(both.0, both.1));
        }
    }

    /// Requests the time that deadlines are compared with; returns it once it is known.
    pub fn clock(&mut self) -> Option<Timestamp> {
        if self.state.clock.is_none() {
            self.push_core(Need::Clock);
        }
        self.state.clock
    }

    /// Requests the object that another one belongs to; returns it once it is known.
    ///
    /// `Some(None)` means that the object does not exist.
    pub fn owner(&mut self, kind: Kind, id: &str) -> Option<Option<String>> {
        let known = self.state.owners.get(&(kind, id.to_owned())).cloned();
        if known.is_none() {
            self.push_core(Need::Owner(kind, id.to_owned()));
        }
        known
    }

    /// Requests the objects that refer to an object that may be deleted.
    pub(crate) fn users(&mut self, kind: Kind, id: &str) {
        // An id of another kind names no object of this kind, so there are no users to load.
        if Kind::of_id(id) == Some(kind) && !self.state.in_use.is_loaded(id) {
            self.push_core(Need::InUse(kind, id.to_owned()));
        }
    }

    /// Requests the history that explains a write naming an older version than the loaded one.
    pub(crate) fn history(&mut self, kind: Kind, id: &str, named: Version) {
        let Some(loaded) = self.state.loaded_version(kind, id) else { return };
        let asked = self.state.histories.get(id).is_some_and(|h| h.asked.contains(&named));
        if (1..loaded).contains(&named) && !asked {
            self.push_core(Need::History(id.to_owned(), named));
        }
    }

    /// Requests the history that explains an update that is stale or repeats a refused one.
    pub(crate) fn history_of_update(&mut self, update: &UpdateObject) {
        if let Some(named) = update.precondition.latest() {
            self.history(update.kind, &update.id, named);
        }
        // Reporting what a repeated write replaces is optional. It is not worth reading a long
        // history for.
        let loaded = self.state.loaded_version(update.kind, &update.id);
        if let (Some(loaded), Some(refused_at)) = (loaded, update.refused_at)
            && loaded.saturating_sub(refused_at) <= REFUSAL_REACH
        {
            self.history(update.kind, &update.id, refused_at);
        }
    }

    /// Requests the history that explains a stale deletion.
    pub(crate) fn history_of_delete(&mut self, delete: &DeleteObject) {
        if let Some(named) = delete.precondition.latest() {
            self.history(delete.kind, &delete.id, named);
        }
    }
}
