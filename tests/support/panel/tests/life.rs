//! A panel that is well: what it accepts, what it refuses, and what it records.

use super::{
    super::{Kind, On, Panel, Remote},
    client::{BOTH, SERVERS, act, body, call, create, look_up, plant, receive, send, status},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_server_is_created_found_suspended_and_deleted() {
    for kind in BOTH {
        let panel = Panel::start(kind).await;
        let created = create(&panel, "srv_1").await.unwrap();
        assert_eq!(created.status, 201);
        let server = created.attributes();
        assert_eq!((&server["id"], &server["external_id"]), (&json!(1), &json!("srv_1")));
        assert_eq!((&server["user"], &server["egg"]), (&json!(7), &json!(3)));
        assert_eq!(
            (&server["status"], &server["suspended"]),
            (&json!("installing"), &json!(false))
        );
        assert_eq!(server["limits"]["memory"], 2048);
        assert_eq!(server["container"]["installed"], 0);
        assert_eq!(server["container"]["environment"]["JAR"], "server.jar");
        assert_eq!(server["uuid"].as_str().unwrap().len(), 36);
        assert_eq!(server.get("nest").is_some(), kind == Kind::Pterodactyl);
        assert_eq!(server["limits"].get("oom_killer").is_some(), kind == Kind::Pelican);

        let found = look_up(&panel, "srv_1").await.unwrap();
        assert_eq!((found.status, found.attributes()), (200, server.clone()));
        let shown = call(&panel, "GET", &format!("{SERVERS}/1?include=user")).await.unwrap();
        assert_eq!(shown.attributes(), server);

        for _ in 0..2 {
            assert_eq!(act(&panel, 1, "suspend").await.unwrap().status, 204);
            assert_eq!(status(&panel, "srv_1").as_deref(), Some("suspended"));
        }
        assert_eq!(look_up(&panel, "srv_1").await.unwrap().attributes()["suspended"], true);
        for _ in 0..2 {
            let done = act(&panel, 1, "unsuspend").await.unwrap();
            assert_eq!((done.status, done.text.as_str()), (204, ""));
            assert_eq!(status(&panel, "srv_1"), None, "the earlier status is forgotten");
        }
        assert_eq!(act(&panel, 1, "delete").await.unwrap().status, 204);
        let gone = (404, "NotFoundHttpException".to_owned());
        for action in ["suspend", "unsuspend", "delete", "force"] {
            assert_eq!(act(&panel, 1, action).await.unwrap().error(), gone);
        }
        assert_eq!(look_up(&panel, "srv_1").await.unwrap().error(), gone);
        assert_eq!(create(&panel, "srv_1").await.unwrap().attributes()["id"], 2);
        assert_eq!((panel.creates_of("srv_1"), panel.rows_made_of("srv_1")), (2, 2));
    }
}

#[tokio::test]
async fn the_external_id_is_unique() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    plant(&panel, "srv_1", None);
    let refused = create(&panel, "srv_1").await.unwrap();
    assert_eq!(refused.status, 422);
    let error = &refused.json()["errors"][0];
    assert_eq!((&error["code"], &error["status"]), (&json!("ValidationException"), &json!("422")));
    assert_eq!(error["meta"], json!({"source_field": "external_id", "rule": "unique"}));
    assert_eq!(panel.servers().len(), 1);
    assert_eq!(panel.remove("srv_1").unwrap().user, 7);
    assert_eq!(create(&panel, "srv_1").await.unwrap().status, 201);
}

/// The fields that a create of this body breaks, with the rule of each.
async fn broken(kind: Kind, change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let panel = Panel::start(kind).await;
    let mut body = body(kind, "srv_1");
    change(&mut body);
    let sent = send(&panel, Panel::KEY, "POST", SERVERS, &body.to_string()).await;
    let refused = receive(sent).await.unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(panel.servers().is_empty());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    errors
        .iter()
        .map(|error| (text(&error["meta"]["source_field"]), text(&error["meta"]["rule"])))
        .collect()
}

#[tokio::test]
async fn missing_and_wrong_fields_are_refused_by_name() {
    let cases: [(&str, Value, &str); 11] = [
        ("/name", json!(""), "required"),
        ("/name", json!("x".repeat(192)), "max"),
        ("/user", json!(null), "required"),
        ("/user", json!(0), "exists"),
        ("/egg", json!("abc"), "integer"),
        ("/limits/memory", json!(-1), "min"),
        ("/limits/swap", json!(-2), "min"),
        ("/limits/io", json!(1001), "between"),
        ("/feature_limits/backups", json!(-1), "min"),
        ("/deploy/dedicated_ip", json!("no"), "boolean"),
        ("/environment", json!("JAR=x"), "array"),
    ];
    for kind in BOTH {
        for (pointer, value, rule) in &cases {
            let change = |body: &mut Value| *body.pointer_mut(pointer).unwrap() = value.clone();
            let field = pointer.trim_start_matches('/').replace('/', ".");
            let expected = vec![(field, (*rule).to_owned())];
            assert_eq!(broken(kind, change).await, expected, "{kind:?}");
        }
    }
    let without = |parent: &'static str, name: &'static str| {
        move |body: &mut Value| {
            body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        }
    };
    for (kind, parent, name, expected) in [
        (Kind::Pelican, "", "environment", ("environment", "present")),
        (Kind::Pelican, "/deploy", "tags", ("deploy.tags", "present")),
        (Kind::Pelican, "", "deploy", ("allocation.default", "required")),
        (Kind::Pterodactyl, "/deploy", "locations", ("deploy.locations", "present")),
        (Kind::Pterodactyl, "/deploy", "port_range", ("deploy.port_range", "present")),
        (Kind::Pterodactyl, "", "docker_image", ("docker_image", "required")),
        (Kind::Pterodactyl, "/limits", "disk", ("limits.disk", "required")),
    ] {
        let expected = vec![(expected.0.to_owned(), expected.1.to_owned())];
        assert_eq!(broken(kind, without(parent, name)).await, expected);
    }
    let panel = Panel::start(Kind::Pterodactyl).await;
    let sent = send(&panel, Panel::KEY, "POST", SERVERS, "no JSON").await;
    assert_eq!(receive(sent).await.unwrap().error().0, 422);
}

#[tokio::test]
async fn unknown_fields_are_dropped_in_silence_and_recorded() {
    let panel = Panel::start(Kind::Pelican).await;
    let mut body = body(Kind::Pelican, "srv_1");
    body["deploy"]["locations"] = json!([1]);
    body["oom_disabled"] = json!(true);
    body["nest"] = json!(1);
    body["limits"]["network"] = json!(9);
    let sent = send(&panel, Panel::KEY, "POST", SERVERS, &body.to_string()).await;
    assert_eq!(receive(sent).await.unwrap().status, 201);
    let mut dropped = panel.calls()[0].dropped.clone();
    dropped.sort();
    assert_eq!(dropped, ["deploy.locations", "limits.network", "nest", "oom_disabled"]);
    let deploy = panel.server("srv_1").unwrap().deploy;
    assert_eq!(deploy, json!({"dedicated_ip": false, "port_range": [], "tags": ["eu"]}));
    for kind in BOTH {
        let panel = Panel::start(kind).await;
        create(&panel, "srv_1").await.unwrap();
        assert_eq!(panel.calls()[0].dropped, [""; 0]);
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_anything_else() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    for (key, expected) in [
        ("", (401, "AuthenticationException")),
        ("ptla_another", (401, "AuthenticationException")),
        ("ptlc_of-a-person", (403, "AccessDeniedHttpException")),
    ] {
        let body = body(panel.kind(), "srv_1").to_string();
        let got = receive(send(&panel, key, "POST", SERVERS, &body).await).await.unwrap();
        assert_eq!(got.error(), (expected.0, expected.1.to_owned()));
    }
    assert!(panel.servers().is_empty());
    let elsewhere = call(&panel, "GET", "/api/application/users").await.unwrap();
    assert_eq!(elsewhere.error(), (404, "NotFoundHttpException".to_owned()));
    assert_eq!(panel.calls().last().unwrap().on, None);
}

#[tokio::test]
async fn calls_are_recorded_and_limited() {
    let panel = Panel::start(Kind::Pelican).await;
    panel.set_calls_per_minute(Some(2));
    create(&panel, "srv_1").await.unwrap();
    let left = act(&panel, 1, "suspend").await.unwrap();
    assert_eq!(left.header("X-RateLimit-Limit"), Some("2"));
    assert_eq!(left.header("X-RateLimit-Remaining"), Some("0"));
    let refused = act(&panel, 1, "delete").await.unwrap();
    assert_eq!(refused.error(), (429, "ThrottleRequestsException".to_owned()));
    let wait: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    panel.heal();
    assert_eq!(act(&panel, 1, "delete").await.unwrap().status, 204);

    let calls = panel.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.on, call.answered)).collect();
    let expected = [
        (Some(On::Create), Some(201)),
        (Some(On::Suspend), Some(204)),
        (Some(On::Delete), Some(429)),
        (Some(On::Delete), Some(204)),
    ];
    assert_eq!(seen, expected);
    assert!(calls.iter().all(|call| call.external_id.as_deref() == Some("srv_1")));
    assert!(calls[0].body.contains("\"srv_1\""));
    assert_eq!(calls[0].header("accept"), Some("Application/vnd.pterodactyl.v1+json"));
    assert_eq!(panel.calls_of(On::Delete).len(), 2);
    assert_eq!(panel.calls_of(On::Any).len(), 4);
}

#[tokio::test]
async fn a_planted_server_is_shown_as_it_is() {
    let panel = Panel::start(Kind::Pelican).await;
    let limits = json!({"memory": 1, "swap": 2, "disk": 3, "io": 4, "cpu": 5});
    let planted = panel.plant(Remote { limits, ..Remote::new("srv_1", 99, 8) });
    panel.set_status("srv_1", Some("restoring_backup"));
    let found = look_up(&panel, "srv_1").await.unwrap().attributes();
    assert_eq!((&found["id"], &found["user"]), (&json!(planted.id), &json!(99)));
    assert_eq!((&found["egg"], &found["limits"]["cpu"]), (&json!(8), &json!(5)));
    assert_eq!(found["status"], "restoring_backup");
    assert_eq!(found["container"]["installed"], 1);
}
