//! Clients that read and write a few workspaces: versioned, merged or forced.

use super::{
    client::Client,
    events,
    linear::{MADE, Register, Written, beginning, is_linearizable},
    operation::assert_none,
    stage::{Disturbances, Stage},
    versions::{Call, Entry, Fields, Mode, Outcome, Recorded, check},
};
use crate::harness::{Answer, Api, id, version, with};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub const CLIENTS: usize = 6;
const OPERATIONS: usize = 50;
/// The fields that are written. A merge needs more than one.
const PATHS: [&str; 3] = ["/name", "/metadata/a", "/metadata/b"];
/// Objects that are merged and forced too. The others have only versioned writes.
const MIXED: usize = 2;
const OBJECTS: usize = 5;
/// Maximum number of operations in the search for an order.
const LINEAR_MAX: usize = 60;

/// An object's id and an operation on it.
type Done = (String, Recorded);

pub async fn race(mut stage: Stage, disturbances: Disturbances) {
    let api = stage.server().api();
    let mut ids = Vec::new();
    for _ in 0..OBJECTS {
        ids.push(id(&api.make_workspace(json!({"name": MADE})).await).to_owned());
    }
    let ids: Arc<[String]> = ids.into();
    let follower = events::Follower::start(stage.bystander());
    let played =
        stage.play(OPERATIONS, disturbances, |client| use_objects(client, Arc::clone(&ids))).await;
    let api = stage.server().api();
    let (followed, whole) = follower.stop(&api).await;
    assert_none("the stream of events", events::check(&followed, &whole));
    let mut histories: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for (object, operation) in played {
        histories.entry(object).or_default().push(operation);
    }
    for (place, object) in ids.iter().enumerate() {
        let history = histories.remove(object).unwrap_or_default();
        let entries = entries(&api, object).await;
        assert_none(object, check(&history, &entries));
        let stored = entries.len();
        let seen = whole.iter().filter(|event| event.resource == *object).count();
        assert_eq!(seen, stored, "{object}: each version has one event");
        if place >= MIXED {
            assert!(is_linearizable(&steps(history)), "{object}: no order explains its history");
        }
    }
}

async fn use_objects(mut client: Client, ids: Arc<[String]>) -> Vec<Done> {
    let mut known: BTreeMap<usize, i64> = BTreeMap::new();
    let mut done = Vec::new();
    for _ in 0..OPERATIONS {
        let at = client.random.usize(..ids.len());
        let base = known.get(&at).copied().unwrap_or(1);
        let operation = if client.random.u8(..100) < 35 {
            read(&mut client, &ids[at]).await
        } else {
            let mode = match client.random.u8(..100) {
                0..25 if at < MIXED => Mode::Merge,
                25..35 if at < MIXED => Mode::Force,
                _ => Mode::Refuse,
            };
            Some(write(&mut client, &ids[at], base, mode).await)
        };
        let Some(operation) = operation else { continue };
        match operation.outcome {
            Outcome::Saw { version, .. } | Outcome::Stale { current: version } => {
                // Merges and forces are only interesting from an older version.
                if at >= MIXED || client.random.bool() {
                    known.insert(at, version);
                }
            }
            Outcome::Maybe => {}
        }
        done.push((ids[at].clone(), operation));
    }
    done
}

async fn read(client: &mut Client, object: &str) -> Option<Recorded> {
    let path = format!("/v1/workspaces/{object}");
    let sent = client.send("GET", None, |api| api.get(&path)).await;
    let outcome = saw(&sent.answer.as_ref()?.clone().ok(200));
    Some(sent.operation(client, Call::Read, outcome))
}

async fn write(client: &mut Client, object: &str, base: i64, mode: Mode) -> Recorded {
    let token = client.token();
    let key = (client.random.u8(..100) < 65).then_some(token.clone());
    let path = PATHS[client.random.usize(..PATHS.len())];
    let body = match path.strip_prefix("/metadata/") {
        Some(name) => json!({"metadata": {name: token}}),
        None => json!({"name": token}),
    };
    let query = match mode {
        Mode::Refuse => "",
        Mode::Merge => "?on_conflict=merge",
        Mode::Force => "?force=true",
    };
    let target = format!("/v1/workspaces/{object}{query}");
    let in_header = client.random.bool();
    let request = |api: &Api| {
        let call = match in_header {
            true => api.patch(&target, &body).if_match(base),
            false => api.patch(&target, &with(body.clone(), &json!({"version": base}))),
        };
        match mode {
            Mode::Force => call.header("X-Force-Reason", "a race"),
            Mode::Refuse | Mode::Merge => call,
        }
    };
    let sent = client.send("PATCH", key.as_deref(), request).await;
    let outcome = match sent.answer.clone() {
        None => Outcome::Maybe,
        Some(answer) => outcome(answer),
    };
    let call = Call::Write { path: path.to_owned(), token, base, mode };
    sent.operation(client, call, outcome)
}

fn outcome(answer: Answer) -> Outcome {
    if answer.status == 200 {
        return saw(&answer.body);
    }
    let status = answer.status;
    assert!([409, 412].contains(&status), "{}", answer.text);
    let current = answer.conflict(status)["current_version"].as_i64();
    Outcome::Stale { current: current.expect("a conflict tells the current version") }
}

fn saw(body: &Value) -> Outcome {
    let value = |path: &str| Some((path.to_owned(), body.pointer(path)?.as_str()?.to_owned()));
    Outcome::Saw { version: version(body), fields: PATHS.into_iter().filter_map(value).collect() }
}

/// An object's history, with marks from its audit records.
async fn entries(api: &Api, object: &str) -> Vec<Entry> {
    let records = api.audit("forced_write", object).await;
    let overwritten: BTreeSet<_> =
        records.iter().filter_map(|record| record["overwritten_version"].as_i64()).collect();
    assert_eq!(overwritten.len(), records.len(), "each overwrite is on record once: {records:?}");
    let history = api.history(&format!("/v1/workspaces/{object}")).await;
    let entry = |entry: &Value| {
        let changes = entry["changes"].as_array().expect("changes are a list");
        let changed = changes.iter().filter_map(|change| {
            let path = change["path"].as_str().filter(|path| PATHS.contains(path))?;
            Some((path.to_owned(), change["to"].as_str()?.to_owned()))
        });
        Entry {
            version: version(entry),
            kind: entry["kind"].as_str().expect("a kind").to_owned(),
            changed: changed.collect::<Fields>(),
            is_audited: overwritten.contains(&(version(entry) - 1)),
        }
    };
    history.iter().map(entry).collect()
}

/// The first operations of a history as steps of a register.
fn steps(history: Vec<Recorded>) -> Vec<(u64, u64, Register)> {
    let forget = |operation: &mut Recorded| {
        operation.outcome = Outcome::Maybe;
        // A read with an unknown result has no effect.
        matches!(operation.call, Call::Write { .. })
    };
    let step = |operation: Recorded| {
        let Recorded { invoked_at, returned_at, call, outcome, .. } = operation;
        let step = match (call, outcome) {
            (Call::Read, Outcome::Saw { version, fields }) => Register::Read { version, fields },
            (Call::Read, _) => return None,
            (Call::Write { path, token, base, mode }, outcome) => {
                let ended = match outcome {
                    Outcome::Saw { version, .. } => Written::As(version),
                    Outcome::Stale { current } => Written::Stale(current),
                    Outcome::Maybe => Written::Unknown,
                };
                let base = (mode == Mode::Refuse).then_some(base);
                Register::Write { path, token, base, ended }
            }
        };
        Some((invoked_at, returned_at, step))
    };
    beginning(history, LINEAR_MAX, forget).into_iter().filter_map(step).collect()
}
