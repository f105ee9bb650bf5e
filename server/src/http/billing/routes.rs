//! The routes of billing: plans, workspaces, namespaces, subscriptions, invoices, payments, runs.

use super::{
    balance,
    payments::{self, Reversal},
    runs::{self, NewBillingPreview, NewBillingRun, NewSettlement},
};
use crate::http::core::{
    collection::{KNOWN, READS, collection, paths},
    endpoint::{Endpoint, get, group, post, schema},
};
use ifmatch_types::{
    Balance, BalanceTransaction, BillingPeriod, BillingPreview, BillingRun, Code, Invoice,
    InvoiceFields, Namespace, NamespaceFields, NewBalanceAdjustment, NewPayment, Payment, Plan,
    PlanFields, SettledSubscription, Subscription, SubscriptionFields, Workspace, WorkspaceFields,
};

/// Every route of billing.
pub fn routes() -> Vec<Endpoint> {
    [collections(), payments(), balances(), runs()].into_iter().flatten().collect()
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
                Code::SubscriptionEnded,
                Code::BillingBehind,
                Code::AmountOverflow,
            ],
        ),
        collection::<Invoice, InvoiceFields>(
            "Invoices",
            &paths!("invoices"),
            &[
                Code::InvalidStateTransition,
                Code::InvoiceImmutable,
                Code::InvoiceHasPayments,
                Code::BalanceSpent,
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
        [
            post("/v1/billing-runs", runs::run)
                .agent()
                .idempotent()
                .operation_id("run_billing")
                .summary("Create the due invoices and advance periods")
                .optional_body::<NewBillingRun>()
                .answers::<BillingRun>(200),
            post("/v1/billing-runs/preview", runs::preview)
                .agent()
                .operation_id("preview_billing")
                .summary("Tell which invoices billing runs would make, also in the future")
                .optional_body::<NewBillingPreview>()
                .answers::<BillingPreview>(200)
                .problems(&[Code::WrongIdType]),
            get("/v1/subscriptions/{id}/periods", runs::periods)
                .viewer()
                .scoped()
                .paged()
                .operation_id("list_billing_periods")
                .summary(
                    "List a subscription's periods, newest first: what each costs and was charged",
                )
                .answers_page::<BillingPeriod>(200)
                .problems(READS)
                .problems(&[Code::AmountOverflow]),
            post("/v1/subscriptions/{id}/settle", runs::settle)
                .agent()
                .scoped()
                .names_version()
                .idempotency_required()
                .operation_id("settle_subscription")
                .summary("Settle a subscription: invoice what is due now, with all differences")
                .body::<NewSettlement>()
                .answers::<SettledSubscription>(201)
                .answers::<SettledSubscription>(200)
                .problems(READS)
                .problems(&[Code::BillingBehind, Code::AmountOverflow]),
        ],
    )
}

fn balances() -> Vec<Endpoint> {
    group(
        "Balance",
        [
            get("/v1/workspaces/{id}/balance", balance::get)
                .viewer()
                .scoped()
                .operation_id("get_balance")
                .summary("Read what a workspace has, by currency")
                .answers::<Balance>(200)
                .problems(READS),
            get("/v1/workspaces/{id}/balance/transactions", balance::list)
                .viewer()
                .scoped()
                .paged()
                .query(
                    "currency",
                    "Only those in this currency, ISO 4217",
                    schema::matching("^[A-Z]{3}$"),
                )
                .operation_id("list_balance_transactions")
                .summary("List the transactions of a workspace's balance, newest first")
                .answers_page::<BalanceTransaction>(200)
                .problems(READS),
            post("/v1/workspaces/{id}/balance/adjustments", balance::adjust)
                .admin()
                .idempotency_required()
                .operation_id("adjust_balance")
                .summary("Correct the balance: up or down, with a reason")
                .body::<NewBalanceAdjustment>()
                .answers::<BalanceTransaction>(201)
                .problems(READS)
                .problems(&[Code::InsufficientBalance, Code::AmountOverflow]),
        ],
    )
}
