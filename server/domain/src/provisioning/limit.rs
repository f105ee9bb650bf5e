//! How many servers of a product a workspace has: the row that makes its limit exact.

use super::Need;
use crate::core::{Context, Guarded, Wants};
use ifmatch_types::{ProductId, ServerStatus, WorkspaceId};

/// The servers of a product that count towards a workspace's limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The product.
    pub product_id: ProductId,
    /// The number of its servers that have neither failed nor been deleted.
    pub used: i64,
    /// The number of changes of this row.
    pub version: i64,
}

impl Guarded for Slots {
    fn guard(&self) -> i64 {
        self.version
    }
}

impl Slots {
    /// The id of the row: `wsp_…/prd_…`.
    pub fn key(workspace_id: &str, product_id: &str) -> String {
        format!("{workspace_id}/{product_id}")
    }

    /// Whether a server in this status counts.
    pub const fn counts(status: ServerStatus) -> bool {
        !matches!(status, ServerStatus::Failed | ServerStatus::Deleted)
    }
}

/// Requests the slots of a workspace and a product.
pub(super) fn want_slots(workspace_id: &str, product_id: &str, wants: &mut Wants<'_, '_, Need>) {
    let key = Slots::key(workspace_id, product_id);
    if !wants.state.provisioning().slots.is_loaded(&key) {
        wants.push(Need::Slots(workspace_id.to_owned(), product_id.to_owned()));
    }
}

/// The slots of a workspace and a product; none are used before the first server.
pub(super) fn slots(
    workspace_id: &WorkspaceId,
    product_id: &ProductId,
    ctx: &Context<'_>,
) -> Slots {
    let key = Slots::key(workspace_id.as_str(), product_id.as_str());
    let (workspace_id, product_id) = (workspace_id.clone(), product_id.clone());
    let stored = ctx.state.provisioning().slots.get(&key).cloned();
    stored.unwrap_or(Slots { workspace_id, product_id, used: 0, version: 0 })
}

/// Takes slots, or frees them if `by` is negative.
pub(super) fn take_slots(mut slots: Slots, by: i64, ctx: &mut Context<'_>) {
    slots.used = slots.used.saturating_add(by);
    assert!(slots.used >= 0, "a slot is freed once");
    slots.version = slots.version.saturating_add(1);
    let key = Slots::key(slots.workspace_id.as_str(), slots.product_id.as_str());
    ctx.state.provisioning_mut().slots.put(key, slots);
}
