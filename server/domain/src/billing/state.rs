//! The billing tables of a batch.

use super::{Charges, PlanTerms, Sequence, StoredPayment, SubscriptionRecord, Terms};
use crate::core::{self, CodeHolder, Table, tables};
use foldhash::HashMap;
use ifmatch_types::{Invoice, Namespace, Plan, PlanId, Workspace};
use std::collections::BTreeSet;

tables! {
    /// The billing rows that a batch has loaded or changed.
    pub struct State {
        objects {
            /// Plans by id.
            plans: Plan,
            /// Workspaces by id.
            workspaces: Workspace,
            /// Namespaces by id.
            namespaces: Namespace,
            /// Subscriptions by id.
            subscriptions: SubscriptionRecord,
            /// Invoices by id.
            invoices: Invoice,
        }
        tables {
            /// The living plan with each code.
            plan_codes: Table<String, CodeHolder>,
            /// Payments by id.
            payments: Table<String, StoredPayment>,
            /// Payment ids by provider reference.
            payment_refs: Table<String, CodeHolder>,
            /// The last number assigned in each series.
            sequences: Table<String, Sequence>,
            /// The terms of subscriptions, by subscription. Only appended segments are saved.
            terms: Table<String, Terms>,
            /// What was charged, by subscription. It follows from the invoices and is not saved.
            charges: Table<String, Charges>,
        }
        facts {
            /// The terms of plans that are or were active. They never change, so no lock is needed.
            plan_terms: HashMap<PlanId, Option<PlanTerms>>,
            /// Invoices with all their payments loaded into `payments`.
            paid_invoices: BTreeSet<String>,
        }
    }
}

impl core::State {
    /// The billing tables.
    pub fn billing(&self) -> &State {
        self.system()
    }

    /// The billing tables, mutable.
    pub fn billing_mut(&mut self) -> &mut State {
        self.system_mut()
    }
}
