//! The terms of a subscription: an append-only list of segments. What it costs follows from them.

use super::{Need, PlanTerms, subscription::plan_terms};
use crate::core::{Context, Guarded, State, Wants};
use ifmatch_types::{Kind, PlanId, SubscriptionId, SubscriptionStatus as Status, Timestamp};
use std::collections::BTreeMap;

/// The terms of a subscription from one instant on, until the next segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// Its number within the subscription, from 1, without a gap.
    pub seq: i64,
    /// When these terms begin.
    pub at: Timestamp,
    /// When the segment before it begins; `None` if this is the first.
    ///
    /// The terms of a subscription are a list that is linked from the latest to the first. A segment
    /// is stored by its instant, so that a new one goes to the end of the table, whoever it is for.
    pub previous_at: Option<Timestamp>,
    /// The plan.
    pub plan_id: PlanId,
    /// The number of units.
    pub quantity: i64,
    /// The status. Only some let a period begin: `active` and `past_due`.
    pub status: Status,
    /// From before there were terms: the instant that the period that begins here is counted from.
    pub anchor_at: Option<Timestamp>,
    /// From before there were terms: the end of a period that was invoiced. This segment is only a
    /// record of that period.
    pub invoiced_until: Option<Timestamp>,
    /// From before there were terms: what the invoice of the period charged for earlier periods, or
    /// all that it charged if this is only a record.
    pub invoiced_amount: Option<i64>,
}

impl Segment {
    /// Whether a period begins under these terms, and whether changes take effect.
    pub(super) fn renews(&self) -> bool {
        renews(self.status)
    }
}

/// Whether a subscription with this status renews.
pub(super) const fn renews(status: Status) -> bool {
    matches!(status, Status::Active | Status::PastDue)
}

/// The loaded segments of a subscription, oldest first, and those that this batch appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The segments.
    pub segments: Vec<Segment>,
    /// Whether these are all segments. Otherwise, earlier ones concern only settled periods.
    pub is_whole: bool,
}

impl Guarded for Terms {
    fn guard(&self) -> i64 {
        0
    }
}

/// Whether a subscription's segments are known, and not only those that this batch appended.
pub(super) fn are_terms_loaded(id: &str, state: &State) -> bool {
    let terms = &state.billing().terms;
    terms.original(id).is_some() || terms.find(id).is_some_and(|terms| terms.is_whole)
}

/// The terms of all plans that some segments name.
pub(super) struct Prices(BTreeMap<PlanId, PlanTerms>);

impl Prices {
    /// The prices that a walk through these segments needs.
    pub(super) fn of(segments: &[Segment], ctx: &Context<'_>) -> Self {
        let mut prices = BTreeMap::new();
        for segment in segments {
            if !prices.contains_key(&segment.plan_id) {
                prices.insert(segment.plan_id.clone(), plan_terms(&segment.plan_id, ctx));
            }
        }
        Self(prices)
    }

    /// The terms of a plan that a segment names.
    pub(super) fn get(&self, plan_id: &PlanId) -> &PlanTerms {
        self.0.get(plan_id).expect("the plans of all segments are loaded")
    }
}

/// Requests a subscription's segments, and the terms of their plans.
///
/// `whole` requests all segments. Otherwise, those of settled periods may be missing.
pub(super) fn want_terms(id: &str, whole: bool, wants: &mut Wants<'_, '_, Need>) {
    let billing = wants.state.billing();
    let Some(row) = billing.subscriptions.original(id) else { return };
    let terms = billing.terms.original(id);
    let Some(terms) = terms.filter(|terms| terms.is_whole || !whole) else {
        return wants.push(Need::Terms { subscription_id: id.to_owned(), whole });
    };
    let own = std::iter::once(&row.record.subscription.plan_id);
    for plan_id in terms.segments.iter().map(|segment| &segment.plan_id).chain(own) {
        if !billing.plan_terms.contains_key(plan_id) {
            wants.push(Need::PlanTerms(plan_id.clone()));
        }
    }
}

/// Requests all that making invoices of a subscription needs, with what must be locked before it.
pub(super) fn want_bills(id: &str, wants: &mut Wants<'_, '_, Need>) {
    // An account is locked before a subscription, so the workspace must be known first.
    let Some(workspace_id) = wants.owner(Kind::Subscription, id) else { return };
    if let Some(workspace_id) = workspace_id {
        super::balance::want_balances(&workspace_id, wants);
    }
    wants.object(Kind::Subscription, id);
    want_terms(id, false, wants);
    super::charges::want_charges(id, false, wants);
    super::invoice::want_sequence(wants);
}
