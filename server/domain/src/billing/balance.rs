//! The customer's balance: what finalized invoices take from it or give to it, and corrections.
//!
//! It is a use of the ledger: one account per workspace and currency, moved by transfers.

use super::{Need, Outcome, Rejection};
use crate::{
    core::{self, Context, Errors, Wants, plain_audit, read},
    ledger::{self, Cause},
};
use ifmatch_types::{
    AuditResource, BalanceTransactionKind as Kind, INTEGER_MAX, Invoice, NewBalanceAdjustment,
    merge,
};
use serde_json::{Map, Value, json};

/// Correct the balance of a workspace.
#[derive(Clone, Debug)]
pub struct AdjustBalance {
    /// The workspace.
    pub workspace_id: String,
    /// The request's body, a [`NewBalanceAdjustment`].
    pub body: Map<String, Value>,
}

impl AdjustBalance {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        wants.reference(ifmatch_types::Kind::Workspace, &self.workspace_id);
        want_balances(&self.workspace_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        core::alive::<ifmatch_types::Workspace>(&self.workspace_id, ctx.state)?;
        let NewBalanceAdjustment { currency, amount, reason } = self.read()?;
        let before = ledger::balance(&self.workspace_id, &currency, ctx);
        let cause = Cause { kind: Kind::Adjustment, invoice_id: None, reason: Some(reason) };
        let reason = cause.reason.clone();
        let moved = ledger::move_balance(&self.workspace_id, &currency, amount, cause, ctx);
        let transaction = moved.map_err(|refusal| match refusal {
            ledger::Rejection::Insufficient { required, available } => {
                Rejection::InsufficientBalance { required, available }
            }
            other => other.into(),
        })?;
        let after = ledger::balance(&self.workspace_id, &currency, ctx);
        let resource =
            AuditResource { resource_type: "workspace".to_owned(), id: self.workspace_id.clone() };
        let mut record = plain_audit("balance_adjustment", Some(resource), reason, ctx);
        let told = |amount: i64| json!({ "balance": { currency.as_str(): amount } });
        record.changes = merge::diff(&told(before), &told(after));
        ctx.state.audits.push(record);
        Ok(Outcome::BalanceAdjusted(transaction))
    }

    fn read(&self) -> Result<NewBalanceAdjustment, core::Rejection> {
        let new: NewBalanceAdjustment = read(&self.body)?;
        let mut errors = Errors::default();
        errors.currency("/currency", &new.currency);
        match new.amount {
            0 => errors.push("/amount", "must not be 0"),
            amount => errors.range("/amount", amount, -INTEGER_MAX, INTEGER_MAX),
        }
        errors.text("/reason", &new.reason, 1, 500);
        errors.into_result()?;
        Ok(new)
    }
}

/// Requests and locks the balances of a workspace.
pub(super) fn want_balances(workspace_id: &str, wants: &mut Wants<'_, '_, Need>) {
    wants.through(Need::Ledger, |wants| ledger::want_balances(workspace_id, wants));
}

/// Applies the balance to an invoice that is being finalized.
///
/// A positive total takes what there is. A negative total goes onto the balance.
pub(super) fn apply(invoice: &mut Invoice, ctx: &mut Context<'_>) -> Result<(), Rejection> {
    let there = ledger::balance(invoice.workspace_id.as_str(), &invoice.currency, ctx);
    let applied = invoice.total.min(there);
    if applied != 0 {
        move_by_invoice(invoice, applied.saturating_neg(), Kind::Invoice, ctx)?;
    }
    invoice.balance_applied = applied;
    Ok(())
}

/// Undoes what a voided invoice did to the balance.
pub(super) fn undo(invoice: &mut Invoice, ctx: &mut Context<'_>) -> Result<(), Rejection> {
    if invoice.balance_applied != 0 {
        move_by_invoice(invoice, invoice.balance_applied, Kind::Void, ctx)?;
        invoice.balance_applied = 0;
    }
    Ok(())
}

fn move_by_invoice(
    invoice: &Invoice,
    amount: i64,
    kind: Kind,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    let cause = Cause { kind, invoice_id: Some(invoice.id.clone()), reason: None };
    let workspace_id = invoice.workspace_id.as_str();
    let moved = ledger::move_balance(workspace_id, &invoice.currency, amount, cause, ctx);
    moved.map(|_| ()).map_err(|refusal| match refusal {
        ledger::Rejection::Insufficient { required, available } => {
            Rejection::BalanceSpent { required, available }
        }
        other => other.into(),
    })
}
