//! The rules of Ifmatch, as pure functions over a state in memory.
//!
//! Nothing here waits, reads a clock or draws a random number: the instant and the seed of fresh
//! ids are parameters, and what a command must see is named by [`needs`] before it is decided by
//! [`decide`]. A rejected command leaves the state exactly as it found it.
#![deny(missing_docs)]

mod access;
mod billing;
mod bookable;
mod booking;
mod calendar;
mod command;
mod commit;
mod conflict;
mod day;
mod decide;
mod edit;
mod entitlement;
mod fields;
mod id;
mod invoice;
mod mutant;
mod namespace;
mod need;
mod outcome;
mod payment;
mod plan;
mod proration;
mod rejection;
mod resource;
mod state;
mod subscription;
mod table;
mod transaction;
mod versioned;
mod workspace;

pub use access::{CreateApiKey, RevokeApiKey, StoredApiKey};
pub use billing::{BillSubscription, FinishBillingRun};
pub use booking::{BookingPhase, BookingRecord, ExpireBookings, NoRoom};
pub use command::{
    Action, Actor, Change, Command, CreateObject, DeleteObject, Force, IdempotencyKey, Meta, Mode,
    NamedVersion, Precondition, RecordDenied, UpdateObject,
};
pub use day::{BookingDay, Share};
pub use decide::{decide, set_once};
pub use entitlement::{
    AssignPackage, AssignmentRecord, BURNT_OUT_KEPT_US, BoostRecord, CheckAndRecord, Counter,
    Denial, DenialReason, EndHold, ExpireEntitlements, FeatureRecord, FeatureTerms, GrantBoost,
    HoldEnd, Holdings, LogLine, PackageRecord, PlaceHold, PoolGrant, PoolTerms, ReverseUsage,
    RolledOff, ScopeRef, StoredHold, StoredRecord, addon_key, counter_key, entitlement,
    rolling_start,
};
pub use fields::Errors;
pub use invoice::SERIES;
pub use mutant::Mutant;
pub use need::{Need, entitlement_needs, lock_place, needs};
pub use outcome::{Answer, Document, How, ObjectAnswer, Outcome};
pub use payment::{RecordPayment, ReversePayment};
pub use rejection::Rejection;
pub use resource::{Resource, Scope};
pub use state::{
    Audit, BilledPeriods, CodeHolder, DueBookings, DueHolds, History, NewEvent, PlanTerms,
    Sequence, State, StoredPayment, Use,
};
pub use subscription::{PlanChange, SubscriptionRecord};
pub use table::{Change as RowChange, Guarded, Row, Rows, Table};
pub use transaction::{Operation, Transact};
