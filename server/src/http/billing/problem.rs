//! The texts of the billing rejections.

use crate::http::core::problem::{HttpProblem, rejection};
use crate::http::ledger;
use ifmatch_domain::billing::Rejection;
use ifmatch_types::Code;

/// The problem of a billing rejection.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::PlanPriceFrozen { fields } => HttpProblem::new(
            Code::PlanPriceFrozen,
            "the price of a plan that has been active cannot change; create another plan",
        )
        .with("fields", fields),
        Rejection::PlanInUse => HttpProblem::new(
            Code::PlanInUse,
            "only a draft without subscriptions can be deleted; archive the plan instead",
        ),
        Rejection::PlanInactive { plan_id, status } => HttpProblem::new(
            Code::PlanInactive,
            format!("plan {plan_id} is {status}; subscriptions need an active one"),
        )
        .with("plan_id", plan_id)
        .with("plan_status", status),
        Rejection::CurrencyMismatch { from, to } => HttpProblem::new(
            Code::CurrencyMismatch,
            format!("the subscription is in {from}, the new plan in {to}"),
        )
        .with("from", from)
        .with("to", to),
        Rejection::WorkspaceInUse => HttpProblem::new(
            Code::WorkspaceInUse,
            "the workspace still has namespaces, subscriptions or invoices, which must be deleted first, \
             or it has had credits, whose transfers are kept for ever",
        ),
        Rejection::SubscriptionInUse => HttpProblem::new(
            Code::SubscriptionInUse,
            "the subscription had an invoice; cancel it instead",
        ),
        Rejection::SubscriptionEnded { fields, ended_at } => HttpProblem::new(
            Code::SubscriptionEnded,
            "the subscription has ended; only its notes and metadata can change",
        )
        .with("fields", fields)
        .with("ended_at", ended_at.map(|at| at.to_string())),
        Rejection::BillingBehind { due_at } => HttpProblem::new(
            Code::BillingBehind,
            "more than 24 periods are not billed yet; make a billing run first",
        )
        .with("due_at", due_at.to_string()),
        Rejection::InsufficientBalance { required, available } => HttpProblem::new(
            Code::InsufficientBalance,
            format!("{required} would be taken from a balance of {available}"),
        )
        .with("required", required)
        .with("available", available),
        Rejection::BalanceSpent { required, available } => HttpProblem::new(
            Code::BalanceSpent,
            format!(
                "the invoice gave {required} to the customer's balance, and {available} are left; \
                 adjust the balance first"
            ),
        )
        .with("required", required)
        .with("available", available),
        Rejection::NegativeTotal => HttpProblem::new(
            Code::Forbidden,
            "finalizing an invoice with a negative total gives money to the customer; it needs the \
             role admin",
        ),
        Rejection::Ledger(rejection) => ledger::problem::problem(rejection),
        Rejection::InvoiceImmutable { fields } => HttpProblem::new(
            Code::InvoiceImmutable,
            "a finalized invoice is fixed and cannot be deleted; void it and create another",
        )
        .with("fields", fields),
        Rejection::InvoiceHasPayments { amount_paid } => HttpProblem::new(
            Code::InvoiceHasPayments,
            format!("payments of {amount_paid} are settled; reverse them first"),
        )
        .with("amount_paid", amount_paid),
        Rejection::ExceedsAmountDue { amount_due, amount } => HttpProblem::new(
            Code::ExceedsAmountDue,
            format!("{amount} is more than the {amount_due} that is due"),
        )
        .with("amount_due", amount_due)
        .with("amount", amount),
        Rejection::PaymentReversed(payment) => HttpProblem::new(
            Code::PaymentReversed,
            "this payment was reversed; if it counts after all, reinstate it",
        )
        .with("payment_id", payment.id.as_str())
        .with("reversed_at", payment.reversed_at.map(|at| at.to_string()))
        .with("reversal_reason", payment.reversal_reason),
    }
}
