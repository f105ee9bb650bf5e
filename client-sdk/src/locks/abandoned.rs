//! Requests for a lock whose caller went away: a grant that no caller learned of is given back.

use super::grant::{Grant, Owned};
use crate::{
    Client,
    pace::Deadline,
    reply::Reply,
    request::Request,
    send::{SendError, Sending},
};
use ifmatch_types::Code;
use serde_json::Value;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a repeat may take that the server answers from what it keeps.
const REPEAT: Duration = Duration::from_secs(5);

/// A request for a lock whose answer is not known. Dropped before it is settled, it asks whether
/// the lock was granted, and gives it back.
pub(super) struct InFlight {
    client: Client,
    request: Request,
    ttl: Duration,
    runtime: Option<Handle>,
    is_settled: bool,
}

impl InFlight {
    pub(super) fn new(client: &Client, request: &Request, ttl: Duration) -> Self {
        Self {
            client: client.clone(),
            request: request.clone(),
            ttl,
            runtime: Handle::try_current().ok(),
            is_settled: false,
        }
    }

    /// The answer is known.
    pub(super) fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let Some(runtime) = &self.runtime else { return };
        let (client, request) = (self.client.clone(), self.request.clone());
        // After its time, the grant is over without anybody's help.
        let limit = self.ttl.min(client.deadline());
        runtime.spawn(async move { give_back(&client, request, limit).await });
    }
}

/// Asks with the same key whether the lock was granted, without waiting for it.
async fn give_back(client: &Client, request: Request, limit: Duration) {
    let path = request.path();
    let deadline = Deadline::after(limit);
    let at_once = without_wait(&request);
    let reply = match ask(client, at_once, deadline).await {
        // The key belongs to the request as it was first sent, and that one was granted.
        Err(SendError::Refused(problem)) if problem.code == Code::IdempotencyKeyReused => {
            ask(client, request, Deadline::after(REPEAT.min(limit))).await
        }
        answer => answer,
    };
    match reply.map(|reply| Grant::read(client, reply)) {
        // Dropping it releases it.
        Ok(Ok((grant, _))) => drop(Owned::new(grant)),
        Ok(Err(error)) => tracing::warn!(path, %error, "abandoned, not released; it may expire"),
        Err(SendError::Refused(problem)) => {
            tracing::debug!(path, code = problem.code.name(), "abandoned, and not granted");
        }
        Err(error) => tracing::warn!(path, ?error, "abandoned; if it was granted, it will expire"),
    }
}

async fn ask(client: &Client, request: Request, deadline: Deadline) -> Result<Reply, SendError> {
    client.send(&mut Sending::new(request, deadline)).await
}

/// The same request, for which no caller waits.
fn without_wait(request: &Request) -> Request {
    let body = request.body_text().and_then(|body| serde_json::from_str::<Value>(body).ok());
    match body {
        Some(Value::Object(mut body)) => {
            body.insert("wait_ms".to_owned(), 0.into());
            request.clone().body(&Value::Object(body))
        }
        _ => request.clone(),
    }
}
