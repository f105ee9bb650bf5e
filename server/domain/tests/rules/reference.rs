//! The calendar and the price of a day, slow and simple enough to be obviously right.

use ifmatch_types::Timestamp;

/// A civil date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

impl Day {
    pub fn of(year: i64, month: i64, day: i64) -> Self {
        Self { year, month, day }
    }

    pub fn days_in_month(self) -> i64 {
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    pub fn next(self) -> Self {
        if self.day < self.days_in_month() {
            Self { day: self.day + 1, ..self }
        } else if self.month < 12 {
            Self { day: 1, month: self.month + 1, ..self }
        } else {
            Self { day: 1, month: 1, year: self.year + 1 }
        }
    }

    pub fn plus_days(self, days: i64) -> Self {
        (0..days).fold(self, |day, _| day.next())
    }

    /// `months` later: the same day of the month, or the month's last.
    pub fn plus_months(self, months: i64) -> Self {
        let mut month = Self { day: 1, ..self };
        for _ in 0..months {
            month = month.plus_days(month.days_in_month());
        }
        Self { day: self.day.min(month.days_in_month()), ..month }
    }

    /// `count` intervals later.
    pub fn plus(self, interval: &str, count: i64) -> Self {
        match interval {
            "day" => self.plus_days(count),
            "week" => self.plus_days(7 * count),
            "month" => self.plus_months(count),
            "year" => self.plus_months(12 * count),
            other => panic!("no interval: {other}"),
        }
    }

    pub fn days_until(self, later: Self) -> i64 {
        let mut day = self;
        let mut days = 0;
        while day < later {
            day = day.next();
            days += 1;
        }
        days
    }

    pub fn text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The date of an instant in UTC, and its time of day.
    pub fn of_instant(instant: Timestamp) -> (Self, String) {
        let text = instant.to_string();
        let (date, time) = text.split_once('T').unwrap();
        let parts: Vec<i64> = date.split('-').map(|part| part.parse().unwrap()).collect();
        (Self::of(parts[0], parts[1], parts[2]), time.trim_end_matches('Z').to_owned())
    }

    /// This date at a time of day, in UTC.
    pub fn at(self, time: &str) -> Timestamp {
        format!("{}T{time}Z", self.text()).parse().unwrap()
    }
}

/// The price of days `from..to` of a period of `total` days that costs `amount`, day by day.
pub fn price_of_days(amount: i64, from: i64, to: i64, total: i64) -> i64 {
    (from..to).map(|day| until(amount, day + 1, total) - until(amount, day, total)).sum()
}

/// The share of the first `days` days, rounded half away from zero.
pub fn until(amount: i64, days: i64, total: i64) -> i64 {
    let doubled = 2 * amount.abs() * days;
    (doubled + total) / (2 * total) * amount.signum()
}

#[test]
fn the_reference_knows_a_calendar() {
    assert_eq!(Day::of(2027, 1, 31).plus_months(1), Day::of(2027, 2, 28));
    assert_eq!(Day::of(2027, 1, 31).plus_months(13), Day::of(2028, 2, 29));
    assert_eq!(Day::of(2027, 12, 31).next(), Day::of(2028, 1, 1));
    assert_eq!(Day::of(2027, 1, 1).days_until(Day::of(2029, 1, 1)), 731);
    assert_eq!(price_of_days(5, 0, 1, 2), 3);
    assert_eq!(price_of_days(-5, 0, 1, 2), -3);
}
