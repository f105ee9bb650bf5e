//! What workspaces and namespaces may use, and what they did use of it.
//!
//! The row of the scope itself, a workspace or a namespace, is the anchor: whoever changes what a
//! scope has, or uses it, locks that row first and reads everything else afterwards.

mod assignment;
mod boost;
mod expiry;
mod feature;
mod hold;
mod package;
mod pool;
mod read;
mod usage;

pub use assignment::{AssignPackage, AssignmentRecord};
pub use boost::{BoostRecord, GrantBoost, addon_key};
pub(crate) use expiry::COUNTERS_AT_ONCE;
pub(crate) use expiry::on_nobodys_behalf;
pub use expiry::{BURNT_OUT_KEPT_US, ExpireEntitlements};
pub use feature::{FeatureRecord, FeatureTerms, PoolTerms};
pub use hold::{EndHold, HoldEnd, PlaceHold, StoredHold};
pub use package::{PackageRecord, PoolGrant};
pub use pool::{Counter, RolledOff, counter_key, rolling_start};
pub use read::entitlement;
pub(crate) use usage::log_denial;
pub use usage::{CheckAndRecord, Denial, DenialReason, ReverseUsage, StoredRecord};

use crate::{Rejection, Scope, versioned::alive};
use ifmatch_types::{By, EntitlementLogEntry, Kind, Namespace, Timestamp, Workspace};
use serde_json::Value;
use std::fmt;

/// Who has packages and boosts: a workspace or a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeRef {
    /// [`Kind::Workspace`] or [`Kind::Namespace`].
    pub kind: Kind,
    /// Its id.
    pub id: String,
}

impl ScopeRef {
    /// A workspace as a scope.
    pub fn workspace(id: impl Into<String>) -> Self {
        Self { kind: Kind::Workspace, id: id.into() }
    }

    /// Reads `workspaces/wsp_…` or `namespaces/nsp_…`.
    pub fn parse(text: &str) -> Option<Self> {
        let (collection, id) = text.split_once('/')?;
        let kinds = [Kind::Workspace, Kind::Namespace];
        let kind = kinds.into_iter().find(|kind| kind.collection() == collection)?;
        Some(Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for ScopeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.collection(), self.id)
    }
}

/// What a scope has, as far as it may still count: the members of its sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Assignments that are active or suspended, and new ones.
    pub assignments: Vec<String>,
    /// Boosts that are not over, and new ones.
    pub boosts: Vec<String>,
    /// Where its months begin: when it got its first package or boost ever.
    pub anchor: Option<Timestamp>,
}

/// One line of the entitlement log, on its way there.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Whose log.
    pub scope: String,
    /// The line.
    pub entry: EntitlementLogEntry,
}

/// Writes a line into a scope's log.
pub(crate) fn log(of: &str, log_type: &str, details: Value, scope: &mut Scope<'_>) {
    let by = scope.meta.by(false);
    log_as(by, of, log_type, details, scope);
}

pub(crate) fn log_as(by: By, of: &str, log_type: &str, details: Value, scope: &mut Scope<'_>) {
    let entry = EntitlementLogEntry {
        id: scope.ids.fresh("elg_"),
        log_type: log_type.to_owned(),
        at: scope.now,
        by,
        request_id: scope.meta.request_id.clone(),
        details,
    };
    scope.state.log.push(LogLine { scope: of.to_owned(), entry });
}

/// The scope itself and, for a namespace, the workspace it falls back to; both must be alive.
pub(crate) fn chain(of: &ScopeRef, scope: &Scope<'_>) -> Result<Vec<ScopeRef>, Rejection> {
    match of.kind {
        Kind::Namespace => {
            let namespace = alive::<Namespace>(&of.id, scope.state)?;
            let workspace = ScopeRef::workspace(namespace.workspace_id.as_str());
            Ok(vec![of.clone(), workspace])
        }
        _ => {
            alive::<Workspace>(&of.id, scope.state)?;
            Ok(vec![of.clone()])
        }
    }
}
