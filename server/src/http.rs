//! The HTTP side: a request becomes a command or a read, and its outcome becomes an answer.

pub mod access;
pub mod billing;
pub mod booking;
pub mod core;
pub mod entitlement;
pub mod ledger;
pub mod lock;
pub mod provisioning;
pub mod systems;
pub mod transactions;
