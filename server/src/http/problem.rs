//! The one table from refusals to statuses, texts, and what the caller should do next.
//!
//! What a caller is told and what the log says are different things: nothing technical is in here.

mod entitlement;

use crate::{lane::Refusal, log::RequestId};
use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{StatusCode, header},
};
use ifmatch_domain::{BookingPhase, NoRoom, Rejection};
use ifmatch_store::StoreError;
use ifmatch_types::{Code, FieldError, MergeReport, Problem, Retry, RetryAction, Verdict};
use serde_json::{Map, Value, json};
use std::fmt;

/// What a busy or absent database makes callers wait before they send again.
const TRY_AGAIN_MS: u64 = 500;

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct HttpProblem {
    problem: Box<Problem>,
    /// Whether a lane decided it: after everything that comes before it was judged.
    is_decided: bool,
}

/// The status, the kebab-case name and the title of a code.
fn row(code: Code) -> (u16, &'static str, &'static str) {
    match code {
        Code::ConflictVersionMismatch => (409, "version-conflict", "Version conflict"),
        Code::PreconditionRequired => (428, "precondition-required", "A version is required"),
        Code::MalformedPrecondition => (400, "malformed-precondition", "Malformed precondition"),
        Code::NotFound => (404, "not-found", "Not found"),
        Code::Deleted => (410, "deleted", "Deleted"),
        Code::AlreadyExists => (409, "already-exists", "Already exists"),
        Code::InvalidStateTransition => (409, "invalid-state-transition", "Transition not allowed"),
        Code::MalformedRequest => (400, "malformed-request", "Malformed request"),
        Code::ValidationFailed => (422, "validation-failed", "Fields are wrong"),
        Code::ForceForbidden => (403, "force-forbidden", "Force is for admins"),
        Code::ReasonRequired => (422, "reason-required", "A reason is required"),
        Code::RateLimited => (429, "rate-limited", "Too many requests"),
        Code::TryAgain => (503, "try-again", "Busy"),
        Code::Unauthenticated => (401, "unauthenticated", "Not authenticated"),
        Code::Forbidden => (403, "forbidden", "Not allowed"),
        Code::WrongIdType => (400, "wrong-id-type", "Id of another type"),
        Code::MethodNotAllowed => (405, "method-not-allowed", "Method not allowed"),
        Code::PayloadTooLarge => (413, "payload-too-large", "Body too large"),
        Code::UnsupportedMediaType => (415, "unsupported-media-type", "Unsupported content type"),
        Code::VersionPruned => (410, "version-pruned", "Version pruned"),
        Code::IdempotencyKeyReused => (422, "idempotency-key-reused", "Idempotency-Key reused"),
        Code::IdempotencyKeyRequired => {
            (400, "idempotency-key-required", "An Idempotency-Key is required")
        }
        Code::AmountOverflow => (422, "amount-overflow", "Amount out of range"),
        Code::PlanPriceFrozen => (409, "plan-price-frozen", "The plan's price is frozen"),
        Code::PlanInUse => (409, "plan-in-use", "The plan is in use"),
        Code::PlanInactive => (409, "plan-inactive", "The plan is not active"),
        Code::CurrencyMismatch => (422, "currency-mismatch", "Currencies differ"),
        Code::WorkspaceInUse => (409, "workspace-in-use", "The workspace is in use"),
        Code::SubscriptionInUse => (409, "subscription-in-use", "The subscription is in use"),
        Code::InvoiceImmutable => (409, "invoice-immutable", "The invoice is finalized"),
        Code::InvoiceHasPayments => (422, "invoice-has-payments", "The invoice has payments"),
        Code::ExceedsAmountDue => (422, "exceeds-amount-due", "More than is due"),
        Code::EntitlementLimitExceeded => {
            (403, "entitlement-limit-exceeded", "Not enough units are left")
        }
        Code::FeatureNotIncluded => (403, "feature-not-included", "The feature is not included"),
        Code::FeatureInUse => (409, "feature-in-use", "The feature is in use"),
        Code::PackageInUse => (409, "package-in-use", "The package is in use"),
        Code::PackageInactive => (409, "package-inactive", "The package is not active"),
        Code::HoldNotActive => (409, "hold-not-active", "The hold is not active"),
        Code::ReversalExceedsRecord => (422, "reversal-exceeds-record", "More than was recorded"),
        Code::DuplicateExternalService => {
            (409, "duplicate-external-service", "The external service id is taken")
        }
        Code::DuplicateAddon => (409, "duplicate-addon", "The add-on id is taken"),
        Code::BasePackageConflict => {
            (409, "base-package-conflict", "The scope has another base package")
        }
        Code::StaleFence => (409, "stale-fence", "The lock's grant is not current"),
        Code::AvailabilityConflict => (409, "availability-conflict", "Not enough is free"),
        Code::HoldExpired => (409, "hold-expired", "The hold expired"),
        Code::CapacityBelowReserved => {
            (409, "capacity-below-reserved", "More than that is reserved")
        }
        Code::BookableUnavailable => (409, "bookable-unavailable", "It cannot be booked"),
        Code::BookableInUse => (409, "bookable-in-use", "The bookable is in use"),
        Code::Internal | Code::Unknown(_) => (500, "internal", "Internal error"),
    }
}

/// The status a code is answered with. A version conflict over `If-Match` is a 412 instead.
pub fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(row(code).0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn retry_of(code: Code) -> Retry {
    match code {
        Code::ConflictVersionMismatch => Retry { action: RetryAction::Reapply, after_ms: 0 },
        Code::TryAgain => Retry { action: RetryAction::Resend, after_ms: TRY_AGAIN_MS },
        Code::RateLimited | Code::Internal => {
            Retry { action: RetryAction::Resend, after_ms: 1_000 }
        }
        _ => Retry { action: RetryAction::None, after_ms: 0 },
    }
}

impl HttpProblem {
    /// A problem of this code. The request id is filled in on the way out.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, name, title) = row(code);
        let problem = Problem {
            problem_type: format!("/problems/{name}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code,
            request_id: String::new(),
            retry: retry_of(code),
            errors: Vec::new(),
            extensions: Map::new(),
        };
        Self { problem: Box::new(problem), is_decided: false }
    }

    /// Whether a handler told it before a lane was asked whether the request is a repeat, or about
    /// nothing: both come first (`API.md` 3).
    pub fn is_premature(&self) -> bool {
        !self.is_decided && matches!(self.problem.status, 404 | 422)
    }

    /// One wrong field.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { path: path.into(), message: message.into() }])
    }

    /// Wrong fields.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let told: Vec<String> =
            errors.iter().map(|one| format!("{} {}", one.path, one.message)).collect();
        let mut problem = Self::new(Code::ValidationFailed, told.join("; ").trim_start());
        problem.problem.errors = errors;
        problem
    }

    /// No such path, or nothing there that the caller may see.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// Adds a member of the code's own.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.problem.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// A version conflict over a header is a failed precondition (RFC 9110 §15.5.13).
    pub fn over_header(mut self) -> Self {
        if self.problem.code == Code::ConflictVersionMismatch {
            self.problem.status = StatusCode::PRECONDITION_FAILED.as_u16();
        }
        self
    }

    /// How long to wait before sending again.
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.problem.retry.after_ms = after_ms;
        self
    }

    /// The answer to a request, with its name in it.
    pub fn response_for(&self, request_id: &RequestId) -> HttpResponse {
        let mut problem = self.problem.clone();
        request_id.as_str().clone_into(&mut problem.request_id);
        Self { problem, is_decided: self.is_decided }.response()
    }

    /// A version conflict's name and what it is about.
    pub fn conflict_id(&self) -> Option<(&str, &Value)> {
        let extensions = &self.problem.extensions;
        Some((extensions.get("conflict_id")?.as_str()?, extensions.get("resource")?))
    }

    /// A version conflict's verdict and the paths it is about: those both sides changed, or those
    /// attempted if there are none.
    pub fn conflict(&self) -> Option<(Verdict, Vec<String>)> {
        let extensions = &self.problem.extensions;
        let report: MergeReport = serde_json::from_value(extensions.get("merge")?.clone()).ok()?;
        let attempted = serde_json::from_value(extensions.get("attempted")?.clone()).ok()?;
        let paths = if report.overlap.is_empty() { attempted } else { report.overlap };
        Some((report.verdict, paths))
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.problem.code
    }

    /// The problem as one operation of a transaction has it.
    fn of_operation(mut self, failed_index: usize) -> Self {
        self.problem.extensions.insert("failed_index".to_owned(), failed_index.into());
        self
    }

    /// The answer.
    fn response(&self) -> HttpResponse {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        if self.problem.retry.action == RetryAction::Resend {
            let seconds = self.problem.retry.after_ms.div_ceil(1_000).max(1);
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.problem.code == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(&self.problem)
    }
}

impl fmt::Display for HttpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.code.name(), self.problem.detail)
    }
}

impl ResponseError for HttpProblem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.response()
    }
}

impl From<StoreError> for HttpProblem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone(_) | StoreError::Raced(_) => {
                tracing::warn!(%error, "a read failed");
                Self::new(Code::TryAgain, "the database is busy or away; send the request again")
            }
            _ => {
                tracing::error!(%error, "a read failed");
                Self::internal()
            }
        }
    }
}

impl From<Refusal> for HttpProblem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejection) => Self { is_decided: true, ..rejection.into() },
            Refusal::TryAgain => Self::new(
                Code::TryAgain,
                "the server is busy or its database is away; nothing was written, send the \
                 request again",
            ),
            Refusal::Internal => Self::internal(),
        }
    }
}

impl HttpProblem {
    fn internal() -> Self {
        Self::new(Code::Internal, "something unforeseen happened; the log knows this request's id")
    }
}

impl From<Rejection> for HttpProblem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::IdempotencyKeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "this Idempotency-Key was used for another request; use a new one",
            ),
            Rejection::NotFound { what, id } => Self::not_found(format!("there is no {what} {id}")),
            Rejection::Deleted(kind, deleted) => {
                let detail = format!(
                    "{kind} {} was deleted at {} by {}",
                    deleted.id, deleted.deleted_at, deleted.deleted_by
                );
                Self::new(Code::Deleted, detail)
                    .with("resource", json!({ "type": kind, "id": deleted.id }))
                    .with("deleted_at", deleted.deleted_at.to_string())
                    .with("deleted_by", deleted.deleted_by)
                    .with("last_version", deleted.last_version)
            }
            Rejection::WrongIdType { path, expected_prefix } => {
                wrong_id_type(expected_prefix).with("path", path)
            }
            Rejection::Invalid(errors) => Self::fields(errors),
            Rejection::PreconditionRequired => Self::new(
                Code::PreconditionRequired,
                "name the version this was computed from: If-Match: \"7\", or \"version\": 7 in \
                 the body (?version=7 for DELETE)",
            ),
            Rejection::Conflict(conflict) => {
                let resource = &conflict.resource;
                let named = conflict.expected_version.map_or_else(
                    || "a version that never was".to_owned(),
                    |version| format!("version {version}"),
                );
                let detail = format!(
                    "{} {} is at version {}; the request was computed from {named}",
                    resource.resource_type, resource.id, conflict.current_version
                );
                let mut problem = Self::new(Code::ConflictVersionMismatch, detail);
                if let Ok(Value::Object(members)) = serde_json::to_value(&*conflict) {
                    problem.problem.extensions.extend(members);
                }
                problem
            }
            Rejection::AlreadyExists { what, existing_id, differing_fields } => Self::new(
                Code::AlreadyExists,
                if differing_fields.is_empty() {
                    format!("{what} {existing_id} is there already, and there can be only one")
                } else {
                    format!("{what} {existing_id} has this key, with other content")
                },
            )
            .with("existing_id", existing_id)
            .with("differing_fields", differing_fields),
            Rejection::InvalidTransition { from, to, allowed } => {
                refused_transition(format!("{to} cannot follow {from}"), from, to, allowed)
            }
            Rejection::FixedByStatus { from, to, allowed, fields } => {
                let detail = if from == to {
                    format!("{} cannot change while the status is {from}", fields.join(", "))
                } else {
                    format!("{} cannot change along with the status {to}", fields.join(", "))
                };
                refused_transition(detail, from, to, allowed).with("fields", fields)
            }
            rejection => billing(rejection),
        }
    }
}

/// A status that cannot be, with those that can.
fn refused_transition(
    mut detail: String,
    from: &'static str,
    to: &'static str,
    allowed: Vec<&'static str>,
) -> HttpProblem {
    detail.push_str("; ");
    if allowed.is_empty() {
        detail.push_str("nothing can follow instead");
    } else {
        detail.push_str(&format!("what can follow instead is {}", allowed.join(", ")));
    }
    HttpProblem::new(Code::InvalidStateTransition, detail)
        .with("from", from)
        .with("to", to)
        .with("allowed", allowed)
}

/// The refusals of the billing rules.
fn billing(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::AmountOverflow { path } => HttpProblem::new(
            Code::AmountOverflow,
            format!("{path} does not fit a signed 64-bit integer"),
        )
        .with("path", path),
        Rejection::PlanPriceFrozen { fields } => HttpProblem::new(
            Code::PlanPriceFrozen,
            "the price of a plan that was active once cannot change; make another plan",
        )
        .with("fields", fields),
        Rejection::PlanInUse => HttpProblem::new(
            Code::PlanInUse,
            "only a draft without subscriptions can be deleted; archive the plan instead",
        ),
        Rejection::PlanInactive { plan_id, status } => HttpProblem::new(
            Code::PlanInactive,
            format!("plan {plan_id} is {status}; subscriptions need an active one"),
        )
        .with("plan_id", plan_id)
        .with("plan_status", status),
        Rejection::CurrencyMismatch { from, to } => HttpProblem::new(
            Code::CurrencyMismatch,
            format!("the subscription is in {from}, the new plan in {to}"),
        )
        .with("from", from)
        .with("to", to),
        Rejection::WorkspaceInUse => HttpProblem::new(
            Code::WorkspaceInUse,
            "the workspace still has namespaces, subscriptions or invoices; delete those first",
        ),
        Rejection::SubscriptionInUse => HttpProblem::new(
            Code::SubscriptionInUse,
            "the subscription had an invoice; cancel it instead",
        ),
        Rejection::InvoiceImmutable { fields } => HttpProblem::new(
            Code::InvoiceImmutable,
            "a finalized invoice keeps what it says and is not deleted; void it and make another",
        )
        .with("fields", fields),
        Rejection::InvoiceHasPayments { amount_paid } => HttpProblem::new(
            Code::InvoiceHasPayments,
            format!("payments of {amount_paid} are settled; reverse them first"),
        )
        .with("amount_paid", amount_paid),
        Rejection::ExceedsAmountDue { amount_due, amount } => HttpProblem::new(
            Code::ExceedsAmountDue,
            format!("{amount} is more than the {amount_due} that is due"),
        )
        .with("amount_due", amount_due)
        .with("amount", amount),
        Rejection::Operation { failed_index, rejection } => {
            HttpProblem::from(*rejection).of_operation(failed_index)
        }
        rejection => booking(rejection),
    }
}

/// The refusals of the booking rules.
fn booking(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::NoRoom(no_room) => no_room_problem(&no_room),
        Rejection::BookableUnavailable { bookable_id, status } => HttpProblem::new(
            Code::BookableUnavailable,
            format!("bookable {bookable_id} is {status}; it takes no new bookings"),
        )
        .with("bookable_id", bookable_id)
        .with("bookable_status", status),
        Rejection::BookableInUse => {
            HttpProblem::new(Code::BookableInUse, "the bookable had a booking; archive it instead")
        }
        Rejection::CapacityBelowReserved { capacity, reserved, first_conflict_date } => {
            HttpProblem::new(
                Code::CapacityBelowReserved,
                format!(
                    "up to {reserved} are reserved on a day, first more than {capacity} on \
                     {first_conflict_date}; an admin can force it"
                ),
            )
            .with("capacity", capacity)
            .with("reserved", reserved)
            .with("first_conflict_date", first_conflict_date.to_string())
        }
        rejection => entitlement::problem(rejection),
    }
}

/// A booking without room. Holds end by themselves, so that it may be worth another try later.
fn no_room_problem(no_room: &NoRoom) -> HttpProblem {
    let first = no_room.first_conflict_date;
    let (code, detail) = match no_room.phase {
        BookingPhase::Confirm => (
            Code::HoldExpired,
            format!("the hold expired, and there is no room for it any more on {first}"),
        ),
        BookingPhase::Create | BookingPhase::Change => (
            Code::AvailabilityConflict,
            format!("there is no room for {} on {first}", no_room.requested),
        ),
    };
    HttpProblem::new(code, detail)
        .with("bookable_id", no_room.bookable_id.as_str())
        .with("start_date", no_room.start_date.to_string())
        .with("end_date", no_room.end_date.to_string())
        .with("requested", no_room.requested)
        .with("capacity", no_room.capacity)
        .with("usage", json!(usage_of(no_room)))
        .with("first_conflict_date", first.to_string())
        .after_ms(u64::try_from(no_room.hold_ttl_ms).unwrap_or_default())
}

/// What everybody else has on each day asked for.
pub fn usage_of(no_room: &NoRoom) -> Map<String, Value> {
    no_room.usage.iter().map(|(day, reserved)| (day.to_string(), json!(reserved))).collect()
}

/// A well-formed id of another type than the path or the field needs.
pub fn wrong_id_type(expected_prefix: &'static str) -> HttpProblem {
    HttpProblem::new(
        Code::WrongIdType,
        format!("this needs an id that begins with {expected_prefix}"),
    )
    .with("expected_prefix", expected_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_row_of_its_own() {
        let internal: Vec<&Code> = Code::ALL.iter().filter(|code| row(**code).0 == 500).collect();
        assert_eq!(internal, [&Code::Internal]);
    }
}
