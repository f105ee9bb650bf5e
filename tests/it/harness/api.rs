//! A plain HTTP client: it retries nothing and interprets nothing.

use super::{Answer, documented, unique};
use reqwest::Method;
use serde_json::Value;
use std::{fmt::Display, pin::Pin, time::Duration};

/// A client of one server with one API key.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Api {
    pub fn new(url: &str, key: Option<&str>) -> Self {
        let http = plain_client();
        Self { http, url: url.to_owned(), key: key.map(str::to_owned) }
    }

    /// The same server with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same server without a key.
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The same key at another server, or at a proxy before it.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The key it uses.
    pub fn key(&self) -> &str {
        self.key.as_deref().expect("it has a key")
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method.clone(), format!("{}{path}", self.url));
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let key = documented::needs_key(method.as_str(), path).then(|| unique("call"));
        Call { request, key }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).body("application/json", body.to_string())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Call {
        self.call("PATCH", path).body("application/merge-patch+json", body.to_string())
    }

    pub fn put(&self, path: &str, body: &Value) -> Call {
        self.call("PUT", path).body("application/json", body.to_string())
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    /// The items of every page of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = format!("{path}{separator}limit=200");
        loop {
            let page = self.get(&next).await.ok(200);
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}{separator}limit=200&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// An object's history, oldest first.
    pub async fn history(&self, path: &str) -> Vec<Value> {
        let mut entries = self.list(&format!("{path}/history")).await;
        entries.sort_by_key(|entry| entry["version"].as_i64());
        entries
    }

    /// The audit records of one type about one object.
    pub async fn audit(&self, audit_type: &str, id: &str) -> Vec<Value> {
        let mut records = self.list(&format!("/v1/audit?type={audit_type}")).await;
        records.retain(|record| record["resource"]["id"] == id);
        records
    }
}

/// An HTTP client without retries, redirects or a proxy.
pub fn plain_client() -> reqwest::Client {
    // The SDK's features give reqwest TLS without a provider; the first client installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(60))
        .build()
        .expect("a client can be built")
}

/// A request that can be awaited.
#[must_use]
pub struct Call {
    request: reqwest::RequestBuilder,
    /// The Idempotency-Key; a fresh one at first where the document asks for one.
    key: Option<String>,
}

impl Call {
    /// Adds a header line, also if there is one with this name.
    pub fn header(self, name: &str, value: impl Display) -> Self {
        Self { request: self.request.header(name, value.to_string()), ..self }
    }

    /// Names the version that the write was computed from, in `If-Match`.
    pub fn if_match(self, version: i64) -> Self {
        self.header("If-Match", format!("\"{version}\""))
    }

    /// Sets the Idempotency-Key.
    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Sends no Idempotency-Key, even where one is required.
    pub fn without_idempotency_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// Sets the raw body.
    pub fn body(self, content_type: &str, body: String) -> Self {
        let request = self.request.header("Content-Type", content_type).body(body);
        Self { request, ..self }
    }

    /// Sends it. An error means that no answer arrived.
    pub async fn send(self) -> Result<Answer, reqwest::Error> {
        Answer::read(self.request().send().await?).await
    }

    /// Sends it without reading the answer's body.
    pub async fn open(self) -> reqwest::Response {
        self.request().send().await.expect("the server answers")
    }

    fn request(self) -> reqwest::RequestBuilder {
        match self.key {
            Some(key) => self.request.header("Idempotency-Key", key),
            None => self.request,
        }
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            let request = self.request.try_clone().and_then(|request| request.build().ok());
            let answer = self.send().await.expect("the server answers");
            if let Some(request) = request {
                documented::check(request.method().as_str(), request.url().path(), &answer);
            }
            let request_id = answer.header("X-Request-Id");
            assert!(request_id.is_some_and(|id| !id.is_empty()), "no X-Request-Id: {answer:?}");
            answer
        })
    }
}
