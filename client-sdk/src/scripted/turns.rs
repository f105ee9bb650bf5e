//! Turns: a refusal in this caller's turn is followed at once.

use super::{Client, Script, ScriptStep, Verb, client, conflict, id, ok, secs, subscription};
use crate::Error;
use serde_json::json;
use std::time::Duration;

/// A conflict that was told in this caller's turn.
fn in_turn(expected: i64, version: i64, quantity: i64) -> ScriptStep {
    match conflict(expected, version, quantity) {
        ScriptStep::Answer(status, _, mut body) => {
            body["conflict_id"] = json!(format!("cfl_{version}"));
            ScriptStep::Answer(status, vec![("preference-applied", "wait".into())], body)
        }
        _ => panic!("a conflict is an answer"),
    }
}

fn prefer(script: &Script, index: usize) -> Option<String> {
    let headers = script.at(index).1.headers().expect("headers");
    headers.get("prefer").map(|value| value.to_str().expect("text").to_owned())
}

async fn add_five(billing: &Client) -> Result<i64, Error> {
    Ok(billing.subscriptions().update(&id(), |s| s.quantity += 5).await?.version())
}

#[tokio::test(start_paused = true)]
async fn each_refusal_in_turn_is_followed_at_once() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        in_turn(1, 4, 6),
        in_turn(4, 7, 7),
        ok(subscription(8, 12)),
    ]);
    assert_eq!(add_five(&billing).await.expect("applied"), 8);
    assert_eq!(script.verbs(), [Verb::Get, Verb::Patch, Verb::Patch, Verb::Patch]);
    assert_eq!(script.at(3).0, Duration::ZERO, "it is awaited");
    assert_eq!(script.version_sent(3), Some(7));
    assert_eq!(prefer(&script, 1).as_deref(), Some("wait=5; turn=\"\""));
    assert_eq!(prefer(&script, 2).as_deref(), Some("wait=5; turn=\"cfl_4\""));
    assert_eq!(prefer(&script, 3).as_deref(), Some("wait=5; turn=\"cfl_7\""));
}

#[tokio::test(start_paused = true)]
async fn a_third_refusal_is_followed_by_a_pause_also_in_turn() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        in_turn(1, 4, 6),
        in_turn(4, 7, 7),
        in_turn(7, 9, 8),
        ok(subscription(9, 8)),
        ok(subscription(10, 13)),
    ]);
    assert_eq!(add_five(&billing).await.expect("applied"), 10);
    assert_eq!(script.at(3).0, Duration::ZERO);
    assert_eq!(script.at(4).1.verb, Verb::Get);
    assert!(script.at(4).0 > Duration::ZERO, "others do not wait for it any more");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_out_of_turn_names_no_turn_afterwards() {
    let (billing, script) = client(vec![
        ok(subscription(1, 5)),
        in_turn(1, 4, 6),
        conflict(4, 7, 7),
        ok(subscription(9, 8)),
        ok(subscription(10, 13)),
    ]);
    assert_eq!(add_five(&billing).await.expect("applied"), 10);
    assert!(script.at(3).0 > Duration::ZERO, "others spread out as well");
    assert_eq!(prefer(&script, 4).as_deref(), Some("wait=5; turn=\"\""));
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_longer_than_the_server_but_not_beyond_its_deadline() {
    let late = ScriptStep::After(secs(14), Box::new(in_turn(1, 4, 6)));
    let steps = vec![ok(subscription(1, 5)), late, ok(subscription(5, 11))];
    let (billing, script) = client(steps);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 5);
    update.deadline(secs(20)).await.expect("applied");
    assert_eq!(script.sent().len(), 3, "nothing was sent twice");
    assert_eq!(prefer(&script, 2).as_deref(), Some("wait=3; turn=\"cfl_4\""), "half of 6 s");

    let (billing, script) = client(vec![ok(subscription(1, 5)), ok(subscription(2, 10))]);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 5);
    update.deadline(Duration::from_millis(1_500)).await.expect("applied");
    assert_eq!(prefer(&script, 1), None, "there is no time to wait");
}

#[tokio::test(start_paused = true)]
async fn a_forced_write_has_no_turn() {
    let (billing, script) = client(vec![ok(subscription(1, 5)), ok(subscription(2, 10))]);
    let update = billing.subscriptions().update(&id(), |s| s.quantity += 5);
    update.force("it must be so").await.expect("applied");
    assert_eq!(prefer(&script, 1), None);
}
