//! The timeline of a server: what happened to it, in order. Entries never change.

use super::ServerRecord;
use crate::core::{Context, Guarded};
use ifmatch_types::{PanelCall, PanelObservation, ServerEntry, ServerStep, ServerVerdict};

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    /// The id of the row. It follows from its command's seed.
    pub id: String,
    /// The entry as the API shows it.
    pub entry: ServerEntry,
    /// The server.
    pub server_id: String,
}

impl Guarded for StoredEntry {
    fn guard(&self) -> i64 {
        0
    }
}

/// What an entry tells beside its step.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) call: Option<PanelCall>,
    pub(super) observation: Option<PanelObservation>,
    pub(super) verdict: Option<ServerVerdict>,
    pub(super) detail: Option<String>,
}

/// Adds an entry to the timeline of a server, whose new state is `record`.
pub(super) fn note(record: &mut ServerRecord, step: ServerStep, told: Told, ctx: &mut Context<'_>) {
    record.entries = record.entries.saturating_add(1);
    let entry = ServerEntry {
        seq: record.entries,
        at: ctx.now,
        step,
        call: told.call,
        observation: told.observation,
        verdict: told.verdict,
        detail: told.detail,
        status: record.server.status,
        generation: record.generation,
        by: ctx.meta.actor.name.clone(),
    };
    let id = ctx.ids.fresh("ste_");
    let stored = StoredEntry { id: id.clone(), entry, server_id: record.server.id.to_string() };
    ctx.state.provisioning_mut().entries.put(id, stored);
}
