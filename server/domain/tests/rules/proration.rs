//! A change of plan is settled on the next invoice, by the day and to the cent.

use crate::{
    book::Book,
    commands::at,
    invariants::assert_holds,
    random::few,
    reference::{Day, price_of_days},
};
use proptest::{collection::vec, prelude::*};
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
        let differences = [("Unused time on a", credit), ("Remaining time on b", charge)];
        let mut expected = vec![line("b × 1", amount)];
        // April's price is the same if both come to nothing, and then there is nothing to say.
        if credit + charge != 0 {
            let differing = differences.into_iter().filter(|(_, amount)| *amount != 0);
            expected.extend(differing.map(|(text, amount)| line(text, amount)));
        }
        assert_eq!(book.last_lines(&id), expected);
        assert_eq!(book.bill(&id, "2027-06-01T00:00:00Z"), (1, false));
        assert_eq!(book.last_lines(&id), [line("b × 1", amount)], "settled once");
        assert_holds(&book.world);
    }
}

#[test]
fn a_change_before_the_period_is_billed_is_settled_with_the_next() {
    let mut book = Book::at("2027-04-01T00:00:00Z");
    let workspace = book.workspace();
    let (a, b) = (book.plan("a", json!({})), book.plan("b", json!({"amount": 6000})));
    let id = book.subscription(&workspace, &a, json!({"quantity": 2}));
    book.now = at("2027-04-16T00:00:00Z");
    book.edit(&id, json!({"plan_id": b})).unwrap();
    book.bill(&id, "2027-04-20T00:00:00Z");
    assert_eq!(book.last_lines(&id), [line("a × 2", 6000)]);
    book.bill(&id, "2027-05-01T00:00:00Z");
    let expected = [("b × 2", 12_000), ("Unused time on a", -3000), ("Remaining time on b", 6000)];
    assert_eq!(book.last_lines(&id), expected.map(|(text, amount)| line(text, amount)));
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
}
