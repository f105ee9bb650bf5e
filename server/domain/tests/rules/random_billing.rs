//! Random lives of a subscription: whatever happens in whatever order, it is charged what the
//! reference says.

use crate::{
    commands::at,
    life::{DAY, Event, HOUR, Life, PLANS, Wait, moved, number, told},
    reference_billing::Edit,
};
use ifmatch_types::InvoicePreview;
use proptest::{collection::vec, prelude::*};

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        2 => Just(Wait::Together),
        1 => Just(Wait::Micros(0)),
        2 => (1i64..48).prop_map(|hours| Wait::Micros(hours * HOUR)),
        3 => (1i64..40).prop_map(|days| Wait::Micros(days * DAY + HOUR / 2)),
        1 => (40i64..200).prop_map(|days| Wait::Micros(days * DAY)),
        3 => prop_oneof![Just(0i64), Just(0), Just(9), Just(30)].prop_map(Wait::Boundary),
        1 => Just(Wait::Midnight),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let plan = prop_oneof![3 => Just(None), 2 => (0..PLANS.len()).prop_map(Some)];
    let quantity = prop_oneof![3 => Just(None), 1 => (1i64..5).prop_map(Some)];
    let status = prop_oneof![
        6 => Just(None), 3 => Just(Some("paused")), 4 => Just(Some("active")),
        1 => Just(Some("past_due")), 1 => Just(Some("canceled")),
    ];
    let flag = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 2 => Just(Some(false))];
    (plan, quantity, status, flag).prop_map(|(plan, quantity, status, flag)| Edit {
        plan,
        quantity,
        status,
        flag,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => edit().prop_map(Event::Edit),
        1 => Just(Event::Notes),
        3 => (0usize..8).prop_map(Event::Void),
        1 => Just(Event::Settle),
        3 => Just(Event::Run(0)),
        1 => (1i64..60).prop_map(Event::Run),
        1 => (0i64..90).prop_map(Event::Preview),
        1 => (-2000i64..4000).prop_map(Event::Adjust),
        1 => (0usize..8).prop_map(Event::Uncollectible),
    ]
}

/// The plan, the hours from the creation to the start, and whether it is flagged.
fn beginning() -> impl Strategy<Value = (usize, i64, bool)> {
    let hours = prop_oneof![2 => Just(0i64), 1 => -2000i64..0, 1 => 1i64..1500];
    (0..PLANS.len(), hours, prop::bool::weighted(0.1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn whatever_happens_it_is_charged_what_the_terms_say(
        beginning in beginning(),
        events in vec((wait(), event()), 1..24),
    ) {
        let mut life = Life::begin(beginning);
        life.live(&events);
        life.settle();
        life.assert_charged_right();
    }

    #[test]
    fn late_runs_charge_what_runs_on_time_do(
        beginning in beginning(),
        edits in vec((wait(), edit(), any::<bool>()), 1..16),
    ) {
        let of = |with_runs: bool| {
            let mut life = Life::begin(beginning);
            for (wait, edit, is_run) in &edits {
                if life.now > at("2028-06-01T00:00:00Z") {
                    break;
                }
                life.wait(*wait);
                if with_runs {
                    let now = life.now;
                    life.run_on_time(now);
                } else if *is_run || life.preview(life.now).len() > 22 {
                    // An edit of a subscription that is further behind could be refused.
                    life.run_now();
                }
                life.carry_out(&[Event::Edit(*edit)]);
            }
            life.settle();
            life.assert_charged_right();
            life.sums()
        };
        prop_assert_eq!(of(true), of(false));
    }

    #[test]
    fn a_preview_is_what_runs_on_time_make(
        beginning in beginning(),
        events in vec((wait(), event()), 0..12),
        days in 0i64..300,
    ) {
        let mut life = Life::begin(beginning);
        life.live(&events);
        let as_of = moved(life.now, days * DAY);
        let previews = life.preview(as_of);
        let known = life.world.last_number;
        life.run_on_time(as_of);
        let mut made = life.living();
        made.retain(|invoice| number(invoice) > known);
        made.sort_by_key(number);
        let made: Vec<InvoicePreview> = made.iter().take(24).map(told).collect();
        prop_assert_eq!(previews, made);
    }
}

#[test]
fn a_run_of_the_past_leaves_a_voided_invoice_due() {
    let mut life = Life::begin((0, 0, false));
    life.live(&[
        (Wait::Together, Event::Settle),
        (Wait::Micros(3_600_000_000), Event::Void(0)),
        (Wait::Together, Event::Run(1)),
    ]);
    life.settle();
    life.assert_charged_right();
}
