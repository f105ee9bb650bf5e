//! The entitlement tables of a batch.

use super::{
    AssignmentRecord, BoostRecord, Counter, DueHolds, FeatureRecord, FeatureTerms, Holdings,
    LogLine, PackageRecord, PoolGrant, RolledOff, StoredHold, StoredRecord,
};
use crate::core::{self, CodeHolder, Table, tables};
use foldhash::HashMap;
use std::collections::BTreeSet;

tables! {
    /// The entitlement rows that a batch has loaded or changed.
    pub struct State {
        objects {
            /// Features by id.
            features: FeatureRecord,
            /// Packages by id.
            packages: PackageRecord,
            /// Assignments by id.
            assignments: AssignmentRecord,
            /// Boosts by id.
            boosts: BoostRecord,
        }
        tables {
            /// The living feature with each code.
            feature_codes: Table<String, CodeHolder>,
            /// The living package with each code.
            package_codes: Table<String, CodeHolder>,
            /// The assignment with each external service id.
            external_services: Table<String, CodeHolder>,
            /// The boost with each add-on key.
            addons: Table<String, CodeHolder>,
            /// Assignments and boosts of scopes, by `workspaces/wsp_…` or `namespaces/nsp_…`.
            holdings: Table<String, Holdings>,
            /// Counters by key.
            counters: Table<String, Counter>,
            /// Usage records by id.
            records: Table<String, StoredRecord>,
            /// Usage holds by id.
            holds: Table<String, StoredHold>,
            /// Lines to be saved to entitlement logs, in order.
            log: Vec<LogLine>,
        }
        facts {
            /// The terms of features, by id. They are frozen once granted, so no lock is needed.
            feature_terms: HashMap<String, FeatureTerms>,
            /// The grants of packages, by package id; read after locking the scopes that have them.
            package_grants: HashMap<String, Vec<PoolGrant>>,
            /// The usage that left rolling windows, by counter.
            rolled: HashMap<String, RolledOff>,
            /// Expired holds, by counter; loaded only for counters with held units.
            due_holds: HashMap<String, DueHolds>,
            /// Counters with expired holds, by scope.
            due_counters: HashMap<String, BTreeSet<String>>,
        }
    }
}

impl core::State {
    /// The entitlement tables.
    pub fn entitlement(&self) -> &State {
        self.system()
    }

    /// The entitlement tables, mutable.
    pub fn entitlement_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
