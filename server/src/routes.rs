//! Every route on one page, grouped by resource.

use crate::http::{
    api_keys::{self, ApiKeyWithSecret},
    audit, billing_runs,
    billing_runs::NewBillingRun,
    bookings as booking_reads,
    endpoint::{Endpoint, delete, get, group, patch, post, put, schema},
    events,
    objects::{bookables, bookings, invoices, namespaces, plans, subscriptions, workspaces},
    ops, payments,
    payments::Reversal,
    transactions::{self, NewTransaction, TransactionResults},
};
use ifmatch_store::{FieldType, filters, sorts};
use ifmatch_types::{
    ApiKey, AuditRecord, Availability, BillingRun, Bookable, BookableFields, Booking,
    BookingFields, Code, Deleted, Event, HistoryEntry, Invoice, InvoiceFields, Kind, Namespace,
    NamespaceFields, NewApiKey, NewBooking, NewPayment, Payment, Plan, PlanFields, Subscription,
    SubscriptionFields, Workspace, WorkspaceFields,
};

/// The eight routes that every versioned collection has.
macro_rules! collection {
    ($tag:literal, $path:literal, $handlers:ident, $kind:ident, $entity:ty, $fields:ty, $refusals:expr) => {
        group(
            $tag,
            [
                post(concat!("/v1/", $path), $handlers::create)
                    .agent()
                    .idempotent()
                    .summary("Create")
                    .body::<$fields>()
                    .answers::<$entity>(201)
                    .answers::<$entity>(200)
                    .problems($refusals),
                listed(get(concat!("/v1/", $path), $handlers::list), Kind::$kind)
                    .viewer()
                    .paged()
                    .summary("List")
                    .answers_page::<$entity>(200),
                get(concat!("/v1/", $path, "/{id}"), $handlers::get)
                    .viewer()
                    .versioned()
                    .summary("Read")
                    .answers::<$entity>(200)
                    .problems(READS),
                patch(concat!("/v1/", $path, "/{id}"), $handlers::patch)
                    .agent()
                    .versioned()
                    .idempotent()
                    .summary("Change some fields")
                    .merge_patch::<$fields>()
                    .answers::<$entity>(200)
                    .problems(READS)
                    .problems($refusals),
                put(concat!("/v1/", $path, "/{id}"), $handlers::put)
                    .agent()
                    .versioned()
                    .idempotent()
                    .summary("Replace all fields")
                    .body::<$fields>()
                    .answers::<$entity>(200)
                    .problems(READS)
                    .problems($refusals),
                delete(concat!("/v1/", $path, "/{id}"), $handlers::delete)
                    .agent()
                    .versioned()
                    .idempotent()
                    .summary("Delete")
                    .answers::<Deleted>(200)
                    .problems(READS)
                    .problems($refusals),
                get(concat!("/v1/", $path, "/{id}/history"), $handlers::history)
                    .viewer()
                    .paged()
                    .summary("Who changed what")
                    .answers_page::<HistoryEntry>(200)
                    .problems(&[Code::NotFound, Code::WrongIdType]),
                get(concat!("/v1/", $path, "/{id}/versions/{version}"), $handlers::version)
                    .viewer()
                    .summary("As it was at a version")
                    .answers::<$entity>(200)
                    .problems(READS)
                    .problems(&[Code::VersionPruned]),
            ],
        )
    };
}

const READS: &[Code] = &[Code::NotFound, Code::Deleted, Code::WrongIdType];

/// Every endpoint of the server.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = Vec::new();

    all.extend(group(
        "Operations",
        [
            get("/healthz", ops::healthz)
                .open()
                .summary("Whether the process lives")
                .answers_with(200, "application/json"),
            get("/readyz", ops::readyz)
                .open()
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
            get("/docs/{name}", ops::docs_asset)
                .open()
                .summary("A file of the documentation page")
                .answers_with(200, "application/octet-stream")
                .problems(&[Code::NotFound]),
        ],
    ));

    all.extend(collection!(
        "Plans",
        "plans",
        plans,
        Plan,
        Plan,
        PlanFields,
        &[
            Code::AlreadyExists,
            Code::InvalidStateTransition,
            Code::PlanPriceFrozen,
            Code::PlanInUse
        ]
    ));
    all.extend(collection!(
        "Workspaces",
        "workspaces",
        workspaces,
        Workspace,
        Workspace,
        WorkspaceFields,
        &[Code::WorkspaceInUse]
    ));
    all.extend(collection!(
        "Namespaces",
        "namespaces",
        namespaces,
        Namespace,
        Namespace,
        NamespaceFields,
        &[]
    ));
    all.extend(collection!(
        "Subscriptions",
        "subscriptions",
        subscriptions,
        Subscription,
        Subscription,
        SubscriptionFields,
        &[
            Code::InvalidStateTransition,
            Code::PlanInactive,
            Code::CurrencyMismatch,
            Code::SubscriptionInUse
        ]
    ));
    all.extend(collection!(
        "Invoices",
        "invoices",
        invoices,
        Invoice,
        Invoice,
        InvoiceFields,
        &[
            Code::InvalidStateTransition,
            Code::InvoiceImmutable,
            Code::InvoiceHasPayments,
            Code::AmountOverflow
        ]
    ));

    all.extend(group(
        "Payments",
        [
            post("/v1/invoices/{id}/payments", payments::record)
                .agent()
                .idempotency_required()
                .summary("Record a payment")
                .body::<NewPayment>()
                .answers::<Payment>(201)
                .answers::<Payment>(200)
                .problems(READS)
                .problems(&[
                    Code::AlreadyExists,
                    Code::InvalidStateTransition,
                    Code::ExceedsAmountDue,
                ]),
            get("/v1/invoices/{id}/payments", payments::list)
                .viewer()
                .paged()
                .summary("List an invoice's payments")
                .answers_page::<Payment>(200)
                .problems(&[Code::NotFound, Code::WrongIdType]),
            get("/v1/invoices/{id}/payments/{payment_id}", payments::get)
                .viewer()
                .summary("Read a payment")
                .answers::<Payment>(200)
                .problems(&[Code::NotFound, Code::WrongIdType]),
            post("/v1/invoices/{id}/payments/{payment_id}/reverse", payments::reverse)
                .agent()
                .idempotent()
                .summary("Take a payment back")
                .body::<Reversal>()
                .answers::<Payment>(200)
                .problems(READS),
        ],
    ));

    all.extend(group(
        "Billing",
        [
            post("/v1/billing-runs", billing_runs::run)
                .agent()
                .idempotent()
                .operation_id("run_billing")
                .summary("Make the due invoices and advance periods")
                .optional_body::<NewBillingRun>()
                .answers::<BillingRun>(200),
            post("/v1/transactions", transactions::transact)
                .agent()
                .idempotent()
                .operation_id("transact")
                .summary("Several operations, all or nothing")
                .body::<NewTransaction>()
                .answers::<TransactionResults>(200)
                .problems(READS)
                .problems(&[
                    Code::ConflictVersionMismatch,
                    Code::PreconditionRequired,
                    Code::AlreadyExists,
                    Code::InvalidStateTransition,
                ]),
        ],
    ));

    all.extend(group(
        "Changes",
        [
            followed(get("/v1/events", events::list))
                .viewer()
                .query("wait_ms", "How long to wait for a first event", schema::integer(0, 60_000))
                .query("limit", "Events on a page", schema::integer(1, 200))
                .summary("Changes in commit order")
                .answers_page::<Event>(200),
            followed(get("/v1/events/stream", events::stream))
                .viewer()
                .header(
                    "Last-Event-ID",
                    "The last event seen; stronger than `after`",
                    schema::at_least(0),
                )
                .operation_id("stream_events")
                .summary("Changes as they happen, as server-sent events")
                .answers_with(200, "text/event-stream"),
            get("/v1/audit", audit::list)
                .admin()
                .paged()
                .query("type", "Only records of this type", schema::text())
                .query("actor", "Only what this API key's name did", schema::text())
                .query("since", "Only from this instant on", schema::instant())
                .summary("What needed a special right")
                .answers_page::<AuditRecord>(200),
        ],
    ));

    all.extend(group(
        "API keys",
        [
            post("/v1/api-keys", api_keys::create)
                .admin()
                .idempotent()
                .summary("Make a key, shown this once")
                .body::<NewApiKey>()
                .answers::<ApiKeyWithSecret>(201),
            get("/v1/api-keys", api_keys::list)
                .admin()
                .paged()
                .summary("List all keys")
                .answers_page::<ApiKey>(200),
            delete("/v1/api-keys/{id}", api_keys::revoke)
                .admin()
                .idempotent()
                .summary("Revoke a key")
                .answers::<ApiKey>(200)
                .problems(&[Code::NotFound]),
        ],
    ));

    all.extend(collection!(
        "Bookables",
        "bookables",
        bookables,
        Bookable,
        Bookable,
        BookableFields,
        &[Code::CapacityBelowReserved, Code::BookableInUse]
    ));
    all.extend(group(
        "Bookables",
        [get("/v1/bookables/{id}/availability", booking_reads::availability)
            .viewer()
            .operation_id("get_availability")
            .summary("What is free, day by day")
            .query("from", "The first day", schema::date())
            .query("to", "The last day; 366 days at most", schema::date())
            .answers::<Availability>(200)
            .problems(READS)],
    ));
    all.extend(
        collection!(
            "Bookings",
            "bookings",
            bookings,
            Booking,
            Booking,
            BookingFields,
            &[
                Code::InvalidStateTransition,
                Code::AvailabilityConflict,
                Code::HoldExpired,
                Code::BookableUnavailable
            ]
        )
        .into_iter()
        .map(|endpoint| {
            // A create also takes `confirm`.
            if endpoint.is_post() { endpoint.body::<NewBooking>() } else { endpoint }
        }),
    );

    all
}

/// Documents a collection's filters and sort keys.
fn listed(mut endpoint: Endpoint, kind: Kind) -> Endpoint {
    for (name, field_type) in filters(kind) {
        let schema = match field_type {
            FieldType::Text => schema::text(),
            FieldType::Integer => schema::at_least(i64::MIN),
            FieldType::Boolean => schema::boolean(),
            FieldType::Instant => schema::instant(),
            FieldType::Date => schema::date(),
        };
        endpoint = endpoint.query(name, "Only objects with this value", schema);
    }
    let names: Vec<String> =
        sorts(kind).iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    endpoint.query("sort", "The order; - for descending", schema::one_of(&names))
}

/// Documents where in the stream of changes to begin, and which changes are wanted.
fn followed(endpoint: Endpoint) -> Endpoint {
    endpoint.query("after", "Only events after this place", schema::at_least(0)).query(
        "type",
        "A kind of object, or a kind of change: subscription.updated",
        schema::text(),
    )
}

#[cfg(test)]
mod tests {
    use crate::http::{
        openapi::{document, tests::assert_sound},
        problem::status_of,
    };

    #[test]
    fn the_document_is_sound_and_says_every_route() {
        let endpoints = super::endpoints();
        assert_sound(&endpoints, &document(&endpoints, status_of));
    }
}
