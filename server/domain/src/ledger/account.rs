//! Accounts: what a workspace has of one unit, and how a transfer changes it.

use super::{Need, Rejection};
use crate::core::{self, Context, Guarded, Mutant, Wants, alive};
use ifmatch_types::{Credits, INTEGER_MAX, Kind, TransferKind, Version, Workspace, WorkspaceId};

/// The unit of credits.
pub const CREDITS: &str = "credits";

/// The id of a workspace's account in a unit: `wsp_…/credits`.
pub fn account_id(workspace_id: &str, unit: &str) -> String {
    format!("{workspace_id}/{unit}")
}

/// What a workspace has of one unit.
///
/// It is made by its first transfer and never deleted. A workspace with an account cannot be deleted
/// either, so the workspace need not be locked once there is an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The [`account_id`].
    pub id: String,
    /// The number of transfers so far.
    pub version: Version,
    /// The owner.
    pub workspace_id: WorkspaceId,
    /// The unit that it counts.
    pub unit: String,
    /// What can be spent, ≥ 0.
    pub available: i64,
    /// What pending reservations set aside, ≥ 0.
    pub reserved: i64,
}

impl Guarded for Account {
    fn guard(&self) -> i64 {
        self.version
    }
}

impl Account {
    /// An account without transfers.
    pub(super) fn empty(workspace_id: WorkspaceId, unit: &str) -> Self {
        let id = account_id(workspace_id.as_str(), unit);
        Self { id, version: 0, workspace_id, unit: unit.to_owned(), available: 0, reserved: 0 }
    }

    /// The account after a transfer. `held` is what its reservation set aside.
    ///
    /// The sum of both balances is at most [`INTEGER_MAX`], so that a reservation can always be
    /// resolved.
    pub(super) fn after(
        mut self,
        kind: TransferKind,
        amount: i64,
        held: i64,
    ) -> Result<Self, Rejection> {
        let (available, reserved) = effect(kind, amount, held);
        let lacking = Rejection::Insufficient {
            required: amount.saturating_abs(),
            available: self.available,
        };
        self.available = self.available.saturating_add(available);
        self.reserved = self.reserved.saturating_add(reserved);
        self.version = self.version.saturating_add(1);
        if self.available < 0 {
            return Err(lacking);
        }
        if self.available.saturating_add(self.reserved) > INTEGER_MAX {
            return Err(core::Rejection::AmountOverflow { path: "/amount".to_owned() }.into());
        }
        assert!(self.reserved >= 0, "an account has reserved what its pending reservations hold");
        Ok(self)
    }

    /// The account as the API shows it.
    pub fn credits(&self) -> Credits {
        let Self { available, reserved, version, .. } = *self;
        Credits { available, reserved, version }
    }
}

/// How a transfer changes `available` and `reserved`.
const fn effect(kind: TransferKind, amount: i64, held: i64) -> (i64, i64) {
    match kind {
        TransferKind::Topup | TransferKind::Adjust | TransferKind::Refund => (amount, 0),
        TransferKind::Charge => (amount.saturating_neg(), 0),
        TransferKind::Reserve => (amount.saturating_neg(), amount),
        TransferKind::Post => (held.saturating_sub(amount), held.saturating_neg()),
        TransferKind::Void => (held, held.saturating_neg()),
        TransferKind::Unknown(_) => (0, 0),
    }
}

/// Requests a workspace's account, and the workspace itself while it has none.
pub(super) fn want_account(workspace_id: &str, unit: &str, wants: &mut Wants<'_, '_, Need>) {
    let id = account_id(workspace_id, unit);
    let accounts = &wants.state.ledger().accounts;
    if !accounts.is_loaded(&id) {
        wants.push(Need::Account(id));
    } else if accounts.original(&id).is_none() {
        wants.reference(Kind::Workspace, workspace_id);
    }
}

/// The account of a living workspace that the caller sees.
pub(super) fn account(
    workspace_id: &str,
    unit: &str,
    ctx: &Context<'_>,
) -> Result<Account, Rejection> {
    if !sees(workspace_id, ctx) {
        return Err(core::Rejection::not_found(Kind::Workspace, workspace_id).into());
    }
    match current(&account_id(workspace_id, unit), ctx) {
        Some(account) => Ok(account),
        None => {
            let workspace = alive::<Workspace>(workspace_id, ctx.state)?;
            Ok(Account::empty(workspace.id.clone(), unit))
        }
    }
}

/// An account as the commands before this one left it.
pub(super) fn current(id: &str, ctx: &Context<'_>) -> Option<Account> {
    let accounts = &ctx.state.ledger().accounts;
    let account = accounts.get(id)?.clone();
    match accounts.original(id) {
        // The version goes on: the database refuses two transfers of one version.
        Some(loaded) if Mutant::StaleAccount.is_planted() => {
            Some(Account { version: account.version, ..loaded.clone() })
        }
        _ => Some(account),
    }
}

/// Whether the caller's key sees what hangs on a workspace.
pub(super) fn sees(workspace_id: &str, ctx: &Context<'_>) -> bool {
    ctx.meta.actor.workspace_id.as_ref().is_none_or(|own| own.as_str() == workspace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(available: i64, reserved: i64) -> Account {
        let empty = Account::empty(WorkspaceId::from_unchecked("wsp_1"), CREDITS);
        Account { available, reserved, ..empty }
    }

    #[test]
    fn each_kind_moves_both_balances() {
        for (kind, amount, held, after) in [
            (TransferKind::Topup, 5, 0, (15, 8)),
            (TransferKind::Adjust, 5, 0, (15, 8)),
            (TransferKind::Adjust, -5, 0, (5, 8)),
            (TransferKind::Reserve, 10, 0, (0, 18)),
            (TransferKind::Post, 8, 8, (10, 0)),
            (TransferKind::Post, 3, 8, (15, 0)),
            (TransferKind::Void, 8, 8, (18, 0)),
            (TransferKind::Charge, 10, 0, (0, 8)),
            (TransferKind::Refund, 1, 0, (11, 8)),
        ] {
            let now = account(10, 8).after(kind, amount, held).unwrap();
            assert_eq!((now.available, now.reserved), after, "{kind:?} {amount}");
            assert_eq!(now.version, 1);
        }
    }

    #[test]
    fn nothing_falls_below_zero_or_leaves_the_range() {
        for (kind, amount) in
            [(TransferKind::Reserve, 11), (TransferKind::Charge, 11), (TransferKind::Adjust, -11)]
        {
            let lacking = Rejection::Insufficient { required: 11, available: 10 };
            assert_eq!(account(10, 8).after(kind, amount, 0), Err(lacking));
        }
        let full = account(INTEGER_MAX - 8, 8).after(TransferKind::Topup, 1, 0);
        let overflow = core::Rejection::AmountOverflow { path: "/amount".to_owned() };
        assert_eq!(full, Err(overflow.into()), "the reserved credits come back some day");
    }
}
