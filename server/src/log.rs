//! The log: its output, its formats, and what ties its lines to a request.
//!
//! Lines go to stderr. Stdout is for what a command was asked to print.

mod context;
mod line;
mod request_id;

pub use context::LogContext;
pub use request_id::RequestId;

use line::Line;
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
        LogFormat::Text => log
            .with_ansi(false)
            .map_event_format(|event| Line { format, event })
            .finish()
            .try_init()?,
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .map_event_format(|event| Line { format, event })
            .finish()
            .try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(matches!(start(LogFormat::Text, "info,=/="), Err(LogError::Filter(_))));
    }
}
