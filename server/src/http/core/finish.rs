//! Work that must be finished although its client may hang up.

use super::problem::HttpProblem;
use crate::log::LogContext;
use std::future::Future;

/// Runs work to its end, also if the client hangs up and its request is dropped.
///
/// For what follows a commit, such as the memory of a revoked key, and for work of many commits.
///
/// # Errors
///
/// `INTERNAL` if the work panicked.
pub async fn to_the_end<T: 'static>(
    work: impl Future<Output = T> + 'static,
) -> Result<T, HttpProblem> {
    let task = match LogContext::current() {
        Some(context) => actix_web::rt::spawn(context.scope(work)),
        None => actix_web::rt::spawn(work),
    };
    task.await.map_err(|error| {
        tracing::error!(%error, "work that must be finished was not");
        HttpProblem::internal()
    })
}
