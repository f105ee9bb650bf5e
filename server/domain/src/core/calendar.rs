//! Billing periods: calendar arithmetic in UTC from the original anchor, clamped to month ends.

use ifmatch_types::{Interval, Timestamp};
use jiff::{Span, civil::DateTime, tz::TimeZone};

/// The length of a period: a number of intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) interval: Interval,
    pub(crate) count: i64,
}

impl Step {
    /// The instant `n` steps after the anchor; `None` past the end of the calendar.
    pub(crate) fn boundary(self, anchor: Timestamp, n: i64) -> Option<Timestamp> {
        self.shifted(anchor, self.count.checked_mul(n)?)
    }

    /// The first boundary after `after`, but never before `anchor + 1` step.
    pub(crate) fn next_boundary(self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        let boundaries = self.boundaries(anchor, anchor);
        boundaries.nth(boundaries.steps_until(after)?.checked_add(1)?)
    }

    /// The last boundary at or before `until`, but never before the anchor.
    pub(crate) fn last_boundary(self, anchor: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.boundaries(anchor, anchor).last(until)
    }

    /// The boundaries of periods of this length, starting at `first`.
    ///
    /// Months and days are counted from the anchor, even if periods of another length came in
    /// between: with an anchor of 31 January, a two-month period that starts on 28 February ends on
    /// 30 April. If no number of days or months leads from the anchor to `first`, then `first`
    /// becomes the new anchor.
    pub(crate) fn boundaries(self, anchor: Timestamp, first: Timestamp) -> Boundaries {
        let step = match self.interval {
            Interval::Week => Self { interval: Interval::Day, count: self.count.saturating_mul(7) },
            Interval::Year => {
                Self { interval: Interval::Month, count: self.count.saturating_mul(12) }
            }
            Interval::Day | Interval::Month | Interval::Unknown(_) => self,
        };
        let offset = step.units_between(anchor, first);
        match step.shifted(anchor, offset) {
            Some(led_to) if led_to == first => Boundaries { step, anchor, offset },
            _ => Boundaries { step, anchor: first, offset: 0 },
        }
    }

    /// The instant `units` intervals after `from`; 31 January plus one month is 28 February.
    fn shifted(self, from: Timestamp, units: i64) -> Option<Timestamp> {
        let span = match self.interval {
            Interval::Day => Span::new().try_days(units),
            Interval::Week => Span::new().try_weeks(units),
            Interval::Month => Span::new().try_months(units),
            Interval::Year => Span::new().try_years(units),
            Interval::Unknown(_) => return None,
        };
        let moved = civil(from).checked_add(span.ok()?).ok()?;
        Some(moved.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
    }

    /// The number of intervals between the dates, months or years of two instants.
    fn units_between(self, from: Timestamp, to: Timestamp) -> i64 {
        let (first, last) = (civil(from), civil(to));
        let years = i64::from(last.year()).saturating_sub(i64::from(first.year()));
        let months = i64::from(last.month()).saturating_sub(i64::from(first.month()));
        match self.interval {
            Interval::Day => days_between(from, to),
            Interval::Week => days_between(from, to) / 7,
            Interval::Month => years.saturating_mul(12).saturating_add(months),
            Interval::Year => years,
            Interval::Unknown(_) => 0,
        }
    }
}

/// The boundaries of periods of one length, starting at a given boundary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundaries {
    step: Step,
    /// The instant that the boundaries are counted from.
    pub(crate) anchor: Timestamp,
    /// The number of days or months from the anchor to the first boundary.
    offset: i64,
}

impl Boundaries {
    /// The `n`-th boundary after the first; `None` past the end of the calendar.
    ///
    /// It is counted from the anchor, not from the previous boundary: 31 January, 28 February,
    /// 31 March.
    pub(crate) fn nth(self, n: i64) -> Option<Timestamp> {
        let units = self.step.count.checked_mul(n)?.checked_add(self.offset)?;
        self.step.shifted(self.anchor, units)
    }

    /// The last boundary at or before `until`, but never before the first.
    pub(crate) fn last(self, until: Timestamp) -> Option<Timestamp> {
        self.nth(self.steps_until(until)?)
    }

    /// The number of steps from the first boundary to the last one at or before `until`.
    fn steps_until(self, until: Timestamp) -> Option<i64> {
        // This estimate never overshoots, so the loop below adds only a few steps, however far
        // back the first boundary is.
        let units = self.step.units_between(self.anchor, until).saturating_sub(self.offset);
        let mut n = units.saturating_sub(1).max(0) / self.step.count.max(1);
        while self.nth(n.checked_add(1)?)? <= until {
            n = n.checked_add(1)?;
        }
        Some(n)
    }
}

/// The civil date and time of an instant, in UTC.
pub(crate) fn civil(instant: Timestamp) -> DateTime {
    instant.to_jiff().to_zoned(TimeZone::UTC).datetime()
}

/// The number of civil days between the dates of two instants.
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
    fn months_keep_the_day_of_the_anchor_after_periods_of_another_length() {
        let day = |text: &str| at(&format!("{text}T10:00:00Z"));
        for (interval, count, first, second, third) in [
            (Interval::Month, 2, "2027-02-28", "2027-04-30", "2027-06-30"),
            (Interval::Year, 1, "2027-02-28", "2028-02-29", "2029-02-28"),
            (Interval::Week, 1, "2027-02-28", "2027-03-07", "2027-03-14"),
            // No number of months leads from the anchor to this boundary.
            (Interval::Month, 1, "2027-02-27", "2027-03-27", "2027-04-27"),
        ] {
            let step = Step { interval, count };
            let boundaries = step.boundaries(day("2027-01-31"), day(first));
            assert_eq!(boundaries.nth(0), Some(day(first)));
            assert_eq!(boundaries.nth(1), Some(day(second)), "{interval:?} {count}");
            assert_eq!(boundaries.last(day(third)), Some(day(third)), "{interval:?} {count}");
            let before = Timestamp::from_micros(day(third).as_micros() - 1);
            assert_eq!(boundaries.last(before.unwrap()), Some(day(second)));
        }
    }

    #[test]
    fn the_calendar_ends_without_a_panic() {
        let step = Step { interval: Interval::Year, count: 36 };
        assert_eq!(step.boundary(at("2027-01-01T00:00:00Z"), 1_000), None);
        assert_eq!(step.boundary(at("2027-01-01T00:00:00Z"), i64::MAX), None);
    }
}
