//! Billing over HTTP: plans, workspaces, subscriptions, invoices, payments and billing runs.

mod balance;
mod payments;
pub mod problem;
pub mod render;
pub mod routes;
mod runs;
