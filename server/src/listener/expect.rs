//! `Expect: 100-continue`: a client that asks first may send its body only with an accepted key.

use super::{Door, Line};
use crate::{
    http::core::{
        address::refuse_over_limit, auth::bearer, body::refuse_announced, caller::unaccepted,
        frame::write_headers, limit::Counted, problem::HttpProblem,
    },
    log::RequestId,
};
use actix_http::{ConnectionType, HttpMessage, Request, Response};
use actix_service::{Service, ServiceFactory};
use actix_web::{HttpResponse, body::BoxBody};
use futures::future::LocalBoxFuture;
use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    task::{Context, Poll},
};

/// Judges requests whose clients wait for `100 Continue`.
#[derive(Clone)]
pub struct Expect(Door);

impl Expect {
    pub fn new(door: &Door) -> Self {
        Self(door.clone())
    }
}

impl ServiceFactory<Request> for Expect {
    type Response = Request;
    type Error = Refused;
    type Config = ();
    type Service = Self;
    type InitError = std::convert::Infallible;
    type Future = Ready<Result<Self, std::convert::Infallible>>;

    fn new_service(&self, (): ()) -> Self::Future {
        ready(Ok(self.clone()))
    }
}

impl Service<Request> for Expect {
    type Response = Request;
    type Error = Refused;
    type Future = LocalBoxFuture<'static, Result<Request, Refused>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, request: Request) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move {
            match judge(&door, &request).await {
                Ok(()) => Ok(request),
                Err(problem) => {
                    if let Some(line) = request.conn_data::<Arc<Line>>() {
                        line.close_soon();
                    }
                    let given = request.headers().get("x-request-id");
                    let given = given.and_then(|value| value.to_str().ok());
                    Err(Refused(problem, RequestId::from_header(given)))
                }
            }
        })
    }
}

/// Refuses a body that would be read for nothing. All other checks come later.
async fn judge(door: &Door, request: &Request) -> Result<(), HttpProblem> {
    let text = bearer(request.headers());
    let accepted = text.is_some_and(|text| door.app.keyring.accept(text).is_some());
    if !accepted {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let peer = request.peer_addr().map_or(unknown, |peer| peer.ip());
        let client = door.trusted_proxies.client(peer, request.headers());
        refuse_over_limit(&door.limiter.check(&Counted::at(client)))?;
        let found = match text {
            Some(text) => door.app.keyring.look_up(text).await?,
            None => None,
        };
        found.ok_or_else(unaccepted)?;
    }
    refuse_announced(request.headers())
}

/// A refusal instead of `100 Continue`. The connection is closed: the client may send all the same.
pub struct Refused(HttpProblem, RequestId);

impl From<Refused> for Response<BoxBody> {
    fn from(Refused(problem, request_id): Refused) -> Self {
        let mut response: HttpResponse = problem.response_for(&request_id);
        write_headers(response.headers_mut(), &request_id);
        response.head_mut().set_connection_type(ConnectionType::Close);
        response.into()
    }
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}
