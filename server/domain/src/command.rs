//! What the lane is asked to do: one struct per command, one enum.

use crate::{
    AssignPackage, BillSubscription, CheckAndRecord, CreateApiKey, EndHold, ExpireBookings,
    ExpireEntitlements, FinishBillingRun, GrantBoost, PlaceHold, RecordPayment, ReversePayment,
    ReverseUsage, RevokeApiKey, Transact,
};
use ifmatch_types::{ApiKeyId, By, Kind, Source, Version};
use serde_json::{Map, Value};
use uuid::Uuid;

/// One request for a change, with everything needed to decide it.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who asks, and how it is recorded.
    pub meta: Meta,
    /// Where the ids of what it makes come from: the same for every run of the same command, so
    /// that a command whose commit was in doubt cannot create twice.
    pub seed: Uuid,
    /// The caller's key for "this same request again".
    pub idempotency: Option<IdempotencyKey>,
    /// What is asked for.
    pub action: Action,
}

/// What is recorded of a request beside its effect.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Who asks.
    pub actor: Actor,
    /// Whom the caller acts for, as it said.
    pub on_behalf_of: Option<String>,
    /// Through which door the request came.
    pub source: Source,
    /// The request, as the log knows it.
    pub request_id: String,
}

impl Meta {
    /// The author of a change, as histories and conflicts show it.
    pub fn by(&self, forced: bool) -> By {
        By {
            actor: self.actor.name.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            source: self.source,
            forced,
        }
    }
}

/// The holder of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The key's id; idempotency keys are scoped to it.
    pub key_id: ApiKeyId,
    /// The key's name.
    pub name: String,
}

/// A caller's key for "this same request again", with what "same" means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The API key it is scoped to.
    pub scope: ApiKeyId,
    /// The caller's text.
    pub key: String,
    /// A digest of method, path, query, precondition and canonical body.
    pub fingerprint: String,
}

/// Everything that can be asked for.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make a versioned object.
    Create(CreateObject),
    /// Change a versioned object.
    Update(UpdateObject),
    /// Delete a versioned object.
    Delete(DeleteObject),
    /// Several of the above, all or nothing.
    Transact(Transact),
    /// Record money received for an invoice.
    RecordPayment(RecordPayment),
    /// Take a payment back.
    ReversePayment(ReversePayment),
    /// Make a subscription's due invoices and advance its period.
    BillSubscription(BillSubscription),
    /// Keep the answer of a billing run.
    FinishBillingRun(FinishBillingRun),
    /// Make an API key.
    CreateApiKey(CreateApiKey),
    /// End an API key.
    RevokeApiKey(RevokeApiKey),
    /// Keep a record of a force that was refused for its caller's role.
    RecordDenied(RecordDenied),
    /// Nothing but what is judged before a request's fields are: whether it is a repeat, and whether
    /// the object it names is there. For a request that cannot become a command.
    Admit(Option<(Kind, String)>),
    /// Assign a package to a scope.
    AssignPackage(AssignPackage),
    /// Give a boost to a scope.
    GrantBoost(GrantBoost),
    /// Record usage, if there is room for all of it.
    CheckAndRecord(CheckAndRecord),
    /// Set units aside.
    PlaceHold(PlaceHold),
    /// Settle or release a hold.
    EndHold(EndHold),
    /// Give recorded usage back.
    ReverseUsage(ReverseUsage),
    /// End what is over in a scope.
    ExpireEntitlements(ExpireEntitlements),
    /// End a bookable's holds that are over.
    ExpireBookings(ExpireBookings),
}

/// Make a versioned object.
#[derive(Clone, Debug)]
pub struct CreateObject {
    /// The collection.
    pub kind: Kind,
    /// The object's fields.
    pub body: Map<String, Value>,
}

/// Change a versioned object.
#[derive(Clone, Debug)]
pub struct UpdateObject {
    /// The collection.
    pub kind: Kind,
    /// The object.
    pub id: String,
    /// What to change.
    pub change: Change,
    /// The version it was computed from, as the caller named it.
    pub precondition: Precondition,
    /// What to do if that version is not the current one.
    pub mode: Mode,
    /// The version this caller named when the same body was refused a moment ago.
    pub refused_at: Option<Version>,
}

/// The two ways of saying what an object should become.
#[derive(Clone, Debug)]
pub enum Change {
    /// A merge patch (RFC 7396).
    Patch(Map<String, Value>),
    /// All fields; echoed read-only ones must equal those of the version named.
    Replace(Map<String, Value>),
}

impl Change {
    /// The fields that the request names.
    pub fn body(&self) -> &Map<String, Value> {
        match self {
            Self::Patch(body) | Self::Replace(body) => body,
        }
    }
}

/// Delete a versioned object.
#[derive(Clone, Debug)]
pub struct DeleteObject {
    /// The collection.
    pub kind: Kind,
    /// The object.
    pub id: String,
    /// The version the caller saw.
    pub precondition: Precondition,
    /// An admin's wish to skip the version check.
    pub force: Option<Force>,
}

/// The version a write was computed from, as its caller named it (RFC 9110 §13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// No version at all, or `If-Match: *`.
    Missing,
    /// One in the body or the query.
    Version(Version),
    /// `If-Match` with one or more quoted tags.
    Tags(Vec<NamedVersion>),
}

/// One entity tag of `If-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedVersion {
    /// The number in the tag; `None` for a tag that this server never made.
    pub version: Option<Version>,
    /// A weak tag never matches.
    pub weak: bool,
}

impl Precondition {
    /// Whether the write may proceed at this version.
    pub fn matches(&self, current: Version) -> bool {
        match self {
            Self::Missing => false,
            Self::Version(version) => *version == current,
            Self::Tags(tags) => tags.iter().any(|tag| !tag.weak && tag.version == Some(current)),
        }
    }

    /// The version that the write is taken to be computed from: with several tags, the latest.
    pub fn named(&self) -> Option<Version> {
        match self {
            Self::Missing => None,
            Self::Version(version) => Some(*version),
            Self::Tags(tags) => tags.iter().filter_map(|tag| tag.version).max(),
        }
    }
}

/// What to do with a write whose version is not the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Strict,
    /// Put it on top if it touches other paths than the changes since, else refuse it.
    Merge,
    /// Let it through.
    Force(Force),
}

/// An admin's wish to skip the version check, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// Why.
    pub reason: String,
    /// Only say what would be overwritten.
    pub dry_run: bool,
}

/// A force that was refused for its caller's role.
#[derive(Clone, Debug)]
pub struct RecordDenied {
    /// The object it aimed at, if it named one.
    pub object: Option<(Kind, String)>,
    /// The reason that was given.
    pub reason: Option<String>,
}
