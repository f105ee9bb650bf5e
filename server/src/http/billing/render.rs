//! The replies to billing's commands.

use crate::http::core::render::Reply;
use ifmatch_domain::billing::Outcome;
use ifmatch_types::{BillingPreview, SettledSubscription};
use serde_json::json;

/// The reply of a billing outcome.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Payment { payment, first } => {
            let status = if *first { 201 } else { 200 };
            Reply::new(status, payment).header(
                "Location",
                format!("/v1/invoices/{}/payments/{}", payment.invoice_id, payment.id),
            )
        }
        Outcome::PaymentTurned(payment) => Reply::new(200, payment),
        Outcome::Billed { made, skipped, more } => {
            Reply::new(200, &json!({ "made": made, "skipped": skipped, "more": more }))
        }
        Outcome::BillingRun(run) => Reply::new(200, run),
        Outcome::BillingPreviewed(invoices) => {
            Reply::new(200, &BillingPreview { invoices: invoices.clone(), remaining: 0 })
        }
        Outcome::Settled(None) => Reply::new(200, &SettledSubscription { invoice: None }),
        Outcome::Settled(Some(invoice)) => {
            Reply::new(201, &SettledSubscription { invoice: Some(invoice.clone()) })
                .header("Location", format!("/v1/invoices/{}", invoice.id))
        }
        Outcome::BalanceAdjusted(transaction) => Reply::new(201, transaction),
    }
}
