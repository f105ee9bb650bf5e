//! A server as it is stored, and how a step of its saga changes it.

use super::{
    Effect, Need, Rejection, Saga, ServerSpec,
    limit::{slots, take_slots, want_slots},
    saga::Doubt,
};
use crate::{
    core::{Context, Wants, plain_audit},
    ledger,
};
use ifmatch_types::{AuditResource, Kind, PanelCall, Server, Timestamp, TransferKind};
use serde::{Deserialize, Serialize};

/// A server as it is stored, with what its workers must know.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerRecord {
    /// The server as the API shows it.
    pub server: Server,
    /// What the panel is asked for.
    pub spec: ServerSpec,
    /// The number of claims so far. A worker whose claim is not the last one is fenced off.
    pub generation: i64,
    /// When the running claim ends.
    pub lease_until: Option<Timestamp>,
    /// Since when it is neither active nor ended.
    pub unsettled_since: Option<Timestamp>,
    /// How far its saga has come, beside what the API shows.
    pub progress: Progress,
    /// The number of entries in its timeline.
    pub entries: i64,
}

/// How far a server's saga has come, beside what the API shows. No query looks into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The call of the running claim.
    pub running_call: Option<PanelCall>,
    /// When that call began.
    pub call_started_at: Option<Timestamp>,
    /// The next call; it is due at the server's `next_check_at`.
    pub next_call: Option<PanelCall>,
    /// What is not known about it on the panel.
    pub doubt: Doubt,
    /// Until when the panel may still do or undo an earlier call of unknown outcome.
    pub settle_at: Option<Timestamp>,
    /// When it was absent for the first time since it was last seen.
    pub absent_at: Option<Timestamp>,
    /// How many calls in a row told nothing.
    pub failures: i64,
    /// Until when it is looked up after its failure.
    pub watch_until: Option<Timestamp>,
}

impl ServerRecord {
    /// How far the server has come.
    pub fn saga(&self) -> Saga {
        Saga {
            status: self.server.status,
            suspended: self.server.suspended,
            suspended_on_panel: self.server.suspended_on_panel,
            remote_id: self.server.remote_id,
            doubt: self.progress.doubt,
            next: self.progress.next_call.zip(self.server.next_check_at),
            settle_at: self.progress.settle_at,
            absent_at: self.progress.absent_at,
            failures: self.progress.failures,
            unsettled_since: self.unsettled_since,
            watch_until: self.progress.watch_until,
        }
    }

    /// Takes over how far the server has come.
    pub fn set_saga(&mut self, saga: &Saga) {
        self.server.status = saga.status;
        self.server.suspended = saga.suspended;
        self.server.suspended_on_panel = saga.suspended_on_panel;
        self.server.remote_id = saga.remote_id;
        self.server.next_check_at = saga.next.map(|(_, at)| at);
        self.progress.next_call = saga.next.map(|(call, _)| call);
        self.progress.doubt = saga.doubt;
        self.progress.settle_at = saga.settle_at;
        self.progress.absent_at = saga.absent_at;
        self.progress.failures = saga.failures;
        self.unsettled_since = saga.unsettled_since;
        self.progress.watch_until = saga.watch_until;
    }

    /// When a worker must look at it next: the end of a claim, or the next call.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.lease_until.or(self.server.next_check_at)
    }

    /// Ends the running claim. Its worker is fenced off if it is still at work.
    pub(super) fn end_claim(&mut self) {
        self.lease_until = None;
        self.progress.running_call = None;
        self.progress.call_started_at = None;
    }

    /// Makes the changes outside the saga, in the same commit.
    pub(super) fn carry_out(
        &self,
        effects: &[Effect],
        ctx: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        for effect in effects {
            match effect {
                Effect::Charge => self.resolve_credits(TransferKind::Post, ctx)?,
                Effect::GiveBack => self.resolve_credits(TransferKind::Void, ctx)?,
                Effect::FreeSlot => {
                    let slots = slots(&self.server.workspace_id, &self.server.product_id, ctx);
                    take_slots(slots, -1, ctx);
                }
                Effect::RecordOrphan => {
                    let resource = AuditResource {
                        resource_type: Kind::Server.name().to_owned(),
                        id: self.server.id.to_string(),
                    };
                    let reason = "it appeared on the panel after it had failed".to_owned();
                    let record = plain_audit("orphan_deleted", Some(resource), Some(reason), ctx);
                    ctx.state.audits.push(record);
                }
            }
        }
        Ok(())
    }

    fn resolve_credits(&self, kind: TransferKind, ctx: &mut Context<'_>) -> Result<(), Rejection> {
        if let Some(reservation_id) = &self.server.reservation_id {
            ledger::resolve_owned(reservation_id.as_str(), kind, ctx)?;
        }
        Ok(())
    }
}

/// Requests a server for a step of its saga, with all that the step may change.
///
/// The account and the workspace are locked before the server, whatever the step will be.
pub(super) fn want_for_step(id: &str, wants: &mut Wants<'_, '_, Need>) {
    let Some(workspace_id) = wants.owner(Kind::Server, id) else { return };
    let Some(workspace_id) = workspace_id else { return wants.object(Kind::Server, id) };
    wants.through(Need::Ledger, |wants| ledger::want_account_of(&workspace_id, wants));
    wants.object(Kind::Workspace, &workspace_id);
    wants.object(Kind::Server, id);
    if let Some(row) = wants.state.provisioning().servers.original(id) {
        let server = &row.record.server;
        want_slots(&workspace_id, server.product_id.as_str(), wants);
        if let Some(reservation_id) = &server.reservation_id {
            let id = reservation_id.as_str();
            wants.through(Need::Ledger, |wants| ledger::want_reservation(id, wants));
        }
    }
    wants.clock();
}
