//! Features: what can be granted and counted.
//!
//! What a feature is counted by is frozen once something grants it or draws from it. What was read
//! of it then stays true for ever, so that nobody has to lock it.

use crate::{
    Rejection, Resource, Row, Scope, State, fields::Errors, resource::usual_parts,
    versioned::keep_internally,
};
use ifmatch_types::{CatalogStatus, Feature, FeatureFields, FeatureId, FeatureType, Kind, Reset};

/// A feature with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRecord {
    /// The feature as the API shows it.
    pub feature: Feature,
    /// The pool of units it draws from: its parent's or its own.
    pub pool: PoolTerms,
    /// Whether a package or a boost ever granted it, or another feature draws from it.
    pub granted: bool,
}

/// A pool of units, and when it begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTerms {
    /// The code of the feature that it is the pool of.
    pub code: String,
    /// When its counter begins anew.
    pub reset: Reset,
    /// With `rolling`: the last so many days count.
    pub rolling_days: Option<i64>,
}

/// What is relied on of a feature without a lock; only `status` may change once it is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureTerms {
    /// The feature.
    pub id: FeatureId,
    /// Its code.
    pub code: String,
    /// What it is measured by.
    pub feature_type: FeatureType,
    /// Whether it draws from another feature's pool.
    pub has_parent: bool,
    /// The pool of units it draws from.
    pub pool: PoolTerms,
    /// Whether it can be newly granted.
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
            status: record.feature.status,
            granted: record.granted,
        }
    }
}

/// The terms of the living feature with this code.
pub(crate) fn terms(code: &str, state: &State) -> Option<FeatureTerms> {
    let holder = state.feature_codes.get(code)?;
    match state.features.find(&holder.id) {
        Some(row) => row.deleted.is_none().then(|| FeatureTerms::from(&row.record)),
        None => state.feature_terms.get(&holder.id).cloned(),
    }
}

/// The terms of the feature that a field names.
pub(crate) fn named(path: &str, code: &str, state: &State) -> Result<FeatureTerms, Rejection> {
    terms(code, state).ok_or_else(|| Rejection::invalid(path, format!("no such feature: {code}")))
}

/// The terms of a feature that is about to be granted: from now on they are frozen.
pub(crate) fn freeze(terms: &FeatureTerms, scope: &mut Scope<'_>) {
    if terms.granted {
        return;
    }
    let row = scope.state.features.get(terms.id.as_str());
    let record = row.expect("a feature is locked before it is granted for the first time");
    keep_internally(FeatureRecord { granted: true, ..record.record.clone() }, scope);
}

impl Resource for FeatureRecord {
    type Entity = Feature;
    type Fields = FeatureFields;

    const KIND: Kind = Kind::Feature;
    const FIELDS: &'static [&'static str] =
        &["code", "name", "type", "reset", "rolling_days", "parent_code", "releasable", "status"];
    const SET_ONCE: &'static [&'static str] = &["code"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    usual_parts!(features, |record| record.feature);

    fn check(fields: &mut FeatureFields, errors: &mut Errors) {
        errors.code("/code", &fields.code);
        errors.text("/name", &fields.name, 0, 200);
        match (fields.reset, fields.rolling_days) {
            (Reset::Rolling, Some(days)) => errors.range("/rolling_days", days, 1, 366),
            (Reset::Rolling, None) => errors.push("/rolling_days", "is required with rolling"),
            (_, Some(_)) => errors.push("/rolling_days", "goes with reset rolling only"),
            (_, None) => {}
        }
        if let Some(parent) = &fields.parent_code {
            if *parent == fields.code {
                errors.push("/parent_code", "must be another feature");
            }
            if fields.feature_type != FeatureType::Limit {
                errors.push("/parent_code", "only a limit draws from another feature's pool");
            }
        }
    }

    fn create(fields: FeatureFields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let pool = pool_of(&fields, scope)?;
        let id = FeatureId::from_unchecked(id);
        let holder = crate::CodeHolder { id: id.to_string() };
        scope.state.feature_codes.put(fields.code.clone(), holder);
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
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        Ok(Self { feature, pool, granted: false })
    }

    fn change(&self, fields: FeatureFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
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
            (false, false) => pool_of(&fields, scope)?,
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

    fn delete(&self, _scope: &mut Scope<'_>) -> Result<(), Rejection> {
        if self.granted {
            return Err(Rejection::FeatureInUse { fields: Vec::new() });
        }
        Ok(())
    }

    fn existing(fields: &FeatureFields, state: &State) -> Option<Self> {
        let holder = state.feature_codes.get(&fields.code)?;
        let row: &Row<Self> = state.features.get(&holder.id)?;
        // A deleted feature gives its code back.
        row.deleted.is_none().then(|| row.record.clone())
    }
}

/// The pool that a feature with these fields draws from; a parent is frozen by it.
fn pool_of(fields: &FeatureFields, scope: &mut Scope<'_>) -> Result<PoolTerms, Rejection> {
    let Some(parent) = &fields.parent_code else {
        return Ok(PoolTerms {
            code: fields.code.clone(),
            reset: fields.reset,
            rolling_days: fields.rolling_days,
        });
    };
    let parent = named("/parent_code", parent, scope.state)?;
    if parent.feature_type != FeatureType::Limit || parent.has_parent {
        let message = "must be a limit without a parent of its own";
        return Err(Rejection::invalid("/parent_code", message));
    }
    freeze(&parent, scope);
    Ok(parent.pool)
}
