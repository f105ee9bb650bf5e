//! Boosts: grants to a scope on top of its packages.

use super::{
    Need, Rejection,
    log::log,
    scope::{want_scope_of, workspace_of},
};
use crate::core::{self, Context, Errors, Resource, State, Wants, keep_internally, usual_parts};
use ifmatch_types::{Boost, BoostDuration as Duration, Kind, NewBoost, Timestamp};
use serde_json::json as value;

/// A boost as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostRecord {
    /// The boost as the API shows it.
    pub boost: Boost,
    /// The code of the pool that it adds to.
    pub pool: String,
    /// The anchor of its scope's months.
    pub anchor_at: Timestamp,
    /// Whether it never counts again, so that it need not be loaded.
    pub is_over: bool,
}

/// The unique key of an add-on: its source and its id in that source.
pub fn addon_key(source: Option<&str>, external_addon_id: Option<&str>) -> Option<String> {
    external_addon_id.map(|id| value!([source, id]).to_string())
}

impl BoostRecord {
    /// Whether it counts at `now`, provided that there is a limit that it can add to.
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        !self.is_over && !self.is_expired(now)
    }

    /// Whether its end has passed, stored or not.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.boost.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether its units are consumed one by one.
    pub(crate) fn is_consumable(&self) -> bool {
        self.boost.duration == Duration::Consumable
    }

    /// The number of units that are not consumed.
    pub(crate) fn left(&self) -> i64 {
        self.boost.amount.unwrap_or_default().saturating_sub(self.boost.consumed)
    }
}

impl Resource for BoostRecord {
    type Entity = Boost;
    type Fields = NewBoost;

    const KIND: Kind = Kind::Boost;
    const FIELDS: &'static [&'static str] = &[];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &[];

    usual_parts!(boosts, |record| record.boost);

    fn workspace_id(&self, state: &State) -> Option<String> {
        workspace_of(&self.boost.scope, state)
    }

    fn check(_fields: &mut NewBoost, _errors: &mut Errors) {}

    fn create(_: NewBoost, _: String, _: &mut Context<'_>) -> Result<Self, Rejection> {
        Err(core::Rejection::invalid("/type", "boosts are created under their scope").into())
    }

    fn change(&self, _: NewBoost, _: &mut Context<'_>) -> Result<Self, Rejection> {
        Err(core::Rejection::invalid("/type", "a boost cannot be changed").into())
    }

    /// Revokes it: it counts no more. What it burnt stays burnt.
    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let details = value!({ "boost_id": self.boost.id, "boost": self.boost });
        log(&self.boost.scope, "boost.revoked", details, ctx);
        keep_internally(Self { is_over: true, ..self.clone() }, ctx);
        Ok(())
    }

    fn want<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        // Commands about its scope may burn its units in the same batch, under the scope's lock only.
        if want_scope_of(Kind::Boost, id, wants).is_some() {
            wants.object(Kind::Boost, id);
        }
    }

    fn want_to_see<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        Self::want(id, wants);
    }
}
