//! Reservations that a server makes and resolves. Nobody else resolves them.

use super::{
    CREDITS, Need, Rejection, StoredReservation,
    account::{account, want_account},
    reserve::reserve,
    resolve::resolve,
};
use crate::core::{Context, Wants};
use ifmatch_types::{NewReservation, ServerId, TransferId, TransferKind};

/// Requests the account of a workspace's credits.
pub(crate) fn want_account_of(workspace_id: &str, wants: &mut Wants<'_, '_, Need>) {
    want_account(workspace_id, CREDITS, wants);
}

/// Requests a reservation, whose account is locked.
pub(crate) fn want_reservation(id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.ledger().reservations.is_loaded(id) {
        wants.push(Need::Reservation(id.to_owned()));
    }
}

/// Reserves credits of a workspace for a server.
pub(crate) fn reserve_for(
    server_id: &ServerId,
    workspace_id: &str,
    amount: i64,
    ctx: &mut Context<'_>,
) -> Result<TransferId, Rejection> {
    let account = account(workspace_id, CREDITS, ctx)?;
    let new = NewReservation { amount, reference: Some(server_id.to_string()) };
    let made = reserve(account, new, Some(server_id.clone()), ctx)?;
    Ok(made.transfer.id)
}

/// Posts or voids the whole reservation of a server.
pub(crate) fn resolve_owned(
    id: &str,
    kind: TransferKind,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    let stored: Option<StoredReservation> = ctx.state.ledger().reservations.get(id).cloned();
    let stored = stored.expect("the reservation of a server is never removed");
    assert!(stored.reservation.resolved_by.is_none(), "a server's saga ends once");
    let amount = stored.reservation.amount;
    resolve(stored, kind, amount, ctx).map(|_| ())
}
