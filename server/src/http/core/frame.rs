//! The middleware around every request: an id, its log context, metrics, and security headers.

use super::{
    address::limit_by_address, body::BodyRead, endpoint::EndpointInfo, preference::HadTurn,
    problem::HttpProblem, request::request_id,
};
use crate::{
    listener::Line,
    log::{LogContext, RequestId},
    metrics,
};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION,
            TRANSFER_ENCODING,
        },
    },
    middleware::Next,
    web,
};
use ifmatch_types::Code;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// The route label of all requests that matched no route. A scan must not fill the metrics.
const UNMATCHED: &str = "unmatched";

/// Wraps the whole application.
pub async fn frame<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started_at = Instant::now();
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let request_id = RequestId::from_header(given);
    let method = metrics::method_label(request.method().as_str());
    let has_body = has_body(request.headers());
    let serving = request.conn_data::<Arc<Line>>().map(Serving::begin);
    let context = LogContext::of_request(request_id, method);
    request.extensions_mut().insert(context.clone());
    // The request must not be kept here, because the router needs exclusive access to it.
    let response = context.clone().scope(next.call(request)).await?.map_into_boxed_body();
    let mut response = identified(response, context.request_id());
    let info = response.request().extensions().get::<EndpointInfo>().copied();
    let route = info.map_or(UNMATCHED, |info| info.path);
    let status = response.status().as_u16();
    let duration = started_at.elapsed();
    metrics::request(route, method, status, duration);
    if tracing::enabled!(tracing::Level::DEBUG) {
        context.set_route(route);
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        context.within(|| tracing::debug!(status, duration_us, "answered"));
    }
    write_headers(response.headers_mut(), context.request_id());
    make_public(&mut response);
    if response.request().extensions().contains::<HadTurn>() {
        let (name, wait) = ("preference-applied", HeaderValue::from_static("wait"));
        response.headers_mut().insert(HeaderName::from_static(name), wait);
    }
    if has_body && !response.request().extensions().contains::<BodyRead>() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        if let Some(Serving(line)) = &serving {
            line.close_soon();
        }
    }
    let is_stream = response.response().body().size() == BodySize::Stream;
    Ok(match is_stream {
        true => {
            response.map_body(|_, body| BoxBody::new(Scoped { body, context, _serving: serving }))
        }
        false => response,
    })
}

/// The address at which clients reach the server, if the operator says so.
pub struct PublicUrl(pub Option<String>);

/// Makes the `Location` of an answer an address that works where the client is.
fn make_public(response: &mut ServiceResponse<BoxBody>) {
    let public = response.request().app_data::<web::Data<PublicUrl>>().cloned();
    let Some(public) = public.as_ref().and_then(|public| public.0.as_deref()) else { return };
    let path = response.headers().get(LOCATION).and_then(|path| path.to_str().ok());
    let Some(path) = path.filter(|path| path.starts_with('/')) else { return };
    if let Ok(location) = HeaderValue::from_str(&format!("{public}{path}")) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// A request that is being served on a connection.
struct Serving(Arc<Line>);

impl Serving {
    fn begin(line: &Arc<Line>) -> Self {
        line.begin();
        Self(Arc::clone(line))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whether a request with these headers has a body that is not empty.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// Writes the headers of every answer.
pub fn write_headers(headers: &mut HeaderMap, request_id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// A handler's refusal, with the request id in its body.
fn identified(
    response: ServiceResponse<BoxBody>,
    request_id: &RequestId,
) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().and_then(|error| error.as_error::<HttpProblem>());
    let Some(problem) = problem else { return response };
    let mut answer = problem.response_for(request_id);
    for (name, value) in response.headers() {
        if !answer.headers().contains_key(name) {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response.into_response(answer)
}

/// A body that is produced in its request's log context, although the handler is done by then.
struct Scoped {
    body: BoxBody,
    context: LogContext,
    _serving: Option<Serving>,
}

impl MessageBody for Scoped {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        let Self { body, context, .. } = &mut *self;
        context.within(|| Pin::new(body).poll_next(task))
    }
}

/// Answers a path that no route matches.
pub async fn no_such_path(request: HttpRequest) -> Result<HttpResponse, HttpProblem> {
    limit_by_address(&request)?;
    Err(HttpProblem::not_found(format!("there is nothing at {}", request.path())))
}

/// Answers a method that a path does not have.
pub fn wrong_method(request: HttpRequest, allow: String) -> HttpResponse {
    let detail = format!("{} is not allowed here; use {allow}", request.method());
    let request_id = request_id(&request);
    HttpProblem::new(Code::MethodNotAllowed, detail).response_for(&request_id)
}
