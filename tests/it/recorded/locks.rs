//! Clients that increment a counter while they hold a lock, and sometimes longer.
//!
//! The counter is kept in a workspace and is written with `?force=true`, so that its version
//! protects nothing: a client that writes after its grant has ended overwrites the next holder's
//! increment, unless the fence of its write is checked.

use super::{
    client::{Client, Sent},
    grants::{Call, Entry, Grant, Outcome, Recorded, check, lost_updates},
    operation::{NEVER, assert_none},
    stage::{Disturbances, Stage},
};
use crate::harness::{Api, Server, id, unique, version};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub const CLIENTS: usize = 5;
/// The requests of each client, of which a turn has about five.
const OPERATIONS: usize = 50;
const TTL_MS: u64 = 150;
/// Shorter than a client's timeout.
const WAIT_MS: u64 = 250;
/// The maximum number of races in which an update must be lost without fences.
const TRIES_MAX: usize = 8;

/// A lock, and the workspace with the counter that it guards.
struct Guarded {
    lock: String,
    workspace: String,
    /// Whether the writes name their fences.
    is_fenced: bool,
}

impl Guarded {
    async fn make(api: &Api, is_fenced: bool) -> Arc<Self> {
        let counter = json!({"metadata": {"counter": "0", "by": ""}});
        let workspace = id(&api.make_workspace(counter).await).to_owned();
        Arc::new(Self { lock: unique("counter"), workspace, is_fenced })
    }

    /// The path of the lock's action.
    fn path(&self, action: &str) -> String {
        format!("/v1/locks/{}/{action}", self.lock)
    }
}

/// With fences, no update is ever lost.
pub async fn race(mut stage: Stage, disturbances: Disturbances) {
    let guarded = Guarded::make(&stage.server().api(), true).await;
    let history = play(&mut stage, disturbances, &guarded).await;
    let entries = entries(&stage.server().api(), &guarded).await;
    assert_none(&guarded.lock, check(&history, &entries));
    let written = entries.len();
    // On a slow machine, the time of most grants is over before their holders come to write.
    assert!(written > 1, "some clients come to write");
    let refused =
        |one: &&Recorded| matches!((&one.call, &one.outcome), (Call::Write { .. }, Outcome::Over));
    assert!(history.iter().filter(refused).count() > 0, "some are too late");
}

/// Without fences, an update is lost soon. So the checker can find one, and the clients do what
/// fences are for.
pub async fn race_without_fences(server: Server) {
    let mut stage = Stage::set(vec![server], CLIENTS).await;
    for _ in 0..TRIES_MAX {
        let guarded = Guarded::make(&stage.server().api(), false).await;
        let history = play(&mut stage, &[], &guarded).await;
        let entries = entries(&stage.server().api(), &guarded).await;
        let lost = lost_updates(&entries);
        let others: Vec<_> =
            check(&history, &entries).into_iter().filter(|one| !lost.contains(one)).collect();
        assert_none(&guarded.lock, others);
        if !lost.is_empty() {
            return;
        }
    }
    panic!("no update was lost in {TRIES_MAX} races without fences");
}

async fn play(
    stage: &mut Stage,
    disturbances: Disturbances,
    guarded: &Arc<Guarded>,
) -> Vec<Recorded> {
    stage.play(OPERATIONS, disturbances, |client| increment(client, Arc::clone(guarded))).await
}

/// One client's turns: acquire, read, write, release.
async fn increment(mut client: Client, guarded: Arc<Guarded>) -> Vec<Recorded> {
    let mut done = Vec::new();
    while client.requests() < OPERATIONS {
        if client.random.u8(..100) < 4 {
            done.push(force(&mut client, &guarded).await);
        }
        let acquired = acquire(&mut client, &guarded).await;
        let grant = match &acquired.outcome {
            Outcome::Granted(grant) => Some(grant.clone()),
            _ => None,
        };
        done.push(acquired);
        let Some(grant) = grant else { continue };
        let path = format!("/v1/workspaces/{}", guarded.workspace);
        let read = client.send("GET", None, |api| api.get(&path)).await;
        let Some(read) = read.answer.map(|answer| answer.ok(200)) else { continue };
        if client.random.u8(..100) < 25 {
            done.push(renew(&mut client, &guarded, &grant).await);
        }
        hesitate(&mut client).await;
        done.push(write(&mut client, &guarded, &grant, &read).await);
        // Others crash, and their grant expires.
        if client.random.u8(..100) < 85 {
            done.push(release(&mut client, &guarded, &grant).await);
        }
    }
    done
}

/// Pauses as a program may: mostly not at all, sometimes for longer than it holds the lock.
async fn hesitate(client: &mut Client) {
    let pause_ms = match client.random.u8(..100) {
        0..70 => 0,
        70..80 => client.random.u64(1..TTL_MS),
        _ => client.random.u64(TTL_MS..2 * TTL_MS),
    };
    if pause_ms > 0 {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

async fn acquire(client: &mut Client, guarded: &Guarded) -> Recorded {
    let key = key(client, 80);
    let wait_ms = if client.random.u8(..100) < 80 { WAIT_MS } else { 0 };
    let body = json!({"ttl_ms": TTL_MS, "wait_ms": wait_ms});
    let path = guarded.path("acquire");
    let sent = client.send("POST", key.as_deref(), |api| api.post(&path, &body)).await;
    let outcome = match &sent.answer {
        Some(answer) if answer.status == 201 => {
            let text = |name: &str| answer.body[name].as_str().expect("a grant says it");
            Outcome::Granted(Grant {
                fence: answer.body["fence"].as_i64().expect("a number"),
                owner: text("owner").to_owned(),
                acquired_at: client.instant(text("acquired_at")),
                expires_at: client.instant(text("expires_at")),
            })
        }
        // An earlier send had a grant that ended meanwhile. Which one is not known.
        Some(answer) if answer.body["code"] == "LOCK_LOST" => Outcome::Maybe,
        _ => refused(&sent, &["LOCK_ACQUISITION_FAILED", "LOCK_TIMEOUT"], Outcome::Held),
    };
    record(client, &sent, Call::Acquire, outcome)
}

async fn renew(client: &mut Client, guarded: &Guarded, grant: &Grant) -> Recorded {
    let body = json!({"owner": grant.owner});
    let path = guarded.path("renew");
    let key = key(client, 50);
    let sent = client.send("POST", key.as_deref(), |api| api.post(&path, &body)).await;
    let outcome = match &sent.answer {
        Some(answer) if answer.status == 200 => {
            let until = answer.body["expires_at"].as_str().expect("a renewal says until when");
            Outcome::Renewed(client.instant(until))
        }
        _ => refused(&sent, OVER, Outcome::Over),
    };
    record(client, &sent, Call::Renew { fence: grant.fence }, outcome)
}

/// The codes that tell an owner that its grant is over.
const OVER: &[&str] = &["LOCK_LOST", "LOCK_NOT_FOUND", "LOCK_OWNERSHIP_MISMATCH"];

async fn release(client: &mut Client, guarded: &Guarded, grant: &Grant) -> Recorded {
    let body = json!({"owner": grant.owner});
    let path = guarded.path("release");
    let key = key(client, 70);
    let sent = client.send("POST", key.as_deref(), |api| api.post(&path, &body)).await;
    let outcome = match &sent.answer {
        Some(answer) if answer.status == 200 => Outcome::Done,
        _ => refused(&sent, OVER, Outcome::Over),
    };
    record(client, &sent, Call::Release { fence: grant.fence }, outcome)
}

async fn force(client: &mut Client, guarded: &Guarded) -> Recorded {
    let body = json!({"reason": "a race"});
    let path = guarded.path("force-release");
    let key = key(client, 50);
    let sent = client.send("POST", key.as_deref(), |api| api.post(&path, &body)).await;
    let outcome = match &sent.answer {
        Some(answer) if answer.status == 200 => Outcome::Done,
        _ => refused(&sent, &["LOCK_NOT_FOUND"], Outcome::Over),
    };
    record(client, &sent, Call::Force, outcome)
}

/// Writes the value that was read and one more, over whatever is there.
async fn write(client: &mut Client, guarded: &Guarded, grant: &Grant, read: &Value) -> Recorded {
    let token = client.token();
    let key = (client.random.u8(..100) < 65).then_some(token.clone());
    let counter = (counter(&read["metadata"]["counter"]) + 1).to_string();
    let body = json!({"metadata": {"counter": counter, "by": token}, "version": version(read)});
    let path = format!("/v1/workspaces/{}?force=true", guarded.workspace);
    let Guarded { lock, is_fenced, .. } = guarded;
    let request = |api: &Api| {
        let call = api.patch(&path, &body).header("X-Force-Reason", "a race");
        if !is_fenced {
            return call;
        }
        call.header("X-Lock", format!("global//{lock}")).header("X-Lock-Fence", grant.fence)
    };
    let sent = client.send("PATCH", key.as_deref(), request).await;
    let outcome = match &sent.answer {
        Some(answer) if answer.status == 200 => Outcome::Done,
        _ => refused(&sent, &["STALE_FENCE"], Outcome::Over),
    };
    let call = Call::Write { token, fence: grant.fence, is_fenced: *is_fenced };
    record(client, &sent, call, outcome)
}

/// An Idempotency-Key for so many of a hundred requests.
fn key(client: &mut Client, share: u8) -> Option<String> {
    let key = client.token();
    (client.random.u8(..100) < share).then_some(key)
}

/// The outcome of a request that was refused with one of these codes, or has no answer.
#[track_caller]
fn refused(sent: &Sent, codes: &[&str], outcome: Outcome) -> Outcome {
    let Some(answer) = &sent.answer else { return Outcome::Maybe };
    let code = answer.body["code"].as_str().unwrap_or_default();
    assert!(codes.contains(&code), "an unexpected answer: {answer:?}");
    // An earlier send may have taken effect, or may still do so.
    if sent.was_repeated { Outcome::Maybe } else { outcome }
}

/// An operation with an unknown outcome never returns.
fn record(client: &Client, sent: &Sent, call: Call, outcome: Outcome) -> Recorded {
    let mut operation = sent.operation(client, call, outcome);
    if matches!(operation.outcome, Outcome::Maybe) {
        operation.returned_at = NEVER;
    }
    operation
}

fn counter(text: &Value) -> i64 {
    text.as_str().and_then(|text| text.parse().ok()).expect("the counter is a number")
}

/// The counter after each version of the workspace.
async fn entries(api: &Api, guarded: &Guarded) -> Vec<Entry> {
    let history = api.history(&format!("/v1/workspaces/{}", guarded.workspace)).await;
    let mut entries: Vec<Entry> = Vec::new();
    for entry in &history {
        let changes = entry["changes"].as_array().expect("changes are a list");
        let to = |path: &str| {
            changes.iter().find(|change| change["path"] == path).map(|change| &change["to"])
        };
        let before = entries.last().map_or(0, |last| last.counter);
        let counter = to("/metadata/counter").map_or(before, counter);
        let by = to("/metadata/by").and_then(Value::as_str).unwrap_or_default().to_owned();
        entries.push(Entry { version: version(entry), counter, by });
    }
    entries
}
