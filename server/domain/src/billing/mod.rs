//! Billing: plans, workspaces and their namespaces, subscriptions, invoices, payments, balances.
//!
//! Billing is a function of the terms. `terms` is an append-only list per subscription, `period`
//! computes periods and costs from it, `charges` is what living invoices charge, and `bill` makes
//! invoices of the difference.

mod action;
mod balance;
mod bill;
mod charges;
mod forecast;
mod invoice;
mod namespace;
mod need;
mod outcome;
mod payment;
mod period;
mod plan;
mod proration;
mod recheck;
mod rejection;
mod run;
mod settle;
mod state;
mod subscription;
mod terms;
mod workspace;

pub use action::Action;
pub use balance::AdjustBalance;
pub use charges::{Charges, charged_until};
pub use forecast::PreviewBilling;
pub use invoice::{SERIES, Sequence};
pub use need::Need;
pub use outcome::Outcome;
pub use payment::{RecordPayment, ReinstatePayment, ReversePayment, StoredPayment};
pub use plan::PlanTerms;
pub use recheck::{periods_of, recheck};
pub use rejection::Rejection;
pub use run::{BillSubscription, FinishBillingRun};
pub use settle::SettleSubscription;
pub use state::State;
pub use subscription::SubscriptionRecord;
pub use terms::{Segment, Terms};
