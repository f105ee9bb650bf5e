//! The core's routes: operations and the stream of changes.

use super::{
    endpoint::{Endpoint, get, group, schema},
    event_stream, events, ops,
    query::WAIT_MAX_MS,
};
use ifmatch_types::{Code, Event};

/// The routes that need no key.
pub fn operations() -> Vec<Endpoint> {
    group(
        "Operations",
        [
            get("/healthz", ops::healthz)
                .probe()
                .summary("Whether the process is alive")
                .answers_with(200, "application/json"),
            get("/readyz", ops::readyz)
                .probe()
                .summary("Whether requests can be served")
                .answers_with(200, "application/json")
                .problems(&[Code::TryAgain]),
            get("/metrics", ops::metrics)
                .open()
                .summary("Metrics for Prometheus")
                .answers_with(200, "text/plain"),
            get("/openapi.json", ops::openapi)
                .open()
                .summary("This document")
                .answers_with(200, "application/json"),
            get("/docs", ops::docs)
                .open()
                .summary("This document, for people")
                .answers_with(200, "text/html"),
            get("/docs/{version}/{name}", ops::docs_asset)
                .open()
                .operation_id("get_docs_file")
                .summary("A file of the documentation page")
                .answers_with(200, "text/javascript")
                .answers_with(200, "text/css")
                .problems(&[Code::NotFound]),
            get("/console", ops::console)
                .open()
                .summary("The console, for operators and support agents")
                .answers_with(200, "text/html"),
            get("/console/{version}/{name}", ops::console_asset)
                .open()
                .operation_id("get_console_file")
                .summary("A file of the console")
                .answers_with(200, "text/javascript")
                .answers_with(200, "text/css")
                .problems(&[Code::NotFound]),
        ],
    )
}

/// The stream of all changes.
pub fn changes() -> Vec<Endpoint> {
    group(
        "Changes",
        [
            followed(get("/v1/events", events::list))
                .viewer()
                .scoped()
                .query(
                    "wait_ms",
                    "How long to wait for a first event",
                    schema::integer(0, WAIT_MAX_MS.into()),
                )
                .query("limit", "Events on a page", schema::integer(1, 200))
                .summary("Changes in commit order")
                .answers_page::<Event>(200),
            followed(get("/v1/events/stream", event_stream::stream))
                .viewer()
                .scoped()
                .query("cursor", "Stronger than `after` and `last`", schema::some_text())
                .header(
                    "Last-Event-ID",
                    "The last id of a stream that broke; stronger than all parameters",
                    schema::some_text(),
                )
                .operation_id("stream_events")
                .summary("Changes as they happen, as server-sent events")
                .answers_with(200, "text/event-stream"),
        ],
    )
}

/// Documents where in the stream of changes to begin, and which changes are wanted.
fn followed(endpoint: Endpoint) -> Endpoint {
    let after = "Only events after this cursor; 0 is the beginning";
    let endpoint =
        endpoint.problems(&[Code::CursorUnknown]).query("after", after, schema::some_text());
    let last = "Begin this many places before the end of the stream, if that is after `after`";
    endpoint.query("last", last, schema::at_least(0)).query(
        "type",
        "A kind of object, or a kind of change: subscription.updated, usage.threshold_reached",
        schema::some_text(),
    )
}
