//! Assignments: packages that scopes have.

use super::{ScopeRef, chain, log, package};
use crate::{
    CodeHolder, How, ObjectAnswer, Outcome, Rejection, Resource, Scope,
    edit::{self, json},
    fields::Errors,
    resource::usual_parts,
    versioned::{self, change_internally},
};
use ifmatch_types::{
    Assignment, AssignmentFields, AssignmentId, AssignmentStatus as Status, CatalogStatus, Kind,
    NewAssignment, PackageId, Timestamp,
};
use serde_json::{Map, Value, json as value};
use std::sync::Arc;

/// Assign a package to a scope.
#[derive(Clone, Debug)]
pub struct AssignPackage {
    /// Who gets it.
    pub scope: ScopeRef,
    /// The request's body: a [`NewAssignment`].
    pub body: Map<String, Value>,
}

/// An assignment with what the API does not show of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentRecord {
    /// The assignment as the API shows it.
    pub assignment: Assignment,
    /// The package.
    pub package_id: PackageId,
}

impl AssignPackage {
    /// A text of the body.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, scope)?;
        let new: NewAssignment = edit::read(&self.body)?;
        let mut errors = Errors::default();
        if let Some(id) = &new.external_service_id {
            errors.text("/external_service_id", id, 1, 200);
        }
        errors.into_result()?;
        if let Some(first) = known(&new, scope) {
            return repeat_of(first, &self.scope, &new);
        }
        // Only now: a repeat may come after its end.
        if new.expires_at.is_some_and(|expires_at| expires_at <= scope.now) {
            return Err(Rejection::invalid("/expires_at", "must be in the future"));
        }
        let package = package::named("/package", &new.package, scope.state)?;
        if package.package.status != CatalogStatus::Active {
            return Err(Rejection::PackageInactive { package: new.package });
        }
        let of = self.scope.to_string();
        if package.package.is_base {
            end_base(&of, scope)?;
        } else if !package.package.is_stackable {
            refuse_second(&of, &package.package.id, scope)?;
        }
        let anchor_at = anchor(&of, scope);
        let assignment = Assignment {
            id: AssignmentId::from_unchecked(scope.ids.fresh(AssignmentId::PREFIX)),
            version: 1,
            scope: of.clone(),
            package: new.package,
            status: Status::Active,
            is_base: package.package.is_base,
            starts_at: scope.now,
            expires_at: new.expires_at,
            cancel_at: None,
            ended_at: None,
            anchor_at,
            external_service_id: new.external_service_id,
            created_at: scope.now,
            updated_at: scope.now,
            updated_by: scope.meta.actor.name.clone(),
        };
        if let Some(external) = &assignment.external_service_id {
            let holder = CodeHolder { id: assignment.id.to_string() };
            scope.state.external_services.put(external.clone(), holder);
        }
        let id = assignment.id.to_string();
        let details = value!({ "assignment_id": id, "package": assignment.package });
        log(&of, "package.assigned", details, scope);
        scope.state.holdings.entry(of).or_default().assignments.push(id);
        let record = AssignmentRecord { assignment, package_id: package.package.id };
        Ok(Outcome::Object(versioned::create_internally(record, scope)))
    }
}

/// Where the months of a scope begin; from now on if it never had anything.
pub(crate) fn anchor(of: &str, scope: &mut Scope<'_>) -> Timestamp {
    let now = scope.now;
    *scope.state.holdings.entry(of.to_owned()).or_default().anchor.get_or_insert(now)
}

/// The assignment that already has this external service id.
fn known(new: &NewAssignment, scope: &Scope<'_>) -> Option<AssignmentRecord> {
    let holder = scope.state.external_services.get(new.external_service_id.as_ref()?)?;
    scope.state.assignments.get(&holder.id).map(|row| row.record.clone())
}

/// A repeat: the first result if it asks for the same, else a rejection.
fn repeat_of(
    first: AssignmentRecord,
    of: &ScopeRef,
    new: &NewAssignment,
) -> Result<Outcome, Rejection> {
    let there = &first.assignment;
    let differing: Vec<String> = [
        ("/scope", there.scope != of.to_string()),
        ("/package", there.package != new.package),
        ("/expires_at", there.expires_at != new.expires_at),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(path, _)| path.to_owned())
    .collect();
    if !differing.is_empty() {
        return Err(Rejection::DuplicateExternalService {
            existing_id: there.id.to_string(),
            differing_fields: differing,
        });
    }
    Ok(Outcome::Object(ObjectAnswer {
        kind: Kind::Assignment,
        id: there.id.to_string(),
        version: there.version,
        body: Arc::new(json(there).into()),
        how: How::Existed,
        overwrote: Vec::new(),
    }))
}

/// The living assignments of a scope.
fn living(of: &str, scope: &Scope<'_>) -> Vec<AssignmentRecord> {
    let members = scope.state.holdings.get(of).map(|holdings| holdings.assignments.as_slice());
    let rows = members.unwrap_or_default().iter().filter_map(|id| scope.state.assignments.find(id));
    let records = rows.map(|row| &row.record).filter(|record| record.is_living());
    records.cloned().collect()
}

/// Makes room for another base package: the one there is ends in this same commit.
fn end_base(of: &str, scope: &mut Scope<'_>) -> Result<(), Rejection> {
    let bases = living(of, scope).into_iter().filter(|record| record.assignment.is_base);
    for before in bases.collect::<Vec<_>>() {
        let over = before.ends_by(scope.now);
        let ended = before.ended(over.unwrap_or((Status::Cancelled, scope.now)), scope);
        change_internally(ended, before, scope);
    }
    Ok(())
}

fn refuse_second(of: &str, package: &PackageId, scope: &Scope<'_>) -> Result<(), Rejection> {
    let now = scope.now;
    let there = living(of, scope)
        .into_iter()
        .find(|record| record.package_id == *package && record.ends_by(now).is_none());
    match there {
        Some(record) => Err(Rejection::AlreadyExists {
            what: Kind::Assignment.name(),
            existing_id: record.assignment.id.to_string(),
            differing_fields: Vec::new(),
        }),
        None => Ok(()),
    }
}

impl AssignmentRecord {
    /// Whether it may grant something again.
    pub(crate) fn is_living(&self) -> bool {
        matches!(self.assignment.status, Status::Active | Status::Suspended)
    }

    /// Whether its grants count at an instant.
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        let assignment = &self.assignment;
        assignment.status == Status::Active
            && assignment.starts_at <= now
            && self.ends_by(now).is_none()
    }

    /// The status that the first of its dates to pass gives it, and when, whether or not anybody has
    /// stored it by an instant.
    pub(crate) fn ends_by(&self, now: Timestamp) -> Option<(Status, Timestamp)> {
        let Assignment { cancel_at, expires_at, .. } = self.assignment;
        let ends = [(Status::Cancelled, cancel_at), (Status::Expired, expires_at)];
        let ends = ends.into_iter().filter_map(|(status, end)| Some((status, end?)));
        let first = ends.filter(|(_, end)| *end <= now).min_by_key(|(_, end)| *end);
        first.filter(|_| self.is_living())
    }

    /// It, ended.
    pub(crate) fn ended(&self, (status, at): (Status, Timestamp), scope: &mut Scope<'_>) -> Self {
        let mut ended = self.clone();
        ended.assignment.status = status;
        ended.assignment.ended_at = Some(at);
        ended.log_change(scope);
        ended
    }

    fn log_change(&self, scope: &mut Scope<'_>) {
        let assignment = &self.assignment;
        let details = value!({
            "assignment_id": assignment.id,
            "package": assignment.package,
            "status": assignment.status,
            "cancel_at": assignment.cancel_at,
        });
        log(&assignment.scope, "package.changed", details, scope);
    }

    /// Refuses to be active again beside another base package.
    fn refuse_other_base(&self, scope: &Scope<'_>) -> Result<(), Rejection> {
        let assignment = &self.assignment;
        let other = living(&assignment.scope, scope).into_iter().find(|other| {
            other.assignment.is_base
                && other.assignment.id != assignment.id
                && other.ends_by(scope.now).is_none()
        });
        match other {
            Some(other) if assignment.is_base => {
                Err(Rejection::BasePackageConflict { existing_id: other.assignment.id.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn transition(&self, to: Status, scope: &Scope<'_>) -> Result<(), Rejection> {
        let from = self.ends_by(scope.now).map_or(self.assignment.status, |(status, _)| status);
        let allowed: &[Status] = match from {
            Status::Active => &[Status::Suspended, Status::Cancelled],
            Status::Suspended => &[Status::Active, Status::Cancelled],
            Status::Cancelled | Status::Expired | Status::Unknown(_) => &[],
        };
        if to == Status::Active && from != Status::Active {
            self.refuse_other_base(scope)?;
        }
        if to == from || allowed.contains(&to) {
            return Ok(());
        }
        Err(Rejection::InvalidTransition {
            from: from.name(),
            to: to.name(),
            allowed: allowed.iter().map(|status| status.name()).collect(),
        })
    }
}

impl Resource for AssignmentRecord {
    type Entity = Assignment;
    type Fields = AssignmentFields;

    const KIND: Kind = Kind::Assignment;
    const FIELDS: &'static [&'static str] = &["status", "cancel_at"];
    const SET_ONCE: &'static [&'static str] = &[];
    const KEPT_IF_ABSENT: &'static [&'static str] = &["status"];

    usual_parts!(assignments, |record| record.assignment);

    fn check(_fields: &mut AssignmentFields, _errors: &mut Errors) {}

    fn create(_: AssignmentFields, _: String, _: &mut Scope<'_>) -> Result<Self, Rejection> {
        Err(Rejection::invalid("/type", "packages are assigned under their scope"))
    }

    fn change(&self, fields: AssignmentFields, scope: &mut Scope<'_>) -> Result<Self, Rejection> {
        let before = &self.assignment;
        let to = fields.status.unwrap_or(before.status);
        if to != before.status || fields.cancel_at != before.cancel_at {
            self.transition(to, scope)?;
        }
        if fields.cancel_at != before.cancel_at
            && fields.cancel_at.is_some_and(|cancel_at| cancel_at <= scope.now)
        {
            return Err(Rejection::invalid("/cancel_at", "must be in the future"));
        }
        if to != before.status
            && to == Status::Cancelled
            && fields.cancel_at.is_some()
            && fields.cancel_at != before.cancel_at
        {
            let message = "is for an assignment that goes on until then; this one is cancelled now";
            return Err(Rejection::invalid("/cancel_at", message));
        }
        let mut changed = self.clone();
        changed.assignment.cancel_at = fields.cancel_at;
        if changed.assignment.cancel_at != before.cancel_at && !changed.is_living() {
            return Err(Rejection::invalid("/cancel_at", "the assignment is over"));
        }
        changed.assignment.status = to;
        if self.is_living() && !changed.is_living() {
            changed.assignment.ended_at = Some(scope.now);
        }
        if changed != *self {
            changed.log_change(scope);
        }
        Ok(changed)
    }

    fn delete(&self, _: &mut Scope<'_>) -> Result<(), Rejection> {
        Err(Rejection::invalid("/type", "an assignment is cancelled, not deleted"))
    }
}

/// What the packages of a scope grant of a pool at an instant.
pub(crate) fn grants_of<'a>(
    of: &str,
    pool: &'a str,
    now: Timestamp,
    state: &'a crate::State,
) -> impl Iterator<Item = &'a package::PoolGrant> {
    let members = state.holdings.get(of).map(|holdings| holdings.assignments.as_slice());
    let records = members.unwrap_or_default().iter();
    let records = records.filter_map(|id| state.assignments.find(id)).map(|row| &row.record);
    records
        .filter(move |record| record.counts(now))
        .flat_map(|record| match state.packages.find(record.package_id.as_str()) {
            Some(row) => row.record.grants.as_slice(),
            None => {
                let loaded = state.package_grants.get(record.package_id.as_str());
                loaded.map(Vec::as_slice).unwrap_or_default()
            }
        })
        .filter(move |grant| grant.pool == pool)
}
