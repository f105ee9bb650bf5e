//! The server that the tests call a panel for, and what a panel says about it.

use crate::panel::{Panel, PanelConfig};
use ifmatch_domain::provisioning::{Doubt, Progress, Remote, ServerRecord, ServerSpec};
use ifmatch_types::PanelKind;
use ifmatch_types::{
    Deploy, FeatureLimits, Server, ServerLimits, ServerStatus, Timestamp, Version,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;

pub const KEY: &str = "ptla_0123456789abcdef";
pub const EXTERNAL_ID: &str = "srv_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
pub const UUID: &str = "1a7ce997-259b-452e-8b4e-cecc464142ca";

pub fn config(kind: PanelKind, url: &str, timeout: Duration) -> PanelConfig {
    PanelConfig { kind, url: url.parse().unwrap(), key: SecretString::from(KEY), timeout }
}

pub fn panel(kind: PanelKind, url: &str) -> Panel {
    Panel::new(config(kind, url, Duration::from_secs(30))).unwrap()
}

/// A panel that is given up soon.
pub fn hasty(url: &str) -> Panel {
    Panel::new(config(PanelKind::Pterodactyl, url, Duration::from_millis(300))).unwrap()
}

fn limits() -> ServerLimits {
    ServerLimits { memory: 2048, swap: 0, disk: 10240, io: 500, cpu: 200 }
}

/// A server whose place is named in both ways.
pub fn record() -> ServerRecord {
    let at = Timestamp::from_micros(1_700_000_000_000_000).unwrap();
    ServerRecord {
        server: Server {
            id: EXTERNAL_ID.parse().unwrap(),
            version: Version::from(1),
            workspace_id: "wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f".parse().unwrap(),
            product_id: "prd_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f".parse().unwrap(),
            name: "survival \"two\"".to_owned(),
            panel_user: 7,
            status: ServerStatus::Provisioning,
            suspended: false,
            suspended_on_panel: false,
            external_id: EXTERNAL_ID.to_owned(),
            remote_id: Some(42),
            remote_uuid: None,
            panel_status: None,
            reservation_id: None,
            price_credits: 0,
            attempts: 0,
            last_observation: None,
            next_check_at: None,
            created_at: at,
            updated_at: at,
            updated_by: "tests".to_owned(),
        },
        spec: ServerSpec {
            egg: 5,
            docker_image: "ghcr.io/pterodactyl/yolks:java_21".to_owned(),
            startup: "java -jar {{SERVER_JARFILE}}".to_owned(),
            environment: [("SERVER_JARFILE".to_owned(), "server.jar".to_owned())].into(),
            limits: limits(),
            feature_limits: FeatureLimits { databases: 1, allocations: 2, backups: 3 },
            deploy: Deploy {
                locations: vec![1, 2],
                tags: vec!["fast".to_owned()],
                dedicated_ip: false,
                port_range: vec!["25565-25600".to_owned()],
            },
        },
        generation: 1,
        lease_until: None,
        progress: Progress {
            running_call: None,
            call_started_at: None,
            next_call: None,
            doubt: Doubt::None,
            settle_at: None,
            absent_at: None,
            failures: 0,
            watch_until: None,
        },
        unsettled_since: None,
        entries: 0,
    }
}

/// The server as a panel shows it, with the fields of this kind.
pub fn document(kind: PanelKind) -> Value {
    let mut document = json!({
        "object": "server",
        "attributes": {
            "id": 42,
            "external_id": EXTERNAL_ID,
            "uuid": UUID,
            "identifier": "1a7ce997",
            "name": "survival \"two\"",
            "description": "",
            "status": "installing",
            "suspended": false,
            "limits": {
                "memory": 2048, "swap": 0, "disk": 10240, "io": 500, "cpu": 200, "threads": null,
                "oom_disabled": true
            },
            "feature_limits": { "databases": 1, "allocations": 2, "backups": 3 },
            "user": 7,
            "node": 1,
            "allocation": 9,
            "egg": 5,
            "container": { "startup_command": "", "image": "", "installed": 0, "environment": {} },
            "updated_at": "2026-01-01T00:00:00+00:00",
            "created_at": "2026-01-01T00:00:00+00:00"
        }
    });
    let attributes = document["attributes"].as_object_mut().unwrap();
    match kind {
        PanelKind::Pterodactyl | PanelKind::Unknown(_) => {
            attributes.insert("nest".to_owned(), json!(1));
        }
        PanelKind::Pelican => {
            attributes["limits"]["oom_killer"] = json!(false);
            attributes["allocation"] = Value::Null;
        }
    }
    document
}

/// The server as the client reads it.
pub fn remote() -> Remote {
    Remote {
        id: 42,
        uuid: UUID.to_owned(),
        external_id: Some(EXTERNAL_ID.to_owned()),
        user: 7,
        egg: 5,
        limits: limits(),
        status: Some("installing".to_owned()),
        suspended: false,
    }
}

/// An answer with one error, as both panels write it.
pub fn error(code: &str, status: u16, detail: &str) -> String {
    let error = json!({ "code": code, "status": status.to_string(), "detail": detail });
    json!({ "errors": [error] }).to_string()
}

/// An answer about invalid fields.
pub fn invalid(fields: &[(&str, &str)]) -> String {
    let errors = fields.iter().map(|(field, rule)| {
        json!({
            "code": "ValidationException", "status": "422", "detail": format!("The {field} is bad."),
            "meta": { "source_field": field, "rule": rule }
        })
    });
    json!({ "errors": errors.collect::<Vec<_>>() }).to_string()
}
