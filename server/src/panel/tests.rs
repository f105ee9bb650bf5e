//! Tests against a fake panel on a local port.

mod fake;
mod fixture;
mod outage;
mod request;

use super::{Panel, answer::Answered};
use fake::{Fake, answer};
use fixture::{EXTERNAL_ID, KEY, document, error, invalid, panel, record, remote};
use ifmatch_domain::provisioning::{Observation, Remote};
use ifmatch_types::PanelKind;
use ifmatch_types::{
    PanelCall,
    PanelCall::{Create, Delete, LookUp, Suspend, Unsuspend},
};
use serde_json::{Value, json};

const CALLS: [PanelCall; 5] = PanelCall::ALL;

/// A fake panel with a client of each kind.
struct Desk {
    fake: Fake,
    panels: [(PanelKind, Panel); 2],
}

impl Desk {
    fn new() -> Self {
        let fake = Fake::start();
        let panels = PanelKind::ALL.map(|kind| (kind, panel(kind, &fake.url)));
        Self { fake, panels }
    }

    /// Checks what both kinds conclude from an answer to these calls.
    async fn expect(&self, calls: &[PanelCall], status: u16, body: &str, expected: &Observation) {
        self.expect_with(calls, status, &[], body, expected).await;
    }

    async fn expect_with(
        &self,
        calls: &[PanelCall],
        status: u16,
        headers: &[&str],
        body: &str,
        expected: &Observation,
    ) {
        for (kind, panel) in &self.panels {
            for call in calls.iter().copied() {
                self.fake.will(answer(status, headers, body));
                let told = panel.call(call, &record()).await.observation;
                let (kind, call) = (kind.name(), call.name());
                assert_eq!(told, *expected, "{kind} {call} {status} {headers:?} {body}");
            }
        }
    }
}

/// What a call tells that is answered like this.
async fn told(kind: PanelKind, call: PanelCall, status: u16, body: &str) -> Answered {
    let fake = Fake::that(answer(status, &[], body));
    panel(kind, &fake.url).call(call, &record()).await
}

#[tokio::test]
async fn a_server_is_read_from_both_kinds_of_panel() {
    for kind in PanelKind::ALL {
        let body = document(kind).to_string();
        let created = Answered { observation: Observation::Created(remote()), detail: None };
        assert_eq!(told(kind, Create, 201, &body).await, created);
        let found = Answered { observation: Observation::Found(remote()), detail: None };
        assert_eq!(told(kind, LookUp, 200, &body).await, found);
    }
}

#[tokio::test]
async fn a_created_server_with_another_external_id_is_left_to_the_saga() {
    let mut other = document(PanelKind::Pelican);
    other["attributes"]["external_id"] = Value::Null;
    other["attributes"]["status"] = Value::Null;
    let created = told(PanelKind::Pelican, Create, 201, &other.to_string()).await;
    let expected = Remote { external_id: None, status: None, ..remote() };
    assert_eq!(created.observation, Observation::Created(expected));
}

#[tokio::test]
async fn a_lookup_that_shows_another_server_tells_nothing() {
    let mut other = document(PanelKind::Pterodactyl);
    other["attributes"]["external_id"] = json!(EXTERNAL_ID.to_uppercase());
    let told = told(PanelKind::Pterodactyl, LookUp, 200, &other.to_string()).await;
    assert_eq!(told.observation, Observation::Unclear);
    assert!(told.detail.unwrap().starts_with("status 200 with another server: 42 has"));
}

#[tokio::test]
async fn a_malformed_server_tells_nothing() {
    let desk = Desk::new();
    let changes: [(&str, Value); 15] = [
        ("/object", json!("user")),
        ("/attributes", json!([])),
        ("/attributes/id", json!("42")),
        ("/attributes/id", json!(0)),
        ("/attributes/id", json!(1e300)),
        ("/attributes/uuid", json!("1a7ce997-259b-452e-8b4e-cecc464142ca0")),
        ("/attributes/uuid", json!("")),
        ("/attributes/user", Value::Null),
        ("/attributes/egg", json!([5])),
        ("/attributes/suspended", json!(0)),
        ("/attributes/status", json!(true)),
        ("/attributes/status", json!("a\u{7}")),
        ("/attributes/limits", Value::Null),
        ("/attributes/limits/memory", json!("2048")),
        ("/attributes/limits/cpu", json!(1.5)),
    ];
    let mut bodies = vec![String::new(), "[".repeat(10_000), "{\"object\":\"server\"".to_owned()];
    for (pointer, value) in changes {
        let mut document = document(PanelKind::Pterodactyl);
        *document.pointer_mut(pointer).unwrap() = value;
        bodies.push(document.to_string());
    }
    let mut without_disk = document(PanelKind::Pterodactyl);
    without_disk["attributes"]["limits"].as_object_mut().unwrap().remove("disk");
    bodies.push(without_disk.to_string());
    for body in bodies {
        desk.expect(&[Create], 201, &body, &Observation::Unclear).await;
        desk.expect(&[LookUp], 200, &body, &Observation::Unclear).await;
    }
}

#[tokio::test]
async fn success_with_another_status_tells_nothing() {
    let desk = Desk::new();
    let body = document(PanelKind::Pterodactyl).to_string();
    desk.expect(&[Create, Suspend, Unsuspend, Delete], 200, &body, &Observation::Unclear).await;
    desk.expect(&[LookUp, Suspend, Delete], 201, &body, &Observation::Unclear).await;
    desk.expect(&CALLS, 202, &body, &Observation::Unclear).await;
    desk.expect(&[Create, LookUp], 204, "", &Observation::Unclear).await;
}

#[tokio::test]
async fn no_content_is_done() {
    let desk = Desk::new();
    desk.expect(&[Suspend, Unsuspend, Delete], 204, "", &Observation::Done).await;
}

#[tokio::test]
async fn only_the_panels_own_404_is_an_absence() {
    let desk = Desk::new();
    let others = [LookUp, Suspend, Unsuspend, Delete];
    let absent = error(
        "NotFoundHttpException",
        404,
        "The requested resource could not be found on the server.",
    );
    desk.expect(&others, 404, &absent, &Observation::Absent).await;
    desk.expect(&[Create], 404, &absent, &Observation::Unclear).await;
    let fork = error("ModelNotFoundException", 404, "No query results for model.");
    desk.expect(&[LookUp], 404, &fork, &Observation::Absent).await;

    let no_route = error("NotFoundHttpException", 404, "The route api/x could not be found.");
    let old_no_route = error("NotFoundHttpException", 404, "");
    let other_code = error("SomeException", 404, "Not found");
    let proxy = "<html>404 page not found</html>";
    let json = r#"{"errors":"not found","code":"NotFoundHttpException"}"#;
    for body in [&no_route, &old_no_route, &other_code, proxy, json, ""] {
        desk.expect(&CALLS, 404, body, &Observation::Unclear).await;
    }
}

#[tokio::test]
async fn an_external_id_that_is_taken_is_told_apart_from_other_refusals() {
    let desk = Desk::new();
    let taken = invalid(&[("name", "required"), ("external_id", "unique")]);
    desk.expect(&[Create], 422, &taken, &Observation::Taken).await;
    desk.expect(&[LookUp, Suspend, Delete], 422, &taken, &Observation::Unclear).await;
    desk.expect(&[Create], 409, &taken, &Observation::Unclear).await;
    for fields in [[("external_id", "string")], [("name", "unique")]] {
        desk.expect(&[Create], 422, &invalid(&fields), &Observation::Refused).await;
    }
}

#[tokio::test]
async fn only_the_panels_own_refusal_is_one() {
    let desk = Desk::new();
    let no_node = error("NoViableNodeException", 400, "No nodes satisfying the requirements.");
    desk.expect(&[Create], 400, &no_node, &Observation::Refused).await;
    desk.expect(&[LookUp, Suspend, Unsuspend, Delete], 400, &no_node, &Observation::Unclear).await;
    desk.expect(&[Create], 400, "<html>400 Bad Request</html>", &Observation::Unclear).await;
    desk.expect(&[Create], 422, r#"{"errors":[]}"#, &Observation::Unclear).await;
    let told = told(PanelKind::Pelican, Create, 400, &no_node).await;
    let words = "status 400: NoViableNodeException: No nodes satisfying the requirements.";
    assert_eq!(told.detail.as_deref(), Some(words));
}

#[tokio::test]
async fn a_nodes_failure_tells_nothing_whatever_its_status() {
    let desk = Desk::new();
    for code in ["DaemonConnectionException", "ConnectionException", "RequestException"] {
        for status in [400, 401, 403, 404, 409, 418, 422, 429, 500, 504] {
            let body = error(code, status, "There was an exception at the node.");
            desk.expect(&[Create], status, &body, &Observation::Unclear).await;
        }
        desk.expect(&CALLS, 404, &error(code, 404, "gone"), &Observation::Unclear).await;
    }
    // Not as the only error, and beside one that cannot be read.
    let body = r#"{"errors":[7,{"code":"ValidationException"},{"code":"ConnectionException"}]}"#;
    desk.expect(&[Create], 422, body, &Observation::Unclear).await;
}

#[tokio::test]
async fn a_refused_key_is_one_whoever_says_so() {
    let desk = Desk::new();
    for status in [401, 403] {
        desk.expect(&CALLS, status, "", &Observation::Unauthorized).await;
        let body = error("AuthenticationException", status, "Unauthenticated.");
        desk.expect(&CALLS, status, &body, &Observation::Unauthorized).await;
    }
}

#[tokio::test]
async fn other_failures_tell_nothing() {
    let desk = Desk::new();
    for status in [301, 302, 307, 308, 405, 406, 408, 409, 410, 413, 500, 502, 503, 504] {
        let body = error("SomeException", status, "An unexpected error was encountered.");
        desk.expect(&[Create, LookUp, Delete], status, &body, &Observation::Unclear).await;
    }
}

#[tokio::test]
async fn a_throttled_call_says_when_to_come_back() {
    let desk = Desk::new();
    let past = "retry-after: Sun, 06 Nov 1994 08:49:37 GMT";
    let rows: [(&[&str], i64); 9] = [
        (&[], 60_000),
        (&["retry-after: 7"], 7_000),
        (&["retry-after: 0"], 60_000),
        (&["retry-after: -5"], 60_000),
        (&["retry-after: soon"], 60_000),
        (&["retry-after: 99999999999999999999999"], 60_000),
        (&["retry-after: 86400"], 3_600_000),
        (&[past], 60_000),
        (&["retry-after: Tue, 31 Dec 2999 23:59:59 GMT"], 3_600_000),
    ];
    for (headers, retry_after_ms) in rows {
        let throttled = Observation::Throttled { retry_after_ms };
        desk.expect_with(&CALLS, 429, headers, "<html>Too Many Requests</html>", &throttled).await;
    }
}

#[test]
fn a_date_to_come_back_at_counts_from_now() {
    let now = "1994-11-06T08:49:07Z".parse().unwrap();
    let answer = super::exchange::Answer {
        status: 429,
        retry_after: Some(" Sun, 06 Nov 1994 08:49:37 GMT ".to_owned()),
        body: Vec::new(),
    };
    let told = Answered::read(LookUp, EXTERNAL_ID, &answer, now);
    assert_eq!(told.observation, Observation::Throttled { retry_after_ms: 30_000 });
}

#[tokio::test]
async fn the_panels_words_are_shortened_and_hold_no_key() {
    let detail = format!("Bearer {KEY}\r\n{}", "x".repeat(5_000));
    let told = told(PanelKind::Pterodactyl, Create, 500, &error("Exception", 500, &detail)).await;
    let detail = told.detail.unwrap();
    assert!(detail.starts_with("status 500: Exception: Bearer [key]xxx"), "{detail}");
    assert_eq!(detail.chars().count(), 300);
}
