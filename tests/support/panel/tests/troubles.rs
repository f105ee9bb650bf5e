//! Each trouble once, on both panels where they differ.

use super::{
    super::{Kind, On, Panel, Told, Trouble},
    client::{BOTH, NEVER, SOON, act, create, eventually, look_up, plant, status},
};
use serde_json::json;
use std::time::Duration;

/// What the node's failure becomes, and the status that the node itself answered with.
fn passed_on(kind: Kind, node: Option<u16>) -> (u16, String) {
    let (status, code) = match (kind, node) {
        (Kind::Pterodactyl, None) => (504, "DaemonConnectionException"),
        (Kind::Pterodactyl, Some(status)) => (status, "DaemonConnectionException"),
        (Kind::Pelican, None) => (500, "ConnectionException"),
        (Kind::Pelican, Some(_)) => (500, "RequestException"),
    };
    (status, code.to_owned())
}

const fn away(after: Duration, told: Told) -> Trouble {
    Trouble::NodeAway { after, told }
}

const fn node_error(status: u16) -> Trouble {
    Trouble::NodeError { status, after: Duration::ZERO }
}

#[tokio::test]
async fn create_commits_calls_a_node_that_is_away_and_deletes() {
    for kind in BOTH {
        let panel = Panel::start(kind).await;
        panel.script(On::Create, away(SOON, Told::After));
        let seen = async {
            eventually("the row is committed", || panel.server("srv_1").is_some()).await;
            status(&panel, "srv_1")
        };
        let (answer, seen) = tokio::join!(create(&panel, "srv_1"), seen);
        assert_eq!(answer.unwrap().error(), passed_on(kind, None));
        assert_eq!(seen.as_deref(), Some("installing"));
        assert!(panel.servers().is_empty(), "the row is deleted before the answer");

        panel.script(On::Create, away(SOON, Told::Before));
        let answer = create(&panel, "srv_2").await.unwrap();
        assert_eq!((answer.status, answer.header("Content-Type")), (504, Some("text/html")));
        assert!(panel.server("srv_2").is_some(), "the gateway answers before the row is deleted");
        eventually("the row is deleted", || panel.servers().is_empty()).await;

        panel.script(On::Create, away(SOON, Told::Never));
        create(&panel, "srv_3").await.unwrap_err();
        assert!(panel.server("srv_3").is_some());
        eventually("the row is deleted", || panel.servers().is_empty()).await;
        assert_eq!((panel.rows_made_of("srv_3"), panel.most_rows_made()), (1, 1));
    }
}

#[tokio::test]
async fn an_error_of_the_node_keeps_the_row_on_pelican_only() {
    for kind in BOTH {
        for node in [400, 404, 409, 422, 500] {
            let panel = Panel::start(kind).await;
            panel.script(On::Create, node_error(node));
            let answer = create(&panel, "srv_1").await.unwrap();
            assert_eq!(answer.error(), passed_on(kind, Some(node)));
            assert_eq!(panel.server("srv_1").is_some(), kind == Kind::Pelican);
            assert_eq!(panel.rows_made_of("srv_1"), 1);
        }
    }
}

#[tokio::test]
async fn a_failed_switch_forgets_the_earlier_status() {
    for kind in BOTH {
        for (trouble, node) in
            [(away(Duration::ZERO, Told::After), None), (node_error(502), Some(502))]
        {
            let panel = Panel::start(kind).await;
            let id = plant(&panel, "srv_1", Some("installing"));
            panel.script(On::Suspend, trouble).script(On::Unsuspend, trouble);
            assert_eq!(act(&panel, id, "suspend").await.unwrap().error(), passed_on(kind, node));
            assert_eq!(status(&panel, "srv_1"), None);
            act(&panel, id, "suspend").await.unwrap();
            assert_eq!(act(&panel, id, "unsuspend").await.unwrap().error(), passed_on(kind, node));
            assert_eq!(status(&panel, "srv_1").as_deref(), Some("suspended"));
            panel.script(On::Suspend, trouble);
            let done = act(&panel, id, "suspend").await.unwrap();
            assert_eq!(done.status, 204, "the node is not called if it is so already");
        }
    }
}

#[tokio::test]
async fn a_delete_without_its_node_keeps_or_drops_the_row() {
    let kept = [
        (Kind::Pterodactyl, away(Duration::ZERO, Told::After), None, true),
        (Kind::Pterodactyl, node_error(500), Some(500), true),
        (Kind::Pterodactyl, node_error(404), Some(404), false),
        (Kind::Pelican, away(Duration::ZERO, Told::After), None, true),
        (Kind::Pelican, node_error(500), Some(500), false),
    ];
    for (kind, trouble, node, is_kept) in kept {
        let panel = Panel::start(kind).await;
        let id = plant(&panel, "srv_1", None);
        panel.script(On::Delete, trouble).script(On::Delete, trouble);
        let answer = act(&panel, id, "delete").await.unwrap();
        assert_eq!(panel.server("srv_1").is_some(), is_kept, "{kind:?} {trouble:?}");
        if is_kept {
            assert_eq!(answer.error(), passed_on(kind, node));
            assert_eq!(act(&panel, id, "force").await.unwrap().status, 204);
            assert!(panel.servers().is_empty());
        } else {
            assert_eq!(answer.status, 204);
        }
    }
    let panel = Panel::start(Kind::Pterodactyl).await;
    let id = plant(&panel, "srv_1", None);
    panel.script(On::Delete, Trouble::SlowDelete { after: SOON });
    assert_eq!(act(&panel, id, "delete").await.unwrap().status, 204);
    assert_eq!(look_up(&panel, "srv_1").await.unwrap().status, 200);
    eventually("the row is deleted", || panel.servers().is_empty()).await;
}

#[tokio::test]
async fn a_refusal_does_nothing() {
    for (trouble, expected) in [
        (Trouble::Refuse422, (422, "ValidationException")),
        (Trouble::Refuse400, (400, "NoViableNodeException")),
        (Trouble::Status(409, "ConflictHttpException"), (409, "ConflictHttpException")),
        (Trouble::Throttle { retry_after_s: 17 }, (429, "ThrottleRequestsException")),
        (Trouble::Unauthorized, (401, "AuthenticationException")),
        (Trouble::Forbidden, (403, "AccessDeniedHttpException")),
    ] {
        let panel = Panel::start(Kind::Pterodactyl).await;
        panel.script(On::Any, trouble);
        let answer = create(&panel, "srv_1").await.unwrap();
        assert_eq!(answer.error(), (expected.0, expected.1.to_owned()));
        if expected.0 == 429 {
            assert_eq!(answer.header("Retry-After"), Some("17"));
        }
        assert_eq!((panel.servers().len(), panel.creates_of("srv_1")), (0, 1));
        assert_eq!(panel.calls()[0].trouble, Some(trouble));
        assert_eq!(create(&panel, "srv_1").await.unwrap().status, 201, "it meets one call");
    }
}

#[tokio::test]
async fn a_bad_answer_hides_what_was_done() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    let status_of = async |external_id: &str, trouble| {
        panel.script(On::Create, trouble);
        let answer = create(&panel, external_id).await.unwrap();
        assert!(panel.server(external_id).is_some(), "{trouble:?} is done");
        answer
    };
    let answer = status_of("malformed", Trouble::Malformed).await;
    assert_eq!(answer.status, 201);
    serde_json::from_str::<serde_json::Value>(&answer.text).unwrap_err();
    let answer = status_of("missing", Trouble::MissingFields).await;
    assert_eq!((answer.status, answer.attributes().get("external_id")), (201, None));
    let answer = status_of("other", Trouble::OtherId).await;
    assert_eq!(answer.attributes()["external_id"], "somebody-else");
    let answer = status_of("null", Trouble::NullStatus).await.attributes();
    assert_eq!((&answer["status"], &answer["container"]["installed"]), (&json!(null), &json!(1)));
    let answer = status_of("gateway", Trouble::Gateway { status: 502, done: true }).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (502, Some("text/html")));

    // An answer without a body becomes one with a bad body.
    let id = plant(&panel, "srv_1", Some("installing"));
    panel.script(On::Suspend, Trouble::Malformed);
    let answer = act(&panel, id, "suspend").await.unwrap();
    assert_eq!((answer.status, status(&panel, "srv_1").as_deref()), (200, Some("suspended")));
    serde_json::from_str::<serde_json::Value>(&answer.text).unwrap_err();
    panel.script(On::LookUp, Trouble::NullStatus);
    let found = look_up(&panel, "srv_1").await.unwrap().attributes();
    assert_eq!(found["status"], "suspended", "a suspension lasts");
    panel.set_status("srv_1", Some("installing"));
    panel.script(On::LookUp, Trouble::NullStatus);
    let found = look_up(&panel, "srv_1").await.unwrap().attributes();
    assert_eq!(found["status"], json!(null));

    panel.script(On::Create, Trouble::Gateway { status: 503, done: false });
    assert_eq!(create(&panel, "absent").await.unwrap().status, 503);
    panel.script(On::Create, Trouble::Redirect);
    let answer = create(&panel, "absent").await.unwrap();
    assert_eq!((answer.status, answer.header("Location")), (302, Some("/elsewhere")));
    assert!(panel.server("absent").is_none());
}

#[tokio::test]
async fn a_call_that_arrives_twice_is_done_once() {
    for kind in BOTH {
        let panel = Panel::start(kind).await;
        panel.script(On::Create, Trouble::Twice);
        let answer = create(&panel, "srv_1").await.unwrap();
        assert_eq!(answer.json()["errors"][0]["meta"]["rule"], "unique");
        panel.script(On::Create, Trouble::TwiceAtOnce);
        let answer = create(&panel, "srv_2").await.unwrap();
        assert_eq!(answer.error(), (500, "UniqueConstraintViolationException".to_owned()));
        panel.script(On::Delete, Trouble::Twice);
        assert_eq!(act(&panel, 1, "delete").await.unwrap().status, 404);
        assert_eq!(panel.servers().len(), 1);
    }
}

#[tokio::test]
async fn two_creates_at_one_moment_make_one_row() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    panel.set_latency(SOON);
    let (one, two) = tokio::join!(create(&panel, "srv_1"), create(&panel, "srv_1"));
    let mut statuses = [one.unwrap().status, two.unwrap().status];
    statuses.sort();
    assert_eq!(statuses, [201, 500]);
    assert_eq!((panel.servers().len(), panel.most_at_once()), (1, 2));
    assert_eq!(create(&panel, "srv_1").await.unwrap().status, 422);
}

#[tokio::test]
async fn a_permanent_trouble_lasts_until_it_is_cleared() {
    let panel = Panel::start(Kind::Pelican).await;
    plant(&panel, "srv_1", None);
    panel.always(On::LookUp, Some(Trouble::Status(500, "QueryException")));
    panel.script(On::LookUp, Trouble::Throttle { retry_after_s: 1 });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(look_up(&panel, "srv_1").await.unwrap().status);
    }
    assert_eq!(statuses, [429, 500, 500]);
    assert_eq!(create(&panel, "srv_2").await.unwrap().status, 201, "another sort of call");
    panel.always(On::LookUp, None);
    assert_eq!(look_up(&panel, "srv_1").await.unwrap().status, 200);
    panel.always(On::Any, Some(Trouble::Forbidden));
    panel.script(On::Create, away(NEVER, Told::Before));
    assert_eq!(panel.scripted(), 1);
    panel.heal();
    assert_eq!((look_up(&panel, "srv_1").await.unwrap().status, panel.scripted()), (200, 0));
}

#[tokio::test]
async fn a_trouble_for_one_server_waits_for_its_call() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    plant(&panel, "srv_1", None);
    panel.script_for("srv_1", On::LookUp, Trouble::Status(500, "QueryException"));
    panel.script_for("srv_2", On::Create, Trouble::Refuse400);
    assert_eq!(look_up(&panel, "srv_2").await.unwrap().status, 404);
    assert_eq!(create(&panel, "srv_3").await.unwrap().status, 201);
    assert_eq!(look_up(&panel, "srv_1").await.unwrap().status, 500);
    assert_eq!(create(&panel, "srv_2").await.unwrap().status, 400);
    assert_eq!((look_up(&panel, "srv_1").await.unwrap().status, panel.scripted()), (200, 0));
}
