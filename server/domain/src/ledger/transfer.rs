//! Transfers: the only way in which an account changes. They are immutable.

use super::{Account, Rejection};
use crate::core::{Context, Guarded};
use ifmatch_types::{Reservation, Transfer, TransferId, TransferKind};

/// A transfer as it is stored, with fields that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTransfer {
    /// The transfer as the API shows it.
    pub transfer: Transfer,
    /// The account that it changed.
    pub account_id: String,
    /// The request that made it.
    pub request_id: String,
}

impl Guarded for StoredTransfer {
    fn guard(&self) -> i64 {
        0
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
}

impl Draft {
    pub(super) const fn of(kind: TransferKind, amount: i64) -> Self {
        Self { kind, amount, reservation: None, reference: None, reason: None }
    }
}

/// Makes a transfer and changes its account. Returns both.
pub(super) fn transfer(
    account: Account,
    draft: Draft,
    ctx: &mut Context<'_>,
) -> Result<(StoredTransfer, Account), Rejection> {
    let Draft { kind, amount, reservation, reference, reason } = draft;
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
    let stored = StoredTransfer { transfer, account_id: account.id.clone(), request_id };
    let ledger = ctx.state.ledger_mut();
    ledger.transfers.put(stored.transfer.id.to_string(), stored.clone());
    ledger.accounts.put(account.id.clone(), account.clone());
    Ok((stored, account))
}
