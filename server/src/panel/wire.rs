//! The panel's JSON: what is sent by both kinds, and what both answer alike.

use ifmatch_domain::provisioning::{Remote, ServerRecord};
use ifmatch_types::{Environment, FeatureLimits, ServerLimits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The length of a UUID.
const UUID_MAX: usize = 36;
/// Maximum length of the panel's word for a server's state. Its own are shorter than 20.
const STATUS_MAX: usize = 100;
/// The code of an invalid request.
const INVALID: &str = "ValidationException";
/// The codes of an answer that says that the panel could not reach a node, or that a node failed.
///
/// Pterodactyl has the first one, Pelican the others.
const NODE_CODES: [&str; 3] =
    ["DaemonConnectionException", "ConnectionException", "RequestException"];
/// The codes of an answer that says that there is no such server.
///
/// Both panels say the first one (`app/Exceptions/Handler.php`), some of their forks the second.
const ABSENT_CODES: [&str; 2] = ["NotFoundHttpException", "ModelNotFoundException"];

/// The body of a create. `F` are the fields that only one kind of panel knows.
#[derive(Serialize)]
pub struct NewServer<'a, F> {
    external_id: &'a str,
    name: &'a str,
    user: i64,
    egg: i64,
    docker_image: &'a str,
    startup: &'a str,
    environment: &'a Environment,
    limits: &'a ServerLimits,
    feature_limits: &'a FeatureLimits,
    start_on_completion: bool,
    #[serde(flatten)]
    fields: F,
}

impl<'a, F: Serialize> NewServer<'a, F> {
    /// The server of this record, with the fields of one kind of panel.
    pub fn new(record: &'a ServerRecord, fields: F) -> Self {
        let (server, spec) = (&record.server, &record.spec);
        Self {
            external_id: &server.external_id,
            name: &server.name,
            user: server.panel_user,
            egg: spec.egg,
            docker_image: &spec.docker_image,
            startup: &spec.startup,
            environment: &spec.environment,
            limits: &spec.limits,
            feature_limits: &spec.feature_limits,
            start_on_completion: true,
            fields,
        }
    }

    /// The body as JSON.
    pub fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a create is text and numbers")
    }
}

/// Why an answer is not a server.
#[derive(Debug, thiserror::Error)]
pub enum NotAServer {
    /// It is not JSON, or lacks a field, or a field has another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is another object of the panel.
    #[error("it is another object")]
    Object,
    /// A field has a value that no panel gives it.
    #[error("{0} is out of range")]
    Range(&'static str),
}

#[derive(Deserialize)]
struct Document {
    object: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    id: i64,
    uuid: String,
    external_id: Option<String>,
    user: i64,
    egg: i64,
    limits: Limits,
    status: Option<String>,
    suspended: bool,
}

#[derive(Deserialize)]
struct Limits {
    memory: i64,
    swap: i64,
    disk: i64,
    io: i64,
    cpu: i64,
}

/// Reads the server that an answer holds.
pub fn read_server(body: &[u8]) -> Result<Remote, NotAServer> {
    let Document { object, attributes } = serde_json::from_slice(body)?;
    if object != "server" {
        return Err(NotAServer::Object);
    }
    if attributes.id < 1 {
        return Err(NotAServer::Range("id"));
    }
    if attributes.uuid.is_empty() || !is_short_text(&attributes.uuid, UUID_MAX) {
        return Err(NotAServer::Range("uuid"));
    }
    if attributes.status.as_ref().is_some_and(|status| !is_short_text(status, STATUS_MAX)) {
        return Err(NotAServer::Range("status"));
    }
    let Limits { memory, swap, disk, io, cpu } = attributes.limits;
    Ok(Remote {
        id: attributes.id,
        uuid: attributes.uuid,
        external_id: attributes.external_id,
        user: attributes.user,
        egg: attributes.egg,
        limits: ServerLimits { memory, swap, disk, io, cpu },
        status: attributes.status,
        suspended: attributes.suspended,
    })
}

fn is_short_text(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max && !text.chars().any(char::is_control)
}

/// One error of an answer. A part that is missing or of another type is empty.
#[derive(Debug, Default)]
struct ErrorItem {
    code: String,
    detail: String,
    field: String,
    rule: String,
}

/// The errors of an answer: none if it is not in the panel's own form.
#[derive(Debug)]
pub struct PanelErrors(Vec<ErrorItem>);

impl PanelErrors {
    /// Reads the errors that an answer holds, part by part, so that an odd one hides no other.
    pub fn read(body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let items = document.get("errors").and_then(Value::as_array);
        let items = items.into_iter().flatten().map(|item| {
            let text = |pointer| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            ErrorItem {
                code: text("/code").to_owned(),
                detail: text("/detail").to_owned(),
                field: text("/meta/source_field").to_owned(),
                rule: text("/meta/rule").to_owned(),
            }
        });
        Self(items.filter(|item| !item.code.is_empty()).collect())
    }

    /// Whether the panel itself answered, and not something before it.
    pub fn are_the_panels(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a node failed. The panel may pass on the node's status as its own.
    pub fn blame_a_node(&self) -> bool {
        self.0.iter().any(|item| NODE_CODES.contains(&item.code.as_str()))
    }

    /// Whether the panel has no such server.
    ///
    /// A path that the panel does not know has the same code. Laravel says so in its detail, and
    /// before version 9 with an empty one.
    pub fn say_absent(&self) -> bool {
        self.0.iter().any(|item| {
            ABSENT_CODES.contains(&item.code.as_str())
                && !item.detail.is_empty()
                && !item.detail.starts_with("The route ")
        })
    }

    /// Whether another server has the external id.
    pub fn say_taken(&self) -> bool {
        self.0.iter().any(|item| {
            item.code == INVALID && item.field == "external_id" && item.rule == "unique"
        })
    }

    /// The panel's own words.
    pub fn words(&self) -> String {
        let words = self.0.iter().map(|ErrorItem { code, detail, .. }| match detail.as_str() {
            "" => code.clone(),
            detail => format!("{code}: {detail}"),
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
