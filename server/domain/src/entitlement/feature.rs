//! Features: what packages and boosts grant and usage counts.
//!
//! A feature's type, reset and pool are frozen once something grants it or draws from its pool.
//! From then on they can be read without locking the feature.

use super::{Need, Rejection};
use crate::core::{
    self, CodeHolder, Context, Errors, Resource, Row, State, UpdateObject, Wants, keep_internally,
    redactable, usual_parts,
};
use ifmatch_types::{CatalogStatus, Feature, FeatureFields, FeatureId, FeatureType, Kind, Reset};
use serde_json::{Map, Value};

/// A feature as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRecord {
    /// The feature as the API shows it.
    pub feature: Feature,
    /// The pool of units that it draws from: its parent's or its own.
    pub pool: PoolTerms,
    /// Whether it was ever granted by a package or boost, or is the parent of another feature.
    pub granted: bool,
}

/// A pool of units, and how its counter resets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTerms {
    /// The code of the feature that owns the pool.
    pub code: String,
    /// How its counter resets.
    pub reset: Reset,
    /// The length of the window in days; only for `rolling`.
    pub rolling_days: Option<i64>,
}

/// The terms of a feature that are read without a lock.
///
/// Once the feature is granted, only `releasable` and `status` may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureTerms {
    /// The feature's id.
    pub id: FeatureId,
    /// The feature's code.
    pub code: String,
    /// The feature's type.
    pub feature_type: FeatureType,
    /// Whether it draws from another feature's pool.
    pub has_parent: bool,
    /// The pool of units that it draws from.
    pub pool: PoolTerms,
    /// Whether recorded usage of it can be given back. It may change.
    pub releasable: bool,
    /// Its status. An archived feature cannot be newly granted.
    pub status: CatalogStatus,
    /// Whether its terms are frozen.
    pub granted: bool,
}

impl From<&FeatureRecord> for FeatureTerms {
    fn from(record: &FeatureRecord) -> Self {
        Self {
            id: record.feature.id.clone(),
            code: record.feature.code.clone(),
            feature_type: record.feature.feature_type,
            has_parent: record.feature.parent_code.is_some(),
            pool: record.pool.clone(),
            releasable: record.feature.releasable,
            status: record.feature.status,
            granted: record.granted,
        }
    }
}

/// The terms of the living feature with this code.
pub(crate) fn terms(code: &str, state: &State) -> Option<FeatureTerms> {
    let holder = state.entitlement().feature_codes.get(code)?;
    match state.entitlement().features.find(&holder.id) {
        Some(row) => row.deleted.is_none().then(|| FeatureTerms::from(&row.record)),
        None => state.entitlement().feature_terms.get(&holder.id).cloned(),
    }
}

/// The terms of the feature that a field names.
pub(crate) fn named(
    path: &str,
    code: &str,
    state: &State,
) -> Result<FeatureTerms, core::Rejection> {
    terms(code, state)
        .ok_or_else(|| core::Rejection::invalid(path, format!("no such feature: {code}")))
}

/// Freezes the terms of a feature that is about to be granted.
pub(crate) fn freeze(terms: &FeatureTerms, ctx: &mut Context<'_>) {
    if terms.granted {
        return;
    }
    let row = ctx.state.entitlement().features.get(terms.id.as_str());
    let record = row.expect("a feature is locked before it is granted for the first time");
    keep_internally(FeatureRecord { granted: true, ..record.record.clone() }, ctx);
}

impl Resource for FeatureRecord {
    type Entity = Feature;
    type Fields = FeatureFields;

    const KIND: Kind = Kind::Feature;
    const FIELDS: &'static [&'static str] =
        &["code", "name", "type", "reset", "rolling_days", "parent_code", "releasable", "status"];
    const SET_ONCE: &'static [&'static str] = &["code"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    const IN_CATALOGUE: bool = true;

    usual_parts!(features, |record| record.feature);
    redactable!(|record| record.feature, { name: Text });

    fn check(fields: &mut FeatureFields, errors: &mut Errors) {
        errors.code("/code", &fields.code);
        errors.text("/name", &fields.name, 0, 200);
        match (fields.reset, fields.rolling_days) {
            (Reset::Rolling, Some(days)) => errors.range("/rolling_days", days, 1, 366),
            (Reset::Rolling, None) => errors.push("/rolling_days", "is required for reset rolling"),
            (_, Some(_)) => errors.push("/rolling_days", "is only allowed with reset rolling"),
            (_, None) => {}
        }
        if let Some(parent) = &fields.parent_code {
            if *parent == fields.code {
                errors.push("/parent_code", "must be another feature");
            }
            if fields.feature_type != FeatureType::Limit {
                errors.push("/parent_code", "is only allowed for a feature of type limit");
            }
        }
    }

    fn create(fields: FeatureFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let pool = pool_of(&fields, ctx)?;
        let id = FeatureId::from_unchecked(id);
        let holder = CodeHolder { id: id.to_string() };
        ctx.state.entitlement_mut().feature_codes.put(fields.code.clone(), holder);
        let feature = Feature {
            id,
            version: 1,
            code: fields.code,
            name: fields.name,
            feature_type: fields.feature_type,
            reset: fields.reset,
            rolling_days: fields.rolling_days,
            parent_code: fields.parent_code,
            releasable: fields.releasable,
            status: fields.status.unwrap_or(CatalogStatus::Active),
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        Ok(Self { feature, pool, granted: false })
    }

    fn change(&self, fields: FeatureFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let feature = &self.feature;
        let frozen = [
            ("type", feature.feature_type != fields.feature_type),
            ("reset", feature.reset != fields.reset),
            ("rolling_days", feature.rolling_days != fields.rolling_days),
            ("parent_code", feature.parent_code != fields.parent_code),
        ];
        let changed: Vec<_> =
            frozen.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        let pool = match (changed.is_empty(), self.granted) {
            (true, _) => self.pool.clone(),
            (false, true) => return Err(Rejection::FeatureInUse { fields: changed }),
            (false, false) => pool_of(&fields, ctx)?,
        };
        let feature = Feature {
            name: fields.name,
            feature_type: fields.feature_type,
            reset: fields.reset,
            rolling_days: fields.rolling_days,
            parent_code: fields.parent_code,
            releasable: fields.releasable,
            status: fields.status.unwrap_or(feature.status),
            ..feature.clone()
        };
        Ok(Self { feature, pool, granted: self.granted })
    }

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        if self.granted {
            return Err(Rejection::FeatureInUse { fields: Vec::new() });
        }
        Ok(())
    }

    fn existing(fields: &FeatureFields, state: &State) -> Option<Self> {
        let holder = state.entitlement().feature_codes.get(&fields.code)?;
        let row: &Row<Self> = state.entitlement().features.get(&holder.id)?;
        // The code of a deleted feature is free again.
        row.deleted.is_none().then(|| row.record.clone())
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        want_fields(body, wants);
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        want_fields(update.change.body(), wants);
        // A patch that does not name the parent still depends on it.
        let row = wants.state.entitlement().features.original(&update.id);
        if let Some(parent) = row.and_then(|row| row.record.feature.parent_code.as_deref()) {
            want_granted_feature(parent, wants);
        }
    }
}

/// Requests the feature with this code; returns its terms once it is loaded and exists.
pub(crate) fn want_feature_code(
    code: &str,
    wants: &mut Wants<'_, '_, Need>,
) -> Option<FeatureTerms> {
    want_feature(code, Need::FeatureCode, wants)
}

fn want_feature(
    code: &str,
    need: fn(String) -> Need,
    wants: &mut Wants<'_, '_, Need>,
) -> Option<FeatureTerms> {
    let entitlement = wants.state.entitlement();
    if !entitlement.feature_codes.is_loaded(code) {
        wants.push(need(code.to_owned()));
        return None;
    }
    let holder = entitlement.feature_codes.original(code)?;
    entitlement.feature_terms.get(&holder.id).cloned()
}

/// Requests a feature to be granted. The first grant also locks it, to freeze its terms.
pub(crate) fn want_granted_feature(code: &str, wants: &mut Wants<'_, '_, Need>) {
    if let Some(terms) = want_feature(code, Need::FeatureToGrant, wants)
        && !terms.granted
    {
        wants.object(Kind::Feature, terms.id.as_str());
    }
}

fn want_fields(body: &Map<String, Value>, wants: &mut Wants<'_, '_, Need>) {
    if let Some(code) = body.get("code").and_then(Value::as_str)
        && let Some(terms) = want_feature(code, Need::FeatureToGrant, wants)
    {
        wants.object(Kind::Feature, terms.id.as_str());
    }
    if let Some(parent) = body.get("parent_code").and_then(Value::as_str) {
        want_granted_feature(parent, wants);
    }
}

/// The pool that a feature with these fields draws from. Freezes the parent, if it has one.
fn pool_of(fields: &FeatureFields, ctx: &mut Context<'_>) -> Result<PoolTerms, Rejection> {
    let Some(parent) = &fields.parent_code else {
        return Ok(PoolTerms {
            code: fields.code.clone(),
            reset: fields.reset,
            rolling_days: fields.rolling_days,
        });
    };
    let parent = named("/parent_code", parent, ctx.state)?;
    if parent.feature_type != FeatureType::Limit || parent.has_parent {
        let message = "must be a feature of type limit that has no parent";
        return Err(core::Rejection::invalid("/parent_code", message).into());
    }
    freeze(&parent, ctx);
    Ok(parent.pool)
}
