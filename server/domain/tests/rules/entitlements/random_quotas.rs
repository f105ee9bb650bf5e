//! Random catalogues, commands and jumps in time: every answer equals the reference's.

use super::{
    ledger::{Consumable, Give, Given, Ledger, Reset, Room, months_after},
    quota::{FULL, HOUR_MS, NOT_INCLUDED, Quota, denied, object_id},
};
use ifmatch_domain::entitlement::ScopeRef;
use ifmatch_types::{HoldAnswer, Recorded, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

/// Each feature with the index of its pool: monthly, rolling, never reset.
const FEATURES: [(&str, usize); 5] =
    [("month", 0), ("month.part", 0), ("roll", 1), ("ever", 2), ("ever.part", 2)];

#[derive(Clone, Debug)]
struct Catalog {
    rolling_days: i64,
    /// What each package grants of each pool. The first two are base packages.
    packages: [[Option<Give>; 3]; 4],
    start: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(i64),
    PassToMonthEnd { scope: usize, before: bool },
    Use { scope: usize, feature: usize, quantity: i64 },
    UseTwo { scope: usize, features: [usize; 2], quantity: i64 },
    Hold { scope: usize, feature: usize, quantity: i64, hours: i64 },
    End { nth: usize, settled: Option<i64> },
    Reverse { nth: usize, quantity: i64 },
    Assign { scope: usize, package: usize, days: Option<i64> },
    Boost { scope: usize, feature: usize, kind: u8, amount: i64 },
    Consumable { scope: usize, feature: usize, amount: i64, priority: i64, days: Option<i64> },
    Revoke { nth: usize },
    Status { nth: usize, status: &'static str },
    CancelIn { nth: usize, days: i64 },
    Sweep { scope: usize },
}

fn give() -> impl Strategy<Value = Option<Give>> {
    prop_oneof![
        3 => (0i64..20).prop_map(|n| Some(Give::Units(n))),
        1 => Just(Some(Give::Enabled)),
        1 => Just(Some(Give::Unlimited)),
        2 => Just(None),
    ]
}

fn catalog() -> impl Strategy<Value = Catalog> {
    let packages = proptest::array::uniform4(proptest::array::uniform3(give()));
    let starts = vec!["2027-12-31T13:45:00Z", "2027-08-30T00:00:00Z", "2028-02-29T23:59:59Z"];
    (1i64..9, packages, proptest::sample::select(starts))
        .prop_map(|(rolling_days, packages, start)| Catalog { rolling_days, packages, start })
}

fn step() -> impl Strategy<Value = Step> {
    let (scope, feature, quantity, nth) = (0usize..3, 0usize..5, 1i64..9, 0usize..40);
    prop_oneof![
        3 => (1i64..200).prop_map(Step::Pass),
        1 => (200i64..2_000).prop_map(Step::Pass),
        1 => (scope.clone(), any::<bool>())
            .prop_map(|(scope, before)| Step::PassToMonthEnd { scope, before }),
        8 => (scope.clone(), feature.clone(), quantity.clone())
            .prop_map(|(scope, feature, quantity)| Step::Use { scope, feature, quantity }),
        1 => (scope.clone(), [feature.clone(), feature.clone()], quantity.clone())
            .prop_map(|(scope, features, quantity)| Step::UseTwo { scope, features, quantity }),
        3 => (scope.clone(), feature.clone(), quantity.clone(), 1i64..25)
            .prop_map(|(scope, feature, quantity, hours)| Step::Hold { scope, feature, quantity, hours }),
        3 => (nth.clone(), proptest::option::weighted(0.7, quantity.clone()))
            .prop_map(|(nth, settled)| Step::End { nth, settled }),
        2 => (nth.clone(), quantity.clone())
            .prop_map(|(nth, quantity)| Step::Reverse { nth, quantity }),
        2 => (scope.clone(), 0usize..4, proptest::option::of(1i64..60))
            .prop_map(|(scope, package, days)| Step::Assign { scope, package, days }),
        2 => (scope.clone(), feature, any::<u8>(), quantity)
            .prop_map(|(scope, feature, kind, amount)| Step::Boost { scope, feature, kind, amount }),
        2 => (scope.clone(), 0usize..5, 1i64..20, 0i64..3, proptest::option::of(1i64..40))
            .prop_map(|(scope, feature, amount, priority, days)| {
                Step::Consumable { scope, feature, amount, priority, days }
            }),
        1 => nth.clone().prop_map(|nth| Step::Revoke { nth }),
        1 => (nth.clone(), proptest::sample::select(&["active", "suspended", "active", "cancelled"][..]))
            .prop_map(|(nth, status)| Step::Status { nth, status }),
        1 => (nth, 1i64..40).prop_map(|(nth, days)| Step::CancelIn { nth, days }),
        1 => scope.prop_map(|scope| Step::Sweep { scope }),
    ]
}

/// The rules and the reference side by side.
struct Both {
    quota: Quota,
    ledger: Ledger,
    scopes: [ScopeRef; 3],
    packages: [[Option<Give>; 3]; 4],
    recorded: Vec<Recorded>,
    holds: Vec<HoldAnswer>,
    /// For each recorded usage, its index in the ledger's list.
    records: Vec<usize>,
}

impl Both {
    fn of(catalog: &Catalog) -> Self {
        let mut quota = Quota::at(catalog.start);
        quota.feature("month", json!({"reset": "monthly"}));
        quota.feature("month.part", json!({"parent_code": "month"}));
        let rolling = json!({"reset": "rolling", "rolling_days": catalog.rolling_days});
        quota.feature("roll", rolling);
        quota.feature("ever", json!({}));
        quota.feature("ever.part", json!({"parent_code": "ever", "reset": "monthly"}));
        for (n, gives) in catalog.packages.iter().enumerate() {
            let codes = ["month", "roll", "ever"];
            let grants = codes.iter().zip(gives).filter_map(|(code, give)| {
                let given = match give.as_ref()? {
                    Give::Enabled => json!("enabled"),
                    Give::Unlimited => json!("unlimited"),
                    Give::Units(n) | Give::Extra(n) => json!(n),
                };
                Some(((*code).to_owned(), given))
            });
            let grants: serde_json::Map<_, _> = grants.collect();
            let changed = json!({"is_base": n < 2, "is_stackable": n >= 2});
            quota.package(&format!("p{n}"), changed, Value::Object(grants));
        }
        let scopes = [quota.workspace.clone(), quota.one.clone(), quota.two.clone()];
        let resets = vec![Reset::Monthly, Reset::RollingDays(catalog.rolling_days), Reset::None];
        let ledger = Ledger { resets, anchors: [None; 3], ..Ledger::default() };
        let packages = catalog.packages;
        Self { quota, ledger, scopes, packages, recorded: vec![], holds: vec![], records: vec![] }
    }

    fn now(&self) -> Timestamp {
        self.quota.book.now
    }

    fn in_days(&self, days: i64) -> Timestamp {
        crate::random::later(self.now(), days)
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Pass(hours) => self.quota.pass_ms(hours * HOUR_MS / 4),
            Step::PassToMonthEnd { scope, before } => {
                let anchor = self.ledger.anchors[scope].unwrap_or(self.now());
                let month = self.ledger.month(scope, 0, self.now()).unwrap();
                let end = months_after(anchor, month + 1).as_micros() - i64::from(before);
                self.quota.book.now = Timestamp::from_micros(end).unwrap().max(self.now());
            }
            Step::Use { scope, feature, quantity } => self.take(scope, feature, quantity),
            Step::UseTwo { scope, features, quantity } => self.take_two(scope, features, quantity),
            Step::Hold { scope, feature, quantity, hours } => {
                self.hold(scope, feature, quantity, hours);
            }
            Step::End { nth, settled } => self.end(nth, settled),
            Step::Reverse { nth, quantity } => self.reverse(nth, quantity),
            Step::Assign { scope, package, days } => self.assign(scope, package, days),
            Step::Boost { scope, feature, kind, amount } => {
                self.boost(scope, feature, kind, amount);
            }
            Step::Consumable { scope, feature, amount, priority, days } => {
                self.consumable(scope, feature, amount, priority, days);
            }
            Step::Revoke { nth } => self.revoke(nth),
            Step::Status { nth, status } => self.change(nth, json!({"status": status})),
            Step::CancelIn { nth, days } => {
                self.change(nth, json!({"cancel_at": self.in_days(days)}));
            }
            Step::Sweep { scope } => {
                self.ledger.sweep(scope, self.now());
                let scope = self.scopes[scope].clone();
                self.quota.sweep(&scope);
            }
        }
    }

    fn assert_denied<T: std::fmt::Debug>(
        room: Room,
        decided: Result<T, ifmatch_domain::Rejection>,
    ) {
        let rejection = decided.as_ref().unwrap_err();
        let meter = &rejection.denial().unwrap().meter;
        assert_eq!((meter.used, meter.held, meter.limit), (room.used, room.held, room.limit));
        assert_eq!(denied(decided), if room.is_granted { FULL } else { NOT_INCLUDED });
    }

    fn take(&mut self, scope: usize, feature: usize, quantity: i64) {
        let (code, pool) = FEATURES[feature];
        let room = self.ledger.room(scope, pool, self.now());
        let decided = self.quota.take(&self.scopes[scope].clone(), code, quantity);
        if self.ledger.take(scope, pool, quantity, self.now()) {
            let recorded = decided.unwrap();
            let meter = &recorded.meter;
            assert_eq!((meter.used, meter.held), (room.used + quantity, room.held));
            self.recorded.push(recorded);
            self.records.push(self.ledger.used.len() - 1);
        } else {
            Self::assert_denied(room, decided);
        }
    }

    fn take_two(&mut self, scope: usize, features: [usize; 2], quantity: i64) {
        let items = features.map(|n| json!({"feature": FEATURES[n].0, "quantity": quantity}));
        let decided = self.quota.try_use(&self.scopes[scope].clone(), items.to_vec(), true);
        let before = self.ledger.clone();
        let now = self.now();
        if features.iter().all(|n| self.ledger.take(scope, FEATURES[*n].1, quantity, now)) {
            self.recorded.extend(decided.unwrap());
            self.records.extend([self.ledger.used.len() - 2, self.ledger.used.len() - 1]);
        } else {
            denied(decided);
            self.ledger = before;
        }
    }

    fn hold(&mut self, scope: usize, feature: usize, quantity: i64, hours: i64) {
        let (code, pool) = FEATURES[feature];
        let hours = hours.min(24);
        let room = self.ledger.room(scope, pool, self.now());
        let body = json!({"feature": code, "quantity": quantity, "ttl_ms": hours * HOUR_MS});
        let decided = self.quota.try_hold(&self.scopes[scope].clone(), body);
        let end = self.now().as_micros() + hours * HOUR_MS * 1_000;
        let end = Timestamp::from_micros(end).unwrap();
        if self.ledger.hold(scope, pool, quantity, self.now(), end) {
            let held = decided.unwrap();
            assert_eq!((held.meter.used, held.meter.held), (room.used, room.held + quantity));
            self.holds.push(held);
        } else {
            Self::assert_denied(room, decided);
        }
    }

    fn end(&mut self, nth: usize, settled: Option<i64>) {
        let Some(hold) = self.holds.get(nth).cloned() else { return };
        let decided = match settled {
            Some(quantity) => self.quota.settle(&hold, quantity),
            None => self.quota.release(&hold),
        };
        let is_ended = self.ledger.end(nth, settled, self.now());
        assert_eq!(decided.is_ok(), is_ended, "{decided:?}");
    }

    fn reverse(&mut self, nth: usize, quantity: i64) {
        let Some(recorded) = self.recorded.get(nth).cloned() else { return };
        let decided = self.quota.reverse(&recorded, quantity);
        let is_reversed = self.ledger.reverse(self.records[nth], quantity, self.now());
        assert_eq!(decided.is_ok(), is_reversed, "{decided:?}");
    }

    fn assign(&mut self, scope: usize, package: usize, days: Option<i64>) {
        let now = self.now();
        let end = days.map(|days| self.in_days(days));
        let body = json!({"package": format!("p{package}"), "expires_at": end});
        let id = object_id(self.quota.try_assign(&self.scopes[scope].clone(), body));
        let is_base = package < 2;
        for given in &mut self.ledger.given {
            given.is_over |= is_base && given.is_base && given.scope == scope;
        }
        let gives = self.packages[package].iter().enumerate();
        let gives = gives.filter_map(|(pool, give)| Some((pool, (*give)?))).collect();
        let (is_suspended, is_over, ends) = (false, false, [end, None]);
        let consumable = None;
        let given = Given { id, scope, gives, is_base, is_suspended, is_over, ends, consumable };
        self.ledger.give(given, now);
    }

    fn consumable(
        &mut self,
        scope: usize,
        feature: usize,
        amount: i64,
        priority: i64,
        days: Option<i64>,
    ) {
        let (code, pool) = FEATURES[feature];
        let now = self.now();
        let end = days.map(|days| self.in_days(days));
        let body = json!({
            "kind": "add_limit", "amount": amount, "duration": "consumable", "priority": priority,
            "expires_at": end,
        });
        let id = self.quota.boost(&self.scopes[scope].clone(), code, body);
        let (is_base, is_suspended, is_over) = (false, false, false);
        let (gives, ends) = (Vec::new(), [end, None]);
        let consumable = Some(Consumable { pool, left: amount, priority });
        let given = Given { id, scope, gives, is_base, is_suspended, is_over, ends, consumable };
        self.ledger.give(given, now);
        // Boosts of one instant burn in the order of their ids, which is random here.
        self.quota.pass_ms(1);
    }

    fn revoke(&mut self, nth: usize) {
        let Some(given) = self.ledger.given.get_mut(nth) else { return };
        let boost = self.quota.book.world.boosts.get(&given.id);
        if boost.is_some_and(|row| row.deleted.is_none()) {
            self.quota.revoke(&given.id).unwrap();
            given.is_over = true;
        }
    }

    fn boost(&mut self, scope: usize, feature: usize, kind: u8, amount: i64) {
        let (code, pool) = FEATURES[feature];
        let now = self.now();
        let anchor = self.ledger.anchors[scope].unwrap_or(now);
        let month = self.ledger.month(scope, 0, now).unwrap();
        let soon = self.in_days(amount);
        let add =
            |duration: &str| json!({"kind": "add_limit", "amount": amount, "duration": duration});
        let fixed = crate::book::with(add("fixed"), json!({"expires_at": soon}));
        let (body, give, end) = match kind % 5 {
            0 => (json!({"kind": "enable", "duration": "permanent"}), Give::Enabled, None),
            1 => (
                json!({"kind": "unlimited", "duration": "fixed", "expires_at": soon}),
                Give::Unlimited,
                Some(soon),
            ),
            2 => (fixed, Give::Extra(amount), Some(soon)),
            3 => (add("cycle_bound"), Give::Extra(amount), Some(months_after(anchor, month + 1))),
            _ => (add("permanent"), Give::Extra(amount), None),
        };
        let id = self.quota.boost(&self.scopes[scope].clone(), code, body);
        let (is_base, is_suspended, is_over) = (false, false, false);
        let (gives, ends) = (vec![(pool, give)], [end, None]);
        let consumable = None;
        let given = Given { id, scope, gives, is_base, is_suspended, is_over, ends, consumable };
        self.ledger.give(given, now);
    }

    fn change(&mut self, nth: usize, wish: Value) {
        let now = self.now();
        let Some(given) = self.ledger.given.get_mut(nth) else { return };
        if !given.id.starts_with("asg_") {
            return;
        }
        let decided = self.quota.book.edit(&given.id, wish.clone());
        if given.is_over_by(now) {
            // Nothing changes. Only asking for the current status is not refused.
            given.is_over = true;
            return;
        }
        decided.unwrap();
        match wish["status"].as_str() {
            Some("cancelled") => given.is_over = true,
            Some(status) => given.is_suspended = status == "suspended",
            None => given.ends[1] = wish_end(&wish),
        }
    }

    fn assert_same(&self) {
        for given in &self.ledger.given {
            if let Some(consumable) = given.consumable {
                let boost = &self.quota.book.world.boosts[&given.id].record.boost;
                assert_eq!(boost.amount.unwrap() - boost.consumed, consumable.left, "{given:?}");
            }
        }
        for (scope, of) in self.scopes.iter().enumerate() {
            for (code, pool) in FEATURES {
                let room = self.ledger.room(scope, pool, self.now());
                let told = self.quota.look(of, code);
                let meter = &told.meter;
                let context = format!("{of} {code} {room:?} {told:?}");
                assert_eq!((meter.used, meter.held), (room.used, room.held), "{context}");
                assert_eq!(meter.limit, room.limit, "{context}");
                let left = room.limit.map(|limit| (limit - room.used - room.held).max(0));
                assert_eq!(meter.remaining, left, "{context}");
                assert_eq!(told.allowed, room.fits(1), "{context}");
                assert_eq!(meter.charged_scope, self.scopes[room.scope].to_string(), "{context}");
            }
        }
    }
}

fn wish_end(wish: &Value) -> Option<Timestamp> {
    wish["cancel_at"].as_str().map(crate::commands::at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn every_answer_is_what_the_list_of_all_usage_says(
        catalog in catalog(), steps in vec(step(), 1..80),
    ) {
        let mut both = Both::of(&catalog);
        for package in [0, 2] {
            both.assign(0, package, None);
        }
        for step in steps {
            both.carry_out(step);
            both.assert_same();
        }
    }

    #[test]
    fn of_a_constant_limit_exactly_the_whole_multiples_are_admitted(
        limit in 0i64..60, quantity in 1i64..12, scopes in vec(0usize..3, 100),
    ) {
        let mut quota = Quota::of_calls(limit);
        let of = [quota.workspace.clone(), quota.one.clone(), quota.two.clone()];
        let mut admitted = 0;
        for scope in scopes.iter().take(usize::try_from(limit / quantity + 3).unwrap()) {
            admitted += quota.take(&of[*scope], "calls", quantity).map_or(0, |r| r.quantity);
        }
        prop_assert_eq!(admitted, limit / quantity * quantity);
    }
}
