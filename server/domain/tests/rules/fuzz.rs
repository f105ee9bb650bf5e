//! Bodies that no sensible client sends: each command is accepted or refused, without a panic.

use crate::{
    book::Book,
    commands::{command, force, key, members, top_up, update},
    invariants::assert_holds,
    random::{WINDOWS, a_product},
    world::World,
};
use ifmatch_domain::{
    Action, Command,
    access::{self, CreateApiKey, RevokeApiKey},
    billing::{
        self, AdjustBalance, BillSubscription, FinishBillingRun, PreviewBilling, RecordPayment,
        ReversePayment, SettleSubscription,
    },
    core::{self, Change, CreateObject, DeleteObject, Mode, Operation, Precondition, RecordDenied},
    entitlement::{
        self, AssignPackage, CheckAndRecord, EndHold, ExpireEntitlements, GrantBoost, HoldEnd,
        PlaceHold, ReverseUsage, ScopeRef,
    },
    provisioning::{self, ClaimServer, Observation, RecordCall, ResolveServer, StartCall},
};
use ifmatch_types::{ApiKeyId, AuditResource, BillingRun, Kind, Timestamp, WorkspaceId};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

/// Field names of all kinds, and some that no kind has.
const NAMES: &[&str] = &[
    "code",
    "name",
    "description",
    "currency",
    "amount",
    "interval",
    "interval_count",
    "trial_days",
    "status",
    "metadata",
    "email",
    "workspace_id",
    "plan_id",
    "subscription_id",
    "quantity",
    "notes",
    "cancel_at_period_end",
    "start_at",
    "lines",
    "tax",
    "due_at",
    "id",
    "version",
    "updated_at",
    "number",
    "total",
    "provider_ref",
    "role",
    "expires_at",
    "unit_amount",
    "feature",
    "type",
    "reset",
    "rolling_days",
    "parent_code",
    "is_base",
    "is_stackable",
    "grants",
    "grant",
    "limit",
    "package",
    "external_service_id",
    "cancel_at",
    "kind",
    "duration",
    "priority",
    "source",
    "external_addon_id",
    "ttl_ms",
    "price_credits",
    "egg",
    "environment",
    "limits",
    "deploy",
    "max_per_workspace",
    "product_id",
    "panel_user",
    "suspended",
    "verdict",
    "remote_id",
    "reason",
    "open",
    "active",
    "month",
    "",
    "a/b~c",
    "\u{0}",
    "naïve",
    "$secret",
];

/// A world with objects of every kind, plans in all statuses, invoices in all statuses.
fn everything() -> World {
    let mut book = Book::default();
    let (one, two) = (book.workspace(), book.workspace());
    let plan = book.plan("on-sale", json!({}));
    book.plan("draft", json!({"status": "draft"}));
    book.plan("trial", json!({"trial_days": 30, "currency": "EUR"}));
    book.make(Kind::Namespace, json!({"workspace_id": one, "name": "prod"}));
    let subscription = book.subscription(&one, &plan, json!({"start_at": "2026-12-31T00:00:00Z"}));
    book.bill(&subscription, "2027-01-01T00:00:00Z");
    book.edit(&subscription, json!({"notes": "second version", "quantity": 3})).unwrap();
    book.subscription(&two, &plan, json!({"status": "active"}));
    book.invoice(&one, json!({"subscription_id": subscription}));
    let open = book.invoice(&two, json!({"status": "open"}));
    book.pay(&open, 100, "ref").unwrap();
    book.edit(&open, json!({"notes": "b"})).unwrap();
    entitle(&mut book, &one);
    let room = book.make(Kind::Bookable, json!({"name": "Room", "capacity": 2}));
    let days = json!({"bookable_id": room, "start_date": "2027-01-02", "end_date": "2027-01-04",
        "quantity": 1});
    let booking = book.make(Kind::Booking, days);
    book.edit(&booking, json!({"status": "confirmed"})).unwrap();
    book.run(top_up(&one, 5)).unwrap();
    let product = book.make(Kind::Product, a_product(2, 0));
    let server = json!({"workspace_id": one, "product_id": product, "name": "Game",
        "panel_user": 7});
    book.make(Kind::Server, server.clone());
    book.make(Kind::Server, server);
    book.world
}

/// A pool with a child, a base package, and one of everything that is charged to it.
fn entitle(book: &mut Book, workspace: &str) {
    book.make(Kind::Feature, json!({"code": "calls", "type": "limit", "reset": "monthly"}));
    let child = json!({"code": "calls.fast", "type": "limit", "parent_code": "calls"});
    book.make(Kind::Feature, child);
    let grants = json!([{"feature": "calls", "grant": "limit", "limit": 100}]);
    book.make(Kind::Package, json!({"code": "base", "is_base": true, "grants": grants}));
    let scope = || ScopeRef::workspace(workspace);
    let (n, calls) = (json!(7), json!("calls"));
    let bodies = [
        json!({"package": "base", "external_service_id": "ref"}),
        json!({"feature": calls, "kind": "add_limit", "amount": n, "duration": "consumable",
            "external_addon_id": "ref"}),
        json!({"feature": calls, "quantity": n}),
        json!({"feature": calls, "quantity": n, "ttl_ms": 1000}),
    ];
    for (place, body) in (0..).zip(bodies) {
        book.run(of_scope(place, scope(), "", members(body))).unwrap();
    }
}

/// One of the commands about a scope's entitlements and usage.
fn of_scope(n: u8, scope: ScopeRef, id: &str, body: Map<String, Value>) -> Action {
    let id = id.to_owned();
    match n % 8 {
        0 => Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage { scope, body })),
        1 => Action::Entitlement(entitlement::Action::GrantBoost(GrantBoost { scope, body })),
        2 => Action::Entitlement(entitlement::Action::CheckAndRecord(CheckAndRecord {
            scope,
            items: vec![body],
            is_batch: false,
        })),
        3 => Action::Entitlement(entitlement::Action::PlaceHold(PlaceHold { scope, body })),
        4 => Action::Entitlement(entitlement::Action::EndHold(EndHold {
            scope,
            hold_id: id,
            end: HoldEnd::Settle(body),
        })),
        5 => Action::Entitlement(entitlement::Action::EndHold(EndHold {
            scope,
            hold_id: id,
            end: HoldEnd::Release(Default::default()),
        })),
        6 => Action::Entitlement(entitlement::Action::ReverseUsage(ReverseUsage {
            scope,
            record_id: id,
            body,
        })),
        _ => Action::Entitlement(entitlement::Action::ExpireEntitlements(ExpireEntitlements {
            scope,
        })),
    }
}

/// A scope reference made of any id.
fn any_scope(id: &str) -> ScopeRef {
    let namespace = ScopeRef::parse(&format!("namespaces/{id}"));
    namespace.filter(|_| id.starts_with("nsp_")).unwrap_or(ScopeRef::workspace(id))
}

/// Random scalars. Ids are those in the world.
fn scalar(ids: Vec<String>) -> impl Strategy<Value = Value> {
    let odd = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(0.5),
        json!(""),
        json!("\u{0}"),
        json!("a\u{0}b"),
        json!("\u{202e}\u{feff}🦀"),
        json!("x".repeat(11_000)),
        json!("USD"),
        json!("EUR"),
        json!("usd"),
        json!("draft"),
        json!("open"),
        json!("active"),
        json!("paid"),
        json!("void"),
        json!("canceled"),
        json!("paused"),
        json!("archived"),
        json!("month"),
        json!("year"),
        json!("on-sale"),
        json!("calls"),
        json!("base"),
        json!("limit"),
        json!("rolling"),
        json!("monthly"),
        json!("enabled"),
        json!("add_limit"),
        json!("consumable"),
        json!("fixed"),
        json!("suspended"),
        json!("cancelled"),
        json!(1_000_000_000_000i64),
        json!([{"feature": "calls", "grant": "limit", "limit": i64::MAX}]),
        json!([{"feature": "calls", "grant": "unlimited"}]),
        json!("0000-01-01T00:00:00Z"),
        json!("admin"),
        json!("9999-12-30T00:00:00Z"),
        json!("2027-01-31T00:00:00Z"),
        json!("yesterday"),
        json!("ref"),
        json!("nsp_00000000000000000000000000000000"),
    ];
    prop_oneof![2 => select(odd), 1 => select(ids).prop_map(Value::String)]
}

fn value(ids: Vec<String>) -> impl Strategy<Value = Value> {
    scalar(ids).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((select(NAMES), inner.clone()), 0..4).prop_map(object),
            // An enumeration's name in another form that serde accepts.
            select(&["open", "active", "month", "agent"][..])
                .prop_map(|name| json!({ name: null })),
            // An invoice line, or almost one.
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(d, q, u)| json!([{"description": d, "quantity": q, "unit_amount": u}])),
        ]
    })
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// A correct body with some random fields, or an entirely random one.
fn body(ids: Vec<String>) -> impl Strategy<Value = (u8, Vec<(&'static str, Value)>)> {
    (any::<u8>(), vec((select(NAMES), value(ids)), 0..4))
}

/// Everything that makes one random command.
type Draw = (u8, u8, u8, u8, (u8, Vec<(&'static str, Value)>), Option<u8>);

fn draw(ids: Vec<String>) -> impl Strategy<Value = Draw> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), body(ids), option::of(0u8..2))
}

fn read(
    (op, target, version, mode, (right, odd), repeat): Draw,
    ids: &[String],
    n: u128,
) -> Command {
    let id = ids[usize::from(target) % ids.len()].clone();
    let kind_of_id = Kind::ALL.into_iter().find(|kind| id.starts_with(kind.id_prefix()));
    // One in eight uses a kind that may differ from the id's.
    let kind = kind_of_id
        .filter(|_| !mode.is_multiple_of(8))
        .unwrap_or(Kind::ALL[usize::from(op) % Kind::ALL.len()]);
    let mut body = if right.is_multiple_of(3) { Map::new() } else { sensible(kind, ids) };
    body.extend(odd.into_iter().map(|(key, value)| (key.to_owned(), value)));
    let change = if right.is_multiple_of(2) {
        Change::Patch(body.clone())
    } else {
        Change::Replace(body.clone())
    };
    let precondition = match version % 6 {
        0 => Precondition::Missing,
        1 => Precondition::Version(1),
        2 => Precondition::Version(i64::from(version % 4)),
        3 => Precondition::Tags([vec![], vec![2], vec![1, 2]][usize::from(mode % 3)].clone()),
        4 => Precondition::Version([i64::MIN, -1, 0, i64::MAX][usize::from(mode % 4)]),
        _ => Precondition::Version(2),
    };
    let update_precondition = precondition.clone();
    let mut update = update(kind, &id, precondition.clone(), change);
    update.mode = [Mode::Strict, Mode::Merge, Mode::Force(force())][usize::from(mode % 3)].clone();
    update.refused_at = (mode.is_multiple_of(5)).then_some(i64::from(version % 4));
    let delete = DeleteObject {
        kind,
        id: id.clone(),
        precondition,
        force: (mode.is_multiple_of(4)).then(force),
    };
    let create = CreateObject { kind, body: body.clone() };
    let action = match op % 20 {
        0..=2 => Action::Core(core::Action::Create(create)),
        3..=4 => Action::Core(core::Action::Update(update)),
        5 => Action::Core(core::Action::Preview(update)),
        6 => Action::Core(core::Action::Delete(delete)),
        7 => Action::Billing(billing::Action::RecordPayment(RecordPayment {
            invoice_id: id,
            body: whole(body, right),
        })),
        8 => Action::Billing(billing::Action::ReversePayment(ReversePayment {
            invoice_id: id.clone(),
            payment_id: ids[usize::from(version) % ids.len()].clone(),
            reason: id,
        })),
        9 => any_bill(id, body, update_precondition, mode),
        10 => Action::Core(core::Action::Transact(vec![
            Operation::Create(create),
            Operation::Update(update),
            Operation::Delete(delete),
            Operation::Check { kind, id, version: i64::from(version) },
        ])),
        11 => keys(id, kind, whole(body, right), mode),
        12 => provisioning(id, body, update_precondition, mode),
        op => {
            let of = &ids[usize::from(version) % ids.len()];
            let body = if right.is_multiple_of(5) { body } else { usual(op, body) };
            of_scope(op, any_scope(of), &id, body)
        }
    };
    let mut command = command((1 << 100) + (n << 32), action);
    command.idempotency = repeat.map(|n| key(&format!("k{n}"), "same"));
    command
}

fn any_bill(
    subscription_id: String,
    mut body: Map<String, Value>,
    precondition: Precondition,
    mode: u8,
) -> Action {
    let micros =
        [i64::MIN, 0, 1_893_456_000_000_000, 253_402_207_200_000_000][usize::from(mode % 4)];
    let as_of = Timestamp::from_micros(micros).unwrap_or(Book::default().now);
    Action::Billing(match mode / 4 % 4 {
        0 => billing::Action::SettleSubscription(SettleSubscription {
            subscription_id,
            precondition,
        }),
        1 => {
            let subscription_ids = vec![subscription_id; 2];
            billing::Action::PreviewBilling(PreviewBilling { subscription_ids, as_of })
        }
        2 => {
            let amount = [i64::MIN, -1, 1, i64::MAX][usize::from(mode % 4)];
            body.extend(members(json!({"currency": "USD", "amount": amount, "reason": "r"})));
            let workspace_id = subscription_id;
            billing::Action::AdjustBalance(AdjustBalance { workspace_id, body })
        }
        _ => billing::Action::BillSubscription(BillSubscription { subscription_id, as_of }),
    })
}

/// A command of a worker, or an admin's decision.
fn provisioning(
    server_id: String,
    mut body: Map<String, Value>,
    precondition: Precondition,
    mode: u8,
) -> Action {
    let (generation, windows) = (i64::from(mode % 2), WINDOWS);
    Action::Provisioning(match mode % 5 {
        0 => provisioning::Action::ClaimServer(ClaimServer {
            server_id,
            windows,
            jitter_permille: i64::MAX,
        }),
        1 => provisioning::Action::StartCall(StartCall { server_id, generation }),
        2 => provisioning::Action::RecordCall(RecordCall {
            server_id,
            workspace_id: WorkspaceId::from_unchecked("wsp_1"),
            generation,
            observation: Observation::Throttled { retry_after_ms: i64::MAX },
            detail: Some("d".repeat(5_000)),
            windows,
            jitter_permille: i64::MIN,
        }),
        _ => {
            body.extend(members(json!({"verdict": "fail", "reason": "r"})));
            provisioning::Action::ResolveServer(ResolveServer {
                server_id,
                precondition,
                body,
                windows,
            })
        }
    })
}

fn keys(id: String, kind: Kind, body: Value, mode: u8) -> Action {
    match mode % 5 {
        4 => Action::Core(core::Action::Admit(Some((kind, id)))),
        0 => Action::Access(access::Action::RevokeApiKey(RevokeApiKey { id })),
        1 => Action::Core(core::Action::RecordDenied(RecordDenied {
            audit_type: "force_denied",
            resource: Some(AuditResource { resource_type: kind.name().to_owned(), id }),
            reason: None,
            attempts: 1,
        })),
        2 => Action::Billing(billing::Action::FinishBillingRun(FinishBillingRun {
            run: BillingRun {
                as_of: Book::default().now,
                made: 1,
                skipped: 0,
                failed: 0,
                remaining: 0,
            },
        })),
        _ => Action::Access(access::Action::CreateApiKey(CreateApiKey {
            body,
            id: ApiKeyId::from_unchecked("key_new"),
            digest: "d".into(),
        })),
    }
}

/// A body, or an array of its values in place of an object.
fn whole(body: Map<String, Value>, n: u8) -> Value {
    match n % 4 {
        0 => body.into_values().collect(),
        _ => Value::Object(body),
    }
}

fn sensible(kind: Kind, ids: &[String]) -> Map<String, Value> {
    let of = |prefix: &str| ids.iter().find(|id| id.starts_with(prefix)).cloned();
    let body = match kind {
        Kind::Plan => {
            json!({"code": "c", "name": "n", "currency": "USD", "amount": 1, "interval": "month"})
        }
        Kind::Workspace => json!({"name": "n"}),
        Kind::Namespace => json!({"workspace_id": of("wsp_"), "name": "n"}),
        Kind::Subscription => json!({"workspace_id": of("wsp_"), "plan_id": of("pln_")}),
        Kind::Invoice => {
            json!({"workspace_id": of("wsp_"), "currency": "USD", "amount": 5, "provider_ref": "r"})
        }
        Kind::Feature => json!({"code": "c", "type": "limit"}),
        Kind::Package => json!({"code": "c", "grants": [{"feature": "calls", "grant": "enabled"}]}),
        Kind::Assignment => json!({"status": "suspended"}),
        Kind::Boost => json!({"feature": "calls", "kind": "enable", "duration": "permanent"}),
        Kind::Bookable => json!({"name": "n", "capacity": 3}),
        Kind::Booking => json!({"bookable_id": of("bkb_"), "start_date": "2027-01-01",
            "end_date": "2027-01-03", "quantity": 1}),
        Kind::Product => a_product(1, 0),
        Kind::Server => json!({"workspace_id": of("wsp_"), "product_id": of("prd_"), "name": "n",
            "panel_user": 1}),
    };
    body.as_object().cloned().unwrap_or_default()
}

/// A correct body for a command about a scope, with random members added.
fn usual(op: u8, odd: Map<String, Value>) -> Map<String, Value> {
    let mut body = members(match op % 8 {
        0 => json!({"package": "base"}),
        1 => {
            json!({"feature": "calls", "kind": "add_limit", "amount": 1, "duration": "consumable"})
        }
        2 => json!({"feature": "calls.fast", "quantity": 60}),
        3 => json!({"feature": "calls", "quantity": 1, "ttl_ms": 1}),
        _ => json!({"quantity": 1}),
    });
    body.extend(odd.into_iter().take(1));
    body
}

fn all_ids() -> Vec<String> {
    let world = everything();
    let mut ids: Vec<String> = world.rows().into_iter().map(|(_, id, ..)| id).collect();
    ids.extend(world.payments.into_keys());
    ids.extend(world.records.into_keys().chain(world.holds.into_keys()));
    ids.extend([
        "".to_owned(),
        "\u{0}".to_owned(),
        "sub_ffffffffffffffffffffffffffffffff".to_owned(),
    ]);
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 4))]

    #[test]
    fn no_body_makes_a_rule_panic(draws in vec(draw(all_ids()), 1..6)) {
        let mut world = everything();
        let ids = all_ids();
        let commands: Vec<Command> =
            (1u128..).zip(draws).map(|(n, draw)| read(draw, &ids, n)).collect();
        let mut apart = world.clone();
        let now = Book::default().now;
        let together = world.carry_out(&commands, now);
        for (command, together) in commands.iter().zip(together) {
            let alone = apart.carry_out(std::slice::from_ref(command), now).remove(0);
            assert_eq!(together, alone, "{command:#?}");
        }
        assert_holds(&world);
    }
}
