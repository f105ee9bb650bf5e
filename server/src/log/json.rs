//! JSON log lines: the fields of an event and then those of its spans, all in one object.

use serde_json::{Map, Value};
use std::fmt::{self, Debug};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// The suffix of fields whose text is JSON. `tracing` itself has only text for JSON.
const JSON: &str = ".json";

/// Formats log lines as JSON.
///
/// The field `usage.json` becomes the parsed member `usage`. The fields of the current spans are
/// members, too.
pub struct Structured<E>(pub E);

impl<S, E> FormatEvent<S, SpanMembers> for Structured<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    E: FormatEvent<S, SpanMembers>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanMembers>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let members = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        let mut line = members.to_owned();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(members) = span.extensions().get::<FormattedFields<SpanMembers>>() {
                line.push_str(&members.fields);
            }
        }
        line.push('}');
        if event.fields().any(|field| field.name().ends_with(JSON)) {
            line = parsed(&line)?;
        }
        writeln!(writer, "{line}")
    }
}

/// The line with its JSON texts parsed.
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

/// The fields of a span as members to append to an object: `,"method":"GET"`.
///
/// The format of `tracing` itself parses a span's fields again for each field that is added.
pub struct SpanMembers;

impl<'writer> FormatFields<'writer> for SpanMembers {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members { writer, written: Ok(()) };
        fields.record(&mut members);
        members.written
    }
}

struct Members<'writer> {
    writer: Writer<'writer>,
    written: fmt::Result,
}

impl Members<'_> {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        let name = Value::from(field.name());
        let written = write!(self.writer, ",{name}:{}", value.into());
        self.written = self.written.and(written);
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}
