//! Top-ups and adjustments of credits: by admins, each with a reason and an audit record.

use super::{
    CREDITS, Need, Outcome, Rejection,
    account::{account, want_account},
    account_id,
    transfer::{Draft, transfer},
};
use crate::core::{self, Context, Errors, Wants, plain_audit, read};
use ifmatch_types::{AuditResource, INTEGER_MAX, NewAdjustment, NewTopup, TransferKind, merge};
use serde_json::{Map, Value, json};

/// Top up or adjust a workspace's credits.
#[derive(Clone, Debug)]
pub struct MoveCredits {
    workspace_id: String,
    account_id: String,
    movement: Movement,
    body: Map<String, Value>,
}

/// How credits are moved into or out of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// Credits were bought or given.
    Topup,
    /// What is available is corrected, up or down.
    Adjust,
}

impl Movement {
    const fn kind(self) -> TransferKind {
        match self {
            Self::Topup => TransferKind::Topup,
            Self::Adjust => TransferKind::Adjust,
        }
    }

    /// The type of the audit record.
    const fn audit_type(self) -> &'static str {
        match self {
            Self::Topup => "credit_topup",
            Self::Adjust => "credit_adjustment",
        }
    }
}

impl MoveCredits {
    /// Moves credits of a workspace. The body is a [`NewTopup`] or a [`NewAdjustment`].
    pub fn new(workspace_id: String, movement: Movement, body: Map<String, Value>) -> Self {
        let account_id = account_id(&workspace_id, CREDITS);
        Self { workspace_id, account_id, movement, body }
    }

    /// The account's id.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_account(&self.workspace_id, CREDITS, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let account = account(&self.workspace_id, CREDITS, ctx)?;
        let (amount, reason) = self.read()?;
        let before = account.credits();
        let kind = self.movement.kind();
        let draft = Draft { reason: Some(reason.clone()), ..Draft::of(kind, amount) };
        let (transfer, after) = transfer(account, draft, ctx)?;
        let resource =
            AuditResource { resource_type: "workspace".to_owned(), id: self.workspace_id.clone() };
        let audit_type = self.movement.audit_type();
        let mut record = plain_audit(audit_type, Some(resource), Some(reason), ctx);
        record.changes = merge::diff(
            &json!({ "credits": { "available": before.available } }),
            &json!({ "credits": { "available": after.available } }),
        );
        ctx.state.audits.push(record);
        Ok(Outcome::Transferred(transfer))
    }

    /// The amount and the reason.
    fn read(&self) -> Result<(i64, String), core::Rejection> {
        let mut errors = Errors::default();
        let (amount, reason) = match self.movement {
            Movement::Topup => {
                let NewTopup { amount, reason } = read(&self.body)?;
                errors.range("/amount", amount, 1, INTEGER_MAX);
                (amount, reason)
            }
            Movement::Adjust => {
                let NewAdjustment { amount, reason } = read(&self.body)?;
                if amount == 0 {
                    errors.push("/amount", "must not be 0");
                } else {
                    errors.range("/amount", amount, -INTEGER_MAX, INTEGER_MAX);
                }
                (amount, reason)
            }
        };
        errors.text("/reason", &reason, 1, 500);
        errors.into_result()?;
        Ok((amount, reason))
    }
}
