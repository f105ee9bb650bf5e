//! The log, and the request id that ties its lines to answers.
//!
//! Lines go to stderr: stdout belongs to what a command was asked to print.

use serde_json::{Map, Value};
use std::{fmt, sync::Arc};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, SubscriberBuilder, format::Writer},
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use uuid::Uuid;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one that `tracing` understands.
    #[error("the log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is a log already.
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
            let log = log.json().flatten_event(true).with_span_list(false);
            log.map_event_format(Structured).finish().try_init()?;
        }
    }
    Ok(())
}

/// The end of the names of fields whose text is JSON; of that, `tracing` itself knows only texts.
const JSON: &str = ".json";

/// Lines of JSON in which `usage.json` is the member `usage`, with what its text says.
struct Structured<E>(E);

impl<S, N, E> FormatEvent<S, N> for Structured<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    E: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !event.fields().any(|field| field.name().ends_with(JSON)) {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let members: Map<String, Value> = serde_json::from_str(&line).map_err(|_| fmt::Error)?;
        let members = members.into_iter().map(|(name, value)| match name.strip_suffix(JSON) {
            Some(name) => {
                let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
                (name.to_owned(), read.unwrap_or(value))
            }
            None => (name, value),
        });
        writeln!(writer, "{}", Value::from_iter(members))
    }
}

/// The name of one request, in its answer and in every log line about it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest id that is taken from a caller, in characters.
    pub const LEN_MAX: usize = 128;

    /// The caller's `X-Request-Id` if it is a sane one, else a new UUIDv7.
    ///
    /// Sane is 1–128 characters of `A-Z a-z 0-9 . _ : -`: it is written to logs and headers as is.
    pub fn from_header(value: Option<&str>) -> Self {
        let sane =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        match value {
            Some(id) if (1..=Self::LEN_MAX).contains(&id.len()) && id.bytes().all(sane) => {
                Self(id.into())
            }
            _ => Self::new(),
        }
    }

    /// A new id, for work that no request asked for.
    pub fn new() -> Self {
        let mut buffer = Uuid::encode_buffer();
        Self(Arc::from(&*Uuid::now_v7().hyphenated().encode_lower(&mut buffer)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_of_the_caller_is_kept() {
        for id in ["a", "req-1", "A.b_c:9-", &"x".repeat(128)] {
            assert_eq!(RequestId::from_header(Some(id)).as_str(), id);
        }
    }

    #[test]
    fn anything_else_is_replaced_by_a_uuid_v7() {
        for id in [None, Some(""), Some("a b"), Some("a\nb"), Some("é"), Some(&*"x".repeat(129))] {
            let made = RequestId::from_header(id);
            let uuid: Uuid = made.as_str().parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7, "{id:?}");
        }
        assert_ne!(RequestId::new(), RequestId::new());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(matches!(start(LogFormat::Text, "info,=/="), Err(LogError::Filter(_))));
    }
}
