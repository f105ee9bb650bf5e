//! Entitlements: the features that workspaces and namespaces may use, and their usage.
//!
//! A scope is a workspace or a namespace. A command that changes or uses a scope's entitlements
//! locks the scope's row first and reads everything else afterwards.

mod action;
mod assignment;
mod boost;
mod burn;
mod charge;
mod counter;
mod denial;
mod end_hold;
mod expiry;
mod feature;
mod grant_boost;
mod hold;
mod limit;
mod log;
mod need;
mod outcome;
mod overdue;
mod package;
mod place_hold;
mod read;
mod rejection;
mod scope;
mod state;
mod threshold;
mod usage;

pub use action::Action;
pub use assignment::{AssignPackage, AssignmentRecord};
pub use boost::{BoostRecord, addon_key};
pub use burn::Burns;
pub use counter::{Counter, RolledOff, counter_key, rolling_start};
pub(crate) use denial::log_denial;
pub use denial::{Denial, DenialReason};
pub use end_hold::{EndHold, HoldEnd};
pub use expiry::{BURNT_OUT_KEPT_US, ExpireEntitlements};
pub use feature::{FeatureRecord, FeatureTerms, PoolTerms};
pub use grant_boost::GrantBoost;
pub use hold::{DueHolds, StoredHold};
pub use log::LogLine;
pub use need::Need;
pub use outcome::Outcome;
pub use package::{PackageRecord, PoolGrant};
pub use place_hold::PlaceHold;
pub use read::{entitlement, want_pools};
pub use rejection::Rejection;
pub use scope::{Holdings, ScopeRef};
pub use state::State;
pub use usage::{CheckAndRecord, ReverseUsage, StoredRecord};
