//! A change of plan is settled on the next invoice, by the day and to the cent.

use crate::{
    book::Book,
    commands::at,
    invariants::assert_holds,
    random::few,
    reference::{Day, price_of_days},
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

/// A book with plans and a subscription to the first one, billed for its period from 1 April.
fn book(plans: &[(&str, Value)]) -> (Book, String, Vec<String>) {
    let mut book = Book::at("2027-04-01T00:00:00Z");
    let workspace = book.workspace();
    let ids: Vec<String> = plans.iter().map(|(code, p)| book.plan(code, p.clone())).collect();
    let id = book.subscription(&workspace, &ids[0], json!({}));
    book.bill(&id, "2027-04-01T00:00:00Z");
    (book, id, ids)
}

fn line(text: &str, amount: i64) -> (String, i64) {
    (text.to_owned(), amount)
}

#[test]
fn the_rest_of_the_old_plan_is_given_back_and_that_of_the_new_one_charged() {
    // April has 30 days; A costs 30.00. (B's amount, day of the change, credit, charge)
    for (amount, day, credit, charge) in [
        (6000, 16, -1500, 3000),
        (1000, 16, -1500, 500),
        (6000, 1, -3000, 6000),
        (6000, 30, -100, 200),
        (0, 11, -2000, 0),
        (3001, 16, -1500, 1500),
        (3001, 2, -2900, 2901),
    ] {
        let (mut book, id, plans) = book(&[("a", json!({})), ("b", json!({"amount": amount}))]);
        book.now = at(&format!("2027-04-{day:02}T18:30:00Z"));
        book.edit(&id, json!({"plan_id": plans[1]})).unwrap();
        assert_eq!(book.bill(&id, "2027-04-30T23:00:00Z"), (0, false), "not before the next one");
        assert_eq!(book.bill(&id, "2027-05-01T00:00:00Z"), (1, false));
        assert_eq!(
            book.last_lines(&id),
            [
                line("b × 1", amount),
                line("Unused time on a", credit),
                line("Remaining time on b", charge),
            ]
        );
        assert_eq!(book.bill(&id, "2027-06-01T00:00:00Z"), (1, false));
        assert_eq!(book.last_lines(&id), [line("b × 1", amount)], "settled once");
        assert_holds(&book.world);
    }
}

#[test]
fn a_change_before_the_period_is_billed_is_settled_with_it() {
    let mut book = Book::at("2027-04-01T00:00:00Z");
    let workspace = book.workspace();
    let (a, b) = (book.plan("a", json!({})), book.plan("b", json!({"amount": 6000})));
    let id = book.subscription(&workspace, &a, json!({"quantity": 2}));
    book.now = at("2027-04-16T00:00:00Z");
    book.edit(&id, json!({"plan_id": b})).unwrap();
    book.bill(&id, "2027-04-20T00:00:00Z");
    assert_eq!(
        book.last_lines(&id),
        [line("a × 2", 6000), line("Unused time on a", -3000), line("Remaining time on b", 6000),]
    );
    book.bill(&id, "2027-05-01T00:00:00Z");
    assert_eq!(book.last_lines(&id), [line("b × 2", 12_000)]);
}

#[test]
fn there_and_back_again_on_one_day_costs_nothing() {
    let (mut book, id, plans) = book(&[("a", json!({})), ("b", json!({"amount": 9999}))]);
    book.now = at("2027-04-10T12:00:00Z");
    for plan in [&plans[1], &plans[0], &plans[1], &plans[0]] {
        book.edit(&id, json!({"plan_id": plan})).unwrap();
    }
    book.bill(&id, "2027-05-01T00:00:00Z");
    assert_eq!(book.bills(&id)[1].2, 3000);
}

#[test]
fn another_interval_begins_where_the_running_period_ends() {
    // (B's interval, count and amount, charge for 15 days of April, next period's end)
    for (interval, count, amount, charge, end) in [
        ("year", 1, 36_600, 1500, "2028-05-01"),
        ("month", 2, 6100, 1500, "2027-07-01"),
        ("week", 1, 700, 1500, "2027-05-08"),
        ("day", 1, 100, 1500, "2027-05-02"),
        ("day", 5, 1000, 3000, "2027-05-06"),
    ] {
        let other = json!({"interval": interval, "interval_count": count, "amount": amount});
        let (mut book, id, plans) = book(&[("a", json!({})), ("b", other)]);
        book.now = at("2027-04-16T00:00:00Z");
        book.edit(&id, json!({"plan_id": plans[1]})).unwrap();
        assert_eq!(book.field(&id, "current_period_end"), json!(at("2027-05-01T00:00:00Z")));
        assert_eq!(book.bill(&id, "2027-05-01T00:00:00Z"), (1, false));
        assert_eq!(
            book.last_lines(&id),
            [
                line("b × 1", amount),
                line("Unused time on a", -1500),
                line("Remaining time on b", charge),
            ],
            "{interval}"
        );
        assert_eq!(book.bills(&id)[1].1, end);
    }
}

#[test]
fn what_was_charged_for_another_interval_is_what_is_given_back() {
    let year = json!({"interval": "year", "amount": 36_600});
    let (mut book, id, plans) =
        book(&[("a", json!({})), ("b", year), ("c", json!({"amount": 600}))]);
    book.now = at("2027-04-11T00:00:00Z");
    book.edit(&id, json!({"plan_id": plans[1]})).unwrap();
    book.now = at("2027-04-21T00:00:00Z");
    book.edit(&id, json!({"plan_id": plans[2]})).unwrap();
    book.bill(&id, "2027-05-01T00:00:00Z");
    assert_eq!(
        book.last_lines(&id),
        [
            line("c × 1", 600),
            line("Unused time on a", -2000),
            line("Remaining time on b", 2000),
            line("Unused time on b", -1000),
            line("Remaining time on c", 200),
        ]
    );
}

#[test]
fn a_change_in_a_period_that_nobody_pays_for_costs_nothing() {
    for (trial_days, billed) in [(14, false), (0, false), (0, true)] {
        let mut book = Book::at("2027-04-01T00:00:00Z");
        let workspace = book.workspace();
        let a = book.plan("a", json!({"trial_days": trial_days}));
        let b = book.plan("b", json!({"amount": 6000}));
        let id = book.subscription(&workspace, &a, json!({}));
        if billed {
            book.bill(&id, "2027-04-01T00:00:00Z");
        }
        book.edit(&id, json!({"status": "paused"})).unwrap();
        book.now = at("2027-04-11T00:00:00Z");
        book.edit(&id, json!({"plan_id": b})).unwrap();
        if trial_days == 0 {
            book.now = at("2027-07-07T00:00:00Z");
        }
        book.edit(&id, json!({"status": "active"})).unwrap();
        book.bill(&id, &book.now.to_string());
        let lines: Vec<i64> = book.last_lines(&id).into_iter().map(|(_, amount)| amount).collect();
        match billed {
            // The amount paid for April is settled, with or without a pause.
            true => assert_eq!(lines, [6000, -2000, 4000]),
            false => assert_eq!(lines, [6000], "trial: {trial_days}"),
        }
    }
}

#[test]
fn a_change_in_the_trial_is_free() {
    let mut book = Book::at("2027-04-01T00:00:00Z");
    let workspace = book.workspace();
    let a = book.plan("a", json!({"trial_days": 14}));
    let b = book.plan("b", json!({"amount": 6000, "interval": "week"}));
    let id = book.subscription(&workspace, &a, json!({}));
    book.now = at("2027-04-05T00:00:00Z");
    book.edit(&id, json!({"plan_id": b})).unwrap();
    book.bill(&id, "2027-04-15T00:00:00Z");
    assert_eq!(book.last_lines(&id), [line("b × 1", 6000)]);
    assert_eq!(book.bills(&id)[0].1, "2027-04-22");
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn a_period_costs_the_sum_of_its_days_whatever_was_changed(
        amounts in vec(0i64..100_000, 2..6),
        mut days in vec(0i64..31, 5),
        (month, quantity) in (1i64..13, 1i64..4),
    ) {
        days.sort_unstable();
        let start = Day::of(2028, month, 1);
        let total = start.days_in_month();
        let mut book = Book { now: start.at("00:00:00"), ..Book::default() };
        let workspace = book.workspace();
        let plans: Vec<String> = (0..)
            .zip(&amounts)
            .map(|(n, amount)| book.plan(&format!("p{n}"), json!({"amount": amount})))
            .collect();
        let id = book.subscription(&workspace, &plans[0], json!({"quantity": quantity}));
        book.bill(&id, &start.at("00:00:00").to_string());
        let mut expected = 0;
        let mut since = 0;
        for ((plan, amounts), day) in plans[1..].iter().zip(amounts.windows(2)).zip(&days) {
            let day = (*day).min(total - 1);
            book.now = start.plus_days(day).at("07:00:00");
            book.edit(&id, json!({"plan_id": plan})).unwrap();
            expected += price_of_days(amounts[0] * quantity, since, day, total);
            since = day;
        }
        let last = amounts.last().unwrap() * quantity;
        expected += price_of_days(last, since, total, total);
        book.bill(&id, &start.plus_months(1).at("00:00:00").to_string());
        let bills = book.bills(&id);
        prop_assert_eq!(bills[0].2 + bills[1].2 - last, expected);
        assert_holds(&book.world);
    }

    #[test]
    fn each_line_is_the_price_of_its_days_by_its_own_plan(
        intervals in vec((select(vec!["day", "week", "month", "year"]), 1i64..4, 0i64..50_000), 3),
        days in (0i64..28, 0i64..28),
    ) {
        let start = Day::of(2027, 4, 1);
        let plans: Vec<(String, Value)> = (0..)
            .zip(&intervals)
            .map(|(n, (interval, count, amount))| {
                let code = format!("p{n}");
                (code, json!({"interval": interval, "interval_count": count, "amount": amount}))
            })
            .collect();
        let mut book = Book { now: start.at("00:00:00"), ..Book::default() };
        let workspace = book.workspace();
        let ids: Vec<String> = plans.iter().map(|(code, p)| book.plan(code, p.clone())).collect();
        let id = book.subscription(&workspace, &ids[0], json!({}));
        book.bill(&id, &start.at("00:00:00").to_string());
        let end = start.plus(intervals[0].0, intervals[0].1);
        let total = start.days_until(end);
        let (one, two) = (days.0.min(days.1).min(total - 1), days.0.max(days.1).min(total - 1));
        for (day, plan) in [(one, &ids[1]), (two, &ids[2])] {
            book.now = start.plus_days(day).at("09:00:00");
            book.edit(&id, json!({"plan_id": plan})).unwrap();
        }
        book.bill(&id, &end.at("00:00:00").to_string());
        let price = |n: usize, from: i64| {
            let (interval, count, amount) = intervals[n];
            price_of_days(amount, from, total, start.days_until(start.plus(interval, count)))
        };
        let expected = vec![intervals[2].2, -price(0, one), price(1, one), -price(1, two), price(2, two)];
        let lines: Vec<i64> = book.world.recurring(&id)
            .find(|invoice| invoice.period_start == Some(end.at("00:00:00")))
            .unwrap()
            .lines
            .iter()
            .map(|line| line.amount)
            .collect();
        prop_assert_eq!(lines, expected);
    }
}
