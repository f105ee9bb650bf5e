//! Balances: money that customers have, in accounts by currency. The second use of the ledger.

use super::{
    Account, CREDITS, Need, Rejection, account_id,
    transfer::{Draft, transfer},
};
use crate::core::{Context, Wants};
use ifmatch_types::{
    BalanceTransaction, BalanceTransactionKind, InvoiceId, TransferKind, WorkspaceId,
};

/// Why a balance is moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// What moves it.
    pub(crate) kind: BalanceTransactionKind,
    /// The invoice that is finalized or voided.
    pub(crate) invoice_id: Option<InvoiceId>,
    /// The reason of an adjustment.
    pub(crate) reason: Option<String>,
}

/// Requests and locks all balances of a workspace.
pub(crate) fn want_balances(workspace_id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.ledger().balances_of.contains(workspace_id) {
        wants.push(Need::Balances(workspace_id.to_owned()));
    }
}

/// What a workspace has in a currency.
pub(crate) fn balance(workspace_id: &str, currency: &str, ctx: &Context<'_>) -> i64 {
    account(workspace_id, currency, ctx).map_or(0, |account| account.available)
}

/// Moves the balance of a living workspace by an amount that is not 0. Below 0, it takes.
pub(crate) fn move_balance(
    workspace_id: &str,
    currency: &str,
    amount: i64,
    cause: Cause,
    ctx: &mut Context<'_>,
) -> Result<BalanceTransaction, Rejection> {
    assert_ne!(currency, CREDITS, "credits are no currency");
    let Cause { kind, invoice_id, reason } = cause;
    let account = account(workspace_id, currency, ctx).unwrap_or_else(|| {
        Account::empty(WorkspaceId::from_unchecked(workspace_id.to_owned()), currency)
    });
    let (transfer_kind, moved) = match kind {
        BalanceTransactionKind::Adjustment => (TransferKind::Adjust, amount),
        _ if amount < 0 => (TransferKind::Charge, amount.saturating_neg()),
        _ => (TransferKind::Refund, amount),
    };
    let draft = Draft {
        reason,
        invoice: invoice_id.map(|id| (id, kind)),
        ..Draft::of(transfer_kind, moved)
    };
    let (stored, account) = transfer(account, draft, ctx)?;
    Ok(stored.on_balance(&account.unit))
}

/// The account of a balance as the commands before this one left it.
fn account(workspace_id: &str, currency: &str, ctx: &Context<'_>) -> Option<Account> {
    let ledger = ctx.state.ledger();
    assert!(
        ledger.balances_of.contains(workspace_id),
        "a balance is decided on only after it was loaded: {workspace_id}"
    );
    ledger.accounts.find(&account_id(workspace_id, currency)).cloned()
}
