//! Plans, workspaces, namespaces, subscriptions and billing runs.
//!
//! Each collection has two types: the entity as the server shows it, and `…Fields`, the part a
//! client may set, which is the body of a create and of a full replace.

use crate::{NamespaceId, PlanId, SubscriptionId, Timestamp, Version, WorkspaceId, known};
use std::collections::BTreeMap;

/// A caller's own keys and values: up to 50 keys of ≤ 40 characters, values of ≤ 500.
pub type Metadata = BTreeMap<String, String>;

names! {
    /// The life cycle of a plan.
    PlanStatus {
        /// In preparation: its price may still change, and it takes no subscriptions.
        Draft = "draft",
        /// On sale. Its price is frozen for ever.
        Active = "active",
        /// No longer on sale. Its subscriptions go on.
        Archived = "archived",
    }

    /// The unit of a billing period.
    Interval {
        /// A day.
        Day = "day",
        /// Seven days.
        Week = "week",
        /// A calendar month, clamped to its end.
        Month = "month",
        /// A calendar year.
        Year = "year",
    }

    /// The life cycle of a subscription.
    SubscriptionStatus {
        /// In its free trial.
        Trialing = "trialing",
        /// Running and paid for.
        Active = "active",
        /// Running, with a payment outstanding.
        PastDue = "past_due",
        /// Paused: it is not billed.
        Paused = "paused",
        /// Ended for good.
        Canceled = "canceled",
    }
}

const fn one() -> i64 {
    1
}

/// An empty plan of one month, for struct updates.
impl Default for PlanFields {
    fn default() -> Self {
        Self {
            code: String::new(),
            name: String::new(),
            description: String::new(),
            currency: String::new(),
            amount: 0,
            interval: Interval::Month,
            interval_count: one(),
            trial_days: 0,
            status: None,
            metadata: Metadata::new(),
        }
    }
}

/// One unit, without workspace or plan, for struct updates.
impl Default for SubscriptionFields {
    fn default() -> Self {
        Self {
            workspace_id: WorkspaceId::default(),
            plan_id: PlanId::default(),
            quantity: one(),
            status: None,
            notes: String::new(),
            cancel_at_period_end: false,
            start_at: None,
            metadata: Metadata::new(),
        }
    }
}

wire! {
    /// A price that workspaces can subscribe to.
    pub struct Plan {
        /// `pln_…`
        pub id: PlanId,
        /// The number of this state.
        pub version: Version,
        /// The caller's own name for it. Unique; set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// A description for people.
        pub description: String,
        /// ISO 4217.
        pub currency: String,
        /// The price of one unit for one period, in the currency's minor unit; ≥ 0.
        pub amount: i64,
        /// The unit of the billing period.
        pub interval: Interval,
        /// Intervals per billing period, 1–36.
        pub interval_count: i64,
        /// Free days before the first period, 0–730.
        pub trial_days: i64,
        /// Its status.
        pub status: PlanStatus,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Plan`].
    #[serde(deny_unknown_fields)]
    pub struct PlanFields {
        /// The caller's own name for it, 1–100 characters. Unique; set once.
        pub code: String,
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// A description for people, ≤ 2,000 characters.
        #[serde(default)]
        pub description: String,
        /// ISO 4217, upper case.
        pub currency: String,
        /// The price of one unit for one period, in the currency's minor unit; ≥ 0.
        pub amount: i64,
        /// The unit of the billing period.
        #[serde(deserialize_with = "known::read")]
        pub interval: Interval,
        /// Intervals per billing period, 1–36; default 1.
        #[serde(default = "one")]
        pub interval_count: i64,
        /// Free days before the first period, 0–730; default 0.
        #[serde(default)]
        pub trial_days: i64,
        /// Default: `draft` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<PlanStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// The paying customer.
    pub struct Workspace {
        /// `wsp_…`
        pub id: WorkspaceId,
        /// The number of this state.
        pub version: Version,
        /// The name shown to people.
        pub name: String,
        /// The address for invoices.
        pub email: Option<String>,
        /// The default currency of its invoices, ISO 4217.
        pub currency: Option<String>,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Workspace`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct WorkspaceFields {
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// The address for invoices, ≤ 320 characters with an `@`.
        #[serde(default)]
        pub email: Option<String>,
        /// The default currency of its invoices, ISO 4217 in upper case.
        #[serde(default)]
        pub currency: Option<String>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A part of a workspace.
    pub struct Namespace {
        /// `nsp_…`
        pub id: NamespaceId,
        /// The number of this state.
        pub version: Version,
        /// The workspace it belongs to; set once.
        pub workspace_id: WorkspaceId,
        /// The name shown to people.
        pub name: String,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Namespace`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct NamespaceFields {
        /// The workspace it belongs to; set once.
        pub workspace_id: WorkspaceId,
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A workspace's running plan.
    pub struct Subscription {
        /// `sub_…`
        pub id: SubscriptionId,
        /// The number of this state.
        pub version: Version,
        /// The workspace that pays; set once.
        pub workspace_id: WorkspaceId,
        /// The plan.
        pub plan_id: PlanId,
        /// Units of the plan, 1–1,000,000.
        pub quantity: i64,
        /// Its status.
        pub status: SubscriptionStatus,
        /// Notes by people, ≤ 10,000 characters.
        pub notes: String,
        /// Whether it ends at the end of the running period.
        pub cancel_at_period_end: bool,
        /// When it begins; set once.
        pub start_at: Timestamp,
        /// The first instant of the running period, or of the trial; `null` if none runs.
        pub current_period_start: Option<Timestamp>,
        /// The first instant after the running period, or after the trial; `null` if none runs.
        pub current_period_end: Option<Timestamp>,
        /// When its trial ends or ended.
        pub trial_end: Option<Timestamp>,
        /// When it was canceled.
        pub canceled_at: Option<Timestamp>,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Subscription`].
    #[serde(deny_unknown_fields)]
    pub struct SubscriptionFields {
        /// The workspace that pays; set once.
        pub workspace_id: WorkspaceId,
        /// The plan; it must be active.
        pub plan_id: PlanId,
        /// Units of the plan, 1–1,000,000; default 1.
        #[serde(default = "one")]
        pub quantity: i64,
        /// Default: `trialing` or `active` at creation, by the plan; unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<SubscriptionStatus>,
        /// Notes by people, ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Whether it ends at the end of the running period. Can be undone until then.
        #[serde(default)]
        pub cancel_at_period_end: bool,
        /// When it begins; default now. Set once.
        #[serde(default)]
        pub start_at: Option<Timestamp>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// The result of a billing run.
    pub struct BillingRun {
        /// The run was for everything due at this instant.
        pub as_of: Timestamp,
        /// How many invoices it made.
        pub made: i64,
        /// How many due subscriptions needed no invoice: paused, ended at the boundary, or already
        /// billed by another run.
        pub skipped: i64,
        /// How many due subscriptions could not be billed; the log says why.
        pub failed: i64,
        /// How many subscriptions are still due because the database was busy. Another run bills
        /// them.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required))]
        pub remaining: i64,
    }

    /// A deleted object's tombstone.
    pub struct Deleted {
        /// The object's id.
        pub id: String,
        /// When it was deleted.
        pub deleted_at: Timestamp,
        /// The name of the API key that deleted it.
        pub deleted_by: String,
        /// Its last version. The deletion is the next entry of its history.
        pub last_version: Version,
    }
}
