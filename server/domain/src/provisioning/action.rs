//! Actions on servers other than create, update and delete.

use super::{ClaimServer, Need, Outcome, RecordCall, Rejection, ResolveServer, StartCall};
use crate::core::{Context, Wants};

/// An action on a server.
#[derive(Clone, Debug)]
pub enum Action {
    /// Take a server whose call is due.
    ClaimServer(ClaimServer),
    /// Note that the call begins.
    StartCall(StartCall),
    /// Record what the call told.
    RecordCall(RecordCall),
    /// Decide about a server whose fate is unknown.
    ResolveServer(ResolveServer),
}

impl Action {
    /// The server that the action is about, or the workspace whose account it locks.
    pub fn subject(&self) -> Option<&str> {
        Some(match self {
            Self::ClaimServer(claim) => &claim.server_id,
            Self::StartCall(start) => &start.server_id,
            Self::RecordCall(record) => record.workspace_id.as_str(),
            Self::ResolveServer(resolve) => &resolve.server_id,
        })
    }

    /// Whether a scoped key may ask for this, about its own server.
    pub(crate) fn is_for_scoped_keys(&self) -> bool {
        match self {
            Self::ClaimServer(_)
            | Self::StartCall(_)
            | Self::RecordCall(_)
            | Self::ResolveServer(_) => false,
        }
    }

    pub(crate) fn wants<'c>(&'c self, wants: &mut Wants<'_, 'c, Need>) {
        match self {
            Self::ClaimServer(claim) => claim.wants(wants),
            Self::StartCall(start) => start.wants(wants),
            Self::RecordCall(record) => record.wants(wants),
            Self::ResolveServer(resolve) => resolve.wants(wants),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        match self {
            Self::ClaimServer(claim) => claim.decide(ctx),
            Self::StartCall(start) => start.decide(ctx),
            Self::RecordCall(record) => record.decide(ctx),
            Self::ResolveServer(resolve) => resolve.decide(ctx),
        }
    }
}
