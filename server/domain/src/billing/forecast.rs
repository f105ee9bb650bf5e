//! What billing runs would make: they are carried out and undone.

use super::{Need, Outcome, Rejection, bill::PERIODS_MAX, run::step, terms::want_bills};
use crate::core::{Context, Wants};
use ifmatch_types::{Invoice, InvoicePreview, Timestamp};

/// Tell which invoices billing runs would make until an instant. Nothing is written.
#[derive(Clone, Debug)]
pub struct PreviewBilling {
    /// The subscriptions, in the order in which they would be billed.
    pub subscription_ids: Vec<String>,
    /// The instant, which may be later than now.
    pub as_of: Timestamp,
}

impl PreviewBilling {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        for id in &self.subscription_ids {
            want_bills(id, wants);
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let checkpoint = ctx.state.checkpoint();
        let made = self.make(ctx);
        ctx.state.rollback(&checkpoint);
        Ok(Outcome::BillingPreviewed(made?))
    }

    /// Makes the invoices of all subscriptions, one after the other.
    fn make(&self, ctx: &mut Context<'_>) -> Result<Vec<InvoicePreview>, Rejection> {
        let mut previews = Vec::new();
        for id in &self.subscription_ids {
            let checkpoint = ctx.state.checkpoint();
            let invoices = match self.make_for(id, ctx) {
                Ok(invoices) => invoices,
                Err(rejection) if self.subscription_ids.len() == 1 => return Err(rejection),
                // As in a run, one that cannot be billed or was deleted meanwhile hurts no other.
                Err(_) => {
                    ctx.state.rollback(&checkpoint);
                    Vec::new()
                }
            };
            previews.extend(invoices.into_iter().take(PERIODS_MAX).filter_map(preview));
        }
        Ok(previews)
    }

    /// Makes what a run now would make, and then what is due later.
    ///
    /// The running period of a voided invoice gets its invoice again now. Later, it would be an
    /// older period that is settled with the next one.
    fn make_for(&self, id: &str, ctx: &mut Context<'_>) -> Result<Vec<Invoice>, Rejection> {
        let mut now = step(id, self.as_of.min(ctx.now), ctx)?;
        if !now.more && self.as_of > ctx.now {
            now.invoices.extend(step(id, self.as_of, ctx)?.invoices);
        }
        Ok(now.invoices)
    }
}

fn preview(invoice: Invoice) -> Option<InvoicePreview> {
    Some(InvoicePreview {
        workspace_id: invoice.workspace_id,
        subscription_id: invoice.subscription_id?,
        currency: invoice.currency,
        lines: invoice.lines,
        subtotal: invoice.subtotal,
        tax: invoice.tax,
        total: invoice.total,
        balance_applied: invoice.balance_applied,
        amount_due: invoice.amount_due,
        period_start: invoice.period_start,
        period_end: invoice.period_end,
    })
}
