//! Boosts: what scopes are given on top of their packages.

use super::{ScopeRef, assignment::anchor, chain, feature, log, package::UNITS_MAX, pool};
use crate::{
    CodeHolder, Outcome, Rejection, Resource, Scope,
    calendar::Step,
    edit::{self, json},
    fields::Errors,
    resource::usual_parts,
    versioned::create_internally,
};
use ifmatch_types::{
    Boost, BoostAnswer, BoostDuration as Duration, BoostId, BoostKind, CatalogStatus, FeatureType,
    Interval, Kind, NewBoost, Timestamp, merge,
};
use serde_json::{Map, Value, json as value};

/// Give a boost to a scope.
#[derive(Clone, Debug)]
pub struct GrantBoost {
    /// Who gets it.
    pub scope: ScopeRef,
    /// The request's body: a [`NewBoost`].
    pub body: Map<String, Value>,
}

/// A boost with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostRecord {
    /// The boost as the API shows it.
    pub boost: Boost,
    /// The pool it adds to.
    pub pool: String,
    /// Where the months of its scope begin.
    pub anchor_at: Timestamp,
    /// Whether it will never count again, so that nobody needs to look at it.
    pub is_over: bool,
}

/// What makes an add-on the same add-on: its source and its id there.
pub fn addon_key(source: Option<&str>, external_addon_id: Option<&str>) -> Option<String> {
    external_addon_id.map(|id| value!([source, id]).to_string())
}

impl GrantBoost {
    /// A text of the body.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    /// The key of its add-on, if it names one.
    pub(crate) fn addon_key(&self) -> Option<String> {
        addon_key(self.text("source"), self.text("external_addon_id"))
    }

    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, scope)?;
        let new: NewBoost = edit::read(&self.body)?;
        check(&new)?;
        let terms = feature::named("/feature", &new.feature, scope.state)?;
        if let Some(first) = self.known(scope) {
            return self.repeat_of(first, &new, scope);
        }
        if new.expires_at.is_some_and(|expires_at| expires_at <= scope.now) {
            return Err(Rejection::invalid("/expires_at", "must be in the future"));
        }
        if terms.status == CatalogStatus::Archived {
            let message = "is archived and cannot be newly granted";
            return Err(Rejection::invalid("/feature", message));
        }
        if terms.feature_type == FeatureType::Boolean && new.kind != BoostKind::Enable {
            return Err(Rejection::invalid("/kind", "a boolean feature is enabled or not"));
        }
        feature::freeze(&terms, scope);
        let of = self.scope.to_string();
        let anchor_at = anchor(&of, scope);
        let expires_at = match new.duration {
            Duration::CycleBound => {
                let month = Step { interval: Interval::Month, count: 1 };
                month.next_boundary(anchor_at, scope.now)
            }
            _ => new.expires_at,
        };
        let boost = Boost {
            id: BoostId::from_unchecked(scope.ids.fresh(BoostId::PREFIX)),
            version: 1,
            scope: of.clone(),
            feature: new.feature,
            kind: new.kind,
            duration: new.duration,
            amount: new.amount,
            consumed: 0,
            priority: new.priority,
            expires_at,
            source: new.source,
            external_addon_id: new.external_addon_id,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        if let Some(key) = self.addon_key() {
            scope.state.addons.put(key, CodeHolder { id: boost.id.to_string() });
        }
        log(&of, "boost.granted", value!({ "boost_id": boost.id, "boost": boost }), scope);
        let holdings = scope.state.holdings.entry(of).or_default();
        holdings.boosts.push(boost.id.to_string());
        let record =
            BoostRecord { boost: boost.clone(), pool: terms.pool.code, anchor_at, is_over: false };
        let effective = is_effective(&record, scope);
        let _ = create_internally(record, scope);
        Ok(Outcome::Boost(BoostAnswer { boost, effective, duplicate: false }))
    }

    /// The boost that already has this add-on's key.
    fn known(&self, scope: &Scope<'_>) -> Option<BoostRecord> {
        let holder = scope.state.addons.get(&self.addon_key()?)?;
        scope.state.boosts.get(&holder.id).map(|row| row.record.clone())
    }

    /// A repeat: the first result if it asks for the same, else a rejection.
    fn repeat_of(
        &self,
        first: BoostRecord,
        new: &NewBoost,
        scope: &Scope<'_>,
    ) -> Result<Outcome, Rejection> {
        let there = &first.boost;
        // The end of a cycle is the server's to know.
        let expires_at =
            if there.duration == Duration::CycleBound { None } else { there.expires_at };
        let asked_then = NewBoost {
            feature: there.feature.clone(),
            kind: there.kind,
            amount: there.amount,
            duration: there.duration,
            expires_at,
            priority: there.priority,
            source: there.source.clone(),
            external_addon_id: there.external_addon_id.clone(),
        };
        let differences = merge::diff(&json(&asked_then), &json(new)).into_iter();
        let mut differing: Vec<String> = differences.map(|difference| difference.path).collect();
        if there.scope != self.scope.to_string() {
            differing.push("/scope".to_owned());
        }
        if !differing.is_empty() {
            return Err(Rejection::DuplicateAddon {
                existing_id: there.id.to_string(),
                differing_fields: differing,
            });
        }
        let effective = is_effective(&first, scope);
        Ok(Outcome::Boost(BoostAnswer { boost: first.boost, effective, duplicate: true }))
    }
}

/// Checks each field by itself and with the others.
fn check(new: &NewBoost) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    match (new.kind, new.amount) {
        (BoostKind::AddLimit, Some(amount)) => errors.range("/amount", amount, 1, UNITS_MAX),
        (BoostKind::AddLimit, None) => errors.push("/amount", "is required with add_limit"),
        (_, Some(_)) => errors.push("/amount", "goes with add_limit only"),
        (_, None) => {}
    }
    match (new.duration, new.expires_at) {
        (Duration::Fixed, None) => errors.push("/expires_at", "is required with fixed"),
        (Duration::CycleBound | Duration::Permanent, Some(_)) => {
            errors.push("/expires_at", "goes with fixed and consumable only");
        }
        _ => {}
    }
    if new.duration == Duration::Consumable && new.kind != BoostKind::AddLimit {
        errors.push("/duration", "only the units of add_limit can be consumed");
    }
    errors.range("/priority", new.priority, 0, 1_000);
    if let Some(source) = &new.source {
        errors.text("/source", source, 1, 100);
    }
    if let Some(id) = &new.external_addon_id {
        errors.text("/external_addon_id", id, 1, 200);
    }
    errors.into_result()
}

/// Whether it gives something now.
fn is_effective(record: &BoostRecord, scope: &Scope<'_>) -> bool {
    let of = &record.boost.scope;
    let waits = record.boost.kind == BoostKind::AddLimit;
    record.counts(scope.now)
        && (!waits || pool::limit_of(of, &record.pool, scope.now, scope.state).is_granted())
}

impl BoostRecord {
    /// Whether it gives something at an instant, if there is anything it could add to.
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        !self.is_over && self.boost.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether its units are burnt one by one.
    pub(crate) fn is_consumable(&self) -> bool {
        self.boost.duration == Duration::Consumable
    }

    /// The units that are not burnt.
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

    fn check(_fields: &mut NewBoost, _errors: &mut Errors) {}

    fn create(_: NewBoost, _: String, _: &mut Scope<'_>) -> Result<Self, Rejection> {
        Err(Rejection::invalid("/type", "boosts are given under their scope"))
    }

    fn change(&self, _: NewBoost, _: &mut Scope<'_>) -> Result<Self, Rejection> {
        Err(Rejection::invalid("/type", "a boost does not change"))
    }

    fn delete(&self, _: &mut Scope<'_>) -> Result<(), Rejection> {
        Err(Rejection::invalid("/type", "a boost is not deleted"))
    }
}
