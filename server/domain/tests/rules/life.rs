//! One subscription and its reference: events are carried out, and each decision is compared.

use crate::{
    commands::{at, command, create, forcing, patch},
    invariants::assert_holds,
    reference_billing::{Edit, PlanOf, Reference, Verdict},
    world::{World, decide_one},
};
use ifmatch_domain::{
    Action, Outcome, Rejection, State,
    billing::{
        self, AdjustBalance, BillSubscription, PreviewBilling, SettleSubscription,
        SubscriptionRecord,
    },
    core::{self, Precondition},
    ledger::account_id,
};
use ifmatch_types::{Invoice, InvoiceLine, InvoicePreview, InvoiceStatus, Kind, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub const PLANS: [PlanOf; 10] = [
    plan("A", 3100, "month", 1, 0),
    plan("B", 6200, "month", 1, 0),
    plan("odd", 1001, "month", 1, 0),
    plan("free", 0, "month", 1, 0),
    plan("equal", 3100, "month", 1, 0),
    plan("year", 36_501, "year", 1, 0),
    plan("two", 6100, "month", 2, 0),
    plan("week", 777, "week", 1, 3),
    plan("days", 13, "day", 5, 0),
    plan("trial", 3100, "month", 1, 14),
];

const fn plan(
    code: &'static str,
    amount: i64,
    interval: &'static str,
    count: i64,
    trial_days: i64,
) -> PlanOf {
    PlanOf { code, amount, interval, count, trial_days }
}

/// What happens in a life, and how long after the event before it.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Edit(Edit),
    Notes,
    Void(usize),
    Settle,
    /// A billing run, as of now or some days ago.
    Run(i64),
    Preview(i64),
    Adjust(i64),
    Uncollectible(usize),
}

/// How long the clock is moved before an event.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// The event belongs to the same batch.
    Together,
    Micros(i64),
    /// To the next boundary, and some hours on.
    Boundary(i64),
    Midnight,
}

pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;

/// One subscription with its reference.
#[derive(Clone)]
pub struct Life {
    pub world: World,
    reference: Reference,
    pub now: Timestamp,
    seed: u128,
    workspace: String,
    plans: Vec<String>,
    id: String,
    adjusted: i64,
}

impl Life {
    pub fn begin((plan, hours, flag): (usize, i64, bool)) -> Self {
        let now = at("2027-01-30T09:30:00Z");
        let start_at = moved(now, hours * HOUR);
        let mut life = Self {
            world: World::default(),
            reference: Reference::new(&PLANS, plan, (now, start_at), flag),
            now,
            seed: 1 << 64,
            workspace: String::new(),
            plans: Vec::new(),
            id: String::new(),
            adjusted: 0,
        };
        let usual = json!({"name": "Acme", "currency": "USD"});
        life.workspace = life.make(create(Kind::Workspace, usual));
        for PlanOf { code, amount, interval, count, trial_days } in &PLANS {
            let body = json!({"code": code, "name": "Plan", "currency": "USD", "amount": amount,
                "interval": interval, "interval_count": count, "trial_days": trial_days,
                "status": "active"});
            let id = life.make(create(Kind::Plan, body));
            life.plans.push(id);
        }
        let body = json!({"workspace_id": life.workspace, "plan_id": life.plans[plan],
            "start_at": start_at, "cancel_at_period_end": flag});
        life.id = life.make(create(Kind::Subscription, body));
        life
    }

    fn make(&mut self, action: Action) -> String {
        self.seed += 1 << 32;
        match self.world.carry_out(&[command(self.seed, action)], self.now).remove(0).unwrap() {
            Outcome::Core(core::Outcome::Object(object)) => object.id,
            other => panic!("an object was expected: {other:?}"),
        }
    }

    fn record(&self) -> &SubscriptionRecord {
        &self.world.subscriptions[&self.id].record
    }

    pub fn wait(&mut self, wait: Wait) {
        self.now = match wait {
            Wait::Together => self.now,
            Wait::Micros(micros) => moved(self.now, micros),
            Wait::Boundary(hours) => {
                let mut reference = self.reference.clone();
                reference.advance(self.now);
                let boundary = reference.next_boundary().unwrap_or(self.now);
                moved(boundary, hours * HOUR)
            }
            Wait::Midnight => moved(self.now, DAY - self.now.as_micros().rem_euclid(DAY)),
        };
    }

    pub fn live(&mut self, events: &[(Wait, Event)]) {
        let mut batch = Vec::new();
        for (wait, event) in events {
            if !matches!(wait, Wait::Together) {
                self.carry_out(&batch);
                batch.clear();
                if self.now > at("2028-06-01T00:00:00Z") {
                    return;
                }
                self.wait(*wait);
            }
            batch.push(*event);
        }
        self.carry_out(&batch);
    }

    /// Carries out a batch. Each decision is what the reference says, and a run finds what is due.
    pub fn carry_out(&mut self, events: &[Event]) {
        let actions: Vec<Action> = events.iter().filter_map(|e| self.action(*e)).collect();
        let events: Vec<Event> =
            events.iter().filter(|e| self.action(**e).is_some()).copied().collect();
        let mut commands = Vec::new();
        for action in actions {
            self.seed += 1 << 32;
            commands.push(command(self.seed, action));
        }
        let mut state = self.world.load(&commands, self.now);
        for (event, command) in events.iter().zip(&commands) {
            let before = self.stored(&state);
            let decided = decide_one(&mut state, command, self.now);
            let after = self.stored(&state);
            self.check(*event, &before, &after, decided);
        }
        self.world.save(&state);
        let is_due = self.record().due_at.is_some_and(|due| due <= self.now);
        assert!(is_due || self.preview(self.now).is_empty(), "{events:?} {:?}", self.record());
    }

    /// The subscription in the middle of a batch.
    fn stored(&self, state: &State) -> SubscriptionRecord {
        let row = state.billing().subscriptions.find(&self.id);
        row.map_or_else(|| self.record().clone(), |row| row.record.clone())
    }

    fn action(&self, event: Event) -> Option<Action> {
        let subscription_id = self.id.clone();
        Some(match event {
            Event::Edit(edit) => self.patch(self.body(edit)),
            Event::Notes => self.patch(json!({"notes": self.seed.to_string()})),
            Event::Void(n) => return self.end_invoice(n, "void"),
            Event::Uncollectible(n) => return self.end_invoice(n, "uncollectible"),
            Event::Settle => {
                let precondition = Precondition::Tags((1..2000).collect());
                billing::Action::SettleSubscription(SettleSubscription {
                    subscription_id,
                    precondition,
                })
                .into()
            }
            Event::Run(days) => {
                let as_of = moved(self.now, -days * DAY);
                billing::Action::BillSubscription(BillSubscription { subscription_id, as_of })
                    .into()
            }
            Event::Preview(days) => {
                let as_of = moved(self.now, days * DAY);
                let subscription_ids = vec![subscription_id];
                billing::Action::PreviewBilling(PreviewBilling { subscription_ids, as_of }).into()
            }
            Event::Adjust(amount) => {
                let body = json!({"currency": "USD", "amount": amount, "reason": "why"});
                let body = body.as_object().unwrap().clone();
                let workspace_id = self.workspace.clone();
                billing::Action::AdjustBalance(AdjustBalance { workspace_id, body }).into()
            }
        })
    }

    fn patch(&self, body: Value) -> Action {
        forcing(patch(Kind::Subscription, &self.id, 1, body))
    }

    fn body(&self, edit: Edit) -> Value {
        let mut body = Map::new();
        if let Some(plan) = edit.plan {
            body.insert("plan_id".to_owned(), json!(self.plans[plan]));
        }
        if let Some(quantity) = edit.quantity {
            body.insert("quantity".to_owned(), json!(quantity));
        }
        if let Some(status) = edit.status {
            body.insert("status".to_owned(), json!(status));
        }
        if let Some(flag) = edit.flag {
            body.insert("cancel_at_period_end".to_owned(), json!(flag));
        }
        body.into()
    }

    fn end_invoice(&self, n: usize, status: &str) -> Option<Action> {
        let mut living = self.living();
        living.sort_by_key(|invoice| std::cmp::Reverse(invoice.number.clone()));
        let invoice = living.get(n)?;
        let body = json!({"status": status});
        Some(forcing(patch(Kind::Invoice, invoice.id.as_str(), 1, body)))
    }

    fn check(
        &mut self,
        event: Event,
        before: &SubscriptionRecord,
        after: &SubscriptionRecord,
        decided: Result<Outcome, Rejection>,
    ) {
        let told = format!("{event:?} at {}: {decided:?}", self.now);
        let versions = after.subscription.version - before.subscription.version;
        assert_eq!(versions, i64::from(after.subscription != before.subscription), "{told}");
        if decided.is_err() {
            assert_eq!(before, after, "a rejection stores nothing: {told}");
        }
        let is_behind =
            matches!(decided, Err(Rejection::Billing(billing::Rejection::BillingBehind { .. })));
        match event {
            Event::Edit(edit) if !is_behind => {
                let changed = self.changed(edit, before);
                if changed == Edit::default() {
                    assert!(decided.is_ok(), "{told}");
                    assert_eq!(before, after, "{told}");
                    return;
                }
                let expected = self.reference.apply(self.now, changed);
                assert_eq!(verdict(&decided), expected, "{told} {:?}", self.reference);
                if expected == Verdict::Accepted {
                    self.check_shown(after, &told);
                }
            }
            Event::Notes if !is_behind => assert!(decided.is_ok(), "{told}"),
            Event::Run(days) => {
                let Ok(Outcome::Billing(billing::Outcome::Billed { made, more, .. })) = decided
                else {
                    panic!("{told}")
                };
                let as_of = moved(self.now, -days * DAY);
                let was_due = before.due_at.is_some_and(|due| due <= as_of);
                // A run of an earlier instant selects only what was due then.
                let is_selected = was_due || days > 0;
                assert!(
                    is_selected || made == 0,
                    "a run looks only at what is due: {told} {before:?}"
                );
                let is_due = after.due_at.is_some_and(|due| due <= as_of);
                assert_eq!(is_due, more, "a run leaves nothing due: {told} {after:?}");
                if days == 0 && !more {
                    self.reference.advance(self.now);
                    self.check_shown(after, &told);
                }
            }
            Event::Settle if !is_behind => {
                assert!(decided.is_ok(), "{told}");
                self.reference.advance(self.now);
                self.check_shown(after, &told);
            }
            Event::Adjust(amount) => self.adjusted += if decided.is_ok() { amount } else { 0 },
            Event::Preview(_) => {
                assert!(decided.is_ok(), "{told}");
                assert_eq!(before, after, "{told}");
            }
            _ => {}
        }
    }

    /// The fields that differ from the stored ones.
    fn changed(&self, edit: Edit, before: &SubscriptionRecord) -> Edit {
        let stored = &before.subscription;
        Edit {
            plan: edit.plan.filter(|plan| self.plans[*plan] != stored.plan_id.as_str()),
            quantity: edit.quantity.filter(|quantity| *quantity != stored.quantity),
            status: edit.status.filter(|status| *status != stored.status.name()),
            flag: edit.flag.filter(|flag| *flag != stored.cancel_at_period_end),
        }
    }

    fn check_shown(&self, record: &SubscriptionRecord, told: &str) {
        let (shown, reference) = (&record.subscription, &self.reference);
        assert_eq!(
            (shown.status.name(), shown.ended_at, shown.quantity, shown.cancel_at_period_end),
            (reference.status, reference.ended_at, reference.quantity, reference.flag),
            "{told}"
        );
        let in_trial = shown.trial_end.is_some_and(|end| self.now < end);
        if shown.ended_at.is_none() && !in_trial {
            assert_eq!(shown.current_period_end, reference.end, "{told} {reference:?}");
        }
    }

    pub fn living(&self) -> Vec<Invoice> {
        let of = self.world.invoices_of(&self.id);
        of.filter(|invoice| invoice.status != InvoiceStatus::Void).cloned().collect()
    }

    pub fn run_now(&mut self) {
        while self.record().due_at.is_some_and(|due| due <= self.now) {
            self.carry_out(&[Event::Run(0)]);
        }
    }

    /// Settles until nothing is due any more.
    pub fn settle(&mut self) {
        self.run_now();
        self.carry_out(&[Event::Settle]);
        let before = self.world.clone();
        self.carry_out(&[Event::Settle]);
        assert_eq!(self.world, before, "settling twice is settling once");
    }

    /// What the lines of living invoices charge for each period.
    pub fn sums(&self) -> BTreeMap<Timestamp, i64> {
        let living = self.living();
        let mut sums = sums_of(living.iter().flat_map(|invoice| &invoice.lines));
        sums.retain(|_, sum| *sum != 0);
        sums
    }

    /// The books agree with the reference.
    pub fn assert_charged_right(&self) {
        assert_eq!(self.sums(), self.reference.costs(), "{:#?}", self.reference);
        let living = self.living();
        let total: i64 = living.iter().map(|invoice| invoice.total).sum();
        assert_eq!(total, self.reference.total());
        // What one period owes may be what another one gets back, so that the total is 0.
        let says_something = |invoice: &Invoice| {
            invoice.period_start.is_some() || sums_of(&invoice.lines).values().any(|sum| *sum != 0)
        };
        assert!(living.iter().all(says_something));
        let applied: i64 = living.iter().map(|invoice| invoice.balance_applied).sum();
        let account = self.world.accounts.get(&account_id(&self.workspace, "USD"));
        let balance = account.map_or(0, |account| account.available);
        assert_eq!(balance, self.adjusted - applied);
        assert_holds(&self.world);
    }

    pub fn preview(&mut self, as_of: Timestamp) -> Vec<InvoicePreview> {
        let subscription_ids = vec![self.id.clone()];
        let preview = PreviewBilling { subscription_ids, as_of };
        let action = billing::Action::PreviewBilling(preview).into();
        self.seed += 1 << 32;
        let command = command(self.seed, action);
        match self.world.clone().carry_out(&[command], self.now).remove(0).unwrap() {
            Outcome::Billing(billing::Outcome::BillingPreviewed(invoices)) => invoices,
            other => panic!("a preview was expected: {other:?}"),
        }
    }

    /// Runs at each instant at which something is due, until an instant.
    pub fn run_on_time(&mut self, until: Timestamp) {
        let end = self.now.max(until);
        while let Some(due) = self.record().due_at.filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.carry_out(&[Event::Run(0)]);
        }
        self.now = end;
    }
}

pub fn moved(instant: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(instant.as_micros() + micros).unwrap()
}

fn verdict(decided: &Result<Outcome, Rejection>) -> Verdict {
    match decided {
        Ok(_) => Verdict::Accepted,
        Err(Rejection::Billing(billing::Rejection::SubscriptionEnded { .. })) => Verdict::Ended,
        // A caller who saw that it has ended asked for another status.
        Err(Rejection::Core(core::Rejection::InvalidTransition { from: "canceled", .. })) => {
            Verdict::Ended
        }
        Err(Rejection::Core(core::Rejection::InvalidTransition { .. })) => Verdict::NoTransition,
        Err(other) => panic!("no edit is refused for this: {other:?}"),
    }
}

pub fn told(invoice: &Invoice) -> InvoicePreview {
    let invoice = invoice.clone();
    InvoicePreview {
        workspace_id: invoice.workspace_id,
        subscription_id: invoice.subscription_id.unwrap(),
        currency: invoice.currency,
        lines: invoice.lines,
        subtotal: invoice.subtotal,
        tax: invoice.tax,
        total: invoice.total,
        balance_applied: invoice.balance_applied,
        amount_due: invoice.amount_due,
        period_start: invoice.period_start,
        period_end: invoice.period_end,
    }
}

pub fn number(invoice: &Invoice) -> i64 {
    invoice.number.as_ref().unwrap().strip_prefix("INV-").unwrap().parse().unwrap()
}

/// What lines charge for each period.
fn sums_of<'a>(lines: impl IntoIterator<Item = &'a InvoiceLine>) -> BTreeMap<Timestamp, i64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        assert!(line.segment_start >= line.period_start);
        *sums.entry(line.period_start.unwrap()).or_default() += line.amount;
    }
    sums
}
