//! Billing periods: civil arithmetic in UTC, from the original anchor, clamped to month ends.

use crate::PlanTerms;
use ifmatch_types::{Interval, Timestamp};
use jiff::{Span, civil::DateTime, tz::TimeZone};

/// The length of a period: so many intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) interval: Interval,
    pub(crate) count: i64,
}

impl Step {
    /// The length of a plan's periods.
    pub(crate) fn of(terms: &PlanTerms) -> Self {
        Self { interval: terms.interval, count: terms.interval_count }
    }

    /// `anchor + n` steps; `None` past the end of the calendar.
    ///
    /// Counted from the anchor and not from the boundary before: 31 January, 28 February, 31 March.
    pub(crate) fn boundary(self, anchor: Timestamp, n: i64) -> Option<Timestamp> {
        let units = self.count.checked_mul(n)?;
        let span = match self.interval {
            Interval::Day => Span::new().try_days(units),
            Interval::Week => Span::new().try_weeks(units),
            Interval::Month => Span::new().try_months(units),
            Interval::Year => Span::new().try_years(units),
        };
        let moved = civil(anchor).checked_add(span.ok()?).ok()?;
        Some(moved.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
    }

    /// The first boundary after an instant; at the earliest `anchor + 1` step.
    pub(crate) fn next_boundary(self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        self.boundary(anchor, self.steps_beyond(anchor, after)?)
    }

    /// The last boundary that is not after an instant; at the earliest the anchor.
    pub(crate) fn last_boundary(self, anchor: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.boundary(anchor, self.steps_beyond(anchor, until)?.saturating_sub(1))
    }

    /// How many steps lead from the anchor to the first boundary after an instant; at least one.
    fn steps_beyond(self, anchor: Timestamp, after: Timestamp) -> Option<i64> {
        let mut n = self.steps_before(anchor, after).max(1);
        while self.boundary(anchor, n)? <= after {
            n = n.checked_add(1)?;
        }
        Some(n)
    }

    /// A number of steps that surely does not end beyond the first boundary after `after`, and
    /// falls short of it by very few, however long ago the anchor is.
    fn steps_before(self, anchor: Timestamp, after: Timestamp) -> i64 {
        let (from, to) = (civil(anchor), civil(after));
        let years = i64::from(to.year()).saturating_sub(i64::from(from.year()));
        let months = i64::from(to.month()).saturating_sub(i64::from(from.month()));
        let units = match self.interval {
            Interval::Day => days_between(anchor, after),
            Interval::Week => days_between(anchor, after) / 7,
            Interval::Month => years.saturating_mul(12).saturating_add(months).saturating_sub(1),
            Interval::Year => years.saturating_sub(1),
        };
        units.max(0) / self.count.max(1)
    }
}

/// The civil date and time of an instant, in UTC.
pub(crate) fn civil(instant: Timestamp) -> DateTime {
    instant.to_jiff().to_zoned(TimeZone::UTC).datetime()
}

/// Civil days from one instant's date to another's.
pub(crate) fn days_between(from: Timestamp, to: Timestamp) -> i64 {
    let days = civil(to).date().duration_since(civil(from).date()).as_hours() / 24;
    debug_assert!(days.abs() < 10_000_000, "the calendar has fewer days");
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_are_counted_from_the_anchor_and_clamped() {
        let step = Step { interval: Interval::Month, count: 1 };
        let anchor = at("2027-01-31T10:00:00Z");
        let boundaries: Vec<String> =
            (1..=3).map(|n| step.boundary(anchor, n).unwrap().to_string()).collect();
        assert_eq!(
            boundaries,
            [
                "2027-02-28T10:00:00.000000Z",
                "2027-03-31T10:00:00.000000Z",
                "2027-04-30T10:00:00.000000Z"
            ]
        );
        let leap = at("2028-01-31T00:00:00Z");
        assert_eq!(step.boundary(leap, 1), Some(at("2028-02-29T00:00:00Z")));
    }

    #[test]
    fn the_next_boundary_is_the_first_one_after_the_instant() {
        let cases = [
            (
                Interval::Month,
                1,
                "2027-01-31T00:00:00Z",
                "2027-02-28T00:00:00Z",
                "2027-03-31T00:00:00Z",
            ),
            (
                Interval::Month,
                1,
                "2027-01-31T00:00:00Z",
                "2027-01-01T00:00:00Z",
                "2027-02-28T00:00:00Z",
            ),
            (
                Interval::Year,
                1,
                "2028-02-29T00:00:00Z",
                "2031-12-31T00:00:00Z",
                "2032-02-29T00:00:00Z",
            ),
            (
                Interval::Week,
                2,
                "2027-01-01T00:00:00Z",
                "2027-01-15T00:00:00Z",
                "2027-01-29T00:00:00Z",
            ),
            (
                Interval::Day,
                36,
                "2027-01-01T00:00:00Z",
                "2037-01-01T00:00:00Z",
                "2037-01-20T00:00:00Z",
            ),
        ];
        for (interval, count, anchor, after, expected) in cases {
            let step = Step { interval, count };
            let next = step.next_boundary(at(anchor), at(after)).unwrap();
            assert!(next > at(after));
            assert_eq!(next, at(expected), "{interval:?} {count}");
        }
    }

    #[test]
    fn the_calendar_ends_without_a_panic() {
        let step = Step { interval: Interval::Year, count: 36 };
        assert_eq!(step.boundary(at("2027-01-01T00:00:00Z"), 1_000), None);
        assert_eq!(step.boundary(at("2027-01-01T00:00:00Z"), i64::MAX), None);
    }
}
