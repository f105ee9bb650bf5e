//! Problem bodies (RFC 9457), one shape for every refusal.

use crate::{By, MergeReport, Timestamp, Version, change::ResourceRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

names! {
    /// The code of a problem. Dispatch on this, never on the status alone.
    Code {
        /// The write was computed from a version that is not the current one.
        ConflictVersionMismatch = "CONFLICT_VERSION_MISMATCH",
        /// The write names no version.
        PreconditionRequired = "PRECONDITION_REQUIRED",
        /// The version is named in a way that cannot be read, or twice and differently.
        MalformedPrecondition = "MALFORMED_PRECONDITION",
        /// No such object, or no such path.
        NotFound = "NOT_FOUND",
        /// The object was deleted.
        Deleted = "DELETED",
        /// A unique key is taken by an object with other content.
        AlreadyExists = "ALREADY_EXISTS",
        /// The object's status does not allow this.
        InvalidStateTransition = "INVALID_STATE_TRANSITION",
        /// The request cannot be read.
        MalformedRequest = "MALFORMED_REQUEST",
        /// The body took too long to arrive. Nothing was done.
        RequestTimeout = "REQUEST_TIMEOUT",
        /// Fields are wrong; `errors` names each.
        ValidationFailed = "VALIDATION_FAILED",
        /// The caller may not force.
        ForceForbidden = "FORCE_FORBIDDEN",
        /// A forced write needs `X-Force-Reason`.
        ReasonRequired = "REASON_REQUIRED",
        /// Too many requests.
        RateLimited = "RATE_LIMITED",
        /// The server or its database is busy or away. Nothing was written.
        TryAgain = "TRY_AGAIN",
        /// Something unforeseen. The log has it under the request id.
        Internal = "INTERNAL",
        /// The API key is missing or not accepted.
        Unauthenticated = "UNAUTHENTICATED",
        /// The key's role is too small.
        Forbidden = "FORBIDDEN",
        /// A well-formed id of another type.
        WrongIdType = "WRONG_ID_TYPE",
        /// The method does not exist on this path.
        MethodNotAllowed = "METHOD_NOT_ALLOWED",
        /// The body is too large.
        PayloadTooLarge = "PAYLOAD_TOO_LARGE",
        /// The content type is not one this path reads.
        UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE",
        /// The snapshot of that version was pruned.
        VersionPruned = "VERSION_PRUNED",
        /// The cursor names no place in the log of changes. Read the objects anew.
        CursorUnknown = "CURSOR_UNKNOWN",
        /// The Idempotency-Key was used for another request.
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
        /// This request needs an Idempotency-Key.
        IdempotencyKeyRequired = "IDEMPOTENCY_KEY_REQUIRED",
        /// A number left the range of 64 bits.
        AmountOverflow = "AMOUNT_OVERFLOW",
        /// The price of a plan that was active once cannot change.
        PlanPriceFrozen = "PLAN_PRICE_FROZEN",
        /// The plan is not a draft, or has subscriptions.
        PlanInUse = "PLAN_IN_USE",
        /// Subscriptions need an active plan.
        PlanInactive = "PLAN_INACTIVE",
        /// The plans' currencies differ.
        CurrencyMismatch = "CURRENCY_MISMATCH",
        /// The workspace still has namespaces, subscriptions or invoices, or has had credits.
        WorkspaceInUse = "WORKSPACE_IN_USE",
        /// The subscription had an invoice.
        SubscriptionInUse = "SUBSCRIPTION_IN_USE",
        /// The subscription has ended. Only its notes and metadata can change.
        SubscriptionEnded = "SUBSCRIPTION_ENDED",
        /// Too many periods are not billed yet. Run billing first.
        BillingBehind = "BILLING_BEHIND",
        /// The balance has less than would be taken from it.
        InsufficientBalance = "INSUFFICIENT_BALANCE",
        /// What the invoice gave to the balance is spent.
        BalanceSpent = "BALANCE_SPENT",
        /// These fields of a finalized invoice cannot change.
        InvoiceImmutable = "INVOICE_IMMUTABLE",
        /// The invoice has settled payments.
        InvoiceHasPayments = "INVOICE_HAS_PAYMENTS",
        /// The payment is more than is due.
        ExceedsAmountDue = "EXCEEDS_AMOUNT_DUE",
        /// The payment was reversed. A repeat of it does not count; reinstating it does.
        PaymentReversed = "PAYMENT_REVERSED",
        /// Too few units are left.
        EntitlementLimitExceeded = "ENTITLEMENT_LIMIT_EXCEEDED",
        /// Nothing grants the feature.
        FeatureNotIncluded = "FEATURE_NOT_INCLUDED",
        /// Something grants the feature, or draws from it.
        FeatureInUse = "FEATURE_IN_USE",
        /// The package was assigned before.
        PackageInUse = "PACKAGE_IN_USE",
        /// The package is archived.
        PackageInactive = "PACKAGE_INACTIVE",
        /// The hold was settled, released, or expired.
        HoldNotActive = "HOLD_NOT_ACTIVE",
        /// Recorded usage of the feature cannot be given back.
        FeatureNotReleasable = "FEATURE_NOT_RELEASABLE",
        /// More units than are left of the record.
        ReversalExceedsRecord = "REVERSAL_EXCEEDS_RECORD",
        /// The external service id belongs to an assignment with other content.
        DuplicateExternalService = "DUPLICATE_EXTERNAL_SERVICE",
        /// The add-on id belongs to a boost with other content.
        DuplicateAddon = "DUPLICATE_ADDON",
        /// The scope has another base package.
        BasePackageConflict = "BASE_PACKAGE_CONFLICT",
        /// The fence is stale: the lock has a newer holder or none.
        StaleFence = "STALE_FENCE",
        /// Somebody else holds the lock, or it cools down after a forced release.
        LockAcquisitionFailed = "LOCK_ACQUISITION_FAILED",
        /// The lock did not become free in the time that the caller would wait.
        LockTimeout = "LOCK_TIMEOUT",
        /// The lock is not held.
        LockNotFound = "LOCK_NOT_FOUND",
        /// Somebody else holds the lock.
        LockOwnershipMismatch = "LOCK_OWNERSHIP_MISMATCH",
        /// The caller's grant of the lock ended: it expired or was taken away.
        LockLost = "LOCK_LOST",
        /// The grant would last for more than 24 hours from now.
        LockTtlExceedsMaximum = "LOCK_TTL_EXCEEDS_MAXIMUM",
        /// Fewer credits are available than are needed.
        InsufficientCredits = "INSUFFICIENT_CREDITS",
        /// More credits than are reserved.
        ExceedsReservation = "EXCEEDS_RESERVATION",
        /// The reservation was posted, perhaps with another amount.
        ReservationAlreadyPosted = "RESERVATION_ALREADY_POSTED",
        /// The reservation was voided.
        ReservationAlreadyVoided = "RESERVATION_ALREADY_VOIDED",
        /// A server made the reservation, and only that server resolves it.
        ReservationOwned = "RESERVATION_OWNED",
        /// The server is configured without a panel.
        PanelNotConfigured = "PANEL_NOT_CONFIGURED",
        /// The workspace has as many servers of the product as it may have.
        ServerLimitReached = "SERVER_LIMIT_REACHED",
        /// The product is archived.
        ProductUnavailable = "PRODUCT_UNAVAILABLE",
        /// The product had a server.
        ProductInUse = "PRODUCT_IN_USE",
        /// A day of the range is full. `usage` has the usage of each day.
        AvailabilityConflict = "AVAILABILITY_CONFLICT",
        /// The hold expired and its days are taken.
        HoldExpired = "HOLD_EXPIRED",
        /// The new capacity is below the reserved quantity of some day.
        CapacityBelowReserved = "CAPACITY_BELOW_RESERVED",
        /// The bookable is archived and takes no new bookings.
        BookableUnavailable = "BOOKABLE_UNAVAILABLE",
        /// The bookable had a booking.
        BookableInUse = "BOOKABLE_IN_USE",
    }

    /// What a program should do about a problem.
    RetryAction {
        /// Fetch the current version, apply the edit to it, send that.
        Reapply = "reapply",
        /// Send the same bytes again.
        Resend = "resend",
        /// Do not retry: the same request fails again.
        None = "none",
    }
}

/// Whether and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retry {
    /// The next step.
    pub action: RetryAction,
    /// How long to wait first, in milliseconds.
    pub after_ms: u64,
}

/// A wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where, as a JSON Pointer into the body.
    pub path: String,
    /// The message.
    pub message: String,
}

/// A refusal: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Which problem, as a relative URI: `/problems/version-conflict`.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The problem in a few words, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A description of this occurrence, for people.
    pub detail: String,
    /// The code, for programs.
    pub code: Code,
    /// The request's id, as in the log.
    pub request_id: String,
    /// Whether and when to retry.
    pub retry: Retry,
    /// Wrong fields, with `VALIDATION_FAILED`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Further members of the code, by their names in the API's documentation.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

/// The part of a problem body that `CONFLICT_VERSION_MISMATCH` adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conflict {
    /// The id of this conflict for logs and support, `cfl_…`.
    pub conflict_id: String,
    /// The object.
    pub resource: ResourceRef,
    /// The version the caller named, if it was a number.
    pub expected_version: Option<Version>,
    /// The version the object is at.
    pub current_version: Version,
    /// The whole object at that version.
    pub current: Value,
    /// The net difference between the two versions.
    pub changes: Vec<ConflictChange>,
    /// The paths that the request would have changed against its own base.
    pub attempted: Vec<String>,
    /// Whether the request can be merged.
    pub merge: MergeReport,
}

/// One path that changed since the version that a stale write was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictChange {
    /// Where, as a JSON Pointer.
    pub path: String,
    /// The value at the version the caller named.
    pub base: Value,
    /// The value now.
    pub current: Value,
    /// The version of the latest change of this path.
    pub version: Version,
    /// When that change was committed.
    pub at: Timestamp,
    /// The author of that change.
    pub by: By,
}
