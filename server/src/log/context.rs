//! What every log line of a request says about it: its id, method, route and actor.
//!
//! These values follow the request's future from thread to thread, and its command into the lane.
//! A `tracing` span would do the same, but costs a tenth of a point read: it formats its fields for
//! every request, although few requests log a line.

use super::RequestId;
use ifmatch_domain::core::Meta;
use std::{
    future::Future,
    sync::{Arc, OnceLock},
};
use tokio::task_local;

task_local! {
    static CURRENT: LogContext;
}

/// What the log says about a request or a command, in each of its lines.
#[derive(Clone, Debug)]
pub struct LogContext(Arc<Fields>);

#[derive(Debug)]
struct Fields {
    request_id: RequestId,
    method: Option<&'static str>,
    route: OnceLock<&'static str>,
    actor: OnceLock<String>,
}

impl LogContext {
    /// The context of a new request. Its route and its actor are set when they are known.
    pub fn of_request(request_id: RequestId, method: &'static str) -> Self {
        Self::new(request_id, Some(method))
    }

    /// The context of a command: that of its request, or a new one.
    pub fn of_command(meta: &Meta) -> Self {
        Self::current().unwrap_or_else(|| {
            let context = Self::new(RequestId::from_header(Some(&meta.request_id)), None);
            context.set_actor(&meta.actor.name);
            context
        })
    }

    fn new(request_id: RequestId, method: Option<&'static str>) -> Self {
        let (route, actor) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Fields { request_id, method, route, actor }))
    }

    /// The context that this code runs in.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// The id of the request.
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// Sets the pattern of the path: `/v1/plans/{id}`. Only the first value counts.
    pub fn set_route(&self, route: &'static str) {
        let _ = self.0.route.set(route);
    }

    /// Sets the name of the caller's key. Only the first value counts.
    pub fn set_actor(&self, name: &str) {
        let _ = self.0.actor.set(name.to_owned());
    }

    /// Runs a future in this context, on whatever thread.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// Runs a function in this context.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Calls a function with each known field of the current context, as name and value.
    pub(super) fn each_field(mut field: impl FnMut(&'static str, &str)) {
        let _ = CURRENT.try_with(|Self(fields)| {
            field("request_id", fields.request_id.as_str());
            if let Some(method) = fields.method {
                field("method", method);
            }
            if let Some(route) = fields.route.get() {
                field("route", route);
            }
            if let Some(actor) = fields.actor.get() {
                field("actor", actor);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<String> {
        let mut fields = Vec::new();
        LogContext::each_field(|name, value| fields.push(format!("{name}={value}")));
        fields
    }

    #[tokio::test]
    async fn it_follows_a_future_and_a_function_on_another_thread() {
        let context = LogContext::of_request(RequestId::from_header(Some("req-1")), "GET");
        context.set_route("/v1/plans");
        let elsewhere = context.clone().scope(async {
            tokio::task::yield_now().await;
            let current = LogContext::current().unwrap();
            current.set_actor("ops");
            std::thread::spawn(move || current.within(fields)).join().unwrap()
        });
        let told = ["request_id=req-1", "method=GET", "route=/v1/plans", "actor=ops"];
        assert_eq!(elsewhere.await, told);
        assert_eq!(fields(), [""; 0], "outside of it there is none");
    }
}
