//! Subscriptions: a workspace's plan, with a status and terms.
//!
//! Before a command looks at a subscription, it is brought to the present: see
//! [`SubscriptionRecord::bring_to`].

use super::{
    Need, PlanTerms, Rejection, Segment, Terms, bill,
    period::{Course, Periods, Settled, periods},
    terms::{Prices, are_terms_loaded, renews, want_bills, want_terms},
};
use crate::core::{
    self, Context, DeleteObject, Errors, Resource, ScopedWrites, State, Step, UpdateObject, Wants,
    redactable, referenced, usual_parts,
};
use ifmatch_types::{
    INTEGER_MAX, Kind, Plan, PlanId, PlanStatus, Subscription, SubscriptionFields, SubscriptionId,
    SubscriptionStatus as Status, Timestamp, Workspace,
};

/// The first and last start of a subscription, in microseconds: from 1970 to the end of 2199.
const START_MIN: i64 = 0;
const START_MAX: i64 = 7_258_118_399_999_999;

/// The most units of a subscription.
const QUANTITY_MAX: i64 = 1_000_000;

/// The fields of a subscription that only billing reads. A change of one may append terms.
const BILLED: [&str; 4] = ["plan_id", "quantity", "status", "cancel_at_period_end"];

/// A subscription as it is stored, with fields that only billing uses.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionRecord {
    /// The subscription as the API shows it.
    pub subscription: Subscription,
    /// The instant whose status and period are shown. Nothing after it was looked at.
    pub reached_at: Timestamp,
    /// When a billing run has something to do for it; `None` if never, as things are.
    pub due_at: Option<Timestamp>,
    /// The start of the latest period that ever had a recurring invoice.
    pub billed_until: Option<Timestamp>,
    /// The start of a period before which everything is settled; `None` if nothing is known.
    ///
    /// It spares bills the whole past. Voiding an invoice clears it.
    pub settled_at: Option<Timestamp>,
    /// The instant that this period is counted from.
    pub settled_anchor: Option<Timestamp>,
    /// The number of the segment in force at its start.
    pub settled_segment: Option<i64>,
    /// Whether a draft invoice was taken off it. Other invoices still name it.
    pub had_draft: bool,
    /// The number of its latest segment.
    pub last_term: i64,
    /// When its latest segment begins.
    pub last_term_at: Timestamp,
    /// The most units of its plan whose price the API can tell.
    ///
    /// It follows from the plan's price, which never changes. A change of the quantity then need not
    /// load the plan.
    pub quantity_max: i64,
}

impl Resource for SubscriptionRecord {
    type Entity = Subscription;
    type Fields = SubscriptionFields;

    const KIND: Kind = Kind::Subscription;
    const FIELDS: &'static [&'static str] = &[
        "workspace_id",
        "plan_id",
        "quantity",
        "status",
        "notes",
        "cancel_at_period_end",
        "start_at",
        "metadata",
    ];
    const SET_ONCE: &'static [&'static str] = &["workspace_id", "start_at"];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status", "start_at"];

    const REFERENCES: &'static [(&'static str, Kind)] =
        &[("workspace_id", Kind::Workspace), ("plan_id", Kind::Plan)];

    const SCOPED_WRITES: ScopedWrites = ScopedWrites::ALL;

    usual_parts!(subscriptions, |record| record.subscription);
    redactable!(|record| record.subscription, { notes: Text, metadata: Keys });

    fn workspace_id(&self, _: &State) -> Option<String> {
        Some(self.subscription.workspace_id.to_string())
    }

    fn check(fields: &mut SubscriptionFields, errors: &mut Errors) {
        errors.reference("/workspace_id", fields.workspace_id.as_str());
        errors.reference("/plan_id", fields.plan_id.as_str());
        errors.range("/quantity", fields.quantity, 1, QUANTITY_MAX);
        errors.text("/notes", &fields.notes, 0, 10_000);
        errors.metadata(&fields.metadata);
        let sane = |start_at: Timestamp| (START_MIN..=START_MAX).contains(&start_at.as_micros());
        if fields.start_at.is_some_and(|start_at| !sane(start_at)) {
            errors.push("/start_at", "must be in the years 1970 to 2199");
        }
    }

    fn create(
        fields: SubscriptionFields,
        id: String,
        ctx: &mut Context<'_>,
    ) -> Result<Self, Rejection> {
        referenced::<Workspace>("/workspace_id", fields.workspace_id.as_str(), ctx.state)?;
        let plan = active_plan(&fields.plan_id, ctx)?;
        let start_at = fields.start_at.unwrap_or(ctx.now);
        let is_trialing = plan.trial_days > 0 && fields.status != Some(Status::Active);
        let status = if is_trialing { Status::Trialing } else { Status::Active };
        if fields.status.is_some_and(|wanted| wanted != status) {
            return Err(core::Rejection::invalid(
                "/status",
                "must be trialing (on a plan with a trial) or active for a new subscription",
            )
            .into());
        }
        let trial = Step { interval: ifmatch_types::Interval::Day, count: plan.trial_days };
        let end = |step: Step| step.boundary(start_at, 1).ok_or_else(|| past_calendar("/start_at"));
        let trial_end = if is_trialing { Some(end(trial)?) } else { None };
        end(Step { interval: plan.interval, count: plan.interval_count })?;
        let subscription = Subscription {
            id: SubscriptionId::from_unchecked(id.clone()),
            version: 1,
            workspace_id: fields.workspace_id,
            plan_id: fields.plan_id,
            quantity: fields.quantity,
            status,
            notes: fields.notes,
            cancel_at_period_end: fields.cancel_at_period_end,
            start_at,
            current_period_start: None,
            current_period_end: None,
            trial_end,
            canceled_at: None,
            ended_at: None,
            metadata: fields.metadata,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        let mut record = Self {
            subscription,
            // One that began long ago is shown as it was then. Billing runs go on from there.
            reached_at: start_at.min(ctx.now),
            due_at: None,
            billed_until: None,
            settled_at: None,
            settled_anchor: None,
            settled_segment: None,
            had_draft: false,
            last_term: 0,
            last_term_at: start_at.min(ctx.now),
            quantity_max: quantity_max(plan.amount),
        };
        record.check_price("/quantity")?;
        let terms = Terms { segments: Vec::new(), is_whole: true };
        ctx.state.billing_mut().terms.put(id, terms);
        record.append(record.reached_at, ctx);
        record.refresh(ctx)?;
        Ok(record)
    }

    fn change(&self, fields: SubscriptionFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let asked = Asked::of(fields, &self.subscription);
        let mut after = self.clone();
        if !asked.is_anything() {
            return Ok(after);
        }
        let now = ctx.now.max(self.reached_at);
        let billed = asked.billed();
        let is_simple = billed.iter().all(|field| *field == "quantity") && self.runs_on(Some(now));
        let is_due = self.due_at.is_some_and(|due| due <= ctx.now);
        if is_simple || !self.may_be_brought(ctx) {
            if !billed.is_empty() {
                after.reached_at = now;
            }
        } else if is_due || !billed.is_empty() {
            after.bring_to(now, ctx)?;
        }
        let was_ended = self.subscription.status == Status::Canceled;
        if after.subscription.status == Status::Canceled {
            after.refuse_ended(was_ended, &asked)?;
            if !was_ended {
                bill::conclude(&mut after, ctx)?;
            }
        } else {
            after.take_on(&asked, ctx)?;
            if !is_simple && !billed.is_empty() && after.may_be_brought(ctx) {
                after.refresh(ctx)?;
            }
        }
        if let Some(notes) = asked.notes {
            after.subscription.notes = notes;
        }
        if let Some(metadata) = asked.metadata {
            after.subscription.metadata = metadata;
        }
        Ok(after)
    }

    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let id = self.subscription.id.as_str();
        let invoiced_in_batch = ctx.state.billing().invoices.iter().any(|row| {
            row.record.subscription_id.as_ref().is_some_and(|owner| owner.as_str() == id)
        });
        if self.had_draft || invoiced_in_batch || ctx.state.is_used_elsewhere(id) {
            return Err(Rejection::SubscriptionInUse);
        }
        Ok(())
    }

    fn want_for_change<'c>(update: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        let Some(row) = wants.state.billing().subscriptions.original(&update.id) else { return };
        let body = update.change.body();
        // The clock is read after all locks, and what is needed is asked again then.
        let now = wants.state.clock.or(wants.state.opened_at);
        let is_due = row.record.due_at.is_some_and(|due| Some(due) <= now);
        let mut billed = BILLED.into_iter().filter(|field| body.contains_key(*field));
        let is_free = match billed.next() {
            None => !is_due || row.record.runs_on(now),
            // It appends a segment. Nothing else follows from it before the boundary.
            Some(first) => {
                first == "quantity" && billed.next().is_none() && row.record.runs_on(now)
            }
        };
        if is_free {
            return;
        }
        let cancels = body.get("status").is_some_and(|status| status == Status::Canceled.name());
        let ends = body.get("cancel_at_period_end").is_some_and(|flag| flag == true);
        if cancels || ends || row.record.subscription.cancel_at_period_end {
            want_bills(&update.id, wants);
        } else {
            want_terms(&update.id, false, wants);
        }
    }

    fn want_for_delete<'c>(delete: &'c DeleteObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.users(Kind::Subscription, &delete.id);
    }
}

/// The most units of a plan of this price whose price the API can tell.
const fn quantity_max(amount: i64) -> i64 {
    let most = if amount > 0 { INTEGER_MAX / amount } else { QUANTITY_MAX };
    if most < QUANTITY_MAX { most } else { QUANTITY_MAX }
}

/// How far and how closely to look at periods; see [`Course`].
struct Reach {
    stops_at: Option<Timestamp>,
    most: Option<usize>,
    skips: bool,
}

/// The fields that a change asks to set to other values than the stored ones.
#[derive(Debug, Default)]
struct Asked {
    plan_id: Option<PlanId>,
    quantity: Option<i64>,
    status: Option<Status>,
    cancel_at_period_end: Option<bool>,
    notes: Option<String>,
    metadata: Option<ifmatch_types::Metadata>,
}

impl Asked {
    fn of(fields: SubscriptionFields, stored: &Subscription) -> Self {
        Self {
            plan_id: Some(fields.plan_id).filter(|plan_id| *plan_id != stored.plan_id),
            quantity: Some(fields.quantity).filter(|quantity| *quantity != stored.quantity),
            status: fields.status.filter(|status| *status != stored.status),
            cancel_at_period_end: Some(fields.cancel_at_period_end)
                .filter(|flag| *flag != stored.cancel_at_period_end),
            notes: Some(fields.notes).filter(|notes| *notes != stored.notes),
            metadata: Some(fields.metadata).filter(|metadata| *metadata != stored.metadata),
        }
    }

    fn is_anything(&self) -> bool {
        !self.billed().is_empty() || self.notes.is_some() || self.metadata.is_some()
    }

    /// Those that a subscription that has ended does not take.
    fn billed(&self) -> Vec<&'static str> {
        let asked = [
            self.plan_id.is_some(),
            self.quantity.is_some(),
            self.status.is_some(),
            self.cancel_at_period_end.is_some(),
        ];
        BILLED.into_iter().zip(asked).filter(|(_, asked)| *asked).map(|(field, _)| field).collect()
    }
}

impl SubscriptionRecord {
    /// Refuses to go on with a subscription that has ended.
    ///
    /// A caller who saw that it has ended and asks for another status asks for a transition.
    fn refuse_ended(&self, was_seen: bool, asked: &Asked) -> Result<(), Rejection> {
        let mut fields = asked.billed();
        if let Some(status) = asked.status.filter(|_| was_seen && fields == ["status"]) {
            refuse_transition(self.subscription.status, status)?;
        }
        if asked.status == Some(Status::Canceled) {
            // That is how it ended.
            fields.retain(|field| *field != "status");
        }
        if fields.is_empty() {
            return Ok(());
        }
        Err(Rejection::SubscriptionEnded { fields, ended_at: self.subscription.ended_at })
    }

    /// Takes on what a change asks for: plan and quantity first, then the status, then the flag.
    fn take_on(&mut self, asked: &Asked, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let is_billed = !asked.billed().is_empty();
        let status = asked.status.filter(|status| *status != self.subscription.status);
        if let Some(status) = status {
            refuse_transition(self.subscription.status, status)?;
        }
        if let Some(plan_id) = &asked.plan_id {
            refuse_other_currency(&self.subscription.plan_id, plan_id, ctx)?;
            self.subscription.plan_id = plan_id.clone();
            self.quantity_max = quantity_max(plan_terms(plan_id, ctx).amount);
        }
        if let Some(quantity) = asked.quantity {
            self.subscription.quantity = quantity;
        }
        if asked.plan_id.is_some() || asked.quantity.is_some() {
            self.check_price(if asked.quantity.is_some() { "/quantity" } else { "/plan_id" })?;
            self.append(self.reached_at, ctx);
        }
        if status == Some(Status::Canceled) {
            // A period that begins at this very instant has begun, whether a run came or not.
            bill::make_all_due(self, self.reached_at, ctx)?;
        }
        if let Some(status) = status {
            self.change_status(status, ctx);
        }
        if let Some(flag) = asked.cancel_at_period_end {
            self.subscription.cancel_at_period_end = flag;
        }
        if is_billed {
            self.end_if_flagged(ctx)?;
        }
        if self.subscription.status == Status::Canceled {
            return bill::conclude(self, ctx);
        }
        Ok(())
    }

    /// Refuses a price that no invoice could hold.
    fn check_price(&self, path: &str) -> Result<(), Rejection> {
        if self.subscription.quantity > self.quantity_max {
            return Err(core::Rejection::AmountOverflow { path: path.to_owned() }.into());
        }
        Ok(())
    }

    fn change_status(&mut self, to: Status, ctx: &mut Context<'_>) {
        let now = self.reached_at;
        if to == Status::Canceled {
            return self.end(now, ctx);
        }
        if self.subscription.status == Status::Trialing && to != Status::Paused {
            // The trial ends early. The first period begins then, but never before the start.
            self.subscription.trial_end = Some(now.max(self.subscription.start_at));
        }
        self.subscription.status = to;
        self.append(now, ctx);
    }

    /// Brings the subscription to an instant that is not before the one that it has reached.
    ///
    /// Boundaries that have passed have passed: a trial that is over has ended, and so has a
    /// subscription with `cancel_at_period_end`. The loaded terms get what follows from that.
    pub(super) fn bring_to(
        &mut self,
        instant: Timestamp,
        ctx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        if self.subscription.status == Status::Canceled {
            return Ok(());
        }
        self.end_trial(instant, ctx);
        let end = self.stops_at(ctx)?.filter(|end| *end <= instant);
        self.reached_at = self.reached_at.max(instant);
        if let Some(end) = end
            && self.subscription.status != Status::Canceled
        {
            self.end(end, ctx);
        }
        self.refresh(ctx)
    }

    /// Ends the trial if it is over at an instant.
    pub(super) fn end_trial(&mut self, instant: Timestamp, ctx: &mut Context<'_>) {
        let is_over = self.subscription.trial_end.is_some_and(|end| end <= instant);
        let is_flagged = self.subscription.cancel_at_period_end;
        if self.subscription.status == Status::Trialing && is_over && !is_flagged {
            self.subscription.status = Status::Active;
            self.append(self.first(), ctx);
        }
    }

    /// Whether the period that is shown runs at an instant, and is followed by another.
    fn runs_on(&self, at: Option<Timestamp>) -> bool {
        let Subscription { status, cancel_at_period_end, current_period_end, .. } =
            &self.subscription;
        renews(*status) && !cancel_at_period_end && at.is_some() && at < *current_period_end
    }

    /// Whether everything is loaded that bringing it to the present may need.
    ///
    /// A change of notes loads nothing before something is due, and neither does a change of the
    /// quantity while [it runs on](Self::runs_on), however many changes there were before.
    fn may_be_brought(&self, ctx: &Context<'_>) -> bool {
        let ends = self.subscription.cancel_at_period_end;
        let are_known = are_terms_loaded(self.id(), ctx.state);
        are_known && (!ends || ctx.state.billing().charges.is_loaded(self.id()))
    }

    /// Ends it if `cancel_at_period_end` is set and there is nothing left to wait for.
    fn end_if_flagged(&mut self, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        let now = self.reached_at;
        if self.subscription.status != Status::Canceled
            && self.stops_at(ctx)?.is_some_and(|end| end <= now)
        {
            self.end(now, ctx);
        }
        Ok(())
    }

    /// When `cancel_at_period_end` ends it or ended it, if it is set. No period begins there.
    ///
    /// Without a running period, that is at once; before the first one, where that would begin.
    fn stops_at(&self, ctx: &Context<'_>) -> Result<Option<Timestamp>, Rejection> {
        let subscription = &self.subscription;
        if !subscription.cancel_at_period_end {
            return Ok(None);
        }
        if subscription.ended_at.is_some() && subscription.ended_at == self.billed_until {
            // It was canceled at the very instant at which its last period began.
            return Ok(None);
        }
        let now = self.reached_at;
        Ok(Some(match (subscription.status, subscription.ended_at) {
            (_, Some(ended_at)) => ended_at,
            (Status::Trialing, _) => self.first(),
            _ if now < self.first() => self.first(),
            _ => {
                let reach = Reach { stops_at: None, most: None, skips: true };
                self.walk(now, reach, ctx)?.at(now).map_or(now, |period| period.end)
            }
        }))
    }

    /// Ends it for good.
    fn end(&mut self, at: Timestamp, ctx: &mut Context<'_>) {
        self.subscription.status = Status::Canceled;
        self.subscription.canceled_at = Some(at);
        self.subscription.ended_at = Some(at);
        self.append(at, ctx);
    }

    /// Appends the terms of now to the loaded ones, or alone if none were loaded.
    fn append(&mut self, at: Timestamp, ctx: &mut Context<'_>) {
        let Subscription { id, plan_id, quantity, status, .. } = &self.subscription;
        let terms = &mut ctx.state.billing_mut().terms;
        let mut changed = terms.find(id.as_str()).cloned().unwrap_or_default();
        let previous_at = (self.last_term > 0).then_some(self.last_term_at);
        self.last_term = self.last_term.saturating_add(1);
        self.last_term_at = at;
        changed.segments.push(Segment {
            subscription_id: id.clone(),
            seq: self.last_term,
            at,
            previous_at,
            plan_id: plan_id.clone(),
            quantity: *quantity,
            status: *status,
            anchor_at: None,
            invoiced_until: None,
            invoiced_amount: None,
        });
        terms.put(id.to_string(), changed);
    }

    /// When the first period begins, if the subscription renews then.
    fn first(&self) -> Timestamp {
        self.subscription.trial_end.unwrap_or(self.subscription.start_at)
    }

    /// The periods that begin until an instant, from the first that may not be settled.
    ///
    /// `most` limits how many of them were never billed.
    pub(super) fn periods(
        &self,
        until: Timestamp,
        most: Option<usize>,
        ctx: &Context<'_>,
    ) -> Result<Periods, Rejection> {
        self.walk(until, Reach { stops_at: self.stops_at(ctx)?, most, skips: false }, ctx)
    }

    /// Like [`periods`](Self::periods); those that the latest one only repeats may be left out, but
    /// for the first that was never billed.
    fn latest(&self, until: Timestamp, ctx: &Context<'_>) -> Result<Periods, Rejection> {
        self.walk(until, Reach { stops_at: self.stops_at(ctx)?, most: None, skips: true }, ctx)
    }

    fn walk(
        &self,
        until: Timestamp,
        reach: Reach,
        ctx: &Context<'_>,
    ) -> Result<Periods, Rejection> {
        let Some(terms) = ctx.state.billing().terms.get(self.id()) else {
            return Ok(Periods::default());
        };
        let prices = Prices::of(&terms.segments, ctx);
        let settled = match (self.settled_at, self.settled_anchor, self.settled_segment) {
            (Some(start), Some(anchor), Some(begun_by)) => {
                Some(Settled { start, anchor, begun_by })
            }
            _ => None,
        };
        let (first, billed_until) = (self.first(), self.billed_until);
        let Reach { stops_at, most, skips } = reach;
        let course = Course { first, stops_at, settled, billed_until, most, skips };
        periods(&course, &terms.segments, &prices, until)
    }

    /// Recomputes the shown period, and when a billing run has something to do.
    pub(super) fn refresh(&mut self, ctx: &Context<'_>) -> Result<(), Rejection> {
        let at = self.subscription.ended_at.unwrap_or(self.reached_at);
        let found = self.latest(at, ctx)?;
        self.show(&found, at);
        let overdue = self.due_at.filter(|due| *due <= self.reached_at);
        let is_unbilled = |start: Timestamp| self.billed_until.is_none_or(|until| start > until);
        let unbilled =
            found.all.iter().find(|period| is_unbilled(period.start) && !period.is_empty());
        let earliest = [overdue, unbilled.map(|period| period.start)].into_iter().flatten().min();
        self.due_at = match self.subscription.status {
            Status::Canceled => None,
            _ if earliest.is_some() => earliest,
            Status::Trialing => self.subscription.trial_end,
            _ => self.stops_at(ctx)?.or(found.next),
        };
        Ok(())
    }

    fn show(&mut self, found: &Periods, at: Timestamp) {
        let subscription = &mut self.subscription;
        let trial_end = subscription.trial_end.filter(|end| at < *end);
        let is_trial = subscription.status == Status::Trialing || at >= subscription.start_at;
        let shown = match trial_end {
            Some(end) if is_trial => Some((subscription.start_at, end)),
            _ => found.at(at).map(|period| (period.start, period.end)),
        };
        (subscription.current_period_start, subscription.current_period_end) = shown.unzip();
    }
}

fn refuse_other_currency(old: &PlanId, new: &PlanId, ctx: &Context<'_>) -> Result<(), Rejection> {
    let to = active_plan(new, ctx)?.currency;
    let from = plan_terms(old, ctx).currency;
    if from == to {
        return Ok(());
    }
    Err(Rejection::CurrencyMismatch { from, to })
}

fn refuse_transition(from: Status, to: Status) -> Result<(), Rejection> {
    let allowed: &[Status] = match from {
        Status::Trialing => &[Status::Active, Status::PastDue, Status::Paused, Status::Canceled],
        Status::Active => &[Status::PastDue, Status::Paused, Status::Canceled],
        Status::PastDue => &[Status::Active, Status::Paused, Status::Canceled],
        Status::Paused => &[Status::Active, Status::Canceled],
        Status::Canceled | Status::Unknown(_) => &[],
    };
    if to == from || allowed.contains(&to) {
        return Ok(());
    }
    Err(core::Rejection::InvalidTransition {
        from: from.name(),
        to: to.name(),
        allowed: allowed.iter().map(|status| status.name()).collect(),
    }
    .into())
}

/// The plan that a field names. It must be active.
fn active_plan(id: &PlanId, ctx: &Context<'_>) -> Result<Plan, Rejection> {
    let plan = referenced::<Plan>("/plan_id", id.as_str(), ctx.state)?;
    if plan.status != PlanStatus::Active {
        return Err(Rejection::PlanInactive {
            plan_id: plan.id.to_string(),
            status: plan.status.name(),
        });
    }
    Ok(plan.clone())
}

/// The terms of a plan that has a subscription.
///
/// They are frozen since the plan became active, so they are read without locking the plan.
pub(super) fn plan_terms(id: &PlanId, ctx: &Context<'_>) -> PlanTerms {
    if let Some(terms) = ctx.state.billing().plan_terms.get(id).cloned().flatten() {
        return terms;
    }
    let row = ctx.state.billing().plans.get(id.as_str());
    PlanTerms::from(&row.expect("a subscribed plan is never deleted").record)
}

pub(super) fn past_calendar(path: &str) -> core::Rejection {
    core::Rejection::invalid(path, "leads to a period that ends after the last supported date")
}
