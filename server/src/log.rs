//! The log: its output, its formats, and the span that ties its lines to a request.
//!
//! Lines go to stderr. Stdout is for what a command was asked to print.

mod json;
mod request_id;

pub use request_id::RequestId;

use ifmatch_domain::core::Meta;
use json::{SpanMembers, Structured};
use tracing::{Span, error_span, field};
use tracing_subscriber::{EnvFilter, fmt::SubscriberBuilder, util::SubscriberInitExt};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people to read.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one that `tracing` understands.
    #[error("the log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The log was started before.
    #[error("the log was started twice")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log of this process.
///
/// `filter` is a `tracing` filter such as `info` or `info,ifmatch_server::lane=debug`.
///
/// # Errors
/// If the filter cannot be read, or the log was started before.
pub fn start(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter)?;
    let log = SubscriberBuilder::default().with_writer(std::io::stderr).with_env_filter(filter);
    match format {
        LogFormat::Text => log.with_ansi(false).finish().try_init()?,
        LogFormat::Json => {
            let log = log.json().flatten_event(true);
            let log = log.with_current_span(false).with_span_list(false);
            log.fmt_fields(SpanMembers).map_event_format(Structured).finish().try_init()?;
        }
    }
    Ok(())
}

/// The span of one request.
///
/// Every line that is logged within it carries its fields. `route` and `actor` are recorded when
/// they are known.
///
/// It has the level of an error, so that no filter by level removes the request id from an error's
/// line.
pub fn request_span(request_id: &RequestId, method: &'static str) -> Span {
    let request_id = request_id.as_str();
    error_span!("request", request_id, method, route = field::Empty, actor = field::Empty)
}

/// The span of a command: that of its request, or a new one.
pub fn span_of(meta: &Meta) -> Span {
    let current = Span::current();
    if !current.is_none() {
        return current;
    }
    let request_id = meta.request_id.as_str();
    error_span!("command", request_id, actor = meta.actor.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(matches!(start(LogFormat::Text, "info,=/="), Err(LogError::Filter(_))));
    }
}
