//! Short constructors of commands, and a book that carries them out in order.

use ifmatch_domain::{
    Action, Command,
    core::{
        self, Actor, Change, CreateObject, DeleteObject, Force, Guard, IdempotencyKey, Meta, Mode,
        Precondition, RedactObject, UpdateObject,
    },
    ledger::{self, MoveCredits, Movement, ReserveCredits, Resolution, ResolveReservation},
};
use ifmatch_types::{ApiKeyId, Kind, Source, Timestamp, Version};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The actor, unless a scenario names another.
pub const ACTOR: &str = "alice";

/// The members of a JSON object.
#[track_caller]
pub fn members(body: Value) -> Map<String, Value> {
    match body {
        Value::Object(members) => members,
        other => panic!("a body is an object, not {other}"),
    }
}

#[track_caller]
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn meta(actor: &str) -> Meta {
    Meta {
        actor: Actor {
            is_admin: true,
            key_id: Some(ApiKeyId::from_unchecked(format!("key_{actor}"))),
            name: actor.into(),
            workspace_id: None,
        },
        on_behalf_of: None,
        source: Source::Api,
        request_id: "req".to_owned(),
        key_digest: None,
    }
}

/// A command with its own seed.
pub fn command(seed: u128, action: Action) -> Command {
    Command {
        meta: meta(ACTOR),
        seed: Uuid::from_u128(seed),
        idempotency: None,
        guard: Guard::default(),
        action,
    }
}

pub fn key(text: &str, fingerprint: &str) -> IdempotencyKey {
    IdempotencyKey {
        owner: ApiKeyId::from_unchecked("key_alice"),
        key: text.to_owned(),
        fingerprint: fingerprint.to_owned(),
    }
}

pub fn create(kind: Kind, body: Value) -> Action {
    Action::Core(core::Action::Create(CreateObject { kind, body: members(body) }))
}

/// A patch based on a version.
pub fn patch(kind: Kind, id: &str, version: Version, body: Value) -> Action {
    Action::Core(core::Action::Update(update(
        kind,
        id,
        Precondition::Version(version),
        Change::Patch(members(body)),
    )))
}

/// A full replace based on a version.
pub fn put(kind: Kind, id: &str, version: Version, body: Value) -> Action {
    Action::Core(core::Action::Update(update(
        kind,
        id,
        Precondition::Version(version),
        Change::Replace(members(body)),
    )))
}

pub fn update(kind: Kind, id: &str, precondition: Precondition, change: Change) -> UpdateObject {
    UpdateObject {
        kind,
        id: id.to_owned(),
        change,
        precondition,
        mode: Mode::Strict,
        refused_at: None,
    }
}

pub fn merging(action: Action) -> Action {
    with_mode(action, Mode::Merge)
}

pub fn forcing(action: Action) -> Action {
    with_mode(action, Mode::Force(force()))
}

pub fn force() -> Force {
    Force { reason: "chargeback".to_owned() }
}

/// The preview of a change.
pub fn previewing(action: Action) -> Action {
    match action {
        Action::Core(core::Action::Update(update)) => Action::Core(core::Action::Preview(update)),
        other => panic!("only updates have a preview: {other:?}"),
    }
}

fn with_mode(action: Action, mode: Mode) -> Action {
    match action {
        Action::Core(core::Action::Update(update)) => {
            Action::Core(core::Action::Update(UpdateObject { mode, ..update }))
        }
        other => panic!("only updates have a mode: {other:?}"),
    }
}

/// The same write with another precondition.
pub fn with_precondition(action: Action, precondition: Precondition) -> Action {
    match action {
        Action::Core(core::Action::Update(update)) => {
            Action::Core(core::Action::Update(UpdateObject { precondition, ..update }))
        }
        Action::Core(core::Action::Delete(delete)) => {
            Action::Core(core::Action::Delete(DeleteObject { precondition, ..delete }))
        }
        other => panic!("it has no precondition: {other:?}"),
    }
}

pub fn redact(kind: Kind, id: &str, version: Version, paths: &[&str]) -> Action {
    redact_with(
        kind,
        id,
        Precondition::Version(version),
        json!({"paths": paths, "reason": "asked"}),
    )
}

pub fn redact_with(kind: Kind, id: &str, precondition: Precondition, body: Value) -> Action {
    let (id, body) = (id.to_owned(), members(body));
    Action::Core(core::Action::Redact(RedactObject { kind, id, body, precondition }))
}

pub fn delete(kind: Kind, id: &str, version: Version) -> Action {
    let precondition = Precondition::Version(version);
    Action::Core(core::Action::Delete(DeleteObject {
        kind,
        id: id.to_owned(),
        precondition,
        force: None,
    }))
}

pub fn top_up(workspace: &str, amount: i64) -> Action {
    move_credits(workspace, Movement::Topup, json!({"amount": amount, "reason": "bought"}))
}

pub fn adjust(workspace: &str, amount: i64) -> Action {
    move_credits(workspace, Movement::Adjust, json!({"amount": amount, "reason": "counted again"}))
}

pub fn move_credits(workspace: &str, movement: Movement, body: Value) -> Action {
    let movement = MoveCredits::new(workspace.to_owned(), movement, members(body));
    Action::Ledger(ledger::Action::MoveCredits(movement))
}

pub fn reserve(workspace: &str, amount: i64) -> Action {
    reserve_with(workspace, json!({"amount": amount}))
}

pub fn reserve_with(workspace: &str, body: Value) -> Action {
    let reserve = ReserveCredits::new(workspace.to_owned(), members(body));
    Action::Ledger(ledger::Action::ReserveCredits(reserve))
}

pub fn post(reservation: &str, amount: Option<i64>) -> Action {
    let body = amount.map_or(json!({}), |amount| json!({"amount": amount}));
    resolve(reservation, Resolution::Post(members(body)))
}

pub fn void(reservation: &str) -> Action {
    resolve(reservation, Resolution::Void(members(json!({}))))
}

pub fn resolve(reservation: &str, resolution: Resolution) -> Action {
    let reservation_id = reservation.to_owned();
    let resolve = ResolveReservation { reservation_id, resolution };
    Action::Ledger(ledger::Action::ResolveReservation(resolve))
}
