//! The periods that billing runs invoice, compared with a calendar that counts days.

use crate::{book::Book, invariants::assert_holds, random::few, reference::Day};
use proptest::{prelude::*, sample::select};
use serde_json::json;

proptest! {
    #![proptest_config(few())]

    #[test]
    fn periods_are_those_of_a_calendar_on_the_wall(
        (year, month, day) in (2023i64..2033, 1i64..13, 1i64..32),
        interval in select(vec!["day", "week", "month", "year"]),
        count in 1i64..5,
        trial_days in select(vec![0i64, 0, 5, 31]),
        days_later in 0i64..1_500,
    ) {
        let start = Day::of(year, month, day.min(Day::of(year, month, 1).days_in_month()));
        let mut book = Book::default();
        let workspace = book.workspace();
        let plan = json!({"interval": interval, "interval_count": count, "trial_days": trial_days});
        let plan = book.plan("p", plan);
        let start_at = json!({"start_at": start.at("13:00:00")});
        let id = book.subscription(&workspace, &plan, start_at);
        let until = start.plus_days(days_later);
        while book.bill(&id, &until.at("13:00:00").to_string()).1 {}

        let anchor = start.plus_days(trial_days);
        let mut expected = Vec::new();
        let mut n = 0;
        while anchor.plus(interval, n * count) <= until {
            let from = anchor.plus(interval, n * count).text();
            expected.push((from, anchor.plus(interval, (n + 1) * count).text(), 3000));
            n += 1;
        }
        prop_assert_eq!(book.bills(&id), expected);
        assert_holds(&book.world);
    }
}
