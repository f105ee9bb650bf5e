//! Features, packages, assignments and boosts.

use crate::{AssignmentId, BoostId, FeatureId, PackageId, Timestamp, Version, known};
use serde::{Deserialize, Deserializer};

names! {
    /// How a feature is measured.
    FeatureType {
        /// It is on or off.
        Boolean = "boolean",
        /// A number of units.
        Limit = "limit",
        /// Counted, without a limit.
        Unlimited = "unlimited",
    }

    /// When a feature's counter starts again from 0.
    Reset {
        /// Never: one window for ever.
        None = "none",
        /// Every month from the scope's anchor on, clamped to month ends.
        Monthly = "monthly",
        /// Continuously: the last `rolling_days` × 24 hours count.
        Rolling = "rolling",
    }

    /// Whether a feature or package can still be given to new scopes.
    CatalogStatus {
        /// It can be given.
        Active = "active",
        /// It cannot be given. Scopes that have it keep it.
        Archived = "archived",
    }

    /// How a package grants a feature.
    GrantKind {
        /// The feature itself, without units.
        Enabled = "enabled",
        /// A number of units.
        Limit = "limit",
        /// Any number of units.
        Unlimited = "unlimited",
    }

    /// The life cycle of an assignment.
    AssignmentStatus {
        /// It grants the contents of its package from its start to its end.
        Active = "active",
        /// It grants nothing for now. A namespace does not fall back to its workspace meanwhile.
        Suspended = "suspended",
        /// It was cancelled for good.
        Cancelled = "cancelled",
        /// It expired for good.
        Expired = "expired",
    }

    /// The effect of a boost.
    BoostKind {
        /// Units on top of the packages' grants.
        AddLimit = "add_limit",
        /// The feature itself, without units.
        Enable = "enable",
        /// Any number of units.
        Unlimited = "unlimited",
    }

    /// How long a boost lasts.
    BoostDuration {
        /// Until the running month of its scope ends.
        CycleBound = "cycle_bound",
        /// Until its `expires_at`.
        Fixed = "fixed",
        /// It never ends.
        Permanent = "permanent",
        /// Until its units are used up. They are burnt after all other units.
        Consumable = "consumable",
    }
}

const fn hundred() -> i64 {
    100
}

const fn never() -> Reset {
    Reset::None
}

/// A limit that never resets, for struct updates.
impl Default for FeatureFields {
    fn default() -> Self {
        Self {
            code: String::new(),
            name: String::new(),
            feature_type: FeatureType::Limit,
            reset: never(),
            rolling_days: None,
            parent_code: None,
            releasable: false,
            status: None,
        }
    }
}

wire! {
    /// Something that can be granted and, unless it is a switch, counted.
    pub struct Feature {
        /// `ftr_…`
        pub id: FeatureId,
        /// The number of this state.
        pub version: Version,
        /// The caller's own name for it, in dot notation. Unique; set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// How it is measured. Frozen once something grants the feature, as are `reset`,
        /// `rolling_days` and `parent_code`.
        #[serde(rename = "type")]
        pub feature_type: FeatureType,
        /// When its counter starts again. A feature with a parent uses the parent's counter.
        pub reset: Reset,
        /// With `rolling`: the number of days that count, 1–366.
        pub rolling_days: Option<i64>,
        /// The feature whose pool of units it draws from.
        pub parent_code: Option<String>,
        /// Whether recorded usage can be reversed, as with seats. Holds can always be released.
        pub releasable: bool,
        /// Whether it can be granted anew.
        pub status: CatalogStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Feature`].
    #[serde(deny_unknown_fields)]
    pub struct FeatureFields {
        /// The caller's own name for it, 1–100 characters in dot notation. Unique; set once.
        pub code: String,
        /// The name shown to people, ≤ 200 characters.
        #[serde(default)]
        pub name: String,
        /// How it is measured.
        #[serde(rename = "type", deserialize_with = "known::read")]
        pub feature_type: FeatureType,
        /// When its counter starts again from 0; default `none`.
        #[serde(default = "never", deserialize_with = "known::read")]
        pub reset: Reset,
        /// 1–366. Required with `rolling`, and only allowed there.
        #[serde(default)]
        pub rolling_days: Option<i64>,
        /// The feature whose pool of units it draws from: a `limit` without a parent of its own.
        #[serde(default)]
        pub parent_code: Option<String>,
        /// Whether recorded usage can be reversed, as with seats; default `false`.
        #[serde(default)]
        pub releasable: bool,
        /// Default: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<CatalogStatus>,
    }

    /// A package's grant of one feature.
    #[serde(deny_unknown_fields)]
    pub struct Grant {
        /// The feature's code.
        pub feature: String,
        /// How it is granted.
        #[serde(deserialize_with = "known::read")]
        pub grant: GrantKind,
        /// The number of units, ≥ 0. Required with `limit`, and only allowed there. A feature of
        /// type `unlimited` takes no `limit`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<i64>,
    }

    /// A bundle of grants that scopes get assigned.
    pub struct Package {
        /// `pkg_…`
        pub id: PackageId,
        /// The number of this state.
        pub version: Version,
        /// The caller's own name for it. Unique; set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// Whether it is a base package. A scope has at most one.
        pub is_base: bool,
        /// Whether a scope may have it more than once. Its grants then add up.
        pub is_stackable: bool,
        /// Its grants, one entry per feature. A change counts at once for all scopes that have it.
        #[serde(deserialize_with = "shown_grants")]
        pub grants: Vec<Grant>,
        /// Whether it can be assigned anew.
        pub status: CatalogStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Package`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct PackageFields {
        /// The caller's own name for it, 1–100 characters. Unique; set once.
        pub code: String,
        /// The name shown to people, ≤ 200 characters.
        #[serde(default)]
        pub name: String,
        /// Whether it is a base package. A scope has at most one.
        #[serde(default)]
        pub is_base: bool,
        /// Whether a scope may have it more than once.
        #[serde(default)]
        pub is_stackable: bool,
        /// Its grants, one entry per feature; at most 200.
        #[serde(default)]
        pub grants: Vec<Grant>,
        /// Default: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<CatalogStatus>,
    }

    /// A package that a workspace or a namespace has.
    pub struct Assignment {
        /// `asg_…`
        pub id: AssignmentId,
        /// The number of this state.
        pub version: Version,
        /// The scope that has it: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The package's code.
        pub package: String,
        /// Its status.
        pub status: AssignmentStatus,
        /// Whether the package was a base package when it was assigned.
        pub is_base: bool,
        /// When its grants begin.
        pub starts_at: Timestamp,
        /// When its grants end.
        pub expires_at: Option<Timestamp>,
        /// When it will be cancelled. It grants until then.
        pub cancel_at: Option<Timestamp>,
        /// When it was cancelled or expired.
        pub ended_at: Option<Timestamp>,
        /// The start of the scope's months: when it got its first package or boost.
        pub anchor_at: Timestamp,
        /// The caller's own name for it; unique for ever.
        pub external_service_id: Option<String>,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of an [`Assignment`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct AssignmentFields {
        /// `active`, `suspended` or `cancelled`.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<AssignmentStatus>,
        /// When to cancel it, in the future. `null` removes a planned cancellation.
        #[serde(default)]
        pub cancel_at: Option<Timestamp>,
    }

    /// The assignment of a package to a scope.
    #[serde(deny_unknown_fields)]
    pub struct NewAssignment {
        /// The package's code.
        pub package: String,
        /// The caller's own name for it, ≤ 200 characters. A repeat gets the first assignment.
        #[serde(default)]
        pub external_service_id: Option<String>,
        /// When it ends, in the future. By default it never ends.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
    }

    /// Something given to a scope on top of its packages.
    pub struct Boost {
        /// `bst_…`
        pub id: BoostId,
        /// The number of this state.
        pub version: Version,
        /// The scope that has it: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The feature's code.
        pub feature: String,
        /// Its effect.
        pub kind: BoostKind,
        /// How long it lasts.
        pub duration: BoostDuration,
        /// With `add_limit`: the number of units.
        pub amount: Option<i64>,
        /// How many of them are burnt for usage or holds. Always 0 unless it is a consumable.
        pub consumed: i64,
        /// Consumables with a lower number are burnt first.
        pub priority: i64,
        /// When it ends.
        pub expires_at: Option<Timestamp>,
        /// Its origin, as the caller said.
        pub source: Option<String>,
        /// The caller's own name for it. Unique for ever within its source.
        pub external_addon_id: Option<String>,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// A boost for a scope.
    #[serde(deny_unknown_fields)]
    pub struct NewBoost {
        /// The feature's code.
        pub feature: String,
        /// Its effect.
        #[serde(deserialize_with = "known::read")]
        pub kind: BoostKind,
        /// The number of units, ≥ 1. Required with `add_limit`, and only allowed there.
        #[serde(default)]
        pub amount: Option<i64>,
        /// How long it lasts.
        #[serde(deserialize_with = "known::read")]
        pub duration: BoostDuration,
        /// Must be in the future. Required with `fixed`, allowed with `consumable`.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
        /// Consumables with a lower number are burnt first; 0–1,000, default 100.
        #[serde(default = "hundred")]
        pub priority: i64,
        /// Its origin, ≤ 100 characters.
        #[serde(default)]
        pub source: Option<String>,
        /// The caller's own name for it, ≤ 200 characters. Unique for ever within its source.
        #[serde(default)]
        pub external_addon_id: Option<String>,
    }

    /// The answer to a [`NewBoost`].
    pub struct BoostAnswer {
        /// The boost.
        #[serde(flatten)]
        pub boost: Boost,
        /// Whether it has an effect now. An `add_limit` waits for a package that grants the pool.
        pub effective: bool,
        /// Whether it existed already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub duplicate: bool,
    }
}

/// Reads the grants of an answer. A newer server may show more there than a request may say.
fn shown_grants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Grant>, D::Error> {
    #[derive(Deserialize)]
    struct Shown {
        feature: String,
        grant: GrantKind,
        #[serde(default)]
        limit: Option<i64>,
    }

    let shown = Vec::<Shown>::deserialize(deserializer)?;
    let grant = |Shown { feature, grant, limit }| Grant { feature, grant, limit };
    Ok(shown.into_iter().map(grant).collect())
}
