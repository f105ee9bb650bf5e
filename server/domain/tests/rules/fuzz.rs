//! Bodies that no sensible client sends: a command is refused or accepted, and never a panic.

use crate::{
    book::Book,
    commands::{command, force, key, update, weak_tag},
    invariants::assert_holds,
    world::World,
};
use ifmatch_domain::{
    Action, BillSubscription, Change, Command, CreateApiKey, CreateObject, DeleteObject,
    FinishBillingRun, Mode, NamedVersion, Operation, Precondition, RecordDenied, RecordPayment,
    ReversePayment, RevokeApiKey, Transact,
};
use ifmatch_types::{ApiKeyId, BillingRun, Kind, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

/// Names of fields of all kinds, and some of none.
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
    "open",
    "active",
    "month",
    "",
    "a/b~c",
    "\u{0}",
    "naïve",
    "$secret",
];

/// One object of every kind, plans in all states, invoices in all states.
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
    let room = book.make(Kind::Bookable, json!({"name": "Room", "capacity": 2}));
    let days = json!({"bookable_id": room, "start_date": "2027-01-02", "end_date": "2027-01-04"});
    let booking = book.make(Kind::Booking, days);
    book.edit(&booking, json!({"status": "confirmed"})).unwrap();
    book.world
}

/// What values may be; ids come from the world.
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
        json!("-009999-01-03T00:00:00Z"),
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
            // How serde also reads a name of an enumeration.
            select(&["open", "active", "month", "agent"][..])
                .prop_map(|name| json!({ name: null })),
            // A line, or almost.
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(d, q, u)| json!([{"description": d, "quantity": q, "unit_amount": u}])),
        ]
    })
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// A body that is right but for some fields, or wrong altogether.
fn body(ids: Vec<String>) -> impl Strategy<Value = (u8, Vec<(&'static str, Value)>)> {
    (any::<u8>(), vec((select(NAMES), value(ids)), 0..4))
}

/// Everything that one random command is made of.
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
    // One in eight aims at an object of another kind.
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
        3 => Precondition::Tags(vec![weak_tag(2), NamedVersion { version: None, weak: false }]),
        4 => Precondition::Version([i64::MIN, -1, 0, i64::MAX][usize::from(mode % 4)]),
        _ => Precondition::Version(2),
    };
    let mut update = update(kind, &id, precondition.clone(), change);
    update.mode = [Mode::Strict, Mode::Merge, Mode::Force(force(mode.is_multiple_of(2)))]
        [usize::from(mode % 3)]
    .clone();
    update.refused_at = (mode.is_multiple_of(5)).then_some(i64::from(version % 4));
    let delete = DeleteObject {
        kind,
        id: id.clone(),
        precondition,
        force: (mode.is_multiple_of(4)).then(|| force(false)),
    };
    let create = CreateObject { kind, body: body.clone() };
    let action = match op % 12 {
        0..=2 => Action::Create(create),
        3..=5 => Action::Update(update),
        6 => Action::Delete(delete),
        7 => Action::RecordPayment(RecordPayment { invoice_id: id, body: whole(body, right) }),
        8 => Action::ReversePayment(ReversePayment {
            invoice_id: id.clone(),
            payment_id: ids[usize::from(version) % ids.len()].clone(),
            reason: id,
        }),
        9 => any_bill(id, mode),
        10 => Action::Transact(Transact {
            operations: vec![
                Operation::Create(create),
                Operation::Update(update),
                Operation::Delete(delete),
                Operation::Check { kind, id, version: i64::from(version) },
            ],
        }),
        _ => keys(id, kind, whole(body, right), mode),
    };
    let mut command = command((1 << 100) + (n << 32), action);
    command.idempotency = repeat.map(|n| key(&format!("k{n}"), "same"));
    command
}

fn any_bill(subscription_id: String, mode: u8) -> Action {
    let micros =
        [i64::MIN, 0, 1_893_456_000_000_000, 253_402_207_200_000_000][usize::from(mode % 4)];
    let as_of = Timestamp::from_micros(micros).unwrap_or(Book::default().now);
    Action::BillSubscription(BillSubscription { subscription_id, as_of })
}

fn keys(id: String, kind: Kind, body: Value, mode: u8) -> Action {
    match mode % 4 {
        0 => Action::RevokeApiKey(RevokeApiKey { id }),
        1 => Action::RecordDenied(RecordDenied { kind, id, reason: None }),
        2 => Action::FinishBillingRun(FinishBillingRun {
            run: BillingRun { as_of: Book::default().now, made: 1, skipped: 0, failed: 0 },
        }),
        _ => Action::CreateApiKey(CreateApiKey {
            body,
            id: ApiKeyId::from_unchecked("key_new"),
            digest: "d".into(),
        }),
    }
}

/// A body, or one of its values: what is expected to be an object may be anything.
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
        Kind::Bookable => json!({"name": "n", "capacity": 3}),
        Kind::Booking => json!({"bookable_id": of("bkb_"), "start_date": "2027-01-01",
            "end_date": "2027-01-03"}),
    };
    body.as_object().cloned().unwrap_or_default()
}

fn all_ids() -> Vec<String> {
    let world = everything();
    let mut ids: Vec<String> = world.rows().into_iter().map(|(_, id, ..)| id).collect();
    ids.extend(world.payments.into_keys());
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
