//! Transfers: the only way in which an account changes. They are immutable.

use super::{Account, Rejection};
use crate::core::{Context, Guarded};
use ifmatch_types::{
    BalanceTransaction, BalanceTransactionKind, InvoiceId, Reservation, Transfer, TransferId,
    TransferKind,
};

/// A transfer as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTransfer {
    /// The transfer as the API shows it.
    pub transfer: Transfer,
    /// The account that it changed.
    pub account_id: String,
    /// The request that made it.
    pub request_id: String,
    /// The invoice that moved a balance.
    pub invoice_id: Option<InvoiceId>,
    /// How that invoice moved it.
    pub invoice_cause: Option<BalanceTransactionKind>,
}

impl Guarded for StoredTransfer {
    fn guard(&self) -> i64 {
        0
    }
}

impl StoredTransfer {
    /// The transfer of a balance in a currency, as the API shows it.
    pub fn on_balance(&self, currency: &str) -> BalanceTransaction {
        let Transfer { id, kind, amount, reason, by, at, .. } = self.transfer.clone();
        let takes = kind == TransferKind::Charge;
        BalanceTransaction {
            id,
            kind: self.invoice_cause.unwrap_or(BalanceTransactionKind::Adjustment),
            currency: currency.to_owned(),
            amount: if takes { amount.saturating_neg() } else { amount },
            invoice_id: self.invoice_id.clone(),
            reason,
            by,
            at,
        }
    }
}

/// A transfer to make.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: TransferKind,
    pub(super) amount: i64,
    /// The reservation that it resolves.
    pub(super) reservation: Option<Reservation>,
    pub(super) reference: Option<String>,
    pub(super) reason: Option<String>,
    /// The invoice that moves a balance, and how.
    pub(super) invoice: Option<(InvoiceId, BalanceTransactionKind)>,
}

impl Draft {
    pub(super) const fn of(kind: TransferKind, amount: i64) -> Self {
        Self { kind, amount, reservation: None, reference: None, reason: None, invoice: None }
    }
}

/// Makes a transfer and changes its account. Returns both.
pub(super) fn transfer(
    account: Account,
    draft: Draft,
    ctx: &mut Context<'_>,
) -> Result<(StoredTransfer, Account), Rejection> {
    let Draft { kind, amount, reservation, reference, reason, invoice } = draft;
    let held = reservation.as_ref().map_or(0, |reservation| reservation.amount);
    let account = account.after(kind, amount, held)?;
    let id = TransferId::from_unchecked(ctx.ids.fresh(TransferId::PREFIX));
    let own = (kind == TransferKind::Reserve).then(|| id.clone());
    let reservation_id = own.or(reservation.map(|reservation| reservation.id));
    let transfer = Transfer {
        id,
        kind,
        amount,
        version: account.version,
        available: account.available,
        reserved: account.reserved,
        reservation_id,
        reference,
        reason,
        by: ctx.meta.by(false),
        at: ctx.now,
    };
    let request_id = ctx.meta.request_id.clone();
    let (invoice_id, invoice_cause) = invoice.unzip();
    let account_id = account.id.clone();
    let stored = StoredTransfer { transfer, account_id, request_id, invoice_id, invoice_cause };
    let ledger = ctx.state.ledger_mut();
    ledger.transfers.put(stored.transfer.id.to_string(), stored.clone());
    ledger.accounts.put(account.id.clone(), account.clone());
    Ok((stored, account))
}
