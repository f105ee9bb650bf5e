//! The commands of a worker: claim a server, begin a call of the panel, record what it told.
//!
//! Each is its own commit. A worker that dies between two of them leaves a claim that runs out: if
//! its call had begun, the call is judged as one whose outcome is unknown.

use super::{
    EndedCall, Need, Observation, Outcome, Recorded, Rejection, Seen, ServerRecord, Step, Windows,
    record::want_for_step,
    saga::{later, step},
    timeline::{Told, note},
};
use crate::core::{self, Context, Wants, change_internally, keep_internally};
use ifmatch_types::{Kind, PanelObservation, ServerStep, ServerVerdict, WorkspaceId};

/// Take a server whose call is due, for the length of a lease.
#[derive(Clone, Debug)]
pub struct ClaimServer {
    /// The server.
    pub server_id: String,
    /// The windows of provisioning.
    pub windows: Windows,
    /// Chance, in thousandths of a back-off.
    pub jitter_permille: i64,
}

impl ClaimServer {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_alone(&self.server_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let before = stored(&self.server_id, ctx)?;
        if before.due_at().is_none_or(|at| at > ctx.now) {
            return Ok(Outcome::Claimed(None));
        }
        if let (Some(call), Some(started_at)) =
            (before.progress.running_call, before.progress.call_started_at)
        {
            let jitter_permille = self.jitter_permille;
            let ended = EndedCall { call, started_at, jitter_permille };
            // A call that told nothing changes nothing but the server, whose row alone is locked.
            let lost = (Seen::Lost, PanelObservation::Lost);
            judge(before, &ended, lost, None, &self.windows, ctx)?;
            return Ok(Outcome::Claimed(None));
        }
        let mut after = before;
        let Some(call) = after.progress.next_call else {
            // The call of a claim that ran out is not wanted any more. It never began.
            after.end_claim();
            keep_internally(after, ctx);
            return Ok(Outcome::Claimed(None));
        };
        after.generation = after.generation.saturating_add(1);
        after.lease_until = Some(later(ctx.now, self.windows.lease_ms()));
        after.progress.running_call = Some(call);
        note(&mut after, ServerStep::Claimed, Told { call: Some(call), ..Told::default() }, ctx);
        keep_internally(after.clone(), ctx);
        Ok(Outcome::Claimed(Some(Box::new(after))))
    }
}

/// Note that a worker's call begins. Only then may it call the panel.
#[derive(Clone, Debug)]
pub struct StartCall {
    /// The server.
    pub server_id: String,
    /// The number of the worker's claim.
    pub generation: i64,
}

impl StartCall {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_alone(&self.server_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let mut after = stored(&self.server_id, ctx)?;
        let is_held = after.generation == self.generation
            && after.lease_until.is_some_and(|until| ctx.now < until)
            && after.progress.call_started_at.is_none();
        if !is_held {
            return Ok(Outcome::Called(false));
        }
        after.progress.call_started_at = Some(ctx.now);
        let told = Told { call: after.progress.running_call, ..Told::default() };
        note(&mut after, ServerStep::Called, told, ctx);
        keep_internally(after, ctx);
        Ok(Outcome::Called(true))
    }
}

/// Record what a worker's call told.
#[derive(Clone, Debug)]
pub struct RecordCall {
    /// The server.
    pub server_id: String,
    /// The workspace that pays for it. Its account is locked, so calls for its servers share a lane.
    pub workspace_id: WorkspaceId,
    /// The number of the worker's claim.
    pub generation: i64,
    /// What the call told.
    pub observation: Observation,
    /// The panel's own words.
    pub detail: Option<String>,
    /// The windows of provisioning.
    pub windows: Windows,
    /// Chance, in thousandths of a back-off.
    pub jitter_permille: i64,
}

impl RecordCall {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_for_step(&self.server_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let before = stored(&self.server_id, ctx)?;
        let is_current = before.generation == self.generation;
        let running = before.progress.running_call.zip(before.progress.call_started_at);
        let Some((call, started_at)) = running.filter(|_| is_current) else {
            return Ok(Outcome::Recorded(None));
        };
        let ended = EndedCall { call, started_at, jitter_permille: self.jitter_permille };
        let seen = self.observation.seen(&before.server, &before.spec);
        let mut before_step = before;
        if let Some(remote) = self.observation.remote() {
            let is_ours = remote.is(&before_step.server, &before_step.spec);
            let server = &mut before_step.server;
            server.panel_status.clone_from(&remote.status);
            if is_ours {
                server.remote_uuid = Some(remote.uuid.clone());
            }
        }
        let observed = (seen, self.observation.name());
        let verdict =
            judge(before_step, &ended, observed, self.detail.clone(), &self.windows, ctx)?;
        let status = stored(&self.server_id, ctx)?.server.status;
        Ok(Outcome::Recorded(Some(Recorded { verdict, status })))
    }
}

/// Changes a server by what follows from a call, in one commit with all effects.
fn judge(
    mut after: ServerRecord,
    ended: &EndedCall,
    (seen, observation): (Seen, PanelObservation),
    detail: Option<String>,
    windows: &Windows,
    ctx: &mut Context<'_>,
) -> Result<ServerVerdict, Rejection> {
    let before = stored(after.server.id.as_str(), ctx)?;
    let Step { saga, effects, verdict } = step(&after.saga(), ended, seen, ctx.now, windows);
    after.set_saga(&saga);
    after.end_claim();
    after.server.attempts = after.server.attempts.saturating_add(1);
    after.server.last_observation = Some(observation);
    after.carry_out(&effects, ctx)?;
    let told = Told {
        call: Some(ended.call),
        observation: Some(observation),
        verdict: Some(verdict),
        detail,
    };
    note(&mut after, ServerStep::Observed, told, ctx);
    change_internally(after, before, ctx);
    Ok(verdict)
}

/// Requests a server for a command that changes nothing else.
fn want_alone(id: &str, wants: &mut Wants<'_, '_, Need>) {
    wants.object(Kind::Server, id);
    wants.clock();
}

/// The server as the commands before this one left it.
pub(super) fn stored(id: &str, ctx: &Context<'_>) -> Result<ServerRecord, Rejection> {
    let row = ctx.state.provisioning().servers.get(id);
    let row = row.ok_or_else(|| core::Rejection::not_found(Kind::Server, id))?;
    Ok(row.record.clone())
}
