//! A fake server with one object.
//!
//! It follows the contract for versions, conflicts, idempotency and history, and injects faults.

use ifmatch::{Client, ClientBuilder, Kind, SubscriptionId, Verdict};
use ifmatch_types::{Difference, merge};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub const ID: &str = "sub_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f";
pub const KEY: &str = "ifm_test_CANARY0123456789";
const AT: &str = "2026-11-22T01:06:00.000000Z";

pub fn id() -> SubscriptionId {
    SubscriptionId::from_unchecked(ID)
}

/// A fault of the next write.
pub enum Fault {
    /// Another client changes the object just before the write.
    Rival(Value),
    /// The write is applied; a proxy loses its answer.
    LoseAnswer,
    /// The write is applied; a proxy answers in its place.
    Replace(ResponseTemplate),
    /// The write does not arrive; a proxy answers.
    Intercept(ResponseTemplate),
    /// Another client wins, and a proxy strips the conflict's body.
    StripConflict(u16, Value),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub key: Option<String>,
    pub headers: HashMap<String, String>,
    pub body: Value,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    object: Value,
    versions: HashMap<i64, Value>,
    /// Each version that a request made, with the digest of its Idempotency-Key.
    made: Vec<(i64, String)>,
    answers: HashMap<String, Value>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    applied: usize,
    deleted: bool,
}

#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    server: Arc<MockServer>,
}

impl Fake {
    /// A server with one subscription of 5 units at version 1.
    pub async fn start() -> Self {
        let object = json!({"id": ID, "version": 1, "workspace_id": "wsp_1", "plan_id": "pln_a",
            "quantity": 5, "status": "active", "notes": "", "cancel_at_period_end": false,
            "start_at": AT, "current_period_start": AT, "current_period_end": AT,
            "trial_end": null, "canceled_at": null, "ended_at": null, "metadata": {},
            "created_at": AT, "updated_at": AT, "updated_by": "somebody"});
        let versions = HashMap::from([(1, object.clone())]);
        let state = Arc::new(Mutex::new(State { object, versions, ..State::default() }));
        let server = Arc::new(MockServer::start().await);
        Mock::given(any()).respond_with(Door(state.clone())).mount(&server).await;
        Self { state, server }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.url()).key(KEY)
    }

    pub fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    pub fn fault(&self, fault: Fault) -> &Self {
        self.state().faults.push_back(fault);
        self
    }

    /// Another client changes the object now.
    pub fn rival(&self, change: Value) -> &Self {
        self.state().change(&change);
        self
    }

    /// Drops the kept answers, as if the API key were another.
    pub fn forget_answers(&self) {
        self.state().answers.clear();
    }

    pub fn object(&self) -> Value {
        self.state().object.clone()
    }

    pub fn field(&self, name: &str) -> Value {
        self.object().get(name).cloned().unwrap_or_default()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub fn methods(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.method).collect()
    }

    pub fn patches(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == "PATCH").collect()
    }

    /// The number of this client's writes that took effect.
    pub fn applied(&self) -> usize {
        self.state().applied
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

struct Door(Arc<Mutex<State>>);

impl Respond for Door {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().expect("no panic");
        let seen = Seen::of(request);
        state.seen.push(seen.clone());
        if seen.method == "GET" {
            return state.read(request);
        }
        match state.faults.pop_front() {
            None => state.write(request, &seen),
            Some(Fault::Rival(change)) => {
                state.change(&change);
                state.write(request, &seen)
            }
            Some(Fault::LoseAnswer) => {
                state.write(request, &seen);
                ResponseTemplate::new(502).set_body_string("<html>Bad Gateway</html>")
            }
            Some(Fault::Replace(answer)) => {
                state.write(request, &seen);
                answer
            }
            Some(Fault::Intercept(answer)) => answer,
            Some(Fault::StripConflict(status, change)) => {
                state.change(&change);
                ResponseTemplate::new(status).set_body_string("<html>no</html>")
            }
        }
    }
}

impl Seen {
    pub fn of(request: &Request) -> Self {
        let headers: HashMap<String, String> = request
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())
            })
            .collect();
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Self {
            method: request.method.to_string(),
            target: format!("{}{query}", request.url.path()),
            key: headers.get("idempotency-key").map(|key| unquoted(key).to_owned()),
            headers,
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
            bytes: request.body.clone(),
        }
    }
}

impl State {
    fn version(&self) -> i64 {
        self.object.get("version").and_then(Value::as_i64).expect("a version")
    }

    fn change(&mut self, patch: &Value) {
        self.change_by(digest("rival"), patch);
    }

    fn change_by(&mut self, key_digest: String, patch: &Value) {
        let version = self.version() + 1;
        self.made.push((version, key_digest));
        let (Value::Object(object), Value::Object(patch)) = (&mut self.object, patch) else {
            return;
        };
        for (name, value) in patch {
            object.insert(name.clone(), value.clone());
        }
        object.insert("version".into(), version.into());
        self.versions.insert(version, self.object.clone());
    }

    fn read(&self, request: &Request) -> ResponseTemplate {
        if request.url.path().ends_with("/history") {
            return self.history();
        }
        let known = request.url.path().rsplit_once("/versions/");
        if let Some(snapshot) = known.and_then(|(_, n)| self.versions.get(&n.parse().ok()?)) {
            return ResponseTemplate::new(200).set_body_json(snapshot);
        }
        if self.deleted {
            return problem(410, "DELETED", json!({}));
        }
        if !request.url.path().ends_with(ID) {
            return problem(404, "NOT_FOUND", json!({}));
        }
        // A tag that a proxy changed: the client must not read the version from it.
        ResponseTemplate::new(200).insert_header("etag", "W/\"99\"").set_body_json(&self.object)
    }

    fn history(&self) -> ResponseTemplate {
        let by = json!({"actor": "a", "on_behalf_of": null, "source": "api", "forced": false});
        // A gateway replaced all request ids.
        let entry = |(version, key_digest): &(i64, String)| {
            let is_last = *version > self.version();
            json!({"version": version, "at": AT, "by": by, "changes": [],
                "kind": if is_last { "deleted" } else { "updated" }, "request_id": "rewritten",
                "key_digest": key_digest})
        };
        let items: Vec<Value> = self.made.iter().map(entry).collect();
        ResponseTemplate::new(200).set_body_json(json!({"items": items, "next_cursor": null}))
    }

    fn write(&mut self, request: &Request, seen: &Seen) -> ResponseTemplate {
        if let Some(answer) = seen.key.as_ref().and_then(|key| self.answers.get(key)) {
            return ResponseTemplate::new(200)
                .insert_header("idempotency-replayed", "true")
                .set_body_json(answer);
        }
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let forced = query.contains_key("force");
        let mut patch = seen.body.clone();
        let named = patch.as_object_mut().and_then(|patch| patch.remove("version"));
        let named = match query.get("version") {
            Some(version) => version.parse().ok(),
            None => named.and_then(|version| version.as_i64()),
        };
        let Some(named) = named else { return problem(428, "PRECONDITION_REQUIRED", json!({})) };
        if request.url.path().ends_with("/preview") {
            let changes = json!([{"path": "/quantity", "from": 5, "to": 1}]);
            return ResponseTemplate::new(200).set_body_json(json!({
                "current_version": self.version(), "verdict": "clean", "would_change": changes,
                "would_overwrite": [], "would_refuse": null}));
        }
        if named != self.version() && !forced {
            return self.conflict(named, &patch);
        }
        self.applied += 1;
        let key_digest = digest(seen.key.as_deref().unwrap_or_default());
        let mut answer = ResponseTemplate::new(200);
        if forced {
            answer = answer.insert_header("x-forced", "true");
        }
        let body = if seen.method == "DELETE" {
            self.deleted = true;
            self.made.push((self.version() + 1, key_digest));
            json!({"id": ID, "deleted_at": AT, "deleted_by": "me", "last_version": named})
        } else {
            self.change_by(key_digest, &patch);
            self.object.clone()
        };
        self.answers.extend(seen.key.clone().map(|key| (key, body.clone())));
        answer.set_body_json(body)
    }

    fn conflict(&self, named: i64, patch: &Value) -> ResponseTemplate {
        let by = json!({"actor": "rival", "on_behalf_of": null, "source": "api", "forced": false});
        let Some(base) = self.versions.get(&named) else {
            return problem(
                409,
                "CONFLICT_VERSION_MISMATCH",
                self.report(
                    named,
                    json!([]),
                    &[],
                    json!({"verdict": Verdict::UnknownBase, "overlap": [], "groups_split": [],
                    "preview": null}),
                ),
            );
        };
        let mut wanted = base.clone();
        for (name, value) in patch.as_object().into_iter().flatten() {
            wanted.as_object_mut().expect("an object").insert(name.clone(), value.clone());
        }
        let (changes, attempted) = (merge::diff(base, &self.object), merge::diff(base, &wanted));
        let merge = json!(merge::judge(Kind::Subscription, &attempted, &changes));
        let changes: Vec<Value> = changes
            .iter()
            .map(|Difference { path, from, to }| {
                json!({"path": path, "base": from, "current": to, "version": self.version(),
                    "at": AT, "by": by})
            })
            .collect();
        let report = self.report(named, json!(changes), &attempted, merge);
        problem(409, "CONFLICT_VERSION_MISMATCH", report)
    }

    fn report(&self, named: i64, changes: Value, attempted: &[Difference], merge: Value) -> Value {
        let attempted: Vec<&str> = attempted.iter().map(|one| one.path.as_str()).collect();
        json!({"conflict_id": "cfl_1", "resource": {"type": "subscription", "id": ID},
            "expected_version": named, "current_version": self.version(), "current": self.object,
            "changes": changes, "attempted": attempted, "merge": merge})
    }
}

/// A key as the server reads it: without the spaces and the quotes around it.
fn unquoted(key: &str) -> &str {
    let key = key.trim();
    key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key)
}

/// SHA-256 in hexadecimal digits.
fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A problem body.
pub fn problem(status: u16, code: &str, extensions: Value) -> ResponseTemplate {
    let action = match code {
        "CONFLICT_VERSION_MISMATCH" => "reapply",
        "TRY_AGAIN" | "RATE_LIMITED" | "INTERNAL" => "resend",
        _ => "none",
    };
    let mut body = json!({"type": "/problems/test", "title": "A test", "status": status,
        "detail": format!("this is {code}"), "code": code, "request_id": "req_1",
        "retry": {"action": action, "after_ms": 1}});
    if let (Value::Object(body), Value::Object(extensions)) = (&mut body, extensions) {
        body.extend(extensions);
    }
    ResponseTemplate::new(status).set_body_raw(body.to_string(), "application/problem+json")
}
