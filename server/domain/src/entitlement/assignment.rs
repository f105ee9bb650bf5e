//! Assignments of packages to scopes.

use super::{
    Need, Outcome, Rejection, ScopeRef,
    log::log,
    package::{self, want_package_code},
    scope::{chain, change_holdings, want_chain, want_holdings, want_scope_of, workspace_of},
};
use crate::core::{
    self, CodeHolder, Context, Errors, How, ObjectAnswer, Resource, State, UpdateObject, Wants,
    change_internally, create_internally, json, read, usual_parts,
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
    /// The scope that gets the package.
    pub scope: ScopeRef,
    /// The request's body, a [`NewAssignment`].
    pub body: Map<String, Value>,
}

/// An assignment as it is stored, with a field that the API does not show.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentRecord {
    /// The assignment as the API shows it.
    pub assignment: Assignment,
    /// The id of its package.
    pub package_id: PackageId,
}

impl AssignPackage {
    /// A string field of the body.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field)?.as_str()
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if let Some(code) = self.text("package") {
            want_package_code(code, wants);
        }
        // Everything else is read after the scope's row is locked.
        let Some(chain) = want_chain(&self.scope, wants) else { return };
        want_holdings(&chain, wants);
        wants.clock();
        if let Some(external) = self.text("external_service_id")
            && !wants.state.entitlement().external_services.is_loaded(external)
        {
            wants.push(Need::ExternalService(external.to_owned()));
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        chain(&self.scope, ctx)?;
        let new: NewAssignment = read(&self.body)?;
        let mut errors = Errors::default();
        if let Some(id) = &new.external_service_id {
            errors.text("/external_service_id", id, 1, 200);
        }
        errors.into_result()?;
        if let Some(first) = known(&new, ctx) {
            return repeat_of(first, &self.scope, &new);
        }
        // Checked only now, because a repeat may arrive after the assignment has expired.
        if new.expires_at.is_some_and(|expires_at| expires_at <= ctx.now) {
            return Err(core::Rejection::invalid("/expires_at", "must be in the future").into());
        }
        let package = package::named("/package", &new.package, ctx.state)?;
        if package.package.status != CatalogStatus::Active {
            return Err(Rejection::PackageInactive { package: new.package });
        }
        let of = self.scope.to_string();
        if package.package.is_base {
            end_base(&of, ctx)?;
        } else if !package.package.is_stackable {
            refuse_second(&of, &package.package.id, ctx)?;
        }
        let anchor_at = anchor(&of, ctx);
        let assignment = Assignment {
            id: AssignmentId::from_unchecked(ctx.ids.fresh(AssignmentId::PREFIX)),
            version: 1,
            scope: of.clone(),
            package: new.package,
            status: Status::Active,
            is_base: package.package.is_base,
            starts_at: ctx.now,
            expires_at: new.expires_at,
            cancel_at: None,
            ended_at: None,
            anchor_at,
            external_service_id: new.external_service_id,
            created_at: ctx.now,
            updated_at: ctx.now,
            updated_by: ctx.meta.actor.name.clone(),
        };
        if let Some(external) = &assignment.external_service_id {
            let holder = CodeHolder { id: assignment.id.to_string() };
            ctx.state.entitlement_mut().external_services.put(external.clone(), holder);
        }
        let id = assignment.id.to_string();
        let details = value!({ "assignment_id": id, "package": assignment.package });
        log(&of, "package.assigned", details, ctx);
        change_holdings(&of, ctx, |holdings| holdings.assignments.push(id));
        let record = AssignmentRecord { assignment, package_id: package.package.id };
        Ok(Outcome::Core(core::Outcome::Object(create_internally(record, ctx))))
    }
}

/// The anchor of a scope's months; it is set to now if the scope never had a package or boost.
pub(crate) fn anchor(of: &str, ctx: &mut Context<'_>) -> Timestamp {
    let now = ctx.now;
    let known = ctx.state.entitlement().holdings.find(of).and_then(|holdings| holdings.anchor);
    known.unwrap_or_else(|| {
        change_holdings(of, ctx, |holdings| holdings.anchor = Some(now));
        now
    })
}

/// The assignment that already has this external service id.
fn known(new: &NewAssignment, ctx: &Context<'_>) -> Option<AssignmentRecord> {
    let holder =
        ctx.state.entitlement().external_services.get(new.external_service_id.as_ref()?)?;
    ctx.state.entitlement().assignments.get(&holder.id).map(|row| row.record.clone())
}

/// Answers a repeat: the first result if the request is the same, otherwise a rejection.
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
    Ok(Outcome::Core(core::Outcome::Object(ObjectAnswer {
        kind: Kind::Assignment,
        id: there.id.to_string(),
        version: there.version,
        body: Arc::new(json(there).into()),
        how: How::Existed,
        overwrote: Vec::new(),
    })))
}

/// The living assignments of a scope.
fn living(of: &str, ctx: &Context<'_>) -> Vec<AssignmentRecord> {
    let members =
        ctx.state.entitlement().holdings.find(of).map(|holdings| holdings.assignments.as_slice());
    let rows = members
        .unwrap_or_default()
        .iter()
        .filter_map(|id| ctx.state.entitlement().assignments.find(id));
    let records = rows.map(|row| &row.record).filter(|record| record.is_living());
    records.cloned().collect()
}

/// Ends the current base package in the same commit that assigns another one.
fn end_base(of: &str, ctx: &mut Context<'_>) -> Result<(), Rejection> {
    let bases = living(of, ctx).into_iter().filter(|record| record.assignment.is_base);
    for before in bases.collect::<Vec<_>>() {
        let over = before.ends_by(ctx.now);
        let ended = before.ended(over.unwrap_or((Status::Cancelled, ctx.now)), ctx);
        change_internally(ended, before, ctx);
    }
    Ok(())
}

fn refuse_second(of: &str, package: &PackageId, ctx: &Context<'_>) -> Result<(), Rejection> {
    let now = ctx.now;
    let there = living(of, ctx)
        .into_iter()
        .find(|record| record.package_id == *package && record.ends_by(now).is_none());
    match there {
        Some(record) => Err(core::Rejection::AlreadyExists {
            what: Kind::Assignment.name(),
            existing_id: record.assignment.id.to_string(),
            differing_fields: Vec::new(),
        }
        .into()),
        None => Ok(()),
    }
}

impl AssignmentRecord {
    /// Whether it is active or suspended. An ended assignment never grants anything again.
    pub(crate) fn is_living(&self) -> bool {
        matches!(self.assignment.status, Status::Active | Status::Suspended)
    }

    /// Whether its grants count at `now`.
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        let assignment = &self.assignment;
        assignment.status == Status::Active
            && assignment.starts_at <= now
            && self.ends_by(now).is_none()
    }

    /// The ended status and its time, if an end date has passed by `now`.
    ///
    /// The earlier one of `cancel_at` and `expires_at` decides. The end may not be stored yet.
    pub(crate) fn ends_by(&self, now: Timestamp) -> Option<(Status, Timestamp)> {
        let Assignment { cancel_at, expires_at, .. } = self.assignment;
        let ends = [(Status::Cancelled, cancel_at), (Status::Expired, expires_at)];
        let ends = ends.into_iter().filter_map(|(status, end)| Some((status, end?)));
        let first = ends.filter(|(_, end)| *end <= now).min_by_key(|(_, end)| *end);
        first.filter(|_| self.is_living())
    }

    /// The assignment with an ended status.
    pub(crate) fn ended(&self, (status, at): (Status, Timestamp), ctx: &mut Context<'_>) -> Self {
        let mut ended = self.clone();
        ended.assignment.status = status;
        ended.assignment.ended_at = Some(at);
        ended.log_change(ctx);
        ended
    }

    fn log_change(&self, ctx: &mut Context<'_>) {
        let assignment = &self.assignment;
        let details = value!({
            "assignment_id": assignment.id,
            "package": assignment.package,
            "status": assignment.status,
            "cancel_at": assignment.cancel_at,
        });
        log(&assignment.scope, "package.changed", details, ctx);
    }

    /// Refuses to activate a base package while the scope has another one.
    fn refuse_other_base(&self, ctx: &Context<'_>) -> Result<(), Rejection> {
        let assignment = &self.assignment;
        let other = living(&assignment.scope, ctx).into_iter().find(|other| {
            other.assignment.is_base
                && other.assignment.id != assignment.id
                && other.ends_by(ctx.now).is_none()
        });
        match other {
            Some(other) if assignment.is_base => {
                Err(Rejection::BasePackageConflict { existing_id: other.assignment.id.to_string() })
            }
            _ => Ok(()),
        }
    }

    fn transition(&self, to: Status, ctx: &Context<'_>) -> Result<(), Rejection> {
        let from = self.ends_by(ctx.now).map_or(self.assignment.status, |(status, _)| status);
        let allowed: &[Status] = match from {
            Status::Active => &[Status::Suspended, Status::Cancelled],
            Status::Suspended => &[Status::Active, Status::Cancelled],
            Status::Cancelled | Status::Expired | Status::Unknown(_) => &[],
        };
        if to == Status::Active && from != Status::Active {
            self.refuse_other_base(ctx)?;
        }
        if to == from || allowed.contains(&to) {
            return Ok(());
        }
        Err(core::Rejection::InvalidTransition {
            from: from.name(),
            to: to.name(),
            allowed: allowed.iter().map(|status| status.name()).collect(),
        }
        .into())
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

    fn workspace_id(&self, state: &State) -> Option<String> {
        workspace_of(&self.assignment.scope, state)
    }

    fn check(_fields: &mut AssignmentFields, _errors: &mut Errors) {}

    fn create(_: AssignmentFields, _: String, _: &mut Context<'_>) -> Result<Self, Rejection> {
        Err(core::Rejection::invalid("/type", "assignments are created under their scope").into())
    }

    fn change(&self, fields: AssignmentFields, ctx: &mut Context<'_>) -> Result<Self, Rejection> {
        let before = &self.assignment;
        let to = fields.status.unwrap_or(before.status);
        if to != before.status || fields.cancel_at != before.cancel_at {
            self.transition(to, ctx)?;
        }
        if fields.cancel_at != before.cancel_at
            && fields.cancel_at.is_some_and(|cancel_at| cancel_at <= ctx.now)
        {
            return Err(core::Rejection::invalid("/cancel_at", "must be in the future").into());
        }
        if to != before.status
            && to == Status::Cancelled
            && fields.cancel_at.is_some()
            && fields.cancel_at != before.cancel_at
        {
            let message = "must not be set because the request cancels the assignment now";
            return Err(core::Rejection::invalid("/cancel_at", message).into());
        }
        let mut changed = self.clone();
        changed.assignment.cancel_at = fields.cancel_at;
        if changed.assignment.cancel_at != before.cancel_at && !changed.is_living() {
            return Err(core::Rejection::invalid(
                "/cancel_at",
                "cannot be changed because the assignment has ended",
            )
            .into());
        }
        changed.assignment.status = to;
        if self.is_living() && !changed.is_living() {
            changed.assignment.ended_at = Some(ctx.now);
        }
        if changed != *self {
            changed.log_change(ctx);
        }
        Ok(changed)
    }

    fn delete(&self, _: &mut Context<'_>) -> Result<(), Rejection> {
        Err(core::Rejection::invalid("/type", "an assignment cannot be deleted, only cancelled")
            .into())
    }

    fn want<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        // The scope's row is locked before the assignment's.
        if let Some(chain) = want_scope_of(Kind::Assignment, id, wants) {
            wants.object(Kind::Assignment, id);
            want_holdings(&chain, wants);
        }
    }

    fn want_to_see<'c>(id: &str, wants: &mut Wants<'_, 'c, Need>) {
        // Commands about its scope may end it in the same batch, under the scope's lock only.
        Self::want(id, wants);
    }

    fn want_for_change<'c>(_: &'c UpdateObject, wants: &mut Wants<'_, 'c, Need>) {
        wants.clock();
    }
}

/// The grants of a pool by the packages that a scope has at `now`.
pub(crate) fn grants_of<'a>(
    of: &str,
    pool: &'a str,
    now: Timestamp,
    state: &'a State,
) -> impl Iterator<Item = &'a package::PoolGrant> {
    let records = records_of(of, state).filter(move |record| record.counts(now));
    records.flat_map(move |record| record.grants(pool, state))
}

/// Whether a scope has a suspended package that grants a pool.
pub(crate) fn is_suspended(of: &str, pool: &str, now: Timestamp, state: &State) -> bool {
    records_of(of, state)
        .filter(|record| record.assignment.status == Status::Suspended)
        .filter(|record| record.ends_by(now).is_none())
        .any(|record| record.grants(pool, state).next().is_some())
}

fn records_of<'a>(of: &str, state: &'a State) -> impl Iterator<Item = &'a AssignmentRecord> {
    let members =
        state.entitlement().holdings.find(of).map(|holdings| holdings.assignments.as_slice());
    let records = members.unwrap_or_default().iter();
    records.filter_map(|id| state.entitlement().assignments.find(id)).map(|row| &row.record)
}

impl AssignmentRecord {
    /// What its package grants of a pool.
    fn grants<'a>(
        &self,
        pool: &'a str,
        state: &'a State,
    ) -> impl Iterator<Item = &'a package::PoolGrant> + use<'a> {
        let package_id = self.package_id.as_str();
        let grants = match state.entitlement().packages.find(package_id) {
            Some(row) => row.record.grants.as_slice(),
            None => {
                let loaded = state.entitlement().package_grants.get(package_id);
                loaded.map(Vec::as_slice).unwrap_or_default()
            }
        };
        grants.iter().filter(move |grant| grant.pool == pool)
    }
}
