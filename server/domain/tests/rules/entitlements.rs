//! The rules of entitlements, one by one and against a slow, simple reference.

mod assignments;
mod burning;
mod catalog;
mod consumables;
mod denials;
mod holds;
mod ledger;
mod pools;
mod quota;
mod random_quotas;
mod reversals;
mod scopes;
mod thresholds;
mod windows;
