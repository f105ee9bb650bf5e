//! Packages: bundles of grants.

use super::feature::{self, freeze};
use crate::{
    CodeHolder, Rejection, Resource, Row, Scope, State, fields::Errors, resource::usual_parts,
};
use ifmatch_types::{
    CatalogStatus, FeatureType, Grant, GrantKind, Kind, Package, PackageFields, PackageId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// So many grants may be in a package.
const GRANTS_MAX: usize = 200;
/// The largest limit of a grant or a boost: sums of many stay far from the end of 64 bits.
pub(crate) const UNITS_MAX: i64 = 1_000_000_000_000_000;

/// A package with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageRecord {
    /// The package as the API shows it.
    pub package: Package,
    /// Its grants with the pools they add to, which are frozen.
    pub grants: Vec<PoolGrant>,
}

/// A grant, and the pool it adds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolGrant {
    /// The feature's code.
    pub feature: String,
    /// The code of the pool.
    pub pool: String,
    /// What is given.
    #[serde(deserialize_with = "ifmatch_types::known::read")]
    pub grant: GrantKind,
    /// With `limit`: so many units.
    pub limit: Option<i64>,
    /// Whether the feature itself has no limit.
    pub is_unlimited: bool,
}

impl PoolGrant {
    /// The grant as the API shows it.
    pub fn shown(&self) -> Grant {
        Grant { feature: self.feature.clone(), grant: self.grant, limit: self.limit }
    }
}

/// The living package with this code.
pub(crate) fn named(path: &str, code: &str, state: &State) -> Result<PackageRecord, Rejection> {
    let unknown = || Rejection::invalid(path, format!("no such package: {code}"));
    let holder = state.package_codes.get(code).ok_or_else(unknown)?;
    let row = state.packages.get(&holder.id).filter(|row| row.deleted.is_none());
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

    usual_parts!(packages, |record| record.package);

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
                errors.push(at("feature"), "is there twice");
            }
            match (grant.grant, grant.limit) {
                (GrantKind::Limit, Some(limit)) => errors.range(&at("limit"), limit, 0, UNITS_MAX),
                (GrantKind::Limit, None) => errors.push(at("limit"), "is required with limit"),
                (_, Some(_)) => errors.push(at("limit"), "goes with grant limit only"),
                (_, None) => {}
            }
        }
    }

    fn create(fields: PackageFields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let grants = resolve(&fields.grants, &[], scope)?;
        let id = PackageId::from_unchecked(id);
        let holder = CodeHolder { id: id.to_string() };
        scope.state.package_codes.put(fields.code.clone(), holder);
        let package = Package {
            id,
            version: 1,
            code: fields.code,
            name: fields.name,
            is_base: fields.is_base,
            is_stackable: fields.is_stackable,
            grants: fields.grants,
            status: fields.status.unwrap_or(CatalogStatus::Active),
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        Ok(Self { package, grants })
    }

    fn change(&self, fields: PackageFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let grants = resolve(&fields.grants, &self.grants, scope)?;
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

    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection> {
        // Whoever assigns a package locks its row, so that what was counted when this row was
        // locked is still true at the commit.
        let id = self.package.id.as_str();
        let mut assigned = scope.state.assignments.iter();
        if assigned.any(|row| row.record.package_id.as_str() == id)
            || scope.state.is_used_elsewhere(id)
        {
            return Err(Rejection::PackageInUse);
        }
        Ok(())
    }

    fn existing(fields: &PackageFields, state: &State) -> Option<Self> {
        let holder = state.package_codes.get(&fields.code)?;
        let row: &Row<Self> = state.packages.get(&holder.id)?;
        // A deleted package gives its code back.
        row.deleted.is_none().then(|| row.record.clone())
    }
}

/// Finds the pool of each grant and freezes its feature; `known` are the grants there are.
fn resolve(
    grants: &[Grant],
    known: &[PoolGrant],
    scope: &mut Scope<'_>,
) -> Result<Vec<PoolGrant>, Rejection> {
    let mut errors = Errors::default();
    let mut resolved = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let path = format!("/grants/{index}/feature");
        let Some(terms) = feature::terms(&grant.feature, scope.state) else {
            errors.push(path, format!("no such feature: {}", grant.feature));
            continue;
        };
        let is_new = !known.iter().any(|known| known.feature == grant.feature);
        if is_new && terms.status == CatalogStatus::Archived {
            errors.push(path, "is archived and cannot be newly granted");
        }
        if terms.feature_type == FeatureType::Boolean && grant.grant != GrantKind::Enabled {
            errors.push(format!("/grants/{index}/grant"), "a boolean feature is enabled or not");
        }
        freeze(&terms, scope);
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
