//! Large answers: they count against a budget until their clients have taken them.

use super::problem::HttpProblem;
use crate::budget::{Budget, Reserved};
use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    web::Bytes,
};
use ifmatch_types::{ApiKeyId, Code};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Smaller answers are not counted. Each is in its connection's buffer at once.
const COUNTED_FROM_BYTES: u64 = 64 * 1024;
/// The library copies this much into its connection's buffer before it sends.
const SLICE_BYTES: usize = 32 * 1024;

/// Counts an answer of a read against the budget of answers, until it was sent.
///
/// A client that asks for many pages and reads none of them is told to try again. Answers of writes
/// always pass: their effects are committed.
pub fn counted(
    response: ServiceResponse<BoxBody>,
    budget: &Arc<Budget>,
    key: &ApiKeyId,
) -> ServiceResponse<BoxBody> {
    let size = match response.response().body().size() {
        BodySize::Sized(size) if size > COUNTED_FROM_BYTES => size,
        BodySize::None | BodySize::Sized(_) | BodySize::Stream => return response,
    };
    if !response.request().method().is_safe() {
        return response;
    }
    match budget.reserve(Some(key), usize::try_from(size).unwrap_or(usize::MAX)) {
        Some(reserved) => response.map_body(|_, body| match body.try_into_bytes() {
            Ok(rest) => BoxBody::new(Slices { rest, _reserved: reserved }),
            Err(body) => body,
        }),
        None => {
            let detail = "too many large answers wait to be read; read them and send this again";
            response
                .into_response(HttpResponse::from_error(HttpProblem::new(Code::TryAgain, detail)))
        }
    }
}

/// An answer that is handed to the library slice by slice.
struct Slices {
    rest: Bytes,
    _reserved: Reserved,
}

impl MessageBody for Slices {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(SLICE_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}
