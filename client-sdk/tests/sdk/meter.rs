//! A fake server with one limited counter.
//!
//! It follows the contract for checks, holds and idempotency, and loses answers on demand.

use crate::fake::{KEY, Seen, problem};
use ifmatch::{Client, ClientBuilder, WorkspaceId};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub const AT: &str = "2026-11-22T01:06:00.000000Z";
pub const RESETS_AT: &str = "2026-12-01T00:00:00.000000Z";
const SCOPE: &str = "workspaces/wsp_1";

pub fn workspace() -> WorkspaceId {
    WorkspaceId::from_unchecked("wsp_1")
}

/// A status, a code, and the other members of the problem.
type Refusal = (u16, &'static str, Value);

#[derive(Default)]
struct Counter {
    limit: i64,
    used: i64,
    held: i64,
    /// Held units, by the hold's number.
    holds: HashMap<String, i64>,
    answers: HashMap<String, Value>,
    records: i64,
    /// The number of answers to lose after their effect.
    lose: usize,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub struct Meter {
    counter: Arc<Mutex<Counter>>,
    server: Arc<MockServer>,
}

impl Meter {
    /// A server on which the workspace `wsp_1` may use `limit` units of `api.calls` only.
    pub async fn start(limit: i64) -> Self {
        let counter = Arc::new(Mutex::new(Counter { limit, ..Counter::default() }));
        let server = Arc::new(MockServer::start().await);
        Mock::given(any()).respond_with(Door(counter.clone())).mount(&server).await;
        Self { counter, server }
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.server.uri()).key(KEY)
    }

    pub fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    pub fn lose_answers(&self, lose: usize) {
        self.counter().lose = lose;
    }

    pub fn used(&self) -> i64 {
        self.counter().used
    }

    pub fn held(&self) -> i64 {
        self.counter().held
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.counter().seen.clone()
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().expect("no panic")
    }
}

struct Door(Arc<Mutex<Counter>>);

impl Respond for Door {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut counter = self.0.lock().expect("no panic");
        let seen = Seen::of(request);
        counter.seen.push(seen.clone());
        let key = seen.key.clone().expect("every send has a key");
        let answer = match counter.answers.get(&key) {
            Some(answer) => ResponseTemplate::new(200)
                .insert_header("idempotency-replayed", "true")
                .set_body_json(answer),
            None => match counter.decide(&seen) {
                Ok(answer) => {
                    counter.answers.insert(key, answer.clone());
                    ResponseTemplate::new(201).set_body_json(answer)
                }
                Err((status, code, rest)) => problem(status, code, rest),
            },
        };
        if counter.lose > 0 {
            counter.lose -= 1;
            return ResponseTemplate::new(502);
        }
        answer
    }
}

fn quantity(of: &Value) -> i64 {
    of.get("quantity").and_then(Value::as_i64).expect("a quantity")
}

impl Counter {
    fn decide(&mut self, seen: &Seen) -> Result<Value, Refusal> {
        let path = seen.target.strip_prefix("/v1/workspaces/wsp_1/usage").expect("usage");
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            [""] => self.record(&seen.body, &json!({})),
            ["batch"] => {
                let items = seen.body.get("items").and_then(Value::as_array).expect("items");
                let before = self.used;
                let mut records = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let record = self.record(item, &json!({"failed_index": index}));
                    records.push(record.inspect_err(|_| self.used = before)?);
                }
                Ok(json!({ "items": records }))
            }
            ["holds"] => {
                self.check(&seen.body, quantity(&seen.body), &json!({}))?;
                let (id, quantity) = (format!("hld_{}", self.holds.len()), quantity(&seen.body));
                self.held += quantity;
                self.holds.insert(id.clone(), quantity);
                Ok(self.hold(&id, "active", quantity, None))
            }
            ["holds", id, end] => {
                let over = || (409, "HOLD_NOT_ACTIVE", json!({}));
                let held = self.holds.get(*id).copied().ok_or_else(over)?;
                let settled = (*end == "settle").then(|| quantity(&seen.body));
                self.check(
                    &json!({"feature": "api.calls"}),
                    settled.unwrap_or(0) - held,
                    &json!({}),
                )?;
                self.holds.remove(*id);
                self.held -= held;
                self.used += settled.unwrap_or(0);
                let status = if settled.is_some() { "settled" } else { "released" };
                Ok(self.hold(id, status, held, settled))
            }
            [record, "reversals"] => {
                self.used -= quantity(&seen.body);
                let mut answer = json!({"id": record, "feature": "api.calls", "quantity": 5,
                    "reversed": quantity(&seen.body)});
                self.with_meter(&mut answer);
                Ok(answer)
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn check(&self, item: &Value, more: i64, rest: &Value) -> Result<(), Refusal> {
        let included = item.get("feature") == Some(&json!("api.calls"));
        let limit = if included { self.limit } else { 0 };
        if included && (more <= 0 || self.used + self.held + more <= limit) {
            return Ok(());
        }
        let code = if included { "ENTITLEMENT_LIMIT_EXCEEDED" } else { "FEATURE_NOT_INCLUDED" };
        let mut denial = json!({"feature": item.get("feature"), "requested": more, "limit": limit,
            "used": self.used, "held": self.held, "remaining": limit - self.used - self.held,
            "resets_at": RESETS_AT, "charged_scope": SCOPE});
        merge(&mut denial, rest.clone());
        Err((403, code, denial))
    }

    fn record(&mut self, item: &Value, rest: &Value) -> Result<Value, Refusal> {
        self.check(item, quantity(item), rest)?;
        self.used += quantity(item);
        self.records += 1;
        let mut record = json!({"id": format!("usg_{}", self.records), "feature": "api.calls",
            "quantity": quantity(item)});
        self.with_meter(&mut record);
        Ok(record)
    }

    fn hold(&self, id: &str, status: &str, quantity: i64, settled: Option<i64>) -> Value {
        let mut hold = json!({"id": id, "scope": SCOPE, "feature": "api.calls",
            "quantity": quantity, "status": status, "expires_at": RESETS_AT,
            "settled_quantity": settled, "record_id": settled.map(|_| "usg_of_hold"),
            "created_at": AT, "ended_at": null});
        self.with_meter(&mut hold);
        hold
    }

    fn with_meter(&self, answer: &mut Value) {
        let remaining = self.limit - self.used - self.held;
        let meter = json!({"used": self.used, "held": self.held, "limit": self.limit,
            "remaining": remaining, "unlimited": false, "resets_at": RESETS_AT,
            "charged_scope": SCOPE});
        merge(answer, meter);
    }
}

fn merge(into: &mut Value, rest: Value) {
    if let (Value::Object(into), Value::Object(rest)) = (into, rest) {
        into.extend(rest);
    }
}
