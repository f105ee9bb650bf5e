//! Features, packages, assignments, boosts, and what was used of them.

use crate::{
    AssignmentId, BoostId, By, FeatureId, HoldId, Metadata, PackageId, RecordId, Timestamp,
    Version, known,
};
use serde::{Deserialize, Deserializer};

names! {
    /// What a feature is measured by.
    FeatureType {
        /// It is on or off.
        Boolean = "boolean",
        /// So many units.
        Limit = "limit",
        /// Counted, without a limit.
        Unlimited = "unlimited",
    }

    /// When a feature's counter begins anew.
    Reset {
        /// Never: one window for ever.
        None = "none",
        /// Every month from the scope's anchor on, clamped to month ends.
        Monthly = "monthly",
        /// All the time: what counts are the last so many days of 24 hours.
        Rolling = "rolling",
    }

    /// Whether something of the catalogue can still be newly given to somebody.
    CatalogStatus {
        /// It can.
        Active = "active",
        /// It cannot; who has it keeps it.
        Archived = "archived",
    }

    /// What a package gives of a feature.
    GrantKind {
        /// The feature itself, and no units of it.
        Enabled = "enabled",
        /// So many units.
        Limit = "limit",
        /// As many units as are wanted.
        Unlimited = "unlimited",
    }

    /// Where an assignment is in its life.
    AssignmentStatus {
        /// It grants what its package says, from its start to its end.
        Active = "active",
        /// It grants nothing for now.
        Suspended = "suspended",
        /// It was ended, for ever.
        Cancelled = "cancelled",
        /// Its time is over, for ever.
        Expired = "expired",
    }

    /// What a boost gives.
    BoostKind {
        /// Units on top of what packages grant.
        AddLimit = "add_limit",
        /// The feature itself, and no units of it.
        Enable = "enable",
        /// As many units as are wanted.
        Unlimited = "unlimited",
    }

    /// How long a boost lasts.
    BoostDuration {
        /// Until the running month of its scope ends.
        CycleBound = "cycle_bound",
        /// Until its `expires_at`.
        Fixed = "fixed",
        /// For ever.
        Permanent = "permanent",
        /// Until its units are used up: they are burnt after everything else.
        Consumable = "consumable",
    }

    /// Where a usage hold is in its life.
    HoldStatus {
        /// Its units are set aside.
        Active = "active",
        /// Work was done, and recorded.
        Settled = "settled",
        /// Its units were given back.
        Released = "released",
        /// It was not settled in time; its units were given back.
        Expired = "expired",
    }
}

const fn hundred() -> i64 {
    100
}

const fn never() -> Reset {
    Reset::None
}

/// Counted once for ever: what a struct update begins from.
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
        /// The caller's own name for it, in dot notation; unique, set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// What it is measured by; frozen once something grants it, as are `reset`,
        /// `rolling_days` and `parent_code`.
        #[serde(rename = "type")]
        pub feature_type: FeatureType,
        /// When its counter begins anew. A feature with a parent is counted by the parent's.
        pub reset: Reset,
        /// With `rolling`: the last so many days count; 1–366.
        pub rolling_days: Option<i64>,
        /// The feature whose pool of units it draws from.
        pub parent_code: Option<String>,
        /// Whether its units are given back in the ordinary course, such as seats. Tells people
        /// and programs; any usage can be reversed.
        pub releasable: bool,
        /// Whether it can be newly granted.
        pub status: CatalogStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// What a client may set on a [`Feature`].
    #[serde(deny_unknown_fields)]
    pub struct FeatureFields {
        /// The caller's own name for it, 1–100 characters in dot notation; unique, set once.
        pub code: String,
        /// The name shown to people, ≤ 200 characters.
        #[serde(default)]
        pub name: String,
        /// What it is measured by.
        #[serde(rename = "type", deserialize_with = "known::read")]
        pub feature_type: FeatureType,
        /// When its counter begins anew; default `none`.
        #[serde(default = "never", deserialize_with = "known::read")]
        pub reset: Reset,
        /// Required with `rolling`, and only there; 1–366.
        #[serde(default)]
        pub rolling_days: Option<i64>,
        /// The feature whose pool of units it draws from: a `limit` without a parent of its own.
        #[serde(default)]
        pub parent_code: Option<String>,
        /// Whether its units are given back in the ordinary course, such as seats.
        #[serde(default)]
        pub releasable: bool,
        /// Left out: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<CatalogStatus>,
    }

    /// What a package gives of one feature.
    #[serde(deny_unknown_fields)]
    pub struct Grant {
        /// The feature's code.
        pub feature: String,
        /// What is given of it.
        #[serde(deserialize_with = "known::read")]
        pub grant: GrantKind,
        /// So many units, ≥ 0: with `limit`, and only there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<i64>,
    }

    /// A bundle of grants that scopes get assigned.
    pub struct Package {
        /// `pkg_…`
        pub id: PackageId,
        /// The number of this state.
        pub version: Version,
        /// The caller's own name for it; unique, set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// Whether it is a base package, of which a scope has one at most.
        pub is_base: bool,
        /// Whether a scope may have it more than once; what it grants then adds up.
        pub is_stackable: bool,
        /// What it grants, one entry per feature. A change counts at once for everybody who has it.
        #[serde(deserialize_with = "shown_grants")]
        pub grants: Vec<Grant>,
        /// Whether it can be newly assigned.
        pub status: CatalogStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// What a client may set on a [`Package`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct PackageFields {
        /// The caller's own name for it, 1–100 characters; unique, set once.
        pub code: String,
        /// The name shown to people, ≤ 200 characters.
        #[serde(default)]
        pub name: String,
        /// Whether it is a base package, of which a scope has one at most.
        #[serde(default)]
        pub is_base: bool,
        /// Whether a scope may have it more than once.
        #[serde(default)]
        pub is_stackable: bool,
        /// What it grants, one entry per feature; ≤ 200.
        #[serde(default)]
        pub grants: Vec<Grant>,
        /// Left out: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<CatalogStatus>,
    }

    /// A package that a workspace or a namespace has.
    pub struct Assignment {
        /// `asg_…`
        pub id: AssignmentId,
        /// The number of this state.
        pub version: Version,
        /// Who has it: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The package's code.
        pub package: String,
        /// Where it is in its life.
        pub status: AssignmentStatus,
        /// Whether the package was a base package when it was assigned.
        pub is_base: bool,
        /// From here on it grants.
        pub starts_at: Timestamp,
        /// From here on it grants no more.
        pub expires_at: Option<Timestamp>,
        /// When it is going to be cancelled; until then it grants.
        pub cancel_at: Option<Timestamp>,
        /// When it was cancelled or expired.
        pub ended_at: Option<Timestamp>,
        /// The scope's months begin here: when it got its first package or boost.
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

    /// What a client may change of an [`Assignment`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct AssignmentFields {
        /// `active`, `suspended` or `cancelled`.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<AssignmentStatus>,
        /// Cancel it then, in the future; `null` takes that back.
        #[serde(default)]
        pub cancel_at: Option<Timestamp>,
    }

    /// The assignment of a package to a scope.
    #[serde(deny_unknown_fields)]
    pub struct NewAssignment {
        /// The package's code.
        pub package: String,
        /// The caller's own name for it, ≤ 200 characters: a repeat gets the first assignment.
        #[serde(default)]
        pub external_service_id: Option<String>,
        /// When it ends, in the future; default never.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
    }

    /// Something given to a scope on top of its packages.
    pub struct Boost {
        /// `bst_…`
        pub id: BoostId,
        /// The number of this state.
        pub version: Version,
        /// Who has it: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The feature's code.
        pub feature: String,
        /// What it gives.
        pub kind: BoostKind,
        /// How long it lasts.
        pub duration: BoostDuration,
        /// With `add_limit`: so many units.
        pub amount: Option<i64>,
        /// So many of them are burnt for usage or holds; only those of a consumable ever are.
        pub consumed: i64,
        /// Consumables with a lower number are burnt first.
        pub priority: i64,
        /// From here on it gives nothing more.
        pub expires_at: Option<Timestamp>,
        /// Where it came from, as the caller said.
        pub source: Option<String>,
        /// The caller's own name for it; unique for ever within its source.
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
        /// What it gives.
        #[serde(deserialize_with = "known::read")]
        pub kind: BoostKind,
        /// With `add_limit`, and only there: so many units, ≥ 1.
        #[serde(default)]
        pub amount: Option<i64>,
        /// How long it lasts.
        #[serde(deserialize_with = "known::read")]
        pub duration: BoostDuration,
        /// Required with `fixed`, allowed with `consumable`; in the future.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
        /// Consumables with a lower number are burnt first; 0–1,000, default 100.
        #[serde(default = "hundred")]
        pub priority: i64,
        /// Where it comes from, ≤ 100 characters.
        #[serde(default)]
        pub source: Option<String>,
        /// The caller's own name for it, ≤ 200 characters; unique for ever within its source.
        #[serde(default)]
        pub external_addon_id: Option<String>,
    }

    /// The answer to a [`NewBoost`].
    pub struct BoostAnswer {
        /// The boost.
        #[serde(flatten)]
        pub boost: Boost,
        /// Whether it gives something now; an `add_limit` waits for a package that grants the pool.
        pub effective: bool,
        /// Whether it was there already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub duplicate: bool,
    }

    /// A pool of units as it is now.
    pub struct Meter {
        /// So many units were used in this window.
        pub used: i64,
        /// So many more are set aside by holds.
        pub held: i64,
        /// What packages and boosts give in this window, burnt consumables included; `null`: no
        /// limit.
        pub limit: Option<i64>,
        /// `limit − used − held`, never below 0; `null`: no limit.
        pub remaining: Option<i64>,
        /// Whether there is no limit.
        pub unlimited: bool,
        /// When units come back; `null`: never, or there are none to come back.
        pub resets_at: Option<Timestamp>,
        /// Whose counter it is: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub charged_scope: String,
    }

    /// What a scope may use of a feature; an advice, computed at `as_of`.
    pub struct Entitlement {
        /// The feature's code.
        pub feature: String,
        /// Whether one more unit would be admitted; of a switch: whether it is on.
        pub allowed: bool,
        /// The pool of units it draws from.
        #[serde(flatten)]
        pub meter: Meter,
        /// When this was true.
        pub as_of: Timestamp,
    }

    /// Units to be used, if there is room for all of them.
    #[serde(deny_unknown_fields)]
    pub struct NewUsage {
        /// The feature's code.
        pub feature: String,
        /// So many units; 1–10¹².
        pub quantity: i64,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// Several usages, all or nothing.
    #[serde(deny_unknown_fields)]
    pub struct NewUsageBatch {
        /// 1–100 of them, in order.
        pub items: Vec<NewUsage>,
    }

    /// Usage that was admitted and recorded.
    pub struct Recorded {
        /// `usg_…`
        pub id: RecordId,
        /// The feature's code.
        pub feature: String,
        /// So many units.
        pub quantity: i64,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// The answer to a [`NewUsageBatch`].
    pub struct RecordedBatch {
        /// One for each usage, in order.
        pub items: Vec<Recorded>,
    }

    /// Recorded usage, as it is stored.
    pub struct UsageRecord {
        /// `usg_…`
        pub id: RecordId,
        /// For whom: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// Whose counter was charged.
        pub charged_scope: String,
        /// The feature's code.
        pub feature: String,
        /// So many units.
        pub quantity: i64,
        /// So many of them were given back since.
        pub reversed: i64,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When.
        pub at: Timestamp,
        /// Who recorded it.
        pub by: By,
        /// The request that recorded it.
        pub request_id: String,
    }

    /// Units to give back.
    #[serde(deny_unknown_fields)]
    pub struct NewReversal {
        /// So many, ≥ 1; never more than was recorded.
        pub quantity: i64,
    }

    /// The answer to a [`NewReversal`].
    pub struct Reversed {
        /// The record, `usg_…`.
        pub id: RecordId,
        /// The feature's code.
        pub feature: String,
        /// So many units were recorded.
        pub quantity: i64,
        /// So many of them are given back by now.
        pub reversed: i64,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// Units to set aside for work of unknown cost.
    #[serde(deny_unknown_fields)]
    pub struct NewHold {
        /// The feature's code.
        pub feature: String,
        /// So many units; 1–10¹².
        pub quantity: i64,
        /// For so long, in milliseconds; 1 to 24 hours.
        pub ttl_ms: i64,
    }

    /// What the work took.
    #[serde(deny_unknown_fields)]
    pub struct Settlement {
        /// So many units; 1–10¹². Fewer than held gives the rest back, more needs room.
        pub quantity: i64,
    }

    /// Units set aside.
    pub struct Hold {
        /// `hld_…`
        pub id: HoldId,
        /// For whom: `workspaces/wsp_…` or `namespaces/nsp_…`.
        pub scope: String,
        /// The feature's code.
        pub feature: String,
        /// So many units.
        pub quantity: i64,
        /// Where it is in its life.
        pub status: HoldStatus,
        /// When its units are given back if nobody settles it.
        pub expires_at: Timestamp,
        /// So many units were recorded when it was settled.
        pub settled_quantity: Option<i64>,
        /// The record of them, `usg_…`.
        pub record_id: Option<RecordId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
    }

    /// A hold with the pool after it.
    pub struct HoldAnswer {
        /// The hold.
        #[serde(flatten)]
        pub hold: Hold,
        /// The pool after it.
        #[serde(flatten)]
        pub meter: Meter,
    }

    /// One line of a scope's log: what it was given, lost, or was denied.
    pub struct EntitlementLogEntry {
        /// `elg_…`
        pub id: String,
        /// What happened: `package.assigned`, `package.changed`, `boost.granted`, `usage.denied`,
        /// `usage.reversed`, `hold.settled`, `hold.released`, `hold.expired`.
        #[serde(rename = "type")]
        pub log_type: String,
        /// When.
        pub at: Timestamp,
        /// Who did it.
        pub by: By,
        /// The request that did it.
        pub request_id: String,
        /// What it was about, by the names of the API.
        pub details: serde_json::Value,
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

impl Hold {
    /// Whether its units are set aside at an instant.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.status == HoldStatus::Active && now < self.expires_at
    }
}
