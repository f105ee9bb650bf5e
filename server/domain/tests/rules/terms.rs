//! Billing as a function of the terms: whatever the order of edits, runs, voids and pauses, a
//! customer is charged what the terms say.

use crate::{
    book::{Book, with},
    commands::{at, command, patch},
    invariants::assert_holds,
};
use ifmatch_domain::{
    Action, Outcome, Rejection,
    billing::{self, AdjustBalance, PreviewBilling, SettleSubscription},
    core::Precondition,
    ledger::account_id,
};
use ifmatch_types::{Invoice, InvoicePreview, InvoiceStatus, Kind};
use serde_json::{Value, json};

/// One customer with one subscription, from 1 January 2027 on, and short commands about it.
struct Customer {
    book: Book,
    workspace: String,
    id: String,
}

/// The plans of all scenarios: code, amount, interval, number of intervals, days of trial.
const PLANS: [(&str, i64, &str, i64, i64); 8] = [
    ("A", 3100, "month", 1, 0),
    ("B", 6200, "month", 1, 0),
    ("C", 100, "month", 1, 0),
    ("A2", 3100, "month", 1, 0),
    ("Y", 36_500, "year", 1, 0),
    ("Y10", 365_000, "year", 1, 0),
    ("M", 2800, "month", 1, 0),
    ("T", 3100, "month", 1, 14),
];

impl Customer {
    fn of(plan: &str) -> Self {
        Self::with(plan, json!({}))
    }

    fn with(plan: &str, changed: Value) -> Self {
        let mut book = Book::default();
        let workspace = book.workspace();
        for (code, amount, interval, count, trial_days) in PLANS {
            let terms = json!({"amount": amount, "interval": interval, "interval_count": count,
                "trial_days": trial_days});
            book.plan(code, terms);
        }
        book.plan("AA", json!({"amount": 6100, "interval_count": 2}));
        let plan = plan_id(&book, plan);
        let id = book.subscription(&workspace, &plan, changed);
        Self { book, workspace, id }
    }

    /// Moves the clock to a day, with an optional time of day.
    fn on(&mut self, day: &str) -> &mut Self {
        let time = if day.contains('T') { "Z" } else { "T00:00:00Z" };
        self.book.now = at(&format!("{day}{time}"));
        self
    }

    /// A billing run now.
    #[track_caller]
    fn run(&mut self) -> &mut Self {
        let (now, id) = (self.book.now.to_string(), self.id.clone());
        while self.book.bill(&id, &now).1 {}
        self
    }

    #[track_caller]
    fn edit(&mut self, body: Value) -> &mut Self {
        let id = self.id.clone();
        self.book.edit(&id, body).unwrap();
        self
    }

    #[track_caller]
    fn plan(&mut self, code: &str) -> &mut Self {
        let plan_id = plan_id(&self.book, code);
        self.edit(json!({"plan_id": plan_id}))
    }

    #[track_caller]
    fn status(&mut self, status: &str) -> &mut Self {
        self.edit(json!({"status": status}))
    }

    #[track_caller]
    fn flag(&mut self) -> &mut Self {
        self.edit(json!({"cancel_at_period_end": true}))
    }

    #[track_caller]
    fn settle(&mut self) -> Option<Invoice> {
        let precondition = Precondition::Version(self.book.version(&self.id));
        let settle = SettleSubscription { subscription_id: self.id.clone(), precondition };
        match self.book.run(billing::Action::SettleSubscription(settle).into()).unwrap() {
            Outcome::Billing(billing::Outcome::Settled(newest)) => newest,
            other => panic!("a settlement was expected: {other:?}"),
        }
    }

    #[track_caller]
    fn preview(&mut self, day: &str) -> Vec<InvoicePreview> {
        let as_of = at(&format!("{day}T00:00:00Z"));
        let preview = PreviewBilling { subscription_ids: vec![self.id.clone()], as_of };
        let before = self.book.world.clone();
        let told = self.book.run(billing::Action::PreviewBilling(preview).into()).unwrap();
        assert_eq!(self.book.world, before, "a preview writes nothing");
        match told {
            Outcome::Billing(billing::Outcome::BillingPreviewed(invoices)) => invoices,
            other => panic!("a preview was expected: {other:?}"),
        }
    }

    /// Voids the recurring invoice of the period that begins on a day.
    #[track_caller]
    fn void(&mut self, day: &str) -> &mut Self {
        let start = at(&format!("{day}T00:00:00Z"));
        let invoice = self.book.world.recurring(&self.id).find(|i| i.period_start == Some(start));
        let id = invoice.unwrap().id.to_string();
        self.book.edit(&id, json!({"status": "void"})).unwrap();
        self
    }

    /// The totals of the living invoices, in the order of their numbers.
    fn totals(&self) -> Vec<i64> {
        self.living().into_iter().map(|invoice| invoice.total).collect()
    }

    fn living(&self) -> Vec<Invoice> {
        let of = self.book.world.invoices_of(&self.id);
        let living = of.filter(|invoice| invoice.status != InvoiceStatus::Void);
        let mut living: Vec<Invoice> = living.cloned().collect();
        living.sort_by_key(|invoice| invoice.number.clone());
        living
    }

    fn total(&self) -> i64 {
        self.totals().into_iter().sum()
    }

    /// What living invoices charge for the period that begins on a day.
    fn charged_for(&self, day: &str) -> i64 {
        let start = Some(at(&format!("{day}T00:00:00Z")));
        let lines = self.living().into_iter().flat_map(|invoice| invoice.lines);
        lines.filter(|line| line.period_start == start).map(|line| line.amount).sum()
    }

    fn balance(&self) -> i64 {
        let id = account_id(&self.workspace, "USD");
        self.book.world.accounts.get(&id).map_or(0, |account| account.available)
    }

    #[track_caller]
    fn assert_ended(&self, day: &str) {
        let ended_at = at(&format!("{day}T00:00:00Z"));
        let fields = self.book.fields(&self.id, &["status", "ended_at"]);
        assert_eq!(fields, json!({"status": "canceled", "ended_at": ended_at}));
        assert_holds(&self.book.world);
    }

    #[track_caller]
    fn refused_as_ended(&mut self, body: Value, fields: &[&str]) {
        let id = self.id.clone();
        match self.book.edit(&id, body).unwrap_err() {
            Rejection::Billing(billing::Rejection::SubscriptionEnded { fields: named, .. }) => {
                assert_eq!(named, fields);
            }
            other => panic!("it has ended: {other:?}"),
        }
    }
}

fn plan_id(book: &Book, code: &str) -> String {
    let plan = book.world.plans.values().find(|row| row.record.code == code).unwrap();
    plan.record.id.to_string()
}

#[test]
fn a_change_of_plan_is_charged_when_the_subscription_ends_with_its_period() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-11").plan("B").on("2027-01-16").flag().on("2027-03-10").run();
    assert_eq!(customer.totals(), [3100, 2100]);
    customer.assert_ended("2027-02-01");
}

#[test]
fn a_change_of_plan_is_charged_when_the_subscription_is_canceled() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-11").plan("B").on("2027-01-16").status("canceled");
    assert_eq!(customer.totals(), [3100, 2100], "in the commit that ends it");
    customer.assert_ended("2027-01-16");
}

#[test]
fn plan_and_flag_in_one_patch_charge_the_rest_of_the_year() {
    let mut customer = Customer::of("Y");
    customer.run().on("2027-01-02");
    let plan = plan_id(&customer.book, "Y10");
    customer.edit(json!({"plan_id": plan, "cancel_at_period_end": true}));
    customer.on("2028-02-01").run();
    assert_eq!(customer.totals(), [36_500, 327_600]);
    customer.assert_ended("2028-01-01");
}

#[test]
fn a_negative_invoice_goes_onto_the_balance_and_later_ones_take_from_it() {
    let mut customer = Customer::of("B");
    customer.run().on("2027-01-11").plan("C").on("2027-02-01").run();
    assert_eq!(customer.totals(), [6200, -4032]);
    assert_eq!(customer.balance(), 4032);
    let february = customer.living().pop().unwrap();
    assert_eq!(february.status, InvoiceStatus::Paid);
    assert_eq!((february.balance_applied, february.amount_due), (-4032, 0));
    customer.on("2027-03-01").run();
    assert_eq!(customer.balance(), 3932);
    let march = customer.living().pop().unwrap();
    assert_eq!((march.total, march.balance_applied, march.amount_due), (100, 100, 0));
    assert_eq!(march.status, InvoiceStatus::Paid);
    assert_holds(&customer.book.world);
}

#[test]
fn what_began_is_charged_although_no_run_came() {
    let late = |edits: &dyn Fn(&mut Customer)| {
        let mut customer = Customer::of("A");
        customer.run();
        edits(&mut customer);
        customer.on("2027-03-20").run();
        customer
    };
    let customer = late(&|customer| {
        customer.on("2027-03-15").status("canceled");
    });
    assert_eq!(customer.totals(), [3100, 3100, 3100]);
    customer.assert_ended("2027-03-15");
    let mut customer = late(&|customer| {
        customer.on("2027-03-15").flag();
    });
    assert_eq!(customer.totals(), [3100, 3100, 3100]);
    customer.on("2027-05-01").run();
    assert_eq!(customer.total(), 9300);
    customer.assert_ended("2027-04-01");
    let customer = late(&|customer| {
        customer.on("2027-03-15").status("paused").on("2027-03-20").status("active");
    });
    assert_eq!(customer.totals(), [3100, 3100, 3100]);
    let mut customer = Customer::of("T");
    customer.on("2027-03-15T09:00:00").status("canceled").on("2027-03-20").run();
    assert_eq!(customer.totals(), [3100, 3100, 3100]);
    let starts: Vec<_> = customer.living().into_iter().map(|i| i.period_start.unwrap()).collect();
    let expected = ["2027-01-15", "2027-02-15", "2027-03-15"].map(|day| format!("{day}T00:00:00Z"));
    assert_eq!(starts, expected.map(|instant| at(&instant)));
}

#[test]
fn a_boundary_that_passed_has_passed_also_while_paused() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-20").edit(json!({"cancel_at_period_end": true, "status": "paused"}));
    customer.on("2027-02-10").refused_as_ended(json!({"status": "active"}), &["status"]);
    customer.run();
    assert_eq!(customer.totals(), [3100]);
    customer.assert_ended("2027-02-01");
}

#[test]
fn a_voided_invoice_was_never_charged() {
    let mut customer = Customer::of("B");
    customer.run().on("2027-01-16").plan("A").on("2027-02-01").run();
    assert_eq!(customer.totals(), [6200, 1500]);
    customer.on("2027-02-10").void("2027-01-01");
    assert_eq!(customer.totals(), [1500]);
    customer.run();
    assert_eq!(customer.totals(), [1500], "an older period waits for the next invoice");
    customer.on("2027-03-01").run();
    assert_eq!(customer.totals(), [1500, 9300]);
    assert_eq!(customer.charged_for("2027-01-01"), 4600);
    assert_holds(&customer.book.world);
}

#[test]
fn the_running_period_gets_its_voided_invoice_again() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-11").plan("B").on("2027-01-20").void("2027-01-01");
    assert!(customer.totals().is_empty());
    customer.edit(json!({"notes": "a change of something else"})).edit(json!({"quantity": 1}));
    customer.run();
    assert_eq!(customer.totals(), [3100], "by the terms at its start");
    customer.on("2027-02-01").run();
    assert_eq!(customer.totals(), [3100, 8300]);
}

#[test]
fn a_quantity_is_prorated_as_a_plan_is() {
    let mut customer = Customer::with("A", json!({"quantity": 10}));
    customer.run().on("2027-01-16").edit(json!({"quantity": 1})).on("2027-02-01").run();
    assert_eq!(customer.charged_for("2027-01-01"), 16_600);
    // Toggling to an equal plan and back changes nothing.
    let mut customer = Customer::with("A", json!({"quantity": 10}));
    customer.run().on("2027-01-16").plan("A2").plan("A").edit(json!({"quantity": 1}));
    customer.plan("A2").plan("A").on("2027-02-01").run();
    assert_eq!(customer.charged_for("2027-01-01"), 16_600);
    // Plan and quantity in either order on one day.
    for is_plan_first in [true, false] {
        let mut customer = Customer::with("A", json!({"quantity": 10}));
        customer.run().on("2027-01-16T08:00:00");
        if is_plan_first {
            customer.plan("B").on("2027-01-16T20:00:00").edit(json!({"quantity": 1}));
        } else {
            customer.edit(json!({"quantity": 1})).on("2027-01-16T20:00:00").plan("B");
        }
        customer.on("2027-02-01").run();
        assert_eq!(customer.charged_for("2027-01-01"), 15_000 + 3200, "{is_plan_first}");
    }
}

#[test]
fn a_run_of_the_past_leaves_the_next_period_due() {
    let mut c = Customer::of("A");
    c.run().on("2030-01-20").edit(json!({"quantity": 2}));
    for (as_of, billed, due_at) in [
        ("2027-02-15", (1, false), "2027-03-01"),
        ("2029-12-15", (24, true), "2029-03-01"),
        ("2029-12-15", (10, false), "2030-01-01"),
        ("2030-01-20", (1, false), "2030-02-01"),
    ] {
        let id = c.id.clone();
        assert_eq!(c.book.bill(&id, &format!("{as_of}T00:00:00Z")), billed, "{as_of}");
        let record = &c.book.world.subscriptions[&id].record;
        assert_eq!(record.due_at, Some(at(&format!("{due_at}T00:00:00Z"))), "{as_of}");
    }
}

#[test]
fn a_change_of_quantity_needs_none_of_the_earlier_ones() {
    let mut c = Customer::of("A");
    let loads_terms = |c: &mut Customer, body: Value| {
        let patch = patch(Kind::Subscription, &c.id, c.book.version(&c.id), body);
        let batch = [command(c.book.fresh_seed(), patch)];
        c.book.world.load(&batch, c.book.now).billing().terms.is_loaded(&c.id)
    };
    for day in 2..30 {
        c.on(&format!("2027-01-{day:02}")).edit(json!({"quantity": day}));
    }
    assert!(!loads_terms(&mut c, json!({"quantity": 5})));
    assert!(loads_terms(&mut c, json!({"quantity": 5, "status": "past_due"})));
    c.on("2027-02-01");
    assert!(loads_terms(&mut c, json!({"quantity": 5})), "a boundary has passed");
    c.run();
    assert!(!loads_terms(&mut c, json!({"quantity": 5})));
    c.flag();
    assert!(loads_terms(&mut c, json!({"quantity": 5})), "its end depends on them");
    assert_eq!(c.charged_for("2027-01-01"), (1..30).map(|day| 100 * day).sum::<i64>() + 200 * 29);
    assert_holds(&c.book.world);
}

#[test]
fn many_seats_for_most_of_a_month_are_charged() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-02").edit(json!({"quantity": 100}));
    customer.on("2027-01-31").edit(json!({"quantity": 1})).on("2027-02-01").run();
    assert_eq!(customer.charged_for("2027-01-01"), 290_200);
}

#[test]
fn a_resume_after_the_period_begins_a_new_one() {
    let mut customer = Customer::of("Y");
    customer.run().on("2027-12-01").status("paused").on("2028-11-30").status("active").run();
    assert_eq!(customer.totals(), [36_500, 36_500]);
    let period =
        customer.book.fields(&customer.id, &["current_period_start", "current_period_end"]);
    let expected = json!({"current_period_start": at("2028-11-30T00:00:00Z"),
        "current_period_end": at("2029-11-30T00:00:00Z")});
    assert_eq!(period, expected);
}

#[test]
fn a_trial_runs_by_the_calendar_although_it_was_paused() {
    let mut customer = Customer::with("T", json!({"start_at": "2027-06-01T00:00:00Z"}));
    customer.on("2027-03-01").run().status("paused").on("2027-03-20").status("active").run();
    let fields = customer.book.fields(&customer.id, &["status", "trial_end"]);
    assert_eq!(fields, json!({"status": "active", "trial_end": at("2027-06-15T00:00:00Z")}));
    customer.on("2027-06-14").run();
    assert!(customer.totals().is_empty());
    customer.on("2027-06-15").run();
    assert_eq!(customer.totals(), [3100]);
    assert_eq!(customer.charged_for("2027-06-15"), 3100);
}

#[test]
fn a_change_of_interval_ends_the_period_and_begins_another() {
    let mut customer = Customer::with("A", json!({"start_at": "2027-01-31T00:00:00Z"}));
    customer.on("2027-01-31").run().on("2027-02-28").run().on("2027-03-15").plan("AA").run();
    assert_eq!(customer.totals(), [3100, 3100, 6100 - 1600]);
    assert_eq!(customer.charged_for("2027-02-28"), 1500);
    assert_eq!(customer.charged_for("2027-03-15"), 6100);
    let end = customer.book.field(&customer.id, "current_period_end");
    assert_eq!(end, json!(at("2027-05-15T00:00:00Z")));
    // From a year to months.
    let mut customer = Customer::of("Y");
    customer.run().on("2027-03-01").plan("M").run();
    assert_eq!(customer.charged_for("2027-01-01"), 5900);
    assert_eq!(customer.charged_for("2027-03-01"), 2800);
    assert_eq!(customer.balance(), 36_500 - 5900 - 2800);
    customer.on("2027-04-01").run();
    assert_eq!(customer.charged_for("2027-04-01"), 2800);
    assert_eq!(customer.total(), 5900 + 2 * 2800);
}

#[test]
fn a_preview_is_what_the_runs_then_make() {
    let mut customer = Customer::of("B");
    customer.run().on("2027-01-11").plan("C").on("2027-01-20").edit(json!({"quantity": 3}));
    let previews = customer.preview("2027-05-15");
    assert_eq!(previews.len(), 4);
    let before = customer.living().len();
    for month in ["02", "03", "04", "05"] {
        customer.on(&format!("2027-{month}-01")).run();
    }
    for (preview, made) in previews.iter().zip(&customer.living()[before..]) {
        assert_eq!(preview.lines, made.lines);
        assert_eq!(
            (preview.total, preview.balance_applied, preview.amount_due, preview.period_end),
            (made.total, made.balance_applied, made.amount_due, made.period_end),
        );
    }
    // It says how a flagged one ends, and never more than 24.
    customer.flag();
    assert_eq!(customer.preview("2060-01-01").len(), 0);
    assert_eq!(Customer::of("A").preview("2060-01-01").len(), 24);
}

#[test]
fn one_that_cannot_be_billed_hurts_no_other_in_a_preview() {
    let mut customer = Customer::of("A");
    let workspace = customer.workspace.clone();
    let most = json!({"amount": ifmatch_types::INTEGER_MAX});
    let plan = customer.book.plan("most", most);
    let too_much = customer.book.subscription(&workspace, &plan, json!({}));
    customer.book.store_quantity(&too_much, 2);
    let as_of = customer.book.now;
    let preview = |ids: &[&String]| {
        let subscription_ids = ids.iter().map(|id| (*id).clone()).collect();
        Action::from(billing::Action::PreviewBilling(PreviewBilling { subscription_ids, as_of }))
    };
    customer.book.refused(preview(&[&too_much]));
    let id = customer.id.clone();
    match customer.book.run(preview(&[&too_much, &id])).unwrap() {
        Outcome::Billing(billing::Outcome::BillingPreviewed(invoices)) => {
            assert_eq!(invoices.iter().map(|i| i.total).collect::<Vec<_>>(), [3100]);
        }
        other => panic!("a preview was expected: {other:?}"),
    }
}

#[test]
fn what_has_ended_keeps_its_terms() {
    let mut customer = Customer::of("A");
    let plan = plan_id(&customer.book, "B");
    customer.run().status("canceled");
    customer.edit(json!({"notes": "they left", "metadata": {"why": "price"}}));
    for (body, fields) in [
        (json!({"quantity": 2}), &["quantity"][..]),
        (json!({"status": "active", "plan_id": plan}), &["plan_id", "status"]),
        (json!({"cancel_at_period_end": true, "notes": "x"}), &["cancel_at_period_end"]),
    ] {
        customer.refused_as_ended(body, fields);
    }
    // One that has ended meanwhile can still be canceled: that is how it ended.
    let mut customer = Customer::of("A");
    customer.run().flag().on("2027-03-01").status("canceled");
    customer.assert_ended("2027-02-01");
    let mut customer = Customer::of("A");
    customer.run().flag().on("2027-03-01").edit(json!({"notes": "bye"}));
    customer.assert_ended("2027-02-01");
}

#[test]
fn settling_charges_the_differences_at_once() {
    let mut customer = Customer::of("A");
    customer.run();
    assert_eq!(customer.settle(), None);
    customer.on("2027-01-11").plan("B");
    let invoice = customer.settle().unwrap();
    assert_eq!((invoice.total, invoice.period_start), (2100, None));
    assert_eq!(customer.settle(), None);
    customer.on("2027-02-01").run();
    assert_eq!(customer.totals(), [3100, 2100, 6200]);
    // Periods that are due come first.
    customer.on("2027-04-05");
    assert_eq!(customer.settle().unwrap().period_start, Some(at("2027-04-01T00:00:00Z")));
    // What was voided after the end is due again.
    customer.status("canceled").void("2027-02-01");
    assert_eq!(customer.settle().unwrap().total, 6200);
    assert_eq!(customer.settle(), None);
    customer.on("2031-01-01");
    let mut late = Customer::of("A");
    late.on("2031-01-01");
    let precondition = Precondition::Version(late.book.version(&late.id));
    let settle = SettleSubscription { subscription_id: late.id.clone(), precondition };
    let refused = late.book.refused(billing::Action::SettleSubscription(settle).into());
    assert!(
        matches!(refused, Rejection::Billing(billing::Rejection::BillingBehind { .. })),
        "{refused:?}"
    );
    let id = late.id.clone();
    let refused = late.book.edit(&id, json!({"status": "canceled"})).unwrap_err();
    assert!(
        matches!(refused, Rejection::Billing(billing::Rejection::BillingBehind { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_flag_without_a_running_period_ends_it_uncharged() {
    // Paused, and the period is over: at once.
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-10").status("paused").on("2027-03-05").flag();
    customer.assert_ended("2027-03-05");
    // Not begun: where it would begin.
    let mut customer = Customer::with("A", json!({"start_at": "2027-06-01T00:00:00Z"}));
    customer.flag().on("2027-08-01").run();
    customer.assert_ended("2027-06-01");
    assert_eq!(customer.total(), 0);
    // In a trial: where that ends, also if it is paused or was resumed.
    for path in [vec![], vec!["paused"], vec!["paused", "active"]] {
        let mut customer = Customer::of("T");
        for status in path {
            customer.status(status);
        }
        customer.on("2027-01-10").flag().on("2027-03-01").run();
        customer.assert_ended("2027-01-15");
        assert_eq!(customer.total(), 0);
    }
    // With a change of interval: at the end of the new period.
    let mut customer = Customer::of("Y");
    customer.run().on("2027-03-01");
    let plan = plan_id(&customer.book, "M");
    customer.edit(json!({"plan_id": plan, "cancel_at_period_end": true}));
    customer.on("2027-06-01").run();
    customer.assert_ended("2027-04-01");
    assert_eq!(customer.total(), 5900 + 2800);
}

#[test]
fn a_pause_gives_nothing_back_and_its_changes_wait_for_the_resume() {
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-06").status("paused").on("2027-01-10").edit(json!({"quantity": 2}));
    customer.on("2027-01-17").status("active").on("2027-02-01").run();
    assert_eq!(customer.charged_for("2027-01-01"), 1600 + 3000);
    // A change of interval, too.
    let mut customer = Customer::of("Y");
    customer.run().on("2027-01-11").status("paused").plan("M").on("2027-01-21").status("active");
    let start = customer.book.field(&customer.id, "current_period_start");
    assert_eq!(start, json!(at("2027-01-21T00:00:00Z")));
    customer.run();
    assert_eq!(customer.charged_for("2027-01-01"), 2000);
    // Without a resume it takes no effect.
    let mut customer = Customer::of("A");
    customer.run().on("2027-01-06").status("paused").plan("B").on("2027-01-10").status("canceled");
    assert_eq!(customer.total(), 3100);
}

#[test]
fn periods_are_shown_only_while_one_runs() {
    let shown = |customer: &Customer| {
        let fields = ["current_period_start", "current_period_end"];
        customer.book.fields(&customer.id, &fields)
    };
    let none = json!({"current_period_start": null, "current_period_end": null});
    let mut customer = Customer::with("A", json!({"start_at": "2027-06-01T00:00:00Z"}));
    assert_eq!(shown(&customer), none);
    customer.on("2027-06-01").run();
    assert_ne!(shown(&customer), none);
    customer.on("2027-06-10").status("paused").on("2027-08-01").edit(json!({"quantity": 4}));
    assert_eq!(shown(&customer), none);
    let customer = Customer::of("T");
    let trial = json!({"current_period_start": at("2027-01-01T00:00:00Z"),
        "current_period_end": at("2027-01-15T00:00:00Z")});
    assert_eq!(shown(&customer), trial);
}

#[test]
fn a_version_goes_up_by_one_in_all_and_nothing_is_stored_without_a_change() {
    let mut customer = Customer::of("T");
    customer.on("2027-04-10");
    let version = customer.book.version(&customer.id);
    let before = customer.book.world.clone();
    customer.edit(json!({"quantity": 1, "status": "trialing"}));
    assert_eq!(customer.book.world, before, "its own fields change nothing");
    customer.edit(json!({"quantity": 2}));
    assert_eq!(customer.book.version(&customer.id), version + 1);
    assert_eq!(customer.book.field(&customer.id, "status"), "active");
    customer.run();
    assert_eq!(customer.totals(), [3100, 3100, 3100], "the change counts from 10 April on");
    customer.on("2027-04-15").run();
    // 15 March to 15 April: 26 of 31 days for one, 5 for two.
    assert_eq!(customer.charged_for("2027-03-15"), 2600 + 1000);
}

#[test]
fn a_balance_is_corrected_by_admins_and_never_below_zero() {
    let mut customer = Customer::of("A");
    let workspace_id = customer.workspace.clone();
    let adjust = |amount: i64| {
        let body = json!({"currency": "USD", "amount": amount, "reason": "goodwill"});
        let body = body.as_object().unwrap().clone();
        Action::from(billing::Action::AdjustBalance(AdjustBalance {
            workspace_id: workspace_id.clone(),
            body,
        }))
    };
    customer.book.run(adjust(5000)).unwrap();
    let refused = customer.book.refused(adjust(-5001));
    let lacking = billing::Rejection::InsufficientBalance { required: 5001, available: 5000 };
    assert_eq!(refused, Rejection::Billing(lacking));
    customer.run();
    let invoice = customer.living().pop().unwrap();
    assert_eq!((invoice.balance_applied, invoice.amount_due), (3100, 0));
    assert_eq!(customer.balance(), 1900);
    // Voiding gives back what was taken.
    customer.void("2027-01-01");
    assert_eq!(customer.balance(), 5000);
    assert_holds(&customer.book.world);
}

#[test]
fn what_an_invoice_gave_is_not_taken_back_if_it_is_spent() {
    let mut customer = Customer::of("B");
    customer.run().on("2027-01-11").plan("C").on("2027-02-01").run().on("2027-03-01").run();
    let given = customer.living()[1].id.to_string();
    let refused = customer.book.edit(&given, json!({"status": "void"})).unwrap_err();
    let spent = billing::Rejection::BalanceSpent { required: 4032, available: 3932 };
    assert_eq!(refused, Rejection::Billing(spent));
    let workspace = customer.workspace.clone();
    let lines = json!([{"description": "Back", "quantity": 1, "unit_amount": -100}]);
    let back = customer.book.invoice(&workspace, with(json!({}), json!({"lines": lines})));
    customer.book.edit(&back, json!({"status": "open"})).unwrap();
    assert_eq!(customer.balance(), 4032);
    customer.book.edit(&given, json!({"status": "void"})).unwrap();
    assert_eq!(customer.balance(), 0);
    assert_holds(&customer.book.world);
}
