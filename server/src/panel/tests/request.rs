//! What the panel is sent.

use super::{
    fake::{Fake, answer},
    fixture::{EXTERNAL_ID, KEY, config, panel, record},
};
use crate::panel::{Panel, config::PanelError};
use ifmatch_domain::provisioning::Observation;
use ifmatch_types::PanelCall;
use ifmatch_types::PanelKind;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;

/// The head and the body of the request that a call sends.
async fn sent(kind: PanelKind, path: &str, call: PanelCall) -> (String, String) {
    let mut fake = Fake::that(answer(204, &[], ""));
    panel(kind, &format!("{}{path}", fake.url)).call(call, &record()).await;
    let request = fake.request().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The body of a create, but for what differs between the kinds.
fn common() -> Value {
    json!({
        "external_id": EXTERNAL_ID,
        "name": "survival \"two\"",
        "user": 7,
        "egg": 5,
        "docker_image": "ghcr.io/pterodactyl/yolks:java_21",
        "startup": "java -jar {{SERVER_JARFILE}}",
        "environment": { "SERVER_JARFILE": "server.jar" },
        "limits": { "memory": 2048, "swap": 0, "disk": 10240, "io": 500, "cpu": 200 },
        "feature_limits": { "databases": 1, "allocations": 2, "backups": 3 },
        "start_on_completion": true
    })
}

#[tokio::test]
async fn pterodactyl_is_told_its_own_names() {
    let (_, body) = sent(PanelKind::Pterodactyl, "", PanelCall::Create).await;
    let mut expected = common();
    expected["oom_disabled"] = json!(true);
    expected["deploy"] = json!({
        "locations": [1, 2], "dedicated_ip": false, "port_range": ["25565-25600"]
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn pelican_is_told_its_own_names() {
    let (_, body) = sent(PanelKind::Pelican, "", PanelCall::Create).await;
    let mut expected = common();
    expected["oom_killer"] = json!(false);
    expected["deploy"] = json!({
        "tags": ["fast"], "dedicated_ip": false, "port_range": ["25565-25600"]
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn empty_lists_and_objects_are_sent() {
    let mut fake = Fake::that(answer(204, &[], ""));
    let mut record = record();
    record.spec.environment.clear();
    record.spec.deploy = Default::default();
    panel(PanelKind::Pelican, &fake.url).call(PanelCall::Create, &record).await;
    let request = fake.request().await;
    assert!(request.contains(r#""environment":{},"#), "{request}");
    let deploy = r#""deploy":{"tags":[],"dedicated_ip":false,"port_range":[]}"#;
    assert!(request.contains(deploy), "{request}");
}

#[tokio::test]
async fn each_call_is_one_request_with_the_key() {
    let by_external_id = format!("GET /api/application/servers/external/{EXTERNAL_ID} HTTP/1.1");
    let rows = [
        (PanelCall::Create, "POST /api/application/servers HTTP/1.1"),
        (PanelCall::LookUp, by_external_id.as_str()),
        (PanelCall::Suspend, "POST /api/application/servers/42/suspend HTTP/1.1"),
        (PanelCall::Unsuspend, "POST /api/application/servers/42/unsuspend HTTP/1.1"),
        (PanelCall::Delete, "DELETE /api/application/servers/42 HTTP/1.1"),
    ];
    for (call, line) in rows {
        let accepts = [
            (PanelKind::Pterodactyl, "accept: Application/vnd.pterodactyl.v1+json"),
            (PanelKind::Pelican, "accept: application/json"),
        ];
        for (kind, accept) in accepts {
            let (head, body) = sent(kind, "", call).await;
            assert!(head.starts_with(line), "{head}");
            assert!(head.contains(accept), "{head}");
            assert!(head.contains(&format!("authorization: Bearer {KEY}")), "{head}");
            for unwanted in ["accept-encoding", "cookie", "referer"] {
                assert!(!head.contains(unwanted), "{head}");
            }
            if call == PanelCall::Create {
                assert!(head.contains("content-type: application/json"), "{head}");
            } else {
                assert_eq!(body, "");
            }
        }
    }
    let (head, _) = sent(PanelKind::Pelican, "", PanelCall::Suspend).await;
    assert!(head.contains("content-length: 0"), "{head}");
}

#[tokio::test]
async fn a_path_before_the_api_is_kept() {
    for path in ["/panel", "/panel/"] {
        let (head, _) = sent(PanelKind::Pterodactyl, path, PanelCall::Delete).await;
        assert!(head.starts_with("DELETE /panel/api/application/servers/42 HTTP/1.1"), "{head}");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_the_panels_id() {
    // No panel listens there: a call would not connect.
    let panel = panel(PanelKind::Pelican, "http://127.0.0.1:1");
    let mut record = record();
    record.server.remote_id = None;
    for call in [PanelCall::Suspend, PanelCall::Unsuspend, PanelCall::Delete] {
        let told = panel.call(call, &record).await;
        assert_eq!(told.observation, Observation::Unclear);
        assert!(told.detail.unwrap().starts_with("not sent"));
    }
    assert_eq!(
        panel.call(PanelCall::Unknown("x"), &record).await.observation,
        Observation::Unclear
    );
}

#[tokio::test]
async fn a_server_that_would_land_anywhere_is_refused_here() {
    for kind in PanelKind::ALL {
        let panel = panel(kind, "http://127.0.0.1:1");
        let mut record = record();
        match kind {
            PanelKind::Pterodactyl | PanelKind::Unknown(_) => record.spec.deploy.locations.clear(),
            PanelKind::Pelican => record.spec.deploy.tags.clear(),
        }
        let told = panel.call(PanelCall::Create, &record).await;
        assert_eq!(told.observation, Observation::Refused);
        assert!(told.detail.unwrap().starts_with("not sent"));
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let with_url =
        |url: &str| Panel::new(config(PanelKind::Pelican, url, Duration::from_secs(1))).err();
    assert!(with_url("https://panel.example.com").is_none());
    assert!(with_url("http://[::1]:8080/panel/").is_none());
    assert!(matches!(with_url("ftp://panel.example.com"), Some(PanelError::Scheme)));
    assert!(matches!(with_url("unix:/run/panel"), Some(PanelError::Scheme)));
    assert!(matches!(with_url("https://ann@panel.example.com"), Some(PanelError::Credentials)));
    assert!(matches!(with_url("https://:x@panel.example.com"), Some(PanelError::Credentials)));
    assert!(matches!(with_url("https://panel.example.com/?a"), Some(PanelError::Query)));
    assert!(matches!(with_url("https://panel.example.com/#a"), Some(PanelError::Query)));
    assert!(matches!(with_url("https://panel.example.com/x/api/"), Some(PanelError::Path)));
    let with_key = |key: &str| {
        let config = config(PanelKind::Pelican, "http://127.0.0.1:1", Duration::from_secs(1));
        Panel::new(crate::panel::PanelConfig { key: SecretString::from(key), ..config }).err()
    };
    assert!(matches!(with_key(" "), Some(PanelError::NoKey)));
    assert!(matches!(with_key("a\nb"), Some(PanelError::Key(_))));
}

#[test]
fn kinds_are_read_by_name() {
    for kind in PanelKind::ALL {
        assert_eq!(PanelKind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(PanelKind::from_name("Pelican"), None);
}
