//! Why a command was refused: a closed set that carries facts, no sentences.

use crate::{Denial, NoRoom};
use ifmatch_types::{Conflict, Date, Deleted, FieldError, Kind};

/// A refusal. The HTTP layer has one table from these to statuses and texts.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// The Idempotency-Key was used for another request.
    IdempotencyKeyReused,
    /// No such object.
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// The id it was looked for by.
        id: String,
    },
    /// The object was deleted.
    Deleted(Kind, Deleted),
    /// A field names an object of another type.
    WrongIdType {
        /// The field, as a JSON Pointer.
        path: String,
        /// What the id should begin with.
        expected_prefix: &'static str,
    },
    /// Fields are wrong.
    Invalid(Vec<FieldError>),
    /// The write names no version.
    PreconditionRequired,
    /// The write was computed from a version that is not the current one.
    Conflict(Box<Conflict>),
    /// A unique key is taken by an object with other content.
    AlreadyExists {
        /// The kind of the object.
        what: &'static str,
        /// The object that has it.
        existing_id: String,
        /// Where the two differ.
        differing_fields: Vec<String>,
    },
    /// The object's status does not allow this.
    InvalidTransition {
        /// Its status.
        from: &'static str,
        /// The status asked for.
        to: &'static str,
        /// What could be asked for instead.
        allowed: Vec<&'static str>,
    },
    /// These fields cannot change in the object's status, or along with the one asked for.
    FixedByStatus {
        /// Its status.
        from: &'static str,
        /// The status asked for; its own if none was.
        to: &'static str,
        /// What could be asked for instead.
        allowed: Vec<&'static str>,
        /// The fields the request would have changed.
        fields: Vec<&'static str>,
    },
    /// A number left the range of 64 bits.
    AmountOverflow {
        /// What was being computed.
        path: String,
    },
    /// The price of a plan that was active once cannot change.
    PlanPriceFrozen {
        /// The fields the request would have changed.
        fields: Vec<&'static str>,
    },
    /// The plan is not a draft.
    PlanInUse,
    /// Subscriptions need an active plan.
    PlanInactive {
        /// The plan.
        plan_id: String,
        /// Its status.
        status: &'static str,
    },
    /// The plans' currencies differ.
    CurrencyMismatch {
        /// The currency of the plan there is.
        from: String,
        /// The currency of the plan asked for.
        to: String,
    },
    /// The workspace still has namespaces, subscriptions or invoices.
    WorkspaceInUse,
    /// The subscription had an invoice.
    SubscriptionInUse,
    /// These fields of a finalized invoice cannot change.
    InvoiceImmutable {
        /// The fields the request would have changed.
        fields: Vec<&'static str>,
    },
    /// The invoice has settled payments.
    InvoiceHasPayments {
        /// Their sum.
        amount_paid: i64,
    },
    /// The payment is more than is due.
    ExceedsAmountDue {
        /// What is due.
        amount_due: i64,
        /// What was offered.
        amount: i64,
    },
    /// A quota said no.
    Denied(Box<Denial>),
    /// What grants or draws from the feature relies on it as it is.
    FeatureInUse {
        /// The fields the request would have changed; none: it would have deleted it.
        fields: Vec<&'static str>,
    },
    /// The package was assigned to somebody.
    PackageInUse,
    /// The package is archived.
    PackageInactive {
        /// Its code.
        package: String,
    },
    /// The hold was ended.
    HoldNotActive {
        /// How.
        status: &'static str,
    },
    /// More units than are left of the record.
    ReversalExceedsRecord {
        /// So many were asked for.
        requested: i64,
        /// So many could be given back.
        left: i64,
    },
    /// The external service id belongs to another assignment.
    DuplicateExternalService {
        /// The assignment that has it.
        existing_id: String,
        /// Where the two differ.
        differing_fields: Vec<String>,
    },
    /// The add-on belongs to another boost.
    DuplicateAddon {
        /// The boost that has it.
        existing_id: String,
        /// Where the two differ.
        differing_fields: Vec<String>,
    },
    /// The scope has another base package.
    BasePackageConflict {
        /// Its assignment.
        existing_id: String,
    },
    /// A day that a booking wants has no room.
    NoRoom(Box<NoRoom>),
    /// The bookable takes no new bookings.
    BookableUnavailable {
        /// The bookable.
        bookable_id: String,
        /// Its status.
        status: &'static str,
    },
    /// The bookable had a booking.
    BookableInUse,
    /// The capacity would be below what is reserved on some day from today on.
    CapacityBelowReserved {
        /// The capacity asked for.
        capacity: i64,
        /// The most that is reserved on one of those days.
        reserved: i64,
        /// The first of them.
        first_conflict_date: Date,
    },
    /// An operation of a transaction was refused, and with it all of them.
    Operation {
        /// Its place, from 0.
        failed_index: usize,
        /// Why.
        rejection: Box<Self>,
    },
}

impl Rejection {
    /// One wrong field.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { path: path.into(), message: message.into() }])
    }

    /// No versioned object with this id.
    pub fn not_found(kind: Kind, id: &str) -> Self {
        Self::NotFound { what: kind.name(), id: id.to_owned() }
    }

    /// The refusal of a part of a request, with its fields named by where they are in the whole.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        match &mut self {
            Self::Invalid(errors) => {
                for error in errors {
                    error.path.insert_str(0, parent);
                }
            }
            Self::WrongIdType { path, .. } | Self::AmountOverflow { path } => {
                path.insert_str(0, parent);
            }
            _ => {}
        }
        self
    }

    /// A quota's answer, if that is what it is.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) => Some(denial),
            Self::Operation { rejection, .. } => rejection.denial(),
            _ => None,
        }
    }
}
