//! Tests of servers: answers that come before the work is done, and the wait for it.

use super::*;
use crate::{
    Code, NewResolution, PanelObservation, ProductId, ServerFields, ServerId, ServerStatus,
    ServerStep, ServerVerdict, WorkspaceId,
};

const SERVER: &str = "srv_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";

fn server(version: i64, status: &str) -> Value {
    let at = "2026-11-22T01:06:00Z";
    json!({"id": SERVER, "version": version, "workspace_id": "wsp_1", "product_id": "prd_1",
        "name": "Survival", "panel_user": 7, "status": status, "suspended": false,
        "suspended_on_panel": false, "external_id": SERVER, "remote_id": null,
        "remote_uuid": null, "panel_status": null, "reservation_id": "trf_1",
        "price_credits": 5, "attempts": 0, "last_observation": null, "next_check_at": at,
        "created_at": at, "updated_at": at, "updated_by": "somebody"})
}

fn fields() -> ServerFields {
    let workspace = WorkspaceId::from_unchecked("wsp_1");
    ServerFields::new(workspace, ProductId::from_unchecked("prd_1"), "Survival", 7)
}

fn server_id() -> ServerId {
    ServerId::from_unchecked(SERVER)
}

/// The milliseconds that a send asked the server to wait.
fn wait_ms(script: &Script, index: usize) -> Option<u64> {
    url(script, index).split_once("?wait_ms=")?.1.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_accepted_is_a_success() {
    let (billing, script) = client(vec![answer(202, server(1, "provisioning"))]);
    let ordered = billing.servers().create(fields()).await.expect("accepted");
    assert_eq!((ordered.version(), ordered.status), (1, ServerStatus::Provisioning));
    assert_eq!(url(&script, 0), "http://billing.test/v1/servers");
    assert_eq!(
        body(&script, 0),
        json!({"workspace_id": "wsp_1", "product_id": "prd_1", "name": "Survival",
            "panel_user": 7})
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_server_as_it_is_by_then() {
    for (status, state, expected) in [
        (201, "active", ServerStatus::Active),
        (202, "failed", ServerStatus::Failed),
        (202, "pending_reconciliation", ServerStatus::PendingReconciliation),
    ] {
        let late = ScriptStep::After(secs(40), Box::new(answer(status, server(4, state))));
        let (billing, script) = client(vec![late]);
        let made = billing.servers().create_and_wait(fields(), secs(45)).deadline(secs(1));
        let made = made.await.expect("the wait is beyond the deadline and the send timeout");
        assert_eq!((made.version(), made.status), (4, expected));
        assert_eq!((wait_ms(&script, 0), script.sent().len()), (Some(45_000), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_cut_to_what_a_gateway_allows() {
    let (billing, script) = client(vec![answer(201, server(2, "active"))]);
    billing.servers().create_and_wait(fields(), secs(600)).await.expect("made");
    assert_eq!(wait_ms(&script, 0), Some(45_000));
    let (billing, script) = client(vec![answer(202, server(1, "provisioning"))]);
    billing.servers().create_and_wait(fields(), Duration::ZERO).await.expect("ordered");
    assert_eq!(wait_ms(&script, 0), None);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_orders_nothing_new_and_waits_only_for_the_rest() {
    let gateway = ScriptStep::After(secs(30), Box::new(bare(504)));
    let dead = ScriptStep::After(secs(20), Box::new(ScriptStep::Broken));
    let (billing, script) = client(vec![gateway, dead, answer(202, server(1, "provisioning"))]);
    let late = billing.servers().create_and_wait(fields(), secs(45)).await.expect("ordered");
    assert_eq!(late.status, ServerStatus::Provisioning);
    let rest = wait_ms(&script, 1).expect("a wait");
    assert!((14_900..=15_000).contains(&rest), "{rest}");
    assert_eq!(wait_ms(&script, 2), None, "the time is over");
    let key = |index| script.at(index).1.idempotency_key;
    assert!(key(0).is_some() && key(0) == key(1) && key(1) == key(2));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_order_is_settled_without_a_wait() {
    let budget = SendBudget { capacity: 0, refill_per_second: 0 };
    let steps = vec![ScriptStep::Broken, answer(202, server(1, "provisioning"))];
    let (billing, script) = client_with(budget, steps);
    let error = billing.servers().create_and_wait(fields(), secs(45)).await.expect_err("broken");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    let settled = billing.resume(*unknown).await.expect("settled");
    let ordered = settled.versioned::<crate::Server>().expect("a server");
    assert_eq!((ordered.version(), wait_ms(&script, 1)), (1, None));
    assert_eq!(script.at(0).1.idempotency_key, script.at(1).1.idempotency_key);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_a_rule_is_against_is_told_by_its_code() {
    for (status, name, code) in [
        (422, "INSUFFICIENT_CREDITS", Code::InsufficientCredits),
        (422, "SERVER_LIMIT_REACHED", Code::ServerLimitReached),
        (409, "PRODUCT_UNAVAILABLE", Code::ProductUnavailable),
        // A 503 that asks for no repeat gets none.
        (503, "PANEL_NOT_CONFIGURED", Code::PanelNotConfigured),
    ] {
        let (billing, script) = client(vec![problem(status, name, "none", 0, json!({}))]);
        let error = billing.servers().create_and_wait(fields(), secs(9)).await.expect_err(name);
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!((error.code(), script.sent().len()), (Some(code), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspension_sends_only_itself_and_survives_the_panels_writes() {
    let moved = json!({"conflict_id": "cfl_1", "resource": {"type": "server", "id": SERVER},
        "expected_version": 3, "current_version": 4, "current": server(4, "active"),
        "changes": [], "attempted": ["/suspended"],
        "merge": {"verdict": "overlap", "overlap": ["/status"], "groups_split": [],
            "preview": null}});
    let (billing, script) = client(vec![
        ok(server(3, "provisioning")),
        problem(409, "CONFLICT_VERSION_MISMATCH", "reapply", 0, moved),
        ok(server(5, "active")),
    ]);
    let suspended = billing.servers().update(&server_id(), |s| s.suspended = true).await;
    assert_eq!(suspended.expect("applied").version(), 5);
    assert_eq!(body(&script, 1), json!({"suspended": true, "version": 3}));
    assert_eq!(body(&script, 2), json!({"suspended": true, "version": 4}));
}

#[tokio::test(start_paused = true)]
async fn a_field_of_a_newer_server_is_no_change_by_another() {
    let mut newer = server(4, "provisioning");
    newer["node"] = json!("n3");
    let (billing, _) = client(vec![
        ok(server(3, "provisioning")),
        bare(409),
        ok(newer),
        history(4, "other", json!(["/attempts"]), Some("aa".repeat(32))),
        ok(server(5, "active")),
    ]);
    let suspend = billing.servers().update(&server_id(), |s| s.suspended = true);
    let suspend = suspend.on_conflict(|conflict| async move {
        let foreign = conflict.changes.iter().any(|change| change.path == "/node");
        if foreign { Decision::Abort } else { Decision::Reapply }
    });
    assert_eq!(suspend.await.expect("applied").version(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_deprovisioning_answers_the_server_and_may_be_forced() {
    let (billing, script) = client(vec![answer(202, server(6, "deprovisioning")), {
        ScriptStep::Answer(202, vec![("x-forced", "true".into())], server(7, "deprovisioning"))
    }]);
    let servers = billing.servers();
    let going = servers.deprovision(&server_id(), 5).await.expect("accepted");
    assert_eq!((going.version(), going.status), (6, ServerStatus::Deprovisioning));
    assert_eq!(script.at(0).1.verb, Verb::Delete);
    assert_eq!(url(&script, 0), format!("http://billing.test/v1/servers/{SERVER}?version=5"));
    let forced = servers.deprovision(&server_id(), 5).force("chargeback").await.expect("accepted");
    assert!(forced.info().forced && script.at(1).1.is_forced());
}

#[tokio::test(start_paused = true)]
async fn a_deprovisioning_of_another_version_is_a_conflict_and_is_not_repeated() {
    let moved = json!({"conflict_id": "cfl_1", "resource": {"type": "server", "id": SERVER},
        "expected_version": 5, "current_version": 6, "current": server(6, "active"),
        "changes": [], "attempted": [],
        "merge": {"verdict": "overlap", "overlap": [], "groups_split": [], "preview": null}});
    let (billing, script) =
        client(vec![problem(409, "CONFLICT_VERSION_MISMATCH", "reapply", 0, moved)]);
    let error = billing.servers().deprovision(&server_id(), 5).await.expect_err("stale");
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!((error.current_version(), script.sent().len()), (Some(6), 1));
}

#[tokio::test(start_paused = true)]
async fn a_deprovisioning_whose_answer_got_lost_is_found_in_the_history() {
    let (billing, script) = client(vec![
        ok(server(5, "active")),
        ScriptStep::Broken,
        bare(409),
        ok(server(7, "deleted")),
        ScriptStep::OwnHistory(6),
        ok(server(6, "deprovisioning")),
    ]);
    let servers = billing.servers();
    let active = servers.get(&server_id()).await.expect("it exists");
    let going = servers.deprovision(&server_id(), active.version()).await.expect("accepted");
    assert!(going.replayed());
    assert_eq!((going.version(), going.status), (6, ServerStatus::Deprovisioning));
    assert_eq!(url(&script, 5), format!("http://billing.test/v1/servers/{SERVER}/versions/6"));
}

#[tokio::test(start_paused = true)]
async fn an_admin_decides_with_a_version_and_a_reason() {
    let refusal = json!({"from": "active", "to": "failed", "allowed": []});
    let (billing, script) = client(vec![
        ok(server(5, "active")),
        ok(server(5, "failed")),
        problem(409, "INVALID_STATE_TRANSITION", "none", 0, refusal),
        problem(409, "CONFLICT_VERSION_MISMATCH", "reapply", 0, json!({"current_version": 8})),
    ]);
    let (servers, id) = (billing.servers(), server_id());
    let adopt = || NewResolution::adopt(412, "it runs on node 3");
    let adopted = servers.resolve(&id, 4, adopt()).await.expect("decided");
    assert_eq!(adopted.status, ServerStatus::Active);
    servers.resolve(&id, 4, NewResolution::fail("no node has it")).await.expect("decided");
    assert_eq!(url(&script, 0), format!("http://billing.test/v1/servers/{SERVER}/resolve"));
    assert_eq!(
        body(&script, 0),
        json!({"version": 4, "verdict": "adopt", "remote_id": 412, "reason": "it runs on node 3"})
    );
    assert_eq!(
        body(&script, 1),
        json!({"version": 4, "verdict": "fail", "reason": "no node has it"})
    );
    let error = servers.resolve(&id, 5, adopt()).await.expect_err("active");
    assert_eq!(error.code(), Some(Code::InvalidStateTransition));
    let error = servers.resolve(&id, 5, adopt()).await.expect_err("stale");
    assert!(error.is_conflict() && error.current_version() == Some(8), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_timeline_is_read_page_by_page() {
    use futures::TryStreamExt;
    let entry = |seq: i64, step: &str| {
        json!({"seq": seq, "at": "2026-11-22T01:06:00Z", "step": step, "call": null,
            "observation": "created", "verdict": "a_new_one", "detail": null,
            "status": "provisioning", "generation": 1, "by": "worker"})
    };
    let page = |entry: Value, next: Value| ok(json!({"items": [entry], "next_cursor": next}));
    let (billing, script) = client(vec![
        page(entry(1, "requested"), json!("c1")),
        page(entry(2, "observed"), Value::Null),
    ]);
    let timeline = billing.servers().timeline(&server_id()).limit(1).stream();
    let entries: Vec<crate::ServerEntry> = timeline.try_collect().await.expect("two pages");
    let steps: Vec<ServerStep> = entries.iter().map(|entry| entry.step).collect();
    assert_eq!(steps, [ServerStep::Requested, ServerStep::Observed]);
    let told = entries.last().map(|last| (last.seq, last.observation, last.verdict));
    let expected = ServerVerdict::Unknown("a_new_one");
    assert_eq!(told, Some((2, Some(PanelObservation::Created), Some(expected))));
    let second = format!("http://billing.test/v1/servers/{SERVER}/timeline?limit=1&cursor=c1");
    assert_eq!(url(&script, 1), second);
}
