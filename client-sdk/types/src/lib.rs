//! The vocabulary of Ifmatch: entities, requests, problem bodies, and how two edits compare.
//!
//! The server and the Rust SDK both speak in these types, so that a field exists once. The crate
//! does no I/O and knows no clock; [`merge`] holds the one definition of "what changed" and "can
//! these two edits be merged" that both sides use.
#![deny(missing_docs)]

#[macro_use]
mod macros;

pub mod access;
pub mod balance;
pub mod billing;
pub mod booking;
pub mod change;
pub mod cursor;
pub mod date;
pub mod entitlement;
pub mod id;
pub mod integer;
pub mod invoice;
pub mod kind;
pub mod known;
pub mod ledger;
pub mod list;
pub mod lock;
pub mod merge;
pub mod pointer;
mod preview;
pub mod problem;
pub mod provisioning;
mod redaction;
pub mod time;
mod unknown;
pub mod usage;

pub use access::{ApiKey, NewApiKey, Role, Rotation};
pub use balance::{
    Balance, BalanceItem, BalanceTransaction, BalanceTransactionKind, NewBalanceAdjustment,
};
pub use billing::{
    BillingRun, Deleted, Interval, Metadata, Namespace, NamespaceFields, Plan, PlanFields,
    PlanStatus, Subscription, SubscriptionFields, SubscriptionStatus, Workspace, WorkspaceFields,
};
pub use booking::{
    Availability, AvailabilityConflict, AvailableDay, Bookable, BookableFields, BookableStatus,
    Booking, BookingFields, BookingStatus, NewBooking, RangeMode,
};
pub use change::{
    AuditRecord, AuditResource, By, ChangeKind, Event, HistoryEntry, ResourceRef, Source,
};
pub use cursor::EventCursor;
pub use date::{Date, DateError};
pub use entitlement::{
    Assignment, AssignmentFields, AssignmentStatus, Boost, BoostAnswer, BoostDuration, BoostKind,
    CatalogStatus, Feature, FeatureFields, FeatureType, Grant, GrantKind, NewAssignment, NewBoost,
    Package, PackageFields, Reset,
};
pub use id::{
    ApiKeyId, AssignmentId, BookableId, BookingId, BoostId, FeatureId, HoldId, IdError, InvoiceId,
    NamespaceId, PackageId, PaymentId, PlanId, ProductId, RecordId, ServerId, SubscriptionId,
    TransferId, WorkspaceId,
};
pub use integer::INTEGER_MAX;
pub use invoice::{
    BillingPeriod, BillingPreview, BillingSegment, Invoice, InvoiceFields, InvoiceLine,
    InvoiceLineFields, InvoicePreview, InvoiceStatus, NewPayment, Payment, PaymentStatus,
    SettledSubscription,
};
pub use kind::Kind;
pub use ledger::{
    Credits, NewAdjustment, NewPosting, NewReservation, NewTopup, Reservation, ReservationStatus,
    Transfer, TransferKind,
};
pub use list::Page;
pub use lock::{
    Lock, LockExtension, LockForceRelease, LockGrant, LockHeld, LockOwner, LockRenewal, LockScope,
    NewLock,
};
pub use merge::{Difference, MergeReport, Verdict};
pub use preview::Preview;
pub use problem::{Code, Conflict, ConflictChange, FieldError, Problem, Retry, RetryAction};
pub use provisioning::{
    Deploy, Environment, FeatureLimits, NewResolution, PanelCall, PanelKind, PanelObservation,
    Product, ProductFields, ProductStatus, Resolve, Server, ServerEntry, ServerFields,
    ServerLimits, ServerStatus, ServerStep, ServerVerdict,
};
pub use redaction::{NewRedaction, REDACTED};
pub use time::{Timestamp, TimestampError};
pub use usage::{
    Entitlement, EntitlementLogEntry, Hold, HoldAnswer, HoldStatus, Meter, NewHold, NewReversal,
    NewUsage, NewUsageBatch, Recorded, RecordedBatch, Reversed, Settlement, UsageRecord,
};

/// The number of an object's state: 1 at creation, one more per effective change, never reused.
pub type Version = i64;
