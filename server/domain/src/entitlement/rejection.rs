//! Reasons why the entitlement rules refuse a command: facts only, no texts.

use super::Denial;
use crate::core;

/// A rejection by the entitlement rules.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A rejection by a rule that all systems share.
    Core(core::Rejection),
    /// An item of a usage batch was refused, so all items were.
    Item {
        /// Its index, from 0.
        failed_index: usize,
        /// The reason.
        rejection: Box<Self>,
    },
    /// Usage was denied by a limit.
    Denied(Box<Denial>),
    /// The feature is granted or is the parent of another one, so its terms are frozen.
    FeatureInUse {
        /// The fields that the request would change; empty for a delete.
        fields: Vec<&'static str>,
    },
    /// The package is or was assigned to a scope.
    PackageInUse,
    /// The package is archived.
    PackageInactive {
        /// The package's code.
        package: String,
    },
    /// The hold has already ended.
    HoldNotActive {
        /// Its status.
        status: &'static str,
    },
    /// Usage of the feature cannot be given back.
    FeatureNotReleasable {
        /// The feature's code.
        feature: String,
    },
    /// The reversal is larger than the rest of the record.
    ReversalExceedsRecord {
        /// The requested number of units.
        requested: i64,
        /// The number of units that can still be reversed.
        left: i64,
    },
    /// The external service id belongs to another assignment.
    DuplicateExternalService {
        /// The id of that assignment.
        existing_id: String,
        /// The fields in which the two differ.
        differing_fields: Vec<String>,
    },
    /// The add-on belongs to another boost.
    DuplicateAddon {
        /// The id of that boost.
        existing_id: String,
        /// The fields in which the two differ.
        differing_fields: Vec<String>,
    },
    /// The scope already has another base package.
    BasePackageConflict {
        /// The id of that package's assignment.
        existing_id: String,
    },
}

impl From<core::Rejection> for Rejection {
    fn from(rejection: core::Rejection) -> Self {
        Self::Core(rejection)
    }
}

impl Rejection {
    /// Prefixes the field paths with the path of the request part that was refused.
    pub(crate) fn within(self, parent: &str) -> Self {
        match self {
            Self::Core(rejection) => Self::Core(rejection.within(parent)),
            Self::Item { .. }
            | Self::Denied(_)
            | Self::FeatureInUse { .. }
            | Self::PackageInUse
            | Self::PackageInactive { .. }
            | Self::HoldNotActive { .. }
            | Self::FeatureNotReleasable { .. }
            | Self::ReversalExceedsRecord { .. }
            | Self::DuplicateExternalService { .. }
            | Self::DuplicateAddon { .. }
            | Self::BasePackageConflict { .. } => self,
        }
    }
}
