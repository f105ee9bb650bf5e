//! Resolving a reservation: the second phase. It happens at most once.

use super::{
    Need, Outcome, Rejection, StoredReservation, StoredTransfer,
    account::{current, sees},
    transfer::{Draft, transfer},
};
use crate::core::{self, Context, Errors, Mutant, Wants, read};
use ifmatch_types::{
    INTEGER_MAX, NewPosting, Reservation, ReservationStatus, TransferKind, pointer,
};
use serde_json::{Map, Value};

/// Post or void a reservation.
#[derive(Clone, Debug)]
pub struct ResolveReservation {
    /// The reservation's id.
    pub reservation_id: String,
    /// Whether to post or void it, with the request's body.
    pub resolution: Resolution,
}

/// How a reservation is resolved.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// Charge reserved credits. The request's body is a [`NewPosting`].
    Post(Map<String, Value>),
    /// Make all of them available again. The request's body must have no fields.
    Void(Map<String, Value>),
}

impl Resolution {
    /// Reads the request's body: what to do, and for a post how much the caller named.
    fn read(&self) -> Result<(TransferKind, Option<i64>), core::Rejection> {
        let mut errors = Errors::default();
        let read = match self {
            Self::Post(body) => {
                let NewPosting { amount } = read(body)?;
                if let Some(amount) = amount {
                    errors.range("/amount", amount, 1, INTEGER_MAX);
                }
                (TransferKind::Post, amount)
            }
            Self::Void(body) => {
                for name in body.keys() {
                    errors.push(pointer::member("", name), "is not a field here");
                }
                (TransferKind::Void, None)
            }
        };
        errors.into_result()?;
        Ok(read)
    }
}

impl ResolveReservation {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        let id = &self.reservation_id;
        let ledger = wants.state.ledger();
        let Some(account_id) = ledger.account_of.get(id) else {
            return wants.push(Need::AccountOf(id.clone()));
        };
        let Some(account_id) = account_id else { return };
        if !ledger.accounts.is_loaded(account_id) {
            return wants.push(Need::Account(account_id.clone()));
        }
        if !ledger.reservations.is_loaded(id) {
            wants.push(Need::Reservation(id.clone()));
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let stored = self.reservation(ctx)?;
        let (kind, named) = self.resolution.read()?;
        if let Some(server_id) = stored.reservation.server_id {
            return Err(Rejection::Owned { server_id });
        }
        let reserved = stored.reservation.amount;
        if let Some(resolved_by) = &stored.reservation.resolved_by
            && !Mutant::ResolveTwice.is_planted()
        {
            let transfers = &ctx.state.ledger().transfers;
            let by = transfers.get(resolved_by.as_str()).cloned();
            let by = by.expect("the transfer of a resolution is never removed");
            return repeat_of(by, kind, named.unwrap_or(reserved));
        }
        let amount = named.unwrap_or(reserved);
        if amount > reserved {
            return Err(Rejection::ExceedsReservation { reserved, amount });
        }
        let transfer = resolve(stored, kind, amount, ctx)?;
        Ok(Outcome::Resolved { transfer, first: true })
    }

    /// The reservation, if it exists and the caller sees it.
    fn reservation(&self, ctx: &Context<'_>) -> Result<StoredReservation, Rejection> {
        let ledger = ctx.state.ledger();
        // Without an account nothing more was loaded.
        let has_account = ledger.account_of.get(&self.reservation_id).is_some_and(Option::is_some);
        let found = ledger.reservations.find(&self.reservation_id).filter(|_| has_account);
        let seen = found.filter(|found| sees(found.reservation.workspace_id.as_str(), ctx));
        let id = || self.reservation_id.clone();
        Ok(seen
            .cloned()
            .ok_or_else(|| core::Rejection::NotFound { what: "reservation", id: id() })?)
    }
}

/// Charges this much of a pending reservation, or voids it.
pub(super) fn resolve(
    stored: StoredReservation,
    kind: TransferKind,
    amount: i64,
    ctx: &mut Context<'_>,
) -> Result<StoredTransfer, Rejection> {
    let account = current(&stored.account_id, ctx);
    let account = account.expect("a reservation's account is never removed");
    let draft = Draft {
        reservation: Some(stored.reservation.clone()),
        reference: stored.reservation.reference.clone(),
        ..Draft::of(kind, amount)
    };
    let (transfer, _) = transfer(account, draft, ctx)?;
    let (status, posted) = if kind == TransferKind::Post {
        (ReservationStatus::Posted, amount)
    } else {
        (ReservationStatus::Voided, 0)
    };
    let reservation = Reservation {
        status,
        posted: Some(posted),
        resolved_by: Some(transfer.transfer.id.clone()),
        resolved_at: Some(ctx.now),
        ..stored.reservation
    };
    let id = reservation.id.to_string();
    let stored = StoredReservation { reservation, ..stored };
    ctx.state.ledger_mut().reservations.put(id, stored);
    Ok(transfer)
}

/// The answer to a resolution of a reservation that is resolved already.
fn repeat_of(by: StoredTransfer, kind: TransferKind, amount: i64) -> Result<Outcome, Rejection> {
    if (by.transfer.kind, by.transfer.amount) == (kind, amount) {
        Ok(Outcome::Resolved { transfer: by, first: false })
    } else {
        Err(Rejection::AlreadyResolved { by: Box::new(by) })
    }
}
