//! Threshold events: sent once per window when usage reaches a share of the limit.

use super::{Counter, scope::workspace_of};
use crate::core::{Context, NewEvent};
use ifmatch_types::{ChangeKind, HistoryEntry, WorkspaceId};
use std::sync::Arc;

/// The resource type of events about counters.
const USAGE: &str = "usage";

/// The thresholds in percent of the limit. Each is reported once per window.
pub(crate) const THRESHOLDS: [i64; 3] = [80, 90, 100];

/// Adds the event for a reached threshold.
pub(crate) fn tell(counter: &Counter, threshold: i64, limit: i64, ctx: &mut Context<'_>) {
    let state = serde_json::json!({
        "scope": counter.scope,
        "feature": counter.pool,
        "threshold": threshold,
        "used": counter.used,
        "limit": limit,
        "window_start": counter.window_start.or(counter.rolled_until),
    });
    let entry = HistoryEntry {
        version: counter.events,
        at: ctx.now,
        by: ctx.meta.by(false),
        kind: ChangeKind::ThresholdReached,
        changes: Vec::new(),
        reason: None,
        overwrote: None,
        request_id: ctx.meta.request_id.clone(),
        key_digest: ctx.meta.key_digest.clone(),
    };
    let id = counter.id.clone();
    let state = Arc::new(state.into());
    let workspace_id = workspace_of(&counter.scope, ctx.state).map(WorkspaceId::from_unchecked);
    ctx.state.events.push(NewEvent { resource_type: USAGE, id, workspace_id, entry, state });
}
