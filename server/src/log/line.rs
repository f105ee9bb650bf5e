//! The format of log lines: an event, and then the fields of the request that it belongs to.

use super::{LogContext, LogFormat};
use serde_json::{Map, Value};
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The suffix of fields whose text is JSON. `tracing` itself has only text for JSON.
const JSON: &str = ".json";

/// A line: what `tracing` writes of an event, and then the fields of its request.
///
/// They end a text line, `… request_id="…" method="GET"`, and are members of a JSON line.
pub struct Line<E> {
    /// How the fields are added.
    pub format: LogFormat,
    /// `tracing`'s own format of an event.
    pub event: E,
}

impl<S, N, E> FormatEvent<S, N> for Line<E>
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
        let mut line = String::new();
        self.event.format_event(context, Writer::new(&mut line), event)?;
        line.truncate(line.trim_end().len());
        match self.format {
            LogFormat::Text => {
                LogContext::each_field(|name, value| line.push_str(&format!(" {name}={value:?}")));
            }
            LogFormat::Json => {
                line.pop().filter(|last| *last == '}').ok_or(fmt::Error)?;
                LogContext::each_field(|name, value| {
                    line.push_str(&format!(",\"{name}\":{}", Value::from(value)));
                });
                line.push('}');
                if event.fields().any(|field| field.name().ends_with(JSON)) {
                    line = parsed(&line)?;
                }
            }
        }
        writeln!(writer, "{line}")
    }
}

/// The line with its JSON texts parsed: the field `usage.json` becomes the member `usage`.
fn parsed(line: &str) -> Result<String, fmt::Error> {
    let members: Map<String, Value> = serde_json::from_str(line).map_err(|_| fmt::Error)?;
    let members = members.into_iter().map(|(name, value)| match name.strip_suffix(JSON) {
        Some(name) => {
            let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
            (name.to_owned(), read.unwrap_or(value))
        }
        None => (name, value),
    });
    Ok(Value::from_iter(members).to_string())
}
