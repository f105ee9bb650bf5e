//! Plans, workspaces, namespaces, subscriptions, invoices, payments and API keys.
//!
//! Each collection has two types: the entity as the server shows it, and `…Fields`, the part a
//! client may set, which is the body of a create and of a full replace.

use crate::{
    ApiKeyId, InvoiceId, NamespaceId, PaymentId, PlanId, SubscriptionId, Timestamp, Version,
    WorkspaceId, known,
};
use std::collections::BTreeMap;

/// A caller's own keys and values: up to 50 keys of ≤ 40 characters, values of ≤ 500.
pub type Metadata = BTreeMap<String, String>;

names! {
    /// What an API key may do; each role may also do what the ones before it may.
    Role {
        /// Read.
        Viewer = "viewer",
        /// Read and write.
        Agent = "agent",
        /// Also force, keys and the audit log.
        Admin = "admin",
    }

    /// Where a plan is in its life.
    PlanStatus {
        /// Being made: its price may still change, nobody can subscribe.
        Draft = "draft",
        /// On sale; its price is frozen for ever.
        Active = "active",
        /// No longer on sale; who has it keeps it.
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

    /// Where a subscription is in its life.
    SubscriptionStatus {
        /// In its free trial.
        Trialing = "trialing",
        /// Running and paid for.
        Active = "active",
        /// Running, with a payment outstanding.
        PastDue = "past_due",
        /// Stopped for now: it is not billed.
        Paused = "paused",
        /// Over, for ever.
        Canceled = "canceled",
    }

    /// Where an invoice is in its life.
    InvoiceStatus {
        /// Being made; everything may change.
        Draft = "draft",
        /// Finalized and owed.
        Open = "open",
        /// Settled in full.
        Paid = "paid",
        /// Cancelled; keeps its number.
        Void = "void",
        /// Given up on; may still be paid.
        Uncollectible = "uncollectible",
    }

    /// Whether a payment counts.
    PaymentStatus {
        /// It counts.
        Settled = "settled",
        /// It was taken back and counts no more.
        Reversed = "reversed",
    }
}

impl Role {
    /// Whether this role may do what `needed` may.
    pub fn allows(self, needed: Self) -> bool {
        let rank = |role| match role {
            Self::Viewer => Some(0),
            Self::Agent => Some(1),
            Self::Admin => Some(2),
            Self::Unknown(_) => None,
        };
        // Nothing is known of an unknown role, so it allows nothing.
        matches!((rank(self), rank(needed)), (Some(own), Some(needed)) if own >= needed)
    }
}

const fn one() -> i64 {
    1
}

/// Empty, by the month, one unit: what a struct update begins from.
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

/// Of nobody to nothing, one unit: what a struct update begins from.
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
    /// What can be subscribed to, and its price.
    pub struct Plan {
        /// `pln_…`
        pub id: PlanId,
        /// The number of this state.
        pub version: Version,
        /// The caller's own name for it; unique, set once.
        pub code: String,
        /// The name shown to people.
        pub name: String,
        /// What it is, for people.
        pub description: String,
        /// ISO 4217.
        pub currency: String,
        /// The price of one unit for one period, in the currency's minor unit; ≥ 0.
        pub amount: i64,
        /// The unit of its billing period.
        pub interval: Interval,
        /// So many intervals make a period; 1–36.
        pub interval_count: i64,
        /// Free days before the first period; 0–730.
        pub trial_days: i64,
        /// Where it is in its life.
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

    /// What a client may set on a [`Plan`].
    #[serde(deny_unknown_fields)]
    pub struct PlanFields {
        /// The caller's own name for it, 1–100 characters; unique, set once.
        pub code: String,
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// What it is, for people; ≤ 2,000 characters.
        #[serde(default)]
        pub description: String,
        /// ISO 4217, upper case.
        pub currency: String,
        /// The price of one unit for one period, in the currency's minor unit; ≥ 0.
        pub amount: i64,
        /// The unit of its billing period.
        #[serde(deserialize_with = "known::read")]
        pub interval: Interval,
        /// So many intervals make a period; 1–36, default 1.
        #[serde(default = "one")]
        pub interval_count: i64,
        /// Free days before the first period; 0–730, default 0.
        #[serde(default)]
        pub trial_days: i64,
        /// Left out: `draft` at creation, unchanged in a replace.
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
        /// Where invoices go.
        pub email: Option<String>,
        /// ISO 4217: what its invoices are in unless they say otherwise.
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

    /// What a client may set on a [`Workspace`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct WorkspaceFields {
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// Where invoices go; ≤ 320 characters with an `@`.
        #[serde(default)]
        pub email: Option<String>,
        /// ISO 4217, upper case: what its invoices are in unless they say otherwise.
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
        /// The workspace it is a part of; set once.
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

    /// What a client may set on a [`Namespace`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct NamespaceFields {
        /// The workspace it is a part of; set once.
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
        /// Who pays; set once.
        pub workspace_id: WorkspaceId,
        /// What it is subscribed to.
        pub plan_id: PlanId,
        /// So many units of the plan; 1–1,000,000.
        pub quantity: i64,
        /// Where it is in its life.
        pub status: SubscriptionStatus,
        /// What people wrote about it; ≤ 10,000 characters.
        pub notes: String,
        /// Whether the billing run ends it at the end of this period.
        pub cancel_at_period_end: bool,
        /// When it began; set once.
        pub start_at: Timestamp,
        /// The first instant of the running period.
        pub current_period_start: Timestamp,
        /// The first instant after the running period.
        pub current_period_end: Timestamp,
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

    /// What a client may set on a [`Subscription`].
    #[serde(deny_unknown_fields)]
    pub struct SubscriptionFields {
        /// Who pays; set once.
        pub workspace_id: WorkspaceId,
        /// What it is subscribed to: an active plan.
        pub plan_id: PlanId,
        /// So many units of the plan; 1–1,000,000, default 1.
        #[serde(default = "one")]
        pub quantity: i64,
        /// Left out: `trialing` or `active` at creation, by the plan; unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<SubscriptionStatus>,
        /// What people wrote about it; ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Whether the billing run ends it at the end of its period.
        #[serde(default)]
        pub cancel_at_period_end: bool,
        /// When it begins, default now; set once.
        #[serde(default)]
        pub start_at: Option<Timestamp>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// One line of an invoice.
    pub struct InvoiceLine {
        /// What it is for, 1–500 characters.
        pub description: String,
        /// So many; ≥ 1.
        pub quantity: i64,
        /// The price of one, in the currency's minor unit; negative gives something back.
        pub unit_amount: i64,
        /// `quantity × unit_amount`, by the server, in the currency's minor unit.
        pub amount: i64,
    }

    /// What a client may set on an [`InvoiceLine`].
    #[serde(deny_unknown_fields)]
    pub struct InvoiceLineFields {
        /// What it is for, 1–500 characters.
        pub description: String,
        /// So many; ≥ 1.
        pub quantity: i64,
        /// The price of one, in the currency's minor unit; negative gives something back.
        pub unit_amount: i64,
        /// An echo of what the server computed; refused if it is anything else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(read_only))]
        pub amount: Option<i64>,
    }

    /// What a workspace owes.
    pub struct Invoice {
        /// `inv_…`
        pub id: InvoiceId,
        /// The number of this state.
        pub version: Version,
        /// Who owes it.
        pub workspace_id: WorkspaceId,
        /// The subscription it is for, if any.
        pub subscription_id: Option<SubscriptionId>,
        /// Its number in the series of invoices, from finalization on: `INV-000001`.
        pub number: Option<String>,
        /// Where it is in its life.
        pub status: InvoiceStatus,
        /// ISO 4217.
        pub currency: String,
        /// What it is for.
        pub lines: Vec<InvoiceLine>,
        /// The sum of the lines, in the currency's minor unit.
        pub subtotal: i64,
        /// Tax on top, in the currency's minor unit; ≥ 0.
        pub tax: i64,
        /// `subtotal + tax`, in the currency's minor unit.
        pub total: i64,
        /// The sum of its settled payments, in the currency's minor unit.
        pub amount_paid: i64,
        /// `max(0, total − amount_paid)`, in the currency's minor unit.
        pub amount_due: i64,
        /// The first instant of the period it bills, on recurring invoices.
        pub period_start: Option<Timestamp>,
        /// The first instant after that period.
        pub period_end: Option<Timestamp>,
        /// When it is to be paid.
        pub due_at: Option<Timestamp>,
        /// What people wrote about it; ≤ 10,000 characters.
        pub notes: String,
        /// When it was finalized.
        pub finalized_at: Option<Timestamp>,
        /// When it was settled in full.
        pub paid_at: Option<Timestamp>,
        /// When it was voided.
        pub voided_at: Option<Timestamp>,
        /// The caller's own keys and values.
        pub metadata: Metadata,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// What a client may set on an [`Invoice`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct InvoiceFields {
        /// Who owes it.
        pub workspace_id: WorkspaceId,
        /// The subscription it is for, if any; of the same workspace.
        #[serde(default)]
        pub subscription_id: Option<SubscriptionId>,
        /// ISO 4217, upper case; default: the workspace's.
        #[serde(default)]
        pub currency: Option<String>,
        /// What it is for; up to 200 lines.
        #[serde(default)]
        pub lines: Vec<InvoiceLineFields>,
        /// Tax on top, in the currency's minor unit; ≥ 0.
        #[serde(default)]
        pub tax: i64,
        /// When it is to be paid.
        #[serde(default)]
        pub due_at: Option<Timestamp>,
        /// What people wrote about it; ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Left out: `draft` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<InvoiceStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// Money received for an invoice; never changed but by its reversal.
    pub struct Payment {
        /// `pay_…`
        pub id: PaymentId,
        /// The invoice it is for.
        pub invoice_id: InvoiceId,
        /// How much, in the invoice's currency's minor unit.
        pub amount: i64,
        /// What the payment provider calls it; unique for ever.
        pub provider_ref: String,
        /// Whether it counts.
        pub status: PaymentStatus,
        /// When it was recorded.
        pub created_at: Timestamp,
        /// Who recorded it.
        pub created_by: String,
        /// When it was reversed.
        pub reversed_at: Option<Timestamp>,
        /// Why it was reversed.
        pub reversal_reason: Option<String>,
    }

    /// A payment to record.
    #[serde(deny_unknown_fields)]
    pub struct NewPayment {
        /// How much, in the invoice's currency's minor unit; > 0.
        pub amount: i64,
        /// What the payment provider calls it, 1–255 characters.
        pub provider_ref: String,
    }

    /// What a billing run did.
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
        /// The last version it lived at; the deletion is the next entry of its history.
        pub last_version: Version,
    }

    /// A key to the API, without its secret.
    pub struct ApiKey {
        /// `key_…`
        pub id: ApiKeyId,
        /// What it is recorded as in every change it makes.
        pub name: String,
        /// What it may do.
        pub role: Role,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it stops working.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
    }

    /// An API key to make.
    #[serde(deny_unknown_fields)]
    pub struct NewApiKey {
        /// What it is recorded as in every change it makes, 1–100 characters.
        pub name: String,
        /// What it may do.
        #[serde(deserialize_with = "known::read")]
        pub role: Role,
        /// When it stops working; in the future.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
    }
}
