//! Every route on one page, grouped by resource.

use crate::http::{
    api_keys::{self, ApiKeyWithSecret},
    audit, billing_runs,
    billing_runs::NewBillingRun,
    bookings as booking_reads,
    endpoint::{Endpoint, delete, get, group, patch, post, put, schema},
    entitlements, events,
    objects::{
        SCOPE, bookables, bookings, features, invoices, namespaces, packages, plans, subscriptions,
        workspaces,
    },
    ops, payments,
    payments::Reversal,
    transactions::{self, NewTransaction, TransactionResults},
    usage,
};
use ifmatch_store::{FieldType, filters, sorts};
use ifmatch_types::{
    ApiKey, Assignment, AssignmentFields, AuditRecord, Availability, BillingRun, Bookable,
    BookableFields, Booking, BookingFields, Boost, BoostAnswer, Code, Deleted, Entitlement,
    EntitlementLogEntry, Event, Feature, FeatureFields, HistoryEntry, Hold, HoldAnswer, Invoice,
    InvoiceFields, Kind, Namespace, NamespaceFields, NewApiKey, NewAssignment, NewBooking,
    NewBoost, NewHold, NewPayment, NewReversal, NewUsage, NewUsageBatch, Package, PackageFields,
    Payment, Plan, PlanFields, Recorded, RecordedBatch, Reversed, Settlement, Subscription,
    SubscriptionFields, UsageRecord, Workspace, WorkspaceFields,
};

/// The eight routes that every versioned collection has.
macro_rules! collection {
    ($tag:literal, $path:literal, $handlers:ident, $kind:ident, $entity:ty, $fields:ty, $refusals:expr) => {
        group(
            $tag,
            [
                post(concat!("/v1/", $path), $handlers::create)
                    .agent()
                    .tagged()
                    .idempotent()
                    .summary("Create")
                    .body::<$fields>()
                    .answers::<$entity>(201)
                    .answers::<$entity>(200)
                    .problems(&[Code::WrongIdType])
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
                    .query("sort", SORT, schema::one_of(&["version", "-version"]))
                    .summary("Who changed what")
                    .answers_page::<HistoryEntry>(200)
                    .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/versions/{version}"), $handlers::version)
                    .viewer()
                    .tagged()
                    .summary("As it was at a version")
                    .answers::<$entity>(200)
                    .problems(READS)
                    .problems(&[Code::VersionPruned]),
            ],
        )
    };
}

/// What a workspace and a namespace have alike: packages, boosts, entitlements and usage.
macro_rules! scope {
    ($path:literal, $one:literal) => {
        group(
            "Entitlements",
            [
                post(concat!("/v1/", $path, "/{id}/packages"), entitlements::assign)
                    .agent()
                    .tagged()
                    .idempotent()
                    .operation_id(concat!("assign_", $one, "_package"))
                    .summary("Assign a package")
                    .body::<NewAssignment>()
                    .answers::<Assignment>(201)
                    .answers::<Assignment>(200)
                    .problems(READS)
                    .problems(&[
                        Code::AlreadyExists,
                        Code::DuplicateExternalService,
                        Code::PackageInactive,
                    ]),
                listed(
                    get(concat!("/v1/", $path, "/{id}/packages"), entitlements::packages),
                    Kind::Assignment,
                )
                .viewer()
                .paged()
                .summary("List assigned packages")
                .answers_page::<Assignment>(200)
                .problems(KNOWN),
                get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}"),
                    entitlements::package,
                )
                .viewer()
                .versioned()
                .summary("Read an assignment")
                .answers::<Assignment>(200)
                .problems(KNOWN),
                patch(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}"),
                    entitlements::change_package,
                )
                .agent()
                .versioned()
                .idempotent()
                .summary("Suspend, reactivate or cancel an assignment")
                .merge_patch::<AssignmentFields>()
                .answers::<Assignment>(200)
                .problems(KNOWN)
                .problems(&[Code::InvalidStateTransition, Code::BasePackageConflict]),
                get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}/history"),
                    entitlements::package_history,
                )
                .viewer()
                .paged()
                .query("sort", SORT, schema::one_of(&["version", "-version"]))
                .summary("Who changed what of an assignment")
                .answers_page::<HistoryEntry>(200)
                .problems(KNOWN),
                get(
                    concat!("/v1/", $path, "/{id}/packages/{assignment_id}/versions/{version}"),
                    entitlements::package_version,
                )
                .viewer()
                .summary("An assignment as it was at a version")
                .answers::<Assignment>(200)
                .problems(KNOWN)
                .problems(&[Code::VersionPruned]),
                post(concat!("/v1/", $path, "/{id}/boosts"), entitlements::grant_boost)
                    .agent()
                    .tagged()
                    .tagged()
                    .idempotent()
                    .summary("Give a boost")
                    .body::<NewBoost>()
                    .answers::<BoostAnswer>(201)
                    .answers::<BoostAnswer>(200)
                    .problems(READS)
                    .problems(&[Code::DuplicateAddon]),
                listed(
                    get(concat!("/v1/", $path, "/{id}/boosts"), entitlements::boosts),
                    Kind::Boost,
                )
                .viewer()
                .paged()
                .summary("List boosts")
                .answers_page::<Boost>(200)
                .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/boosts/{boost_id}"), entitlements::boost)
                    .viewer()
                    .versioned()
                    .summary("Read a boost")
                    .answers::<Boost>(200)
                    .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/entitlements"), entitlements::list)
                    .viewer()
                    .paged()
                    .summary("What may be used of each feature: an advice")
                    .answers_page::<Entitlement>(200)
                    .problems(READS),
                get(concat!("/v1/", $path, "/{id}/entitlements/{feature}"), entitlements::get)
                    .viewer()
                    .summary("What may be used of a feature: an advice")
                    .answers::<Entitlement>(200)
                    .problems(READS),
                get(concat!("/v1/", $path, "/{id}/entitlement-log"), entitlements::log)
                    .viewer()
                    .paged()
                    .query("type", "Only entries of this type", schema::text())
                    .summary("What was given, lost or denied, newest first")
                    .answers_page::<EntitlementLogEntry>(200)
                    .problems(KNOWN),
                post(concat!("/v1/", $path, "/{id}/usage"), usage::record)
                    .agent()
                    .idempotency_required()
                    .operation_id(concat!("record_", $one, "_usage"))
                    .summary("Record usage, if there is room for it")
                    .body::<NewUsage>()
                    .answers::<Recorded>(201)
                    .problems(READS)
                    .problems(DENIALS),
                post(concat!("/v1/", $path, "/{id}/usage/batch"), usage::record_batch)
                    .agent()
                    .idempotency_required()
                    .operation_id(concat!("record_", $one, "_usage_batch"))
                    .summary("Record several usages, all or nothing")
                    .body::<NewUsageBatch>()
                    .answers::<RecordedBatch>(201)
                    .problems(READS)
                    .problems(DENIALS),
                get(concat!("/v1/", $path, "/{id}/usage"), usage::list)
                    .viewer()
                    .paged()
                    .query("feature", "Only usage of this feature", schema::text())
                    .summary("List recorded usage, newest first")
                    .answers_page::<UsageRecord>(200)
                    .problems(KNOWN),
                get(concat!("/v1/", $path, "/{id}/usage/{record_id}"), usage::get)
                    .viewer()
                    .summary("Read a usage record")
                    .answers::<UsageRecord>(200)
                    .problems(KNOWN),
                post(concat!("/v1/", $path, "/{id}/usage/{record_id}/reversals"), usage::reverse)
                    .agent()
                    .idempotent()
                    .summary("Give recorded usage back")
                    .body::<NewReversal>()
                    .answers::<Reversed>(201)
                    .problems(READS)
                    .problems(&[Code::ReversalExceedsRecord]),
                post(concat!("/v1/", $path, "/{id}/usage/holds"), usage::hold)
                    .agent()
                    .idempotency_required()
                    .summary("Set units aside")
                    .body::<NewHold>()
                    .answers::<HoldAnswer>(201)
                    .problems(READS)
                    .problems(DENIALS),
                get(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}"), usage::get_hold)
                    .viewer()
                    .summary("Read a hold")
                    .answers::<Hold>(200)
                    .problems(KNOWN),
                post(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}/settle"), usage::settle)
                    .agent()
                    .idempotent()
                    .summary("Record what the work took, and end the hold")
                    .body::<Settlement>()
                    .answers::<HoldAnswer>(200)
                    .problems(READS)
                    .problems(DENIALS)
                    .problems(&[Code::HoldNotActive]),
                post(concat!("/v1/", $path, "/{id}/usage/holds/{hold_id}/release"), usage::release)
                    .agent()
                    .idempotent()
                    .summary("Give everything back, and end the hold")
                    .answers::<HoldAnswer>(200)
                    .problems(READS)
                    .problems(&[Code::ValidationFailed, Code::HoldNotActive]),
            ],
        )
    };
}

const SORT: &str = "The order; - for descending";
/// What every read of what belongs to something may answer: it is readable after a deletion, too.
const KNOWN: &[Code] = &[Code::NotFound, Code::WrongIdType];
/// What a request for units may be told.
const DENIALS: &[Code] =
    &[Code::EntitlementLimitExceeded, Code::FeatureNotIncluded, Code::AmountOverflow];
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

    all.extend(collection!(
        "Features",
        "features",
        features,
        Feature,
        Feature,
        FeatureFields,
        &[Code::AlreadyExists, Code::FeatureInUse]
    ));
    all.extend(collection!(
        "Packages",
        "packages",
        packages,
        Package,
        Package,
        PackageFields,
        &[Code::AlreadyExists, Code::PackageInUse]
    ));
    all.extend(scope!("workspaces", "workspace"));
    all.extend(scope!("namespaces", "namespace"));

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
                .problems(KNOWN),
            get("/v1/invoices/{id}/payments/{payment_id}", payments::get)
                .viewer()
                .summary("Read a payment")
                .answers::<Payment>(200)
                .problems(KNOWN),
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
        [post("/v1/billing-runs", billing_runs::run)
            .agent()
            .idempotent()
            .operation_id("run_billing")
            .summary("Make the due invoices and advance periods")
            .optional_body::<NewBillingRun>()
            .answers::<BillingRun>(200)],
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
                .problems(KNOWN),
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

    let of_objects: Vec<Code> = all.iter().flat_map(Endpoint::object_problems).copied().collect();
    all.extend(group(
        "Billing",
        [post("/v1/transactions", transactions::transact)
            .agent()
            .idempotent()
            .operation_id("transact")
            .summary("Several operations, all or nothing")
            .body::<NewTransaction>()
            .answers::<TransactionResults>(200)
            .problems(READS)
            .problems(&[Code::ConflictVersionMismatch, Code::PreconditionRequired])
            .problems(&of_objects)],
    ));

    all
}

/// Documents a collection's filters and sort keys.
fn listed(endpoint: Endpoint, kind: Kind) -> Endpoint {
    let mut endpoint = endpoint.problems(&[Code::WrongIdType]);
    for (name, field_type) in filters(kind).iter().filter(|(name, _)| *name != SCOPE) {
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
    endpoint.query("sort", SORT, schema::one_of(&names))
}

/// Documents where in the stream of changes to begin, and which changes are wanted.
fn followed(endpoint: Endpoint) -> Endpoint {
    let endpoint = endpoint.query("after", "Only events after this place", schema::at_least(0));
    let last = "Begin so many places before the end of the stream, if that is after `after`";
    endpoint.query("last", last, schema::at_least(0)).query(
        "type",
        "A kind of object, or a kind of change: subscription.updated, usage.threshold_reached",
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
