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

/// What is left of a consumable boost of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Consumable {
    pub pool: usize,
    pub left: i64,
    /// Lower numbers are burnt first.
    pub priority: i64,
}

/// What a unit is taken for: a record or a hold, by its index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum For {
    Used(usize),
    Held(usize),
}

/// The counter of a scope's pool; in a month, for monthly windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub scope: usize,
    pub pool: usize,
    pub month: Option<i64>,
}

/// One burnt unit.
#[derive(Clone, Copy, Debug)]
pub struct Burnt {
    pub window: Window,
    /// The boost's index in the list of what was given.
    pub boost: usize,
    /// Only of interest in rolling windows.
    pub taken_for: For,
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
    pub consumable: Option<Consumable>,
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
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub resets: Vec<Reset>,
    pub anchors: [Option<Timestamp>; 3],
    pub given: Vec<Given>,
    pub used: Vec<Used>,
    pub held: Vec<Held>,
    /// Unit by unit, first burnt first.
    pub burnt: Vec<Burnt>,
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

    /// Whether something that is suspended would grant a pool to a scope.
    fn is_suspended(&self, scope: usize, pool: usize, now: Timestamp) -> bool {
        self.given.iter().any(|given| {
            let gives = given.gives.iter().any(|(of, _)| *of == pool);
            given.scope == scope && given.is_suspended && !given.is_over_by(now) && gives
        })
    }

    /// The units that consumables add to a window: those left, and those burnt for it.
    fn added(&self, window: Window, now: Timestamp) -> i64 {
        let mut added = 0;
        for given in &self.given {
            let Some(consumable) = given.consumable else { continue };
            let is_of = given.scope == window.scope && consumable.pool == window.pool;
            if is_of && !given.is_over_by(now) {
                added += consumable.left;
            }
        }
        for burnt in &self.burnt {
            let counts = match (self.resets[window.pool], burnt.taken_for) {
                (Reset::RollingDays(days), For::Used(nth)) => {
                    let age = now.as_micros() - self.used[nth].at.as_micros();
                    age < days * 86_400_000_000
                }
                // The boost gets back what an expired hold burnt, unless it is over itself.
                (Reset::RollingDays(_), For::Held(nth)) => {
                    now < self.held[nth].expires_at || !self.given[burnt.boost].is_over_by(now)
                }
                _ => true,
            };
            added += i64::from(burnt.window == window && counts);
        }
        added
    }

    /// Burns the next unit.
    fn burn(&mut self, window: Window, taken_for: For, now: Timestamp) {
        let mut first: Option<(i64, i64, usize)> = None;
        for (boost, given) in self.given.iter().enumerate() {
            let Some(consumable) = given.consumable else { continue };
            let is_of = given.scope == window.scope && consumable.pool == window.pool;
            if is_of && !given.is_over_by(now) && consumable.left > 0 {
                let end = given.ends[0].map_or(i64::MAX, Timestamp::as_micros);
                let order = (consumable.priority, end, boost);
                first = Some(first.map_or(order, |first| first.min(order)));
            }
        }
        let (_, _, boost) = first.expect("what was admitted is covered");
        self.given[boost].consumable.as_mut().unwrap().left -= 1;
        self.burnt.push(Burnt { window, boost, taken_for });
    }

    /// Takes units one by one; those that nothing else covers are burnt.
    fn cover(&mut self, window: Window, quantity: i64, taken_for: For, now: Timestamp) {
        let Window { scope, pool, month } = window;
        let room = self.room_then(scope, pool, month, now);
        let Some(limit) = room.limit else { return };
        let mut left = 0;
        for given in &self.given {
            let Some(consumable) = given.consumable else { continue };
            if given.scope == scope && consumable.pool == pool && !given.is_over_by(now) {
                left += consumable.left;
            }
        }
        let mut covered = limit - left;
        for unit in 1..=quantity {
            if room.used + room.held + unit > covered {
                self.burn(window, taken_for, now);
                covered += 1;
            }
        }
    }

    /// Makes burnt units whole again, one by one, last burnt first. Then a record or hold of a
    /// rolling window keeps no more burnt units than it has units.
    fn give_back(&mut self, window: Window, quantity: i64, of: For, stays: i64, now: Timestamp) {
        let is_rolling = matches!(self.resets[window.pool], Reset::RollingDays(_));
        let is_of = |burnt: &Burnt| match is_rolling {
            true => burnt.taken_for == of,
            false => burnt.window == window,
        };
        for _ in 0..quantity {
            let last = self
                .burnt
                .iter()
                .rposition(|burnt| is_of(burnt) && !self.given[burnt.boost].is_over_by(now));
            let Some(last) = last else { break };
            let burnt = self.burnt.remove(last);
            self.given[burnt.boost].consumable.as_mut().unwrap().left += 1;
        }
        while is_rolling
            && i64::try_from(self.burnt.iter().filter(|burnt| is_of(burnt)).count()).unwrap()
                > stays
        {
            let last = self.burnt.iter().rposition(is_of).unwrap();
            self.burnt.remove(last);
        }
    }

    /// Ends the expired holds of a window. The next command that uses the window does it.
    pub fn expire(&mut self, window: Window, now: Timestamp) {
        for nth in 0..self.held.len() {
            let held = &mut self.held[nth];
            let is_of = held.scope == window.scope && held.pool == window.pool;
            if is_of && held.month == window.month && !held.is_over && held.expires_at <= now {
                held.is_over = true;
                let quantity = held.quantity;
                self.give_back(window, quantity, For::Held(nth), 0, now);
            }
        }
    }

    /// Ends all expired holds on counters of a scope.
    pub fn sweep(&mut self, scope: usize, now: Timestamp) {
        let windows = self.held.iter().filter(|held| held.scope == scope);
        let windows = windows.map(|Held { scope, pool, month, .. }| (*scope, *pool, *month));
        let windows: Vec<_> = windows.collect();
        for (scope, pool, month) in windows {
            self.expire(Window { scope, pool, month }, now);
        }
    }

    /// Gives back units of a record; says whether it has as many.
    pub fn reverse(&mut self, nth: usize, quantity: i64, now: Timestamp) -> bool {
        let Used { scope, pool, month, quantity: there, .. } = self.used[nth];
        if quantity > there {
            return false;
        }
        let window = Window { scope, pool, month };
        self.expire(window, now);
        self.used[nth].quantity -= quantity;
        self.give_back(window, quantity, For::Used(nth), there - quantity, now);
        true
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
        if room.is_granted {
            let added = self.added(Window { scope, pool, month }, now);
            room.limit = room.limit.map(|limit| limit + added);
        }
        room
    }

    /// The current room of a scope: its own if it has a grant, suspended or not, else the
    /// workspace's.
    pub fn room(&self, scope: usize, pool: usize, now: Timestamp) -> Room {
        let has_grant = self.limit(scope, pool, now).0 || self.is_suspended(scope, pool, now);
        let charged = if has_grant { scope } else { 0 };
        self.room_then(charged, pool, self.month(charged, pool, now), now)
    }

    /// Records units if they fit.
    pub fn take(&mut self, scope: usize, pool: usize, quantity: i64, now: Timestamp) -> bool {
        let room = self.room(scope, pool, now);
        if room.fits(quantity) {
            let (scope, month) = (room.scope, self.month(room.scope, pool, now));
            let window = Window { scope, pool, month };
            self.expire(window, now);
            self.cover(window, quantity, For::Used(self.used.len()), now);
            self.used.push(Used { scope, pool, month, at: now, quantity });
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
            let window = Window { scope, pool, month };
            self.expire(window, now);
            self.cover(window, quantity, For::Held(self.held.len()), now);
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
        let window = Window { scope, pool, month };
        let more = settled.map_or(-held.quantity, |quantity| quantity - held.quantity);
        if more > 0 && !self.room_then(scope, pool, month, now).fits(more) {
            return false;
        }
        self.expire(window, now);
        if more > 0 {
            self.cover(window, more, For::Held(nth), now);
        } else {
            self.give_back(window, -more, For::Held(nth), held.quantity + more, now);
        }
        self.held[nth].is_over = true;
        if let Some(quantity) = settled {
            for burnt in &mut self.burnt {
                if burnt.taken_for == For::Held(nth) {
                    burnt.taken_for = For::Used(self.used.len());
                }
            }
            self.used.push(Used { scope, pool, month, at: now, quantity });
        }
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
