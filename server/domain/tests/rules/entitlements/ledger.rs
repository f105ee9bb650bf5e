//! The reference: answers every question from full lists of grants and usage, with plain loops.

use crate::commands::at;
use ifmatch_types::Timestamp;

/// The room in a pool: used, held and limit. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// The scope whose counter it is.
    pub scope: usize,
    pub is_granted: bool,
    pub used: i64,
    pub held: i64,
    pub limit: Option<i64>,
}

impl Room {
    pub fn fits(&self, quantity: i64) -> bool {
        self.is_granted && self.limit.is_none_or(|limit| self.used + self.held + quantity <= limit)
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Reset {
    None,
    Monthly,
    RollingDays(i64),
}

/// What a package or a boost grants of a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Give {
    Enabled,
    Units(i64),
    Unlimited,
    /// Units that only raise an existing grant.
    Extra(i64),
}

#[derive(Clone, Debug)]
pub struct Given {
    pub id: String,
    pub scope: usize,
    pub gives: Vec<(usize, Give)>,
    pub is_base: bool,
    pub is_suspended: bool,
    pub is_over: bool,
    /// The earlier of these ends it.
    pub ends: [Option<Timestamp>; 2],
}

impl Given {
    pub fn is_over_by(&self, now: Timestamp) -> bool {
        self.is_over || self.ends.iter().flatten().any(|end| *end <= now)
    }
}

#[derive(Clone, Debug)]
pub struct Used {
    pub scope: usize,
    pub pool: usize,
    /// The month of the scope, for monthly windows.
    pub month: Option<i64>,
    pub at: Timestamp,
    pub quantity: i64,
}

#[derive(Clone, Debug)]
pub struct Held {
    pub scope: usize,
    pub pool: usize,
    pub month: Option<i64>,
    pub quantity: i64,
    pub expires_at: Timestamp,
    pub is_over: bool,
}

/// Scope 0 is the workspace; the others are its namespaces.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub resets: Vec<Reset>,
    pub anchors: [Option<Timestamp>; 3],
    pub given: Vec<Given>,
    pub used: Vec<Used>,
    pub held: Vec<Held>,
}

impl Ledger {
    pub fn give(&mut self, given: Given, now: Timestamp) {
        self.anchors[given.scope].get_or_insert(now);
        self.given.push(given);
    }

    /// Whether a pool is granted to a scope, and the limit.
    fn limit(&self, scope: usize, pool: usize, now: Timestamp) -> (bool, Option<i64>) {
        let (mut is_granted, mut units) = (false, 0);
        for given in &self.given {
            if given.scope != scope || given.is_suspended || given.is_over_by(now) {
                continue;
            }
            for (of, give) in &given.gives {
                match give {
                    _ if *of != pool => {}
                    Give::Unlimited => return (true, None),
                    Give::Enabled => is_granted = true,
                    Give::Units(n) => (is_granted, units) = (true, units + n),
                    Give::Extra(n) => units += n,
                }
            }
        }
        (is_granted, Some(if is_granted { units } else { 0 }))
    }

    pub fn month(&self, scope: usize, pool: usize, now: Timestamp) -> Option<i64> {
        let Reset::Monthly = self.resets[pool] else { return None };
        let anchor = self.anchors[scope].unwrap_or(now);
        let mut month = 0;
        while months_after(anchor, month + 1) <= now {
            month += 1;
        }
        Some(month)
    }

    /// The room in a pool of a scope, in one of its months.
    pub fn room_then(&self, scope: usize, pool: usize, month: Option<i64>, now: Timestamp) -> Room {
        let mut room = Room { scope, is_granted: false, used: 0, held: 0, limit: None };
        (room.is_granted, room.limit) = self.limit(scope, pool, now);
        for used in &self.used {
            let is_in = match self.resets[pool] {
                Reset::RollingDays(days) => {
                    now.as_micros() - used.at.as_micros() < days * 86_400_000_000
                }
                _ => used.month == month,
            };
            if used.scope == scope && used.pool == pool && is_in {
                room.used += used.quantity;
            }
        }
        for held in &self.held {
            let is_active = !held.is_over && now < held.expires_at;
            if held.scope == scope && held.pool == pool && held.month == month && is_active {
                room.held += held.quantity;
            }
        }
        room
    }

    /// The current room of a scope: its own if it has a grant, else the workspace's.
    pub fn room(&self, scope: usize, pool: usize, now: Timestamp) -> Room {
        let charged = if self.limit(scope, pool, now).0 { scope } else { 0 };
        self.room_then(charged, pool, self.month(charged, pool, now), now)
    }

    /// Records units if they fit.
    pub fn take(&mut self, scope: usize, pool: usize, quantity: i64, now: Timestamp) -> bool {
        let room = self.room(scope, pool, now);
        if room.fits(quantity) {
            let month = self.month(room.scope, pool, now);
            self.used.push(Used { scope: room.scope, pool, month, at: now, quantity });
        }
        room.fits(quantity)
    }

    /// Holds units if they fit.
    pub fn hold(
        &mut self,
        scope: usize,
        pool: usize,
        quantity: i64,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> bool {
        let room = self.room(scope, pool, now);
        if room.fits(quantity) {
            let (scope, month) = (room.scope, self.month(room.scope, pool, now));
            self.held.push(Held { scope, pool, month, quantity, expires_at, is_over: false });
        }
        room.fits(quantity)
    }

    /// Ends a hold. The settled quantity, if given, must fit.
    pub fn end(&mut self, nth: usize, settled: Option<i64>, now: Timestamp) -> bool {
        let held = self.held[nth].clone();
        if held.is_over || held.expires_at <= now {
            return false;
        }
        let (scope, pool, month) = (held.scope, held.pool, held.month);
        if let Some(quantity) = settled {
            let more = quantity - held.quantity;
            if more > 0 && !self.room_then(scope, pool, month, now).fits(more) {
                return false;
            }
            self.used.push(Used { scope, pool, month, at: now, quantity });
        }
        self.held[nth].is_over = true;
        true
    }
}

/// The instant `months` months after `anchor`, by stepping through the calendar.
pub fn months_after(anchor: Timestamp, months: i64) -> Timestamp {
    let text = anchor.to_string();
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (mut year, mut month, day) = (number(0..4), number(5..7), number(8..10));
    for _ in 0..months {
        month += 1;
        if month == 13 {
            (year, month) = (year + 1, 1);
        }
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    at(&format!("{year:04}-{month:02}-{:02}{}", day.min(length), &text[10..]))
}
