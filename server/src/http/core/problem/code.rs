//! The one table of codes: status, name in the type URI, title, and what the caller should do next.

use ifmatch_types::{Code, Retry, RetryAction};

/// The parts that all problems with one code share.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The HTTP status. A version conflict over `If-Match` is answered with 412 instead.
    pub status: u16,
    /// The last part of the type URI: `/problems/{name}`.
    pub name: &'static str,
    /// The problem in a few words.
    pub title: &'static str,
    /// What the caller should do next.
    pub retry: Retry,
}

/// Sending it again will not work.
const NEVER: Retry = Retry { action: RetryAction::None, after_ms: 0 };
/// Fetch the object, apply the edit to it, and send the result.
const REAPPLY: Retry = Retry { action: RetryAction::Reapply, after_ms: 0 };

/// Send the same request again after this long, in milliseconds.
const fn resend(after_ms: u64) -> Retry {
    Retry { action: RetryAction::Resend, after_ms }
}

macro_rules! code_rows {
    ($($code:ident: $status:literal, $name:literal, $title:literal, $retry:expr;)*) => {
        /// The row of a code.
        pub const fn row(code: Code) -> CodeRow {
            match code {
                $(Code::$code => CodeRow {
                    status: $status, name: $name, title: $title, retry: $retry,
                },)*
                // A code of a newer server. This server never answers it.
                Code::Unknown(_) => CodeRow {
                    status: 500, name: "unknown", title: "Unknown", retry: NEVER,
                },
            }
        }

        const ROWS: usize = [$(Code::$code),*].len();
    };
}

code_rows! {
    ConflictVersionMismatch: 409, "version-conflict", "Version conflict", REAPPLY;
    PreconditionRequired: 428, "precondition-required", "A version is required", NEVER;
    MalformedPrecondition: 400, "malformed-precondition", "Malformed precondition", NEVER;
    NotFound: 404, "not-found", "Not found", NEVER;
    Deleted: 410, "deleted", "Deleted", NEVER;
    AlreadyExists: 409, "already-exists", "Already exists", NEVER;
    InvalidStateTransition: 409, "invalid-state-transition", "Transition not allowed", NEVER;
    MalformedRequest: 400, "malformed-request", "Malformed request", NEVER;
    RequestTimeout: 408, "request-timeout", "The body took too long", NEVER;
    ValidationFailed: 422, "validation-failed", "Fields are wrong", NEVER;
    ForceForbidden: 403, "force-forbidden", "Force is for admins", NEVER;
    ReasonRequired: 422, "reason-required", "A reason is required", NEVER;
    RateLimited: 429, "rate-limited", "Too many requests", resend(1_000);
    TryAgain: 503, "try-again", "Busy", resend(500);
    Unauthenticated: 401, "unauthenticated", "Not authenticated", NEVER;
    Forbidden: 403, "forbidden", "Not allowed", NEVER;
    WrongIdType: 400, "wrong-id-type", "Id of another type", NEVER;
    MethodNotAllowed: 405, "method-not-allowed", "Method not allowed", NEVER;
    PayloadTooLarge: 413, "payload-too-large", "Body too large", NEVER;
    UnsupportedMediaType: 415, "unsupported-media-type", "Unsupported content type", NEVER;
    VersionPruned: 410, "version-pruned", "Version pruned", NEVER;
    CursorUnknown: 410, "cursor-unknown", "Cursor unknown", NEVER;
    IdempotencyKeyReused: 422, "idempotency-key-reused", "Idempotency-Key reused", NEVER;
    IdempotencyKeyRequired: 400, "idempotency-key-required", "An Idempotency-Key is required", NEVER;
    AmountOverflow: 422, "amount-overflow", "Amount out of range", NEVER;
    PlanPriceFrozen: 409, "plan-price-frozen", "The plan's price is frozen", NEVER;
    PlanInUse: 409, "plan-in-use", "The plan is in use", NEVER;
    PlanInactive: 409, "plan-inactive", "The plan is not active", NEVER;
    CurrencyMismatch: 422, "currency-mismatch", "Currencies differ", NEVER;
    WorkspaceInUse: 409, "workspace-in-use", "The workspace is in use", NEVER;
    SubscriptionInUse: 409, "subscription-in-use", "The subscription is in use", NEVER;
    InvoiceImmutable: 409, "invoice-immutable", "The invoice is finalized", NEVER;
    InvoiceHasPayments: 422, "invoice-has-payments", "The invoice has payments", NEVER;
    ExceedsAmountDue: 422, "exceeds-amount-due", "More than is due", NEVER;
    PaymentReversed: 409, "payment-reversed", "The payment was reversed", NEVER;
    EntitlementLimitExceeded: 403, "entitlement-limit-exceeded", "Not enough units are left", NEVER;
    FeatureNotIncluded: 403, "feature-not-included", "The feature is not included", NEVER;
    FeatureInUse: 409, "feature-in-use", "The feature is in use", NEVER;
    PackageInUse: 409, "package-in-use", "The package is in use", NEVER;
    PackageInactive: 409, "package-inactive", "The package is not active", NEVER;
    HoldNotActive: 409, "hold-not-active", "The hold is not active", NEVER;
    FeatureNotReleasable: 409, "feature-not-releasable", "Usage cannot be given back", NEVER;
    ReversalExceedsRecord: 422, "reversal-exceeds-record", "More than was recorded", NEVER;
    DuplicateExternalService: 409, "duplicate-external-service", "The external service id is taken", NEVER;
    DuplicateAddon: 409, "duplicate-addon", "The add-on id is taken", NEVER;
    BasePackageConflict: 409, "base-package-conflict", "The scope has another base package", NEVER;
    StaleFence: 409, "stale-fence", "The lock's grant is not current", NEVER;
    LockAcquisitionFailed: 409, "lock-acquisition-failed", "The lock is not free", NEVER;
    LockTimeout: 409, "lock-timeout", "The lock did not become free in time", NEVER;
    LockNotFound: 404, "lock-not-found", "Nobody holds the lock", NEVER;
    LockOwnershipMismatch: 409, "lock-ownership-mismatch", "Somebody else holds the lock", NEVER;
    LockLost: 409, "lock-lost", "The grant of the lock has ended", NEVER;
    LockTtlExceedsMaximum: 422, "lock-ttl-exceeds-maximum", "The lock would be held for too long", NEVER;
    SubscriptionEnded: 409, "subscription-ended", "The subscription has ended", NEVER;
    BillingBehind: 409, "billing-behind", "Too many periods are not billed yet", NEVER;
    InsufficientBalance: 422, "insufficient-balance", "The balance is too small", NEVER;
    BalanceSpent: 409, "balance-spent", "The balance is spent", NEVER;
    InsufficientCredits: 422, "insufficient-credits", "Not enough credits are available", NEVER;
    ExceedsReservation: 422, "exceeds-reservation", "More than is reserved", NEVER;
    ReservationAlreadyPosted: 409, "reservation-already-posted", "The reservation was posted", NEVER;
    ReservationAlreadyVoided: 409, "reservation-already-voided", "The reservation was voided", NEVER;
    ReservationOwned: 409, "reservation-owned", "The reservation belongs to a server", NEVER;
    PanelNotConfigured: 503, "panel-not-configured", "No panel is configured", NEVER;
    ServerLimitReached: 422, "server-limit-reached", "No more servers of this product", NEVER;
    ProductUnavailable: 409, "product-unavailable", "The product cannot be ordered", NEVER;
    ProductInUse: 409, "product-in-use", "The product is in use", NEVER;
    AvailabilityConflict: 409, "availability-conflict", "Not enough is free", NEVER;
    HoldExpired: 409, "hold-expired", "The hold expired", NEVER;
    CapacityBelowReserved: 409, "capacity-below-reserved", "More than that is reserved", NEVER;
    BookableUnavailable: 409, "bookable-unavailable", "It cannot be booked", NEVER;
    BookableInUse: 409, "bookable-in-use", "The bookable is in use", NEVER;
    Internal: 500, "internal", "Internal error", resend(1_000);
}

const _: () = assert!(ROWS == Code::ALL.len(), "every code has a row");
