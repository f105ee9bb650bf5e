//! Invoices and payments.

use crate::{
    InvoiceId, Metadata, PaymentId, PlanId, SubscriptionId, Timestamp, Version, WorkspaceId, known,
};

names! {
    /// The life cycle of an invoice.
    InvoiceStatus {
        /// In preparation: everything may change.
        Draft = "draft",
        /// Finalized and unpaid.
        Open = "open",
        /// Paid in full.
        Paid = "paid",
        /// Void. It keeps its number.
        Void = "void",
        /// Written off. It may still be paid.
        Uncollectible = "uncollectible",
    }

    /// Whether a payment counts.
    PaymentStatus {
        /// It counts.
        Settled = "settled",
        /// It was taken back and no longer counts.
        Reversed = "reversed",
    }
}

wire! {
    /// One line of an invoice.
    pub struct InvoiceLine {
        /// A description, 1–500 characters.
        pub description: String,
        /// The quantity, ≥ 1.
        pub quantity: i64,
        /// The price of one, in the currency's minor unit. A negative one gives money back.
        pub unit_amount: i64,
        /// `quantity × unit_amount`, computed by the server, in the currency's minor unit.
        pub amount: i64,
        /// The start of the billing period that it charges, on lines that billing made.
        #[serde(default)]
        pub period_start: Option<Timestamp>,
        /// When the terms began that it charges, on lines that billing made.
        #[serde(default)]
        pub segment_start: Option<Timestamp>,
    }

    /// The settable fields of an [`InvoiceLine`].
    #[serde(deny_unknown_fields)]
    pub struct InvoiceLineFields {
        /// A description, 1–500 characters.
        pub description: String,
        /// The quantity, ≥ 1.
        pub quantity: i64,
        /// The price of one, in the currency's minor unit. A negative one gives money back.
        pub unit_amount: i64,
        /// The amount as the server computed it; any other value is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(read_only))]
        pub amount: Option<i64>,
        /// The period as the server shows it; any other value is refused.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(read_only))]
        pub period_start: Option<Timestamp>,
        /// The start of the terms as the server shows it; any other value is refused.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(read_only))]
        pub segment_start: Option<Timestamp>,
    }

    /// A bill to a workspace.
    pub struct Invoice {
        /// `inv_…`
        pub id: InvoiceId,
        /// The number of this state.
        pub version: Version,
        /// The workspace that owes it.
        pub workspace_id: WorkspaceId,
        /// The subscription it is for, if any.
        pub subscription_id: Option<SubscriptionId>,
        /// Its number in the series of invoices, given at finalization: `INV-000001`.
        pub number: Option<String>,
        /// Its status.
        pub status: InvoiceStatus,
        /// ISO 4217.
        pub currency: String,
        /// Its lines.
        pub lines: Vec<InvoiceLine>,
        /// The sum of the lines, in the currency's minor unit.
        pub subtotal: i64,
        /// Tax on top, in the currency's minor unit; ≥ 0.
        pub tax: i64,
        /// `subtotal + tax`, in the currency's minor unit.
        pub total: i64,
        /// The sum of its settled payments, in the currency's minor unit.
        pub amount_paid: i64,
        /// What finalizing took from the customer's balance, in the currency's minor unit. Below 0:
        /// what it gave, because the total is below 0.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required))]
        pub balance_applied: i64,
        /// `max(0, total − balance_applied − amount_paid)`, in the currency's minor unit.
        pub amount_due: i64,
        /// The first instant of the period it bills, on recurring invoices.
        pub period_start: Option<Timestamp>,
        /// The first instant after that period.
        pub period_end: Option<Timestamp>,
        /// When it must be paid.
        pub due_at: Option<Timestamp>,
        /// Notes by people, ≤ 10,000 characters.
        pub notes: String,
        /// When it was finalized.
        pub finalized_at: Option<Timestamp>,
        /// When it was paid in full.
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

    /// The settable fields of an [`Invoice`].
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct InvoiceFields {
        /// The workspace that owes it.
        pub workspace_id: WorkspaceId,
        /// The subscription it is for, if any. It must be of the same workspace.
        #[serde(default)]
        pub subscription_id: Option<SubscriptionId>,
        /// ISO 4217, upper case; default: the workspace's.
        #[serde(default)]
        pub currency: Option<String>,
        /// Its lines, at most 200.
        #[serde(default)]
        pub lines: Vec<InvoiceLineFields>,
        /// Tax on top, in the currency's minor unit; ≥ 0.
        #[serde(default)]
        pub tax: i64,
        /// When it must be paid.
        #[serde(default)]
        pub due_at: Option<Timestamp>,
        /// Notes by people, ≤ 10,000 characters.
        #[serde(default)]
        pub notes: String,
        /// Default: `draft` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<InvoiceStatus>,
        /// The caller's own keys and values.
        #[serde(default)]
        pub metadata: Metadata,
    }

    /// A period of a subscription: what it costs, and what was charged for it.
    pub struct BillingPeriod {
        /// The first instant.
        pub start: Timestamp,
        /// The first instant after it.
        pub end: Timestamp,
        /// What it costs by the terms until now, in the plan's currency's minor unit.
        pub cost: i64,
        /// What living invoices charge for it, in the currency's minor unit.
        pub charged: i64,
        /// The terms that took effect within it, oldest first.
        pub segments: Vec<BillingSegment>,
    }

    /// Terms that took effect within a period, until the next ones or its end.
    pub struct BillingSegment {
        /// When they took effect.
        pub start: Timestamp,
        /// The plan.
        pub plan_id: PlanId,
        /// The number of units.
        pub quantity: i64,
        /// What they cost for their days, in the currency's minor unit.
        pub cost: i64,
    }

    /// An invoice as a billing run would make it. It has no number yet and is not stored.
    pub struct InvoicePreview {
        /// The workspace that would owe it.
        pub workspace_id: WorkspaceId,
        /// The subscription it would be for.
        pub subscription_id: SubscriptionId,
        /// ISO 4217.
        pub currency: String,
        /// Its lines.
        pub lines: Vec<InvoiceLine>,
        /// The sum of the lines, in the currency's minor unit.
        pub subtotal: i64,
        /// Tax on top, in the currency's minor unit.
        pub tax: i64,
        /// `subtotal + tax`, in the currency's minor unit.
        pub total: i64,
        /// What it would take from the customer's balance, in the currency's minor unit. Below 0:
        /// what it would give.
        pub balance_applied: i64,
        /// What would be due, in the currency's minor unit.
        pub amount_due: i64,
        /// The first instant of its period; `null` if it only settles differences.
        pub period_start: Option<Timestamp>,
        /// The first instant after that period.
        pub period_end: Option<Timestamp>,
    }

    /// The invoices that billing runs would make.
    pub struct BillingPreview {
        /// At most 24 per subscription, in the order in which they would be made.
        pub invoices: Vec<InvoicePreview>,
        /// How many due subscriptions were left out, because the answer would be too long.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(required))]
        pub remaining: i64,
    }

    /// The result of settling a subscription.
    pub struct SettledSubscription {
        /// The newest invoice that it made; `null` if nothing was due.
        pub invoice: Option<Invoice>,
    }

    /// Money received for an invoice. Only a reversal and a reinstatement change it.
    pub struct Payment {
        /// `pay_…`
        pub id: PaymentId,
        /// The invoice it is for.
        pub invoice_id: InvoiceId,
        /// The amount in the currency's minor unit.
        pub amount: i64,
        /// The payment provider's name for it; unique for ever.
        pub provider_ref: String,
        /// Whether it counts.
        pub status: PaymentStatus,
        /// When it was recorded.
        pub created_at: Timestamp,
        /// The name of the API key that recorded it.
        pub created_by: String,
        /// When it was last reversed.
        pub reversed_at: Option<Timestamp>,
        /// Why it was last reversed.
        pub reversal_reason: Option<String>,
        /// When it was last reinstated.
        #[serde(default)]
        pub reinstated_at: Option<Timestamp>,
        /// Why it was last reinstated.
        #[serde(default)]
        pub reinstatement_reason: Option<String>,
    }

    /// A payment to record.
    #[serde(deny_unknown_fields)]
    pub struct NewPayment {
        /// The amount in the currency's minor unit, > 0.
        pub amount: i64,
        /// The payment provider's name for it, 1–255 characters.
        pub provider_ref: String,
    }
}
