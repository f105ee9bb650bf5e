//! Problems: the bodies of refusals (RFC 9457).
//!
//! The texts of a system's rejections are in that system's folder; `systems.rs` dispatches to them.
//! A caller never gets technical causes. They are in the log, under the request id.

pub mod code;
pub mod rejection;

use super::caller::unaccepted;
use crate::{lane::Refusal, log::RequestId};
use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{StatusCode, header},
};
use code::CodeRow;
use ifmatch_store::StoreError;
use ifmatch_types::{Code, FieldError, Problem, RetryAction};
use serde_json::{Map, Value};
use std::fmt;

/// The result of a handler.
pub type HttpResult = Result<HttpResponse, HttpProblem>;

/// A refusal to be sent to the caller.
#[derive(Debug)]
pub struct HttpProblem {
    problem: Box<Problem>,
    /// Whether a lane decided it, after the checks that take precedence.
    is_decided: bool,
    /// Whether the body's encoding was refused, so that the answer names the accepted one.
    is_encoded: bool,
}

/// The status of a code. A version conflict over `If-Match` is a 412 instead.
pub fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code::row(code).status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl HttpProblem {
    /// A problem with this code. The request id is filled in later.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let CodeRow { status, name, title, retry } = code::row(code);
        let problem = Problem {
            problem_type: format!("/problems/{name}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code,
            request_id: String::new(),
            retry,
            errors: Vec::new(),
            extensions: Map::new(),
        };
        Self { problem: Box::new(problem), is_decided: false, is_encoded: false }
    }

    /// Whether a handler found it before a lane looked for a kept answer and for the object.
    ///
    /// Those take precedence (`API.md` 3).
    pub fn is_premature(&self) -> bool {
        !self.is_decided && matches!(self.problem.status, 404 | 422)
    }

    /// One wrong field.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { path: path.into(), message: message.into() }])
    }

    /// Wrong fields.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let told: Vec<String> =
            errors.iter().map(|one| format!("{} {}", one.path, one.message)).collect();
        let mut problem = Self::new(Code::ValidationFailed, told.join("; ").trim_start());
        problem.problem.errors = errors;
        problem
    }

    /// The path does not exist, or it has nothing that the caller may see.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// An id of another type than the path or the field needs.
    pub fn wrong_id_type(expected_prefix: &'static str) -> Self {
        let detail = format!("this needs an id that begins with {expected_prefix}");
        Self::new(Code::WrongIdType, detail).with("expected_prefix", expected_prefix)
    }

    /// Adds a member that is specific to the code.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.problem.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Names the field that the problem is about.
    pub fn about_field(mut self, path: &str, message: &str) -> Self {
        let (path, message) = (path.to_owned(), message.to_owned());
        self.problem.errors.push(FieldError { path, message });
        self
    }

    /// Makes a version conflict over a header a failed precondition (RFC 9110 §15.5.13).
    pub fn over_header(mut self) -> Self {
        if self.problem.code == Code::ConflictVersionMismatch {
            self.problem.status = StatusCode::PRECONDITION_FAILED.as_u16();
        }
        self
    }

    /// Names the accepted encoding of bodies in `Accept-Encoding` (RFC 9110 §12.5.3).
    pub fn accepting_no_encoding(self) -> Self {
        Self { is_encoded: true, ..self }
    }

    /// Sets how long to wait before the request is sent again, in milliseconds.
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.problem.retry.after_ms = after_ms;
        self
    }

    /// The response to a request, with its id in the body.
    pub fn response_for(&self, request_id: &RequestId) -> HttpResponse {
        let problem = Box::new(self.problem_for(request_id));
        Self { problem, ..*self }.response()
    }

    /// The body of the response to a request, with its id.
    pub fn problem_for(&self, request_id: &RequestId) -> Problem {
        Problem { request_id: request_id.as_str().to_owned(), ..(*self.problem).clone() }
    }

    /// The body of the response to a request whose id is not known.
    pub fn into_problem(self) -> Problem {
        *self.problem
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.problem.code
    }

    /// The response.
    fn response(&self) -> HttpResponse {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        if self.problem.retry.action == RetryAction::Resend {
            let seconds = self.problem.retry.after_ms.div_ceil(1_000).max(1);
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.is_encoded {
            response.insert_header((header::ACCEPT_ENCODING, "identity"));
        }
        if self.problem.code == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(&self.problem)
    }
}

impl fmt::Display for HttpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.code.name(), self.problem.detail)
    }
}

impl ResponseError for HttpProblem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response()
    }
}

impl From<StoreError> for HttpProblem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone(_) | StoreError::Impaired(_) | StoreError::Raced(_) => {
                tracing::warn!(%error, "a read failed");
                Self::new(Code::TryAgain, "the database is busy or away; send the request again")
            }
            StoreError::LostGuard { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Unforeseen(_) => {
                tracing::error!(%error, "a read failed");
                Self::internal()
            }
        }
    }
}

impl From<Refusal> for HttpProblem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => Self { is_decided: true, ..rejection.into() },
            Refusal::TryAgain => Self::new(
                Code::TryAgain,
                "the server is busy or its database is away; nothing was written, send the \
                 request again",
            ),
            Refusal::KeyEnded => unaccepted(),
            Refusal::Internal => Self::internal(),
        }
    }
}

impl HttpProblem {
    /// Something unforeseen happened.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "something unforeseen happened; the log knows this request's id")
    }
}
