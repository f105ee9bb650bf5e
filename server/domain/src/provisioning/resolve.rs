//! An admin's decision about a server whose fate the panel does not tell.

use super::{
    Need, Outcome, Rejection, ServerRecord, Windows,
    record::want_for_step,
    timeline::{Told, note},
};
use crate::core::{
    self, Context, Errors, Precondition, Wants, change_internally, living, plain_audit, read,
    stale_claim,
};
use ifmatch_types::{
    AuditResource, INTEGER_MAX, Kind, NewResolution, Resolve, ServerStatus as Status, ServerStep,
    ServerVerdict, merge,
};
use serde_json::{Map, Value};

/// Decide about a server in `pending_reconciliation`.
#[derive(Clone, Debug)]
pub struct ResolveServer {
    /// The server.
    pub server_id: String,
    /// The version that the admin saw.
    pub precondition: Precondition,
    /// The request's body, a [`NewResolution`].
    pub body: Map<String, Value>,
    /// The windows of provisioning.
    pub windows: Windows,
}

impl ResolveServer {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_for_step(&self.server_id, wants);
        if let Some(named) = self.precondition.latest() {
            wants.history(Kind::Server, &self.server_id, named);
        }
        if let Some(remote_id) = self.body.get("remote_id").and_then(Value::as_i64)
            && !wants.state.provisioning().holders.contains_key(&remote_id)
        {
            wants.push(Need::Holders(remote_id));
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let found = living::<ServerRecord>(&self.server_id, ctx)?;
        let NewResolution { verdict, remote_id, reason } = self.read()?;
        if self.precondition == Precondition::Missing {
            return Err(core::Rejection::PreconditionRequired.into());
        }
        if !self.precondition.matches(found.version()) {
            return Err(stale_claim(found, self.precondition.latest(), ctx).into());
        }
        let status = found.record.server.status;
        let saga = found.record.saga();
        let ((saga, effects), verdict) = match (status, verdict, remote_id) {
            (Status::PendingReconciliation, Resolve::Adopt, Some(remote_id)) => {
                self.refuse_that_of_another(remote_id, ctx)?;
                (saga.keep(remote_id, ctx.now), ServerVerdict::Active)
            }
            (Status::PendingReconciliation, ..) => {
                (saga.undo(ctx.now, &self.windows), ServerVerdict::Failed)
            }
            _ => {
                let to = if verdict == Resolve::Adopt { Status::Active } else { Status::Failed };
                let (from, to, allowed) = (status.name(), to.name(), Vec::new());
                return Err(core::Rejection::InvalidTransition { from, to, allowed }.into());
            }
        };
        let mut after = found.record.clone();
        after.set_saga(&saga);
        // A call that still runs tells nothing any more.
        after.end_claim();
        after.generation = after.generation.saturating_add(1);
        after.carry_out(&effects, ctx)?;
        let told = Told { verdict: Some(verdict), detail: Some(reason.clone()), ..Told::default() };
        note(&mut after, ServerStep::Resolved, told, ctx);
        self.audit(&found.record, reason, &after, ctx);
        Ok(core::Outcome::Object(change_internally(after, found.record, ctx)).into())
    }

    /// Refuses to give this server what another one has on the panel: it would be suspended and deleted
    /// with this one.
    ///
    /// Nothing locks the other one, and it may not know its id yet. Two admins who give one id to two
    /// servers at the same moment are not told; `verify` tells of it later.
    fn refuse_that_of_another(
        &self,
        remote_id: i64,
        ctx: &Context<'_>,
    ) -> Result<(), core::Rejection> {
        match ctx.state.provisioning().holder_beside(&self.server_id, remote_id) {
            Some(holder) => {
                Err(core::Rejection::invalid("/remote_id", format!("is the one of {holder}")))
            }
            None => Ok(()),
        }
    }

    fn audit(
        &self,
        before: &ServerRecord,
        reason: String,
        after: &ServerRecord,
        ctx: &mut Context<'_>,
    ) {
        let resource = AuditResource {
            resource_type: Kind::Server.name().to_owned(),
            id: self.server_id.clone(),
        };
        let mut record = plain_audit("server_resolved", Some(resource), Some(reason), ctx);
        let state = |record: &ServerRecord| {
            let server = &record.server;
            serde_json::json!({ "status": server.status, "remote_id": server.remote_id })
        };
        record.changes = merge::diff(&state(before), &state(after));
        ctx.state.audits.push(record);
    }

    fn read(&self) -> Result<NewResolution, core::Rejection> {
        let new: NewResolution = read(&self.body)?;
        let mut errors = Errors::default();
        match (new.verdict, new.remote_id) {
            (Resolve::Adopt, Some(remote_id)) => {
                errors.range("/remote_id", remote_id, 1, INTEGER_MAX);
            }
            (Resolve::Adopt, None) => errors.push("/remote_id", "is required to adopt a server"),
            (_, Some(_)) => errors.push("/remote_id", "is only for adopt"),
            (_, None) => {}
        }
        errors.text("/reason", &new.reason, 1, 500);
        errors.into_result()?;
        Ok(new)
    }
}
