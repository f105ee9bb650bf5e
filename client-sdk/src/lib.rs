//! The Rust client of Ifmatch, a billing backend in which no write is ever lost.
//!
//! ```no_run
//! # use ifmatch::{InvoiceId, PlanId, SubscriptionId, Versioned, Workspace};
//! # async fn example(
//! #     key: String, id: SubscriptionId, pro: PlanId, inv: InvoiceId,
//! #     workspace: Versioned<Workspace>,
//! # ) -> Result<(), ifmatch::Error> {
//! # use ifmatch::{Decision, InvoiceStatus::Open, SubscriptionStatus::Canceled, Ttl, Usage};
//! # use std::time::Duration;
//! let billing = ifmatch::Client::builder("http://127.0.0.1:8080").key(key).build()?;
//! let subs = billing.subscriptions();
//! let sub = subs.update(&id, |s| s.quantity += 5).await?;              // fetch, edit, send; on conflict reapply and retry
//! let sub = subs.update(&id, |s| s.plan_id = pro.clone())
//!     .on_conflict(|c| async move { if c.touches("/plan_id") { Decision::Park } else { Decision::Reapply } })
//!     .deadline(Duration::from_secs(10)).await?;
//! # let base = sub; let edited = base.edited(|s| s.notes.push_str("called"));
//! let saved = subs.save(base, edited).await?;                          // a form with think-time: three-way merge, not re-run
//! let mut parked = billing.conflicts().subscribe();                    // what is open now, then what comes
//! while let Some(conflict) = parked.next().await { conflict.resolve(Decision::TakeRemote).await?; }
//! subs.update(&id, |s| s.status = Canceled).force("chargeback 8812").await?;
//! let lock = billing.locks().acquire("invoice-run", Ttl::secs(30)).await?;     // renews itself, releases on drop, cancels work when lost
//! billing.invoices().update(&inv, |i| i.status = Open).fenced_by(&lock).await?;
//! match billing.usage(&workspace).check_and_record("api.calls", 1).await? {
//!     Usage::Allowed { remaining, .. } => println!("{remaining:?} left"),
//!     Usage::Denied { resets_at, .. } => println!("no more until {resets_at:?}"),
//! }
//! # Ok(()) }
//! ```
//!
//! # How a write is never lost
//!
//! Every write names the version it was computed from. If another write came first, the server
//! refuses it and reports the changes. This crate then makes the edit again on the current object,
//! merges it, asks your callback, or keeps it in the [`ConflictStore`] until a person decides. An
//! edit ends in one of four ways: applied, refused by a rule, as exactly one open conflict, or in
//! the [`Error`] that the call returns.
//!
//! Sends and attempts are counted apart. A *send* is the same bytes with the same idempotency key,
//! repeated when an answer gets lost or the server is busy. It takes effect only once. An *attempt*
//! is the edit made again on a newer object, with a new key, after a conflict. A lost answer never
//! leads to a new attempt, because the edit would be applied twice. If the answer stays lost, the
//! call fails with [`Error::OutcomeUnknown`], which [`Client::resume`] settles.
//!
//! A refusal or a denial answers the last send. An earlier send that waits in a frozen process or
//! proxy may arrive later. A write that names a version is refused then. A create or a request for
//! units may be applied, once.
//!
//! # Which key belongs where
//!
//! A key without a workspace reads and changes the data of all customers. Keep it on your own
//! machines: one key of role `agent` for each service, and `admin` only for people. A program that
//! runs at a customer's gets a key of that customer's workspace that expires, of role `viewer` to
//! read or `usage` to record usage. The key goes over `http://` to this host only, unless
//! [`ClientBuilder::allow_plain_http`] allows more.
//!
//! # Behind a gateway
//!
//! A gateway may rewrite request ids, lose answers, and say 409 or 412 without the server's words.
//! This crate then looks into the object's history. It knows its own write by the digest of its
//! idempotency key. If the history does not tell, the call fails with [`Error::OutcomeUnknown`].
//!
//! # Closures and forms
//!
//! [`update`](Collection::update) takes an edit to *make*: `quantity += 5` runs again on every fresh
//! object. [`save`](Collection::save) takes a state to *reach*: it writes only the paths that the
//! form changed and keeps the changes that others made elsewhere.
//!
//! # Usage
//!
//! [`check_and_record`](Metering::check_and_record) checks for room and records in one commit. A
//! denial is a value, never an error. [`can`](Metering::can) is advice only and admits nothing.
//!
//! # Credits
//!
//! Credits are spent in two phases. [`reserve`](CreditAccount::reserve) sets them aside before the
//! work, and [`post`](ReservedCredits::post) or [`void`](ReservedCredits::void) resolves that once.
//!
//! # Servers
//!
//! A [server](Client::servers) is ordered in one commit, which reserves its credits, and is made on
//! the panel after that. Its [status](ServerStatus) tells how far it has come. A server that was not
//! made is `failed`: a state and no error of the call that ordered it.
//!
//! # Locks
//!
//! A [`LockGuard`] promises that this process stops believing in its lock before the server does, as
//! long as the process runs and looks. It does not promise that no other process writes: a process
//! that is paused does not look. Only the fence promises that. A write that is
//! [`fenced_by`](Update::fenced_by) a lock commits only if the grant is still the current one, and
//! the database decides this in the write's own commit.
#![deny(missing_docs)]

mod admin;
mod assignments;
mod balance;
mod bookings;
mod boosts;
mod call;
mod classify;
mod client;
mod collection;
mod config;
mod conflict;
mod conflict_store;
mod credits;
mod decision;
mod delete;
mod diff;
mod edit;
mod error;
mod events;
mod force;
mod held;
mod invoices;
mod list;
mod locks;
mod metering;
mod open;
mod outcome;
mod pace;
mod parked;
mod policy;
mod redact;
mod reply;
mod request;
mod resolution;
mod resource;
mod scope;
#[cfg(test)]
mod scripted;
mod send;
mod servers;
mod storage;
mod transaction;
mod update;
mod usage;
mod versioned;
mod wire;

pub use admin::{ApiKeys, IssuedApiKey};
pub use balance::CustomerBalance;
pub use boosts::Boosts;
pub use call::Call;
pub use client::Client;
pub use collection::Collection;
pub use config::ClientBuilder;
pub use conflict::{Conflict, RemoteChange};
pub use conflict_store::{ConflictStore, ConflictStream};
pub use credits::{CreditAccount, ReserveOutcome, ReservedCredits};
pub use decision::Decision;
pub use delete::Delete;
pub use diff::{ConflictDiff, DiffRow};
pub use error::{Error, GaveUp, Unavailable};
pub use events::Events;
pub use force::Forced;
pub use held::{Held, HoldOutcome};
pub use list::List;
pub use locks::{Acquire, Fence, LockEnd, LockGuard, LockOutcome, Locks, Ttl};
pub use metering::Metering;
pub use open::{ConflictId, OpenConflict};
pub use outcome::{OutcomeUnknown, Settled};
pub use pace::SendBudget;
pub use parked::{Parked, Resolution};
pub use policy::{Attempt, Policy};
pub use resolution::with_conflict_resolution;
pub use resource::{Deletable, Redactable, Resource};
pub use scope::Scope;
pub use storage::{ConflictStorage, FileStore};
pub use tokio_util::sync::CancellationToken;
pub use transaction::{Transaction, TransactionResults};
pub use update::Update;
pub use usage::{Batch, Denial, DenialReason, Usage};
pub use versioned::{Versioned, WriteInfo};

pub use ifmatch_types::{
    ApiKey, ApiKeyId, Assignment, AssignmentId, AssignmentStatus, AuditRecord, AuditResource,
    Availability, AvailabilityConflict, AvailableDay, Balance, BalanceItem, BalanceTransaction,
    BalanceTransactionKind, BillingPeriod, BillingPreview, BillingRun, BillingSegment, Bookable,
    BookableFields, BookableId, BookableStatus, Booking, BookingFields, BookingId, BookingStatus,
    Boost, BoostAnswer, BoostDuration, BoostId, BoostKind, By, CatalogStatus, ChangeKind, Code,
    Credits, Date, DateError, Deleted, Deploy, Difference, Entitlement, EntitlementLogEntry,
    Environment, Event, EventCursor, Feature, FeatureFields, FeatureId, FeatureLimits, FeatureType,
    FieldError, Grant, GrantKind, HistoryEntry, Hold, HoldId, HoldStatus, INTEGER_MAX, IdError,
    Interval, Invoice, InvoiceFields, InvoiceId, InvoiceLine, InvoiceLineFields, InvoicePreview,
    InvoiceStatus, Kind, Lock, LockHeld, LockScope, Metadata, Meter, Namespace, NamespaceFields,
    NamespaceId, NewApiKey, NewAssignment, NewBoost, NewPayment, NewResolution, Package,
    PackageFields, PackageId, Page, PanelCall, PanelKind, PanelObservation, Payment, PaymentId,
    PaymentStatus, Plan, PlanFields, PlanId, PlanStatus, Preview, Problem, Product, ProductFields,
    ProductId, ProductStatus, REDACTED, RangeMode, RecordId, Recorded, Reservation,
    ReservationStatus, Reset, Resolve, ResourceRef, Retry, RetryAction, Reversed, Role, Rotation,
    Server, ServerEntry, ServerFields, ServerId, ServerLimits, ServerStatus, ServerStep,
    ServerVerdict, SettledSubscription, Source, Subscription, SubscriptionFields, SubscriptionId,
    SubscriptionStatus, Timestamp, TimestampError, Transfer, TransferId, TransferKind, UsageRecord,
    Verdict, Version, Workspace, WorkspaceFields, WorkspaceId,
};
