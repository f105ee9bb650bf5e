//! The routes of billing: plans, workspaces, namespaces, subscriptions, invoices, payments, runs.

use super::{
    payments::{self, Reversal},
    runs::{self, NewBillingRun},
};
use crate::http::core::{
    collection::{KNOWN, READS, collection, paths},
    endpoint::{Endpoint, get, group, post},
};
use ifmatch_types::{
    BillingRun, Code, Invoice, InvoiceFields, Namespace, NamespaceFields, NewPayment, Payment,
    Plan, PlanFields, Subscription, SubscriptionFields, Workspace, WorkspaceFields,
};

/// Every route of billing.
pub fn routes() -> Vec<Endpoint> {
    [collections(), payments(), runs()].into_iter().flatten().collect()
}

fn collections() -> Vec<Endpoint> {
    [
        collection::<Plan, PlanFields>(
            "Plans",
            &paths!("plans"),
            &[
                Code::AlreadyExists,
                Code::InvalidStateTransition,
                Code::PlanPriceFrozen,
                Code::PlanInUse,
            ],
        ),
        collection::<Workspace, WorkspaceFields>(
            "Workspaces",
            &paths!("workspaces"),
            &[Code::WorkspaceInUse],
        ),
        collection::<Namespace, NamespaceFields>("Namespaces", &paths!("namespaces"), &[]),
        collection::<Subscription, SubscriptionFields>(
            "Subscriptions",
            &paths!("subscriptions"),
            &[
                Code::InvalidStateTransition,
                Code::PlanInactive,
                Code::CurrencyMismatch,
                Code::SubscriptionInUse,
            ],
        ),
        collection::<Invoice, InvoiceFields>(
            "Invoices",
            &paths!("invoices"),
            &[
                Code::InvalidStateTransition,
                Code::InvoiceImmutable,
                Code::InvoiceHasPayments,
                Code::AmountOverflow,
            ],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn payments() -> Vec<Endpoint> {
    group(
        "Payments",
        [
            post("/v1/invoices/{id}/payments", payments::record)
                .agent()
                .idempotency_required()
                .summary("Record a payment")
                .body::<NewPayment>()
                .answers::<Payment>(201)
                .answers::<Payment>(200)
                .problems(READS)
                .problems(&[
                    Code::AlreadyExists,
                    Code::InvalidStateTransition,
                    Code::ExceedsAmountDue,
                    Code::PaymentReversed,
                ]),
            get("/v1/invoices/{id}/payments", payments::list)
                .viewer()
                .scoped()
                .paged()
                .summary("List an invoice's payments")
                .answers_page::<Payment>(200)
                .problems(KNOWN),
            get("/v1/invoices/{id}/payments/{payment_id}", payments::get)
                .viewer()
                .scoped()
                .summary("Read a payment")
                .answers::<Payment>(200)
                .problems(KNOWN),
            post("/v1/invoices/{id}/payments/{payment_id}/reverse", payments::reverse)
                .agent()
                .idempotency_required()
                .summary("Reverse a payment")
                .body::<Reversal>()
                .answers::<Payment>(200)
                .problems(READS),
            post("/v1/invoices/{id}/payments/{payment_id}/reinstate", payments::reinstate)
                .agent()
                .idempotency_required()
                .summary("Reinstate a reversed payment: it counts again")
                .body::<Reversal>()
                .answers::<Payment>(200)
                .problems(READS)
                .problems(&[Code::InvalidStateTransition, Code::ExceedsAmountDue]),
        ],
    )
}

fn runs() -> Vec<Endpoint> {
    group(
        "Billing",
        [post("/v1/billing-runs", runs::run)
            .agent()
            .idempotent()
            .operation_id("run_billing")
            .summary("Create the due invoices and advance periods")
            .optional_body::<NewBillingRun>()
            .answers::<BillingRun>(200)],
    )
}
