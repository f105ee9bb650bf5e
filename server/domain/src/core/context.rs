//! The context of a rule: what it may read and change.

use super::{
    command::{Actor, Meta},
    id::Ids,
    precondition::Force,
    state::State,
};
use ifmatch_types::{Source, Timestamp};

/// The author name recorded for changes made by an expiry.
const EXPIRY: &str = "expiry";

/// Everything that a rule may read and change while it decides.
#[derive(Debug)]
pub struct Context<'a> {
    /// The rows of this batch.
    pub state: &'a mut State,
    /// The instant of the decision.
    pub now: Timestamp,
    /// The source of new ids.
    pub(crate) ids: Ids,
    /// The caller.
    pub meta: &'a Meta,
    /// The admin's force request, if this is a forced write. Only the rule that refuses to lower a
    /// bookable's capacity reads it.
    pub(crate) force: Option<Force>,
}

impl Context<'_> {
    /// Runs `work` for something that expired, and records `expiry` as the author of its changes.
    pub(crate) fn as_expiry(&mut self, work: impl FnOnce(&mut Context<'_>)) {
        let meta = Meta {
            actor: Actor::without_key(EXPIRY),
            on_behalf_of: None,
            source: Source::Worker,
            request_id: self.meta.request_id.clone(),
            // The sender of the request did not ask for this change.
            key_digest: None,
        };
        let (now, ids) = (self.now, self.ids.clone());
        let mut inner = Context { state: self.state, now, ids, meta: &meta, force: None };
        work(&mut inner);
        self.ids = inner.ids;
    }
}
