//! Packages: bundles of grants.

use super::{
    Need, Rejection,
    feature::{self, freeze, want_granted_feature},
};
use crate::core::{
    self, CodeHolder, Context, DeleteObject, Errors, Resource, Row, State, UpdateObject, Wants,
    redactable, usual_parts,
};
use ifmatch_types::{
    CatalogStatus, FeatureType, Grant, GrantKind, Kind, Package, PackageFields, PackageId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Maximum number of grants in a package.
const GRANTS_MAX: usize = 200;
/// Maximum limit of a grant or a boost. Sums of many stay well within 64 bits.
pub(crate) const UNITS_MAX: i64 = 1_000_000_000_000_000;

/// A package as it is stored, with the pools of its grants.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageRecord {
    /// The package as the API shows it.
    pub package: Package,
    /// Its grants, with the pools that they add to. The pool of a granted feature is frozen.
    pub grants: Vec<PoolGrant>,
}

/// A grant, and the pool that it adds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolGrant {
    /// The feature's code.
    pub feature: String,
    /// The code of the pool.
    pub pool: String,
    /// The kind of grant.
    #[serde(deserialize_with = "ifmatch_types::known::read")]
    pub grant: GrantKind,
    /// The number of units; only for `limit`.
    pub limit: Option<i64>,
    /// Whether the feature's type is unlimited.
    pub is_unlimited: bool,
}

impl PoolGrant {
    /// The grant as the API shows it.
    pub fn shown(&self) -> Grant {
        Grant { feature: self.feature.clone(), grant: self.grant, limit: self.limit }
    }
}

/// The living package with this code.
pub(crate) fn named(
    path: &str,
    code: &str,
    state: &State,
) -> Result<PackageRecord, core::Rejection> {
    let unknown = || core::Rejection::invalid(path, format!("no such package: {code}"));
    let holder = state.entitlement().package_codes.get(code).ok_or_else(unknown)?;
    let row = state.entitlement().packages.get(&holder.id).filter(|row| row.deleted.is_none());
    row.map(|row| row.record.clone()).ok_or_else(unknown)
}

impl Resource for PackageRecord {
    type Entity = Package;
    type Fields = PackageFields;

    const KIND: Kind = Kind::Package;
    const FIELDS: &'static [&'static str] =
        &["code", "name", "is_base", "is_stackable", "grants", "status"];
    const SET_ONCE: &'static [&'static str] = &["code"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    const IN_CATALOGUE: bool = true;

    usual_parts!(packages, |record| record.package);
    redactable!(|record| record.package, { name: Text });

    fn check(fields: &mut PackageFields, errors: &mut Errors) {
        errors.code("/code", &fields.code);
        errors.text("/name", &fields.name, 0, 200);
        if fields.grants.len() > GRANTS_MAX {
            errors.push("/grants", format!("must have at most {GRANTS_MAX} entries"));
        }
        let mut seen = BTreeSet::new();
        for (index, grant) in fields.grants.iter().enumerate() {
            let at = |name: &str| format!("/grants/{index}/{name}");
            if !seen.insert(&grant.feature) {
                errors.push(at("feature"), "is a duplicate");
            }
            match (grant.grant, grant.limit) {
                (GrantKind::Limit, Some(limit)) => errors.range(&at("limit"), limit, 0, UNITS_MAX),
                (GrantKind::Limit, None) => errors.push(at("limit"), "is required for grant limit"),
                (_, Some(_)) => errors.push(at("limit"), "is only allowed with grant limit"),
                (_, None) => {}
            }
        }
    }

    fn create(fields: PackageFields, id: String, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let grants = resolve(&fields.grants, &[], ctx)?;
        let id = PackageId::from_unchecked(id);
        let holder = CodeHolder { id: id.to_string() };
        ctx.state.entitlement_mut().package_codes.put(fields.code.clone(), holder);
        let package = Package {
            id,
            version: 1,
            code: fields.code,
            name: fields.name,
            is_base: fields.is_base,
            is_stackable: fields.is_stackable,
            grants: fields.grants,
            status: fields.status.unwrap_or(CatalogStatus::Active),
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        Ok(Self { package, grants })
    }

    fn change(&self, fields: PackageFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let grants = resolve(&fields.grants, &self.grants, ctx)?;
        let package = Package {
            name: fields.name,
            is_base: fields.is_base,
            is_stackable: fields.is_stackable,
            grants: fields.grants,
            status: fields.status.unwrap_or(self.package.status),
            ..self.package.clone()
        };
        Ok(Self { package, grants })
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        // Assigning a package locks its row. While that row is locked here, no assignment can
        // appear before the commit.
        let id = self.package.id.as_str();
        let mut assigned = ctx.state.entitlement().assignments.iter();
        if assigned.any(|row| row.record.package_id.as_str() == id)
            || ctx.state.is_used_elsewhere(id)
        {
            return Err(Rejection::PackageInUse);
        }
        Ok(())
    }

    fn existing(fields: &PackageFields, state: &State) -> Option<Self> {
        let holder = state.entitlement().package_codes.get(&fields.code)?;
        let row: &Row<Self> = state.entitlement().packages.get(&holder.id)?;
        // The code of a deleted package is free again.
        row.deleted.is_none().then(|| row.record.clone())
    }

    fn want_for_create<'c>(body: &'c Map<String, Value>, wants: &mut Wants<'_, 'c, Need>) {
        want_fields(body, wants);
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        want_fields(update.change.body(), wants);
        // A patch that does not name the grants keeps them.
        let row = wants.state.entitlement().packages.original(&update.id);
        for grant in row.into_iter().flat_map(|row| &row.record.grants) {
            want_granted_feature(&grant.feature, wants);
        }
        // A merge combines the current grants with those of the base, so the base's are needed too.
        let history = wants.state.histories.get(&update.id);
        for base in history.into_iter().flat_map(|history| history.bases.values()) {
            want_grants(base.get("grants"), wants);
        }
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Package, &delete.id);
    }
}

fn want_fields(body: &Map<String, Value>, wants: &mut Wants<'_, '_, Need>) {
    if let Some(code) = body.get("code").and_then(Value::as_str) {
        want_package_code(code, wants);
    }
    want_grants(body.get("grants"), wants);
}

fn want_grants(grants: Option<&Value>, wants: &mut Wants<'_, '_, Need>) {
    for grant in grants.and_then(Value::as_array).into_iter().flatten() {
        if let Some(code) = grant.get("feature").and_then(Value::as_str) {
            want_granted_feature(code, wants);
        }
    }
}

/// Requests the living package with this code as a reference.
pub(crate) fn want_package_code(code: &str, wants: &mut Wants<'_, '_, Need>) {
    let entitlement = wants.state.entitlement();
    if !entitlement.package_codes.is_loaded(code) {
        wants.push(Need::PackageCode(code.to_owned()));
    } else if let Some(holder) = entitlement.package_codes.original(code) {
        wants.reference(Kind::Package, &holder.id);
    }
}

/// Finds the pool of each grant and freezes its feature; `known` are the current grants.
fn resolve(
    grants: &[Grant],
    known: &[PoolGrant],
    ctx: &mut Context<'_>,
) -> Result<Vec<PoolGrant>, Rejection> {
    let mut errors = Errors::default();
    let mut resolved = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let path = format!("/grants/{index}/feature");
        let Some(terms) = feature::terms(&grant.feature, ctx.state) else {
            errors.push(path, format!("no such feature: {}", grant.feature));
            continue;
        };
        let is_new = !known.iter().any(|known| known.feature == grant.feature);
        if is_new && terms.status == CatalogStatus::Archived {
            errors.push(path, "is archived and cannot be newly granted");
        }
        if terms.feature_type == FeatureType::Boolean && grant.grant != GrantKind::Enabled {
            errors.push(format!("/grants/{index}/grant"), "must be enabled for a boolean feature");
        }
        // A grant from before this rule stays until it is changed.
        let is_kept = known.iter().any(|known| known.shown() == *grant);
        if terms.feature_type == FeatureType::Unlimited
            && grant.grant == GrantKind::Limit
            && !is_kept
        {
            let message = "must not be limit for an unlimited feature";
            errors.push(format!("/grants/{index}/grant"), message);
        }
        freeze(&terms, ctx);
        resolved.push(PoolGrant {
            feature: grant.feature.clone(),
            pool: terms.pool.code,
            grant: grant.grant,
            limit: grant.limit,
            is_unlimited: terms.feature_type == FeatureType::Unlimited,
        });
    }
    errors.into_result()?;
    Ok(resolved)
}
