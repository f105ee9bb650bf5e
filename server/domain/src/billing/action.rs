//! Billing actions other than create, update and delete.

use super::{
    AdjustBalance, BillSubscription, FinishBillingRun, Need, Outcome, PreviewBilling,
    RecordPayment, ReinstatePayment, Rejection, ReversePayment, SettleSubscription,
};
use crate::core::{Context, Wants};

/// A billing action.
#[derive(Clone, Debug)]
pub enum Action {
    /// Record a payment of an invoice.
    RecordPayment(RecordPayment),
    /// Reverse a payment.
    ReversePayment(ReversePayment),
    /// Make a reversed payment count again.
    ReinstatePayment(ReinstatePayment),
    /// Create a subscription's due invoices and advance its period.
    BillSubscription(BillSubscription),
    /// Store the answer of a billing run.
    FinishBillingRun(FinishBillingRun),
    /// Tell which invoices billing runs would make.
    PreviewBilling(PreviewBilling),
    /// Make every invoice that is due for a subscription.
    SettleSubscription(SettleSubscription),
    /// Correct the balance of a workspace.
    AdjustBalance(AdjustBalance),
}

impl Action {
    /// The object that the action is about.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::RecordPayment(record) => Some(&record.invoice_id),
            Self::ReversePayment(reverse) => Some(&reverse.invoice_id),
            Self::ReinstatePayment(reinstate) => Some(&reinstate.invoice_id),
            Self::BillSubscription(bill) => Some(&bill.subscription_id),
            Self::SettleSubscription(settle) => Some(&settle.subscription_id),
            Self::AdjustBalance(adjust) => Some(&adjust.workspace_id),
            Self::FinishBillingRun(_) | Self::PreviewBilling(_) => None,
        }
    }

    /// Whether a scoped key may ask for this, about an object that it sees.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::SettleSubscription(_) => true,
            Self::RecordPayment(_)
            | Self::ReversePayment(_)
            | Self::ReinstatePayment(_)
            | Self::BillSubscription(_)
            | Self::FinishBillingRun(_)
            | Self::PreviewBilling(_)
            | Self::AdjustBalance(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::RecordPayment(record) => record.wants(wants),
            Self::ReversePayment(reverse) => reverse.wants(wants),
            Self::ReinstatePayment(reinstate) => reinstate.wants(wants),
            Self::BillSubscription(bill) => bill.wants(wants),
            Self::FinishBillingRun(_) => {}
            Self::PreviewBilling(preview) => preview.wants(wants),
            Self::SettleSubscription(settle) => settle.wants(wants),
            Self::AdjustBalance(adjust) => adjust.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::RecordPayment(record) => record.decide(ctx),
            Self::ReversePayment(reverse) => reverse.decide(ctx),
            Self::ReinstatePayment(reinstate) => reinstate.decide(ctx),
            Self::BillSubscription(bill) => bill.decide(ctx),
            Self::FinishBillingRun(finish) => Ok(finish.decide()),
            Self::PreviewBilling(preview) => preview.decide(ctx),
            Self::SettleSubscription(settle) => settle.decide(ctx),
            Self::AdjustBalance(adjust) => adjust.decide(ctx),
        }
    }
}
