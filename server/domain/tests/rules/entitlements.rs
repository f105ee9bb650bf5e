//! The rules of entitlements, sentence by sentence, and against a slow and obvious reference.

mod assignments;
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
