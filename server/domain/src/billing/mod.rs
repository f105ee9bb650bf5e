//! Billing: plans, workspaces and their namespaces, subscriptions, invoices, payments.

mod action;
mod invoice;
mod namespace;
mod need;
mod outcome;
mod payment;
mod plan;
mod proration;
mod rejection;
mod run;
mod state;
mod subscription;
mod workspace;

pub use action::Action;
pub use invoice::{SERIES, Sequence};
pub use need::Need;
pub use outcome::Outcome;
pub use payment::{RecordPayment, ReinstatePayment, ReversePayment, StoredPayment};
pub use plan::PlanTerms;
pub use rejection::Rejection;
pub use run::{BillSubscription, BilledPeriods, FinishBillingRun};
pub use state::State;
pub use subscription::{PlanChange, SubscriptionRecord};
