//! Makes the invoices of a subscription: for periods that began, and for differences.

use super::{
    PlanTerms, Rejection, SubscriptionRecord,
    charges::{Difference, change_charges},
    invoice::{self, InvoiceRules, LineOfBilling},
    period::Period,
    subscription::plan_terms,
    terms::Prices,
};
use crate::core::{Context, create_internally};
use ifmatch_types::{Invoice, SubscriptionStatus as Status, Timestamp};

/// Maximum number of periods that one command bills.
pub(super) const PERIODS_MAX: usize = 24;

/// The recurring invoices that a command made.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The invoices, oldest first.
    pub(super) invoices: Vec<Invoice>,
    /// Where the next period begins that is due and was left out.
    pub(super) left_at: Option<Timestamp>,
}

/// Makes the recurring invoices that are due at an instant, as runs on time would have made them.
///
/// Each holds the price of its period by the terms at its start, and the differences of earlier
/// periods.
pub(super) fn make_due(
    record: &mut SubscriptionRecord,
    until: Timestamp,
    ctx: &mut Context<'_>,
) -> Result<Made, Rejection> {
    let found = record.periods(until, Some(PERIODS_MAX), ctx)?;
    let mut made = Made { left_at: found.stopped_at, ..Made::default() };
    let is_present = until >= record.reached_at && made.left_at.is_none();
    let running = found.at(until).filter(|_| is_present).map(|period| period.start);
    for (index, period) in found.all.iter().enumerate() {
        let is_new = record.billed_until.is_none_or(|billed| period.start > billed);
        let is_again = Some(period.start) == running
            && record.subscription.status != Status::Canceled
            && !charged(record, ctx).has_recurring(period.start);
        if period.is_empty() || !(is_new || is_again) {
            continue;
        }
        let earlier = found.all.get(..index).unwrap_or_default();
        made.invoices.push(issue(record, Some(period), earlier, ctx)?);
        record.billed_until = record.billed_until.max(Some(period.start));
    }
    settle_past(record, &found.all, ctx)?;
    Ok(made)
}

/// Like [`make_due`], but refuses to leave anything out.
pub(super) fn make_all_due(
    record: &mut SubscriptionRecord,
    until: Timestamp,
    ctx: &mut Context<'_>,
) -> Result<Vec<Invoice>, Rejection> {
    let made = make_due(record, until, ctx)?;
    match made.left_at {
        Some(due_at) => Err(Rejection::BillingBehind { due_at }),
        None => Ok(made.invoices),
    }
}

/// Makes an invoice of all differences up to the end of the running period, if there are any.
pub(super) fn make_difference(
    record: &mut SubscriptionRecord,
    ctx: &mut Context<'_>,
) -> Result<Option<Invoice>, Rejection> {
    let at = record.subscription.ended_at.unwrap_or(record.reached_at);
    let found = record.periods(at, None, ctx)?;
    let prices = prices(record, ctx);
    if charged(record, ctx).differences(&found.all, &prices)?.is_empty() {
        return Ok(None);
    }
    let invoice = issue(record, None, &found.all, ctx)?;
    settle_past(record, &found.all, ctx)?;
    Ok(Some(invoice))
}

/// Makes every invoice of a subscription that has ended, the last one for all differences.
pub(super) fn conclude(
    record: &mut SubscriptionRecord,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    let ended_at = record.subscription.ended_at.unwrap_or(record.reached_at);
    make_all_due(record, ended_at, ctx)?;
    make_difference(record, ctx)?;
    record.refresh(ctx)
}

/// Finds the first period before which nothing is owed, so that later bills begin there.
fn settle_past(
    record: &mut SubscriptionRecord,
    found: &[Period],
    ctx: &Context<'_>,
) -> Result<(), Rejection> {
    let prices = prices(record, ctx);
    let differences = charged(record, ctx).differences(found, &prices)?;
    let owed_from = differences.first().map(|difference| difference.period_start);
    let is_settled =
        |period: &&Period| !period.is_record && owed_from.is_none_or(|owed| period.start <= owed);
    if let Some(period) = found.iter().rev().find(is_settled) {
        record.settled_at = Some(period.start);
        record.settled_anchor = Some(period.anchor);
        record.settled_segment = Some(period.begun_by);
    }
    Ok(())
}

/// Creates and finalizes an invoice of a period's price and of the differences of other periods.
fn issue(
    record: &SubscriptionRecord,
    period: Option<&Period>,
    others: &[Period],
    ctx: &mut Context<'_>,
) -> Result<Invoice, Rejection> {
    let prices = prices(record, ctx);
    let mut lines = Vec::new();
    lines.extend(period.and_then(|period| price_line(period, &prices)));
    let differences = charged(record, ctx).differences(others, &prices)?;
    lines.extend(differences.iter().map(|difference| difference_line(difference, &prices)));
    let subscription = &record.subscription;
    let id = ctx.ids.fresh(ifmatch_types::InvoiceId::PREFIX);
    let currency = plan_terms(&subscription.plan_id, ctx).currency;
    let mut invoice = invoice::draft(id, subscription.workspace_id.clone(), currency, ctx);
    invoice.subscription_id = Some(subscription.id.clone());
    invoice.period_start = period.map(|period| period.start);
    invoice.period_end = period.map(|period| period.whole_end);
    invoice.set_billed_lines(lines)?;
    invoice.finalize(ctx)?;
    create_internally(invoice.clone(), ctx);
    change_charges(subscription.id.as_str(), ctx, |charges| charges.add(&invoice));
    Ok(invoice)
}

/// The line for the price of a period, by the terms at its start.
fn price_line(period: &Period, prices: &Prices) -> Option<LineOfBilling> {
    let at_start = period.parts.iter().rev().find(|part| part.at == period.start)?;
    let PlanTerms { code, amount, .. } = prices.get(&at_start.plan_id);
    Some(LineOfBilling {
        description: format!("{code} × {}", at_start.quantity),
        quantity: at_start.quantity,
        unit_amount: *amount,
        period_start: period.start,
        segment_start: period.start,
    })
}

fn difference_line(difference: &Difference<'_>, prices: &Prices) -> LineOfBilling {
    let text = if difference.amount < 0 { "Unused time on" } else { "Remaining time on" };
    LineOfBilling {
        description: format!("{text} {}", prices.get(difference.plan_id).code),
        quantity: 1,
        unit_amount: difference.amount,
        period_start: difference.period_start,
        segment_start: difference.segment_start,
    }
}

fn charged<'a>(
    record: &SubscriptionRecord,
    ctx: &'a Context<'_>,
) -> std::borrow::Cow<'a, super::Charges> {
    let charges = ctx.state.billing().charges.get(record.subscription.id.as_str());
    charges.map_or_else(Default::default, std::borrow::Cow::Borrowed)
}

fn prices(record: &SubscriptionRecord, ctx: &Context<'_>) -> Prices {
    let terms = ctx.state.billing().terms.get(record.subscription.id.as_str());
    Prices::of(terms.map(|terms| terms.segments.as_slice()).unwrap_or_default(), ctx)
}
