//! Random commands that are often valid: small numbers, interpreted for the current world.

use crate::{
    commands::{
        adjust, command, create, force, key, members, meta, post, reserve, top_up, update, void,
    },
    random_usage::{a_feature, a_package, grants},
    world::{Kept, World},
};
use ifmatch_domain::{
    Action, Command,
    access::{self, CreateApiKey, RevokeApiKey},
    billing::{
        self, AdjustBalance, BillSubscription, PreviewBilling, RecordPayment, ReinstatePayment,
        ReversePayment, SettleSubscription,
    },
    booking::{self, ExpireBookings},
    core::{self, Change, DeleteObject, Mode, Operation, Precondition, RedactObject, UpdateObject},
    provisioning::{
        self, ClaimServer, Observation, RecordCall, Remote, ResolveServer, ServerRecord, StartCall,
        Windows,
    },
};
use ifmatch_types::{ApiKeyId, Date, Kind, Timestamp, Version};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// For properties with long cases: a few long ones cover as much as many short ones.
pub fn few() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases / 4)
}

/// Windows that a random sequence of batches, days apart, can pass.
pub const WINDOWS: Windows =
    Windows { timeout_ms: 40_000, settle_ms: 60_000, absent_gap_ms: 30_000, reconcile_ms: 30_000 };

/// The numbers that a command is made from.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    pub op: u8,
    pub target: u8,
    pub other: u8,
    pub choice: u8,
    pub version: u8,
    pub mode: u8,
    pub amount: u8,
}

pub fn raw() -> impl Strategy<Value = Raw> {
    any::<(u8, u8, u8, u8, u8, u8, u8)>().prop_map(
        |(op, target, other, choice, version, mode, amount)| Raw {
            op,
            target,
            other,
            choice,
            version,
            mode,
            amount,
        },
    )
}

/// The world that random numbers are interpreted for.
pub struct Reader<'a> {
    pub world: &'a World,
    pub now: Timestamp,
}

impl Reader<'_> {
    /// Makes one command with this seed.
    pub fn command(&self, raw: Raw, seed: u128) -> Command {
        let idempotency = (raw.mode % 7 == 6)
            .then(|| key(&format!("key{}", raw.other % 3), &format!("print{}", raw.target % 3)));
        let actor = if raw.version.is_multiple_of(3) { "bob" } else { "alice" };
        let action = self.action(raw, seed);
        Command { meta: meta(actor), idempotency, ..command(seed, action) }
    }

    fn action(&self, raw: Raw, seed: u128) -> Action {
        if raw.op >= 230 {
            return self.ledger_action(raw);
        }
        if raw.op >= 212 {
            return self.provisioning_action(raw);
        }
        match raw.op % 46 {
            0..=5 => self.create(raw),
            6..=11 => Action::Core(core::Action::Update(self.update(raw))),
            12 => Action::Core(core::Action::Preview(self.update(raw))),
            13 => Action::Core(core::Action::Delete(self.delete(raw))),
            14 | 15 => Action::Billing(billing::Action::RecordPayment(RecordPayment {
                invoice_id: pick(&self.world.invoices, raw.target),
                body: json!({"amount": i64::from(raw.amount) * 10 + 10,
                    "provider_ref": format!("ref{}", raw.other % 12)}),
            })),
            16 => self.reverse(raw),
            17..=19 => Action::Billing(self.billing_action(raw)),
            20 | 21 => Action::Core(core::Action::Transact(self.operations(raw))),
            22 if raw.mode.is_multiple_of(2) => {
                Action::Core(core::Action::Redact(self.redaction(raw)))
            }
            22 => Action::Access(access::Action::CreateApiKey(CreateApiKey {
                body: json!({"name": "robot", "role": "agent"}),
                id: ApiKeyId::from_unchecked(format!("key_{seed:x}")),
                digest: format!("{seed:x}"),
            })),
            23 => Action::Access(access::Action::RevokeApiKey(RevokeApiKey {
                id: pick(&self.world.api_keys, raw.target),
            })),
            44 | 45 => {
                let bookable_id = self.target(Kind::Bookable, raw.target);
                Action::Booking(booking::Action::ExpireBookings(ExpireBookings { bookable_id }))
            }
            _ => self.entitlement_action(raw),
        }
    }

    fn billing_action(&self, raw: Raw) -> billing::Action {
        let subscription_id = pick(&self.world.subscriptions, raw.target);
        match raw.other % 8 {
            0 => {
                let row = self.world.subscriptions.get(&subscription_id);
                let version = row.map_or(1, |row| row.record.subscription.version);
                let precondition = Precondition::Version(version - i64::from(raw.version / 200));
                billing::Action::SettleSubscription(SettleSubscription {
                    subscription_id,
                    precondition,
                })
            }
            1 => billing::Action::PreviewBilling(PreviewBilling {
                subscription_ids: self.world.subscriptions.keys().cloned().collect(),
                as_of: later(self.now, i64::from(raw.amount)),
            }),
            2 => billing::Action::AdjustBalance(AdjustBalance {
                workspace_id: self.target(Kind::Workspace, raw.target),
                body: members(json!({"currency": "USD", "reason": "goodwill",
                    "amount": i64::from(raw.amount) * 20 - 2000})),
            }),
            // A run never looks ahead, but it may be late or ask for an earlier instant.
            _ => billing::Action::BillSubscription(BillSubscription {
                subscription_id,
                as_of: later(self.now, -i64::from(raw.amount % 90 / raw.choice.max(1))),
            }),
        }
    }

    fn ledger_action(&self, raw: Raw) -> Action {
        let workspace = self.target(Kind::Workspace, raw.target);
        let reservation = pick(&self.world.reservations, raw.other);
        let amount = i64::from(raw.amount);
        match raw.op % 6 {
            0 => top_up(&workspace, amount),
            1 => adjust(&workspace, amount - 128),
            2 | 3 => reserve(&workspace, amount),
            4 if raw.choice.is_multiple_of(2) => void(&reservation),
            _ => post(&reservation, (raw.mode >= 64).then_some(amount / 2)),
        }
    }

    /// The action of a worker, in the state in which its server is, or an admin's decision.
    fn provisioning_action(&self, raw: Raw) -> Action {
        // Few servers, so that a sequence comes to more than a first claim.
        let server_id = self.target(Kind::Server, raw.target / 100);
        let record = self.world.servers.get(&server_id).map(|row| &row.record);
        let generation = record.map_or(0, |record| record.generation) - i64::from(raw.mode / 240);
        let windows = WINDOWS;
        let is_claimed = record.is_some_and(|record| record.lease_until.is_some());
        let is_called = record.is_some_and(|record| record.progress.call_started_at.is_some());
        Action::Provisioning(match (raw.op % 8, is_claimed, is_called) {
            (0, ..) => provisioning::Action::ResolveServer(self.resolution(server_id, raw)),
            (1, ..) | (_, false, _) => {
                let jitter_permille = 0;
                let claim = ClaimServer { server_id, windows, jitter_permille };
                provisioning::Action::ClaimServer(claim)
            }
            (_, _, false) => provisioning::Action::StartCall(StartCall { server_id, generation }),
            _ => provisioning::Action::RecordCall(RecordCall {
                observation: self.observation(record, raw),
                server_id,
                workspace_id: record.expect("it was called").server.workspace_id.clone(),
                generation,
                detail: None,
                windows,
                jitter_permille: i64::from(raw.amount) - 128,
            }),
        })
    }

    fn resolution(&self, server_id: String, raw: Raw) -> ResolveServer {
        let current = self.world.history(&server_id).last().map_or(1, |event| event.entry.version);
        let remote_id = Some(i64::from(raw.amount) + 1);
        let body = if raw.choice.is_multiple_of(2) {
            json!({"verdict": "adopt", "remote_id": remote_id, "reason": "seen"})
        } else {
            json!({"verdict": "fail", "reason": "not there"})
        };
        let precondition = Precondition::Version(current - i64::from(raw.version / 200));
        ResolveServer { server_id, precondition, body: members(body), windows: WINDOWS }
    }

    fn observation(&self, record: Option<&ServerRecord>, raw: Raw) -> Observation {
        let remote = record.map(|record| Remote {
            id: i64::from(raw.amount) + 1,
            uuid: "6d1".to_owned(),
            external_id: Some(record.server.external_id.clone()),
            user: record.server.panel_user + i64::from(raw.other / 250),
            egg: record.spec.egg,
            limits: record.spec.limits.clone(),
            status: None,
            suspended: false,
        });
        match (raw.choice % 12, remote) {
            (0, Some(remote)) => Observation::Created(remote),
            (1 | 2, Some(remote)) => Observation::Found(remote),
            (3 | 4, _) => Observation::Absent,
            (5 | 6, _) => Observation::Done,
            (7, _) => Observation::Taken,
            (8, _) => Observation::Refused,
            (9, _) => Observation::Throttled { retry_after_ms: i64::from(raw.amount) },
            (10, _) => Observation::NotConnected,
            _ => Observation::Unclear,
        }
    }

    fn kind(raw: Raw) -> Kind {
        // Subscriptions and invoices have the most rules.
        match raw.target % 20 {
            0 => Kind::Plan,
            1 => Kind::Workspace,
            2 => Kind::Namespace,
            3..=5 => Kind::Subscription,
            6..=9 => Kind::Invoice,
            10 => Kind::Feature,
            11 => Kind::Package,
            12 if raw.other >= 200 => Kind::Boost,
            14 => Kind::Bookable,
            15 | 16 => Kind::Booking,
            17 => Kind::Product,
            18 | 19 => Kind::Server,
            _ => Kind::Assignment,
        }
    }

    fn target(&self, kind: Kind, n: u8) -> String {
        match kind {
            Kind::Plan => pick(&self.world.plans, n),
            Kind::Workspace => pick(&self.world.workspaces, n),
            Kind::Namespace => pick(&self.world.namespaces, n),
            Kind::Subscription => pick(&self.world.subscriptions, n),
            Kind::Invoice => pick(&self.world.invoices, n),
            Kind::Feature => pick(&self.world.features, n),
            Kind::Package => pick(&self.world.packages, n),
            Kind::Assignment => pick(&self.world.assignments, n),
            Kind::Boost => pick(&self.world.boosts, n),
            Kind::Bookable => pick(&self.world.bookables, n),
            Kind::Booking => pick(&self.world.bookings, n),
            Kind::Product => pick(&self.world.products, n),
            Kind::Server => pick(&self.world.servers, n),
        }
    }

    fn create(&self, raw: Raw) -> Action {
        let kind = Self::kind(raw);
        let workspace = self.target(Kind::Workspace, raw.other);
        let mut body = members(match kind {
            Kind::Plan => json!({"code": format!("code{}", raw.other % 4), "name": "Plan",
                "currency": "USD", "amount": 100, "interval": "month",
                "status": if raw.mode.is_multiple_of(2) { "active" } else { "draft" }}),
            Kind::Workspace => json!({"name": "Acme", "currency": "USD"}),
            Kind::Namespace => json!({"workspace_id": workspace, "name": "prod"}),
            Kind::Subscription => json!({"workspace_id": workspace,
                "plan_id": self.target(Kind::Plan, raw.version)}),
            Kind::Invoice => json!({"workspace_id": workspace, "lines": lines(raw.amount)}),
            Kind::Feature => a_feature(raw),
            Kind::Package => a_package(raw),
            Kind::Assignment | Kind::Boost => json!({}),
            Kind::Bookable => json!({"name": "Room", "capacity": raw.amount % 6,
                "hold_ttl_ms": 5 * 86_400_000_i64,
                "range_mode": name(&["inclusive_days", "nights"], raw.other)}),
            Kind::Booking => json!({"bookable_id": self.target(Kind::Bookable, raw.version),
                "start_date": self.day(raw.amount % 8), "end_date": self.day(raw.amount % 8 + 2),
                "quantity": raw.other % 3 + 1}),
            Kind::Product => a_product(i64::from(raw.amount % 4), raw.choice),
            Kind::Server => json!({"workspace_id": workspace, "name": "Game",
                "product_id": self.target(Kind::Product, raw.version), "panel_user": 7}),
        });
        if raw.choice >= 128 {
            body.extend(self.wish(kind, raw.choice, raw.amount));
        }
        create(kind, body.into())
    }

    fn update(&self, raw: Raw) -> UpdateObject {
        let kind = Self::kind(raw);
        let id = self.target(kind, raw.other);
        let current = self.world.history(&id).last().map_or(1, |event| event.entry.version);
        let stale = (current - 1 - i64::from(raw.version / 8 % 3)).max(1);
        let (precondition, base) = match raw.version % 8 {
            0..=2 => (Precondition::Version(current), current),
            3..=5 => (Precondition::Version(stale), stale),
            6 => (Precondition::Tags(vec![stale, current]), current),
            _ if raw.mode.is_multiple_of(2) => (Precondition::Missing, current),
            _ => (Precondition::Version(current + 1), current),
        };
        let mut wish = self.wish(kind, raw.choice, raw.amount);
        if raw.choice >= 64 {
            wish.extend(self.wish(kind, raw.choice / 8, raw.amount / 3));
        }
        let mut change = Change::Patch(wish.clone());
        if raw.choice.is_multiple_of(5) {
            // A form sends back every field that it loaded, with its edits.
            let seen = self.world.history(&id).find(|event| event.entry.version == base);
            let mut form = seen.map(|event| members((**event.state).clone())).unwrap_or_default();
            form.extend(wish);
            form.remove("version");
            change = Change::Replace(form);
        }
        let mut update = update(kind, &id, precondition, change);
        update.mode = match raw.mode % 6 {
            0..=2 => Mode::Strict,
            3 | 4 => Mode::Merge,
            _ => Mode::Force(force()),
        };
        update.refused_at = (raw.mode.is_multiple_of(5)).then_some(stale);
        update
    }

    fn delete(&self, raw: Raw) -> DeleteObject {
        let kind = Self::kind(raw);
        let id = self.target(kind, raw.other);
        let current = self.world.history(&id).last().map_or(1, |event| event.entry.version);
        let version: Version = if raw.version.is_multiple_of(3) { 1 } else { current };
        let force = (raw.mode.is_multiple_of(4)).then(force);
        DeleteObject { kind, id, precondition: Precondition::Version(version), force }
    }

    fn redaction(&self, raw: Raw) -> RedactObject {
        let DeleteObject { kind, id, precondition, .. } = self.delete(raw);
        let path = name(&["/name", "/notes", "/email", "/metadata/k0", "/metadata/k1"], raw.choice);
        let body = members(json!({ "paths": [path], "reason": "asked" }));
        RedactObject { kind, id, body, precondition }
    }

    fn reverse(&self, raw: Raw) -> Action {
        let payment_id = pick(&self.world.payments, raw.target);
        let payment = self.world.payments.get(&payment_id);
        let own = payment.map(|payment| payment.payment.invoice_id.to_string());
        let invoice_id = own.unwrap_or_else(|| pick(&self.world.invoices, raw.other));
        let reason = "no".to_owned();
        Action::Billing(if raw.mode.is_multiple_of(3) {
            let reinstate = ReinstatePayment { invoice_id, payment_id, reason };
            billing::Action::ReinstatePayment(reinstate)
        } else {
            billing::Action::ReversePayment(ReversePayment { invoice_id, payment_id, reason })
        })
    }

    fn operations(&self, raw: Raw) -> Vec<Operation> {
        let count = raw.amount % 4 + 1;
        (0..count)
            .map(|n| {
                let mixed = Raw {
                    target: raw.target.wrapping_add(n.wrapping_mul(3)),
                    other: raw.other.wrapping_add(n),
                    choice: raw.choice.wrapping_add(n.wrapping_mul(29)),
                    ..raw
                };
                match raw.mode.wrapping_add(n) % 5 {
                    0 => match self.create(mixed) {
                        Action::Core(core::Action::Create(create)) => Operation::Create(create),
                        other => unreachable!("a create is a create: {other:?}"),
                    },
                    1 => Operation::Delete(self.delete(mixed)),
                    2 => {
                        let kind = Self::kind(mixed);
                        let id = self.target(kind, mixed.other);
                        Operation::Check { kind, id, version: i64::from(raw.version % 3) + 1 }
                    }
                    _ => Operation::Update(self.update(mixed)),
                }
            })
            .collect()
    }

    /// The date `days` days from today.
    fn day(&self, days: u8) -> String {
        Date::of(self.now).plus_days(i64::from(days)).unwrap().to_string()
    }

    /// A change of one or two fields.
    fn wish(&self, kind: Kind, choice: u8, amount: u8) -> Map<String, Value> {
        let value = one_of(&[json!("a"), json!("b"), Value::Null], amount / 3);
        let metadata = json!({ format!("k{}", amount % 3): value });
        let small = i64::from(amount % 5);
        members(match (kind, choice % 8) {
            (_, 0) => json!({"metadata": metadata}),
            (Kind::Plan, 1) => json!({"amount": small * 100}),
            (Kind::Plan, 2 | 3) => {
                json!({"status": name(&["draft", "active", "archived"], amount)})
            }
            (Kind::Plan, 4) => json!({"interval": name(&["day", "week", "month", "year"], amount)}),
            (Kind::Plan, 5) => json!({"trial_days": small * 5}),
            (Kind::Workspace, 1..=3) => {
                json!({"email": one_of(&[Value::Null, json!("a@b.c")], amount)})
            }
            (Kind::Subscription, 1) => json!({"quantity": small + 1}),
            (Kind::Subscription, 2 | 3) => json!({"status":
                name(&["active", "past_due", "paused", "trialing", "canceled"], amount % 21)}),
            (Kind::Subscription, 4) => json!({"plan_id": self.target(Kind::Plan, amount)}),
            (Kind::Subscription, 5) => json!({"cancel_at_period_end": amount.is_multiple_of(2)}),
            (Kind::Subscription, 6) => json!({"notes": format!("note {small}")}),
            (Kind::Invoice, 1) => json!({"lines": lines(amount)}),
            (Kind::Invoice, 2 | 3) => json!({"status":
                name(&["open", "open", "void", "uncollectible", "paid", "draft"], amount)}),
            (Kind::Invoice, 4) => json!({"tax": small * 7}),
            (Kind::Invoice, 5) => json!({"subscription_id":
                one_of(&[json!(self.target(Kind::Subscription, amount)), Value::Null], amount)}),
            (Kind::Invoice, 6) => json!({"workspace_id": self.target(Kind::Workspace, amount)}),
            (Kind::Feature, 1 | 2) => json!({"reset": name(&["none", "monthly"], amount)}),
            (Kind::Feature | Kind::Package, 3) => {
                json!({"status": name(&["active", "archived"], amount)})
            }
            (Kind::Package, 1 | 2) => json!({"grants": grants(amount)}),
            (Kind::Assignment, 1..=4) => {
                json!({"status": name(&["suspended", "active", "cancelled", "active"], amount)})
            }
            (Kind::Assignment, _) => {
                let then = json!(later(self.now, small * 9));
                json!({"cancel_at": one_of(&[then, Value::Null], amount)})
            }
            (Kind::Subscription | Kind::Invoice, _) => json!({"notes": format!("note {small}")}),
            (Kind::Bookable, 1..=3) => json!({"capacity": small}),
            (Kind::Bookable, 4) => json!({"status": name(&["active", "archived"], amount)}),
            (Kind::Booking, 1) => json!({"start_date": self.day(amount % 8)}),
            (Kind::Booking, 2) => json!({"end_date": self.day(amount % 12)}),
            (Kind::Booking, 3) => json!({"quantity": small + 1}),
            (Kind::Booking, 4..=6) => json!({"status": name(
                &["confirmed", "confirmed", "in_use", "completed", "no_show", "cancelled"], amount)}),
            (Kind::Booking, _) => json!({"notes": format!("note {small}")}),
            (Kind::Product, 1 | 2) => {
                json!({"status": name(&["active", "archived"], amount)})
            }
            (Kind::Product, 3 | 4) => {
                json!({"max_per_workspace": one_of(&[json!(small + 1), Value::Null], amount)})
            }
            (Kind::Server, 1..=4) => json!({"suspended": amount.is_multiple_of(2)}),
            _ => json!({"name": format!("name {small}")}),
        })
    }
}

fn lines(amount: u8) -> Value {
    let line = |unit: i64| json!({"description": "Work", "quantity": 2, "unit_amount": unit});
    let unit = i64::from(amount) * 5 - 100;
    (0..amount % 3).map(|n| line(unit + i64::from(n) * 100)).collect()
}

/// The first claim of a server and the beginning of its call.
pub fn call_of(server_id: &str) -> [Action; 2] {
    let claim =
        ClaimServer { server_id: server_id.to_owned(), windows: WINDOWS, jitter_permille: 0 };
    let start = StartCall { server_id: server_id.to_owned(), generation: 1 };
    [provisioning::Action::ClaimServer(claim), provisioning::Action::StartCall(start)]
        .map(Action::Provisioning)
}

/// A product at this price.
pub fn a_product(price: i64, choice: u8) -> Value {
    let max = (choice % 4 > 1).then(|| choice % 4 - 1);
    json!({"name": "Game server", "price_credits": price, "egg": 5, "docker_image": "image",
        "startup": "run", "limits": {"memory": 1024, "disk": 2048},
        "deploy": {"locations": [1]}, "max_per_workspace": max})
}

pub fn one_of(values: &[Value], n: u8) -> Value {
    values[usize::from(n) % values.len()].clone()
}

pub fn name<'a>(names: &[&'a str], n: u8) -> &'a str {
    names[usize::from(n) % names.len()]
}

/// The id of one of the rows, or an id that no row has.
pub fn pick<T>(rows: &Kept<T>, n: u8) -> String {
    let nth = usize::from(n) % (rows.len() + usize::from(n == 255)).max(1);
    rows.keys().nth(nth).cloned().unwrap_or_else(|| "nothing".to_owned())
}

/// The instant `days` days later.
pub fn later(instant: Timestamp, days: i64) -> Timestamp {
    Timestamp::from_micros(instant.as_micros() + days * 86_400_000_000).unwrap()
}

impl Reader<'_> {
    /// One edit of a subscription.
    pub fn edit_of_subscription(&self, raw: Raw) -> Map<String, Value> {
        let mut wish = self.wish(Kind::Subscription, raw.choice, raw.amount);
        wish.extend(self.wish(Kind::Subscription, raw.other, raw.target));
        wish
    }
}
