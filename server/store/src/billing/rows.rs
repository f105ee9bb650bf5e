//! The rows of billing, and the filters and sorts of its lists.

use crate::{
    core::{
        column::{ids, json, names},
        list::{
            Field,
            FieldType::{Boolean, Instant, Integer, OptInstant, Text},
        },
        object::StoredObject,
        record::record,
    },
    schema::{
        InvoiceRow, NamespaceRow, PaymentRow, PlanRow, SegmentRow, SequenceRow, SubscriptionRow,
        WorkspaceRow,
    },
};
use ifmatch_domain::{
    billing::{Segment, Sequence, StoredPayment, SubscriptionRecord, charged_until},
    core::Row,
};
use ifmatch_types::{
    Interval, Invoice, InvoiceId, InvoiceLine, InvoiceStatus, Namespace, NamespaceId, Payment,
    PaymentId, PaymentStatus, Plan, PlanId, PlanStatus, Subscription, SubscriptionId,
    SubscriptionStatus, Timestamp, Workspace, WorkspaceId,
};

ids!(PlanId, WorkspaceId, NamespaceId, SubscriptionId, InvoiceId, PaymentId);
names!(Interval, PlanStatus, SubscriptionStatus, InvoiceStatus, PaymentStatus);
json!(Vec<InvoiceLine>);

record! {
    PlanRow => Row<Plan> {
        id, version, code, name, description, currency, amount, interval, interval_count,
        trial_days, status, metadata, created_at, updated_at, updated_by,
    }
}

record! {
    WorkspaceRow => Row<Workspace> {
        id, version, name, email, currency, metadata, created_at, updated_at, updated_by,
    }
}

record! {
    NamespaceRow => Row<Namespace> {
        id, version, workspace_id, name, metadata, created_at, updated_at, updated_by,
    }
}

record! {
    SubscriptionRow => Row<SubscriptionRecord> {
        subscription: Subscription {
            id, version, workspace_id, plan_id, quantity, status, notes, cancel_at_period_end,
            start_at, current_period_start, current_period_end, trial_end, canceled_at, ended_at,
            metadata, created_at, updated_at, updated_by,
        },
        reached_at, due_at, billed_until, settled_at, settled_anchor, settled_segment, had_draft,
        last_term, last_term_at, quantity_max,
    }
}

record! {
    SegmentRow => Segment {
        subscription_id, at, seq, previous_at, plan_id, quantity, status, anchor_at, invoiced_until,
        invoiced_amount,
    }
}

record! {
    InvoiceRow => Row<Invoice> {
        id, version, workspace_id, subscription_id, number, status, currency, lines, subtotal, tax,
        total, amount_paid, balance_applied, amount_due, period_start, period_end, due_at, notes,
        finalized_at, paid_at, voided_at, metadata, created_at, updated_at, updated_by,
    }
    write |row| { charged_until: charged_until(&row.record).map(Timestamp::as_micros) }
}

record! {
    PaymentRow => StoredPayment {
        payment: Payment {
            id, invoice_id, amount, provider_ref, status, created_at, created_by, reversed_at,
            reversal_reason, reinstated_at, reinstatement_reason,
        },
        version,
    }
}

/// The row of a series of numbers.
///
/// A series is known by its static name, so no record can be made from a row alone.
pub(super) fn sequence_row(sequence: &Sequence) -> SequenceRow {
    SequenceRow { series: sequence.series.to_owned(), last: sequence.last }
}

impl StoredObject for Plan {
    const FILTERS: &'static [Field] =
        &[("code", Text), ("status", Text), ("currency", Text), ("interval", Text)];
    const SORTS: &'static [Field] =
        &[("created_at", Instant), ("code", Text), ("name", Text), ("amount", Integer)];
    const HAS_TURNSTILE: bool = true;
}

impl StoredObject for Workspace {
    const WORKSPACE: Option<&'static str> = Some("id");
    const FILTERS: &'static [Field] = &[("name", Text), ("email", Text), ("currency", Text)];
    const SORTS: &'static [Field] = &[("created_at", Instant), ("name", Text)];
    const USERS: &'static [&'static str] = &[
        "SELECT workspace_id, id FROM subscriptions WHERE deleted_at IS NULL AND workspace_id = ",
        " UNION ALL SELECT workspace_id, id FROM namespaces \
         WHERE deleted_at IS NULL AND workspace_id = ",
        " UNION ALL SELECT workspace_id, id FROM invoices \
         WHERE deleted_at IS NULL AND workspace_id = ",
        " UNION ALL SELECT workspace_id, id FROM ledger_accounts WHERE workspace_id = ",
        " UNION ALL SELECT workspace_id, id FROM servers WHERE workspace_id = ",
    ];
}

impl StoredObject for Namespace {
    const WORKSPACE: Option<&'static str> = Some("workspace_id");
    const FILTERS: &'static [Field] = &[("workspace_id", Text), ("name", Text)];
    const SORTS: &'static [Field] = Workspace::SORTS;
    const OWNER: Option<&'static str> = Some("workspace_id");
}

impl StoredObject for SubscriptionRecord {
    const WORKSPACE: Option<&'static str> = Some("workspace_id");
    const FILTERS: &'static [Field] = &[
        ("workspace_id", Text),
        ("plan_id", Text),
        ("status", Text),
        ("quantity", Integer),
        ("cancel_at_period_end", Boolean),
    ];
    const SORTS: &'static [Field] = &[("created_at", Instant), ("current_period_end", OptInstant)];
    const USERS: &'static [&'static str] =
        &["SELECT subscription_id, id FROM invoices WHERE subscription_id = "];
    const OWNER: Option<&'static str> = Some("workspace_id");
}

impl StoredObject for Invoice {
    const WORKSPACE: Option<&'static str> = Some("workspace_id");
    const FILTERS: &'static [Field] = &[
        ("workspace_id", Text),
        ("subscription_id", Text),
        ("status", Text),
        ("number", Text),
        ("currency", Text),
    ];
    const SORTS: &'static [Field] =
        &[("created_at", Instant), ("total", Integer), ("amount_due", Integer)];
}
