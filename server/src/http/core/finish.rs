//! Work that must be finished although its client may hang up.

use super::problem::HttpProblem;
use std::future::Future;
use tracing::Instrument;

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
    actix_web::rt::spawn(work.in_current_span()).await.map_err(|error| {
        tracing::error!(%error, "work that must be finished was not");
        HttpProblem::internal()
    })
}
