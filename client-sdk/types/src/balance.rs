//! The balance of a customer: money that later invoices take from.

use crate::{By, InvoiceId, Timestamp, TransferId};

names! {
    /// What moved a balance.
    BalanceTransactionKind {
        /// An invoice was finalized: it took from the balance, or its negative total went onto it.
        Invoice = "invoice",
        /// An invoice was voided, which undid what it had done.
        Void = "void",
        /// An admin corrected the balance.
        Adjustment = "adjustment",
    }
}

wire! {
    /// What a workspace has, by currency.
    pub struct Balance {
        /// One item per currency that ever had a transaction.
        pub items: Vec<BalanceItem>,
    }

    /// What a workspace has in one currency.
    pub struct BalanceItem {
        /// ISO 4217.
        pub currency: String,
        /// In the currency's minor unit, ≥ 0.
        pub amount: i64,
    }

    /// One change of a balance. It never changes.
    pub struct BalanceTransaction {
        /// `trf_…`
        pub id: TransferId,
        /// What it was made by.
        pub kind: BalanceTransactionKind,
        /// ISO 4217.
        pub currency: String,
        /// In the currency's minor unit; below 0 if it took from the balance.
        pub amount: i64,
        /// The invoice that was finalized or voided.
        pub invoice_id: Option<InvoiceId>,
        /// The reason of an adjustment.
        pub reason: Option<String>,
        /// Its author.
        pub by: By,
        /// When it was made.
        pub at: Timestamp,
    }

    /// A correction of a balance.
    #[serde(deny_unknown_fields)]
    pub struct NewBalanceAdjustment {
        /// ISO 4217, upper case.
        pub currency: String,
        /// In the currency's minor unit; not 0, below 0 to take away.
        pub amount: i64,
        /// Why, 1–500 characters.
        pub reason: String,
    }
}
