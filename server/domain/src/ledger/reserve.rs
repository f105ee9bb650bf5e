//! Reserving credits: the first of two phases.

use super::{
    Account, CREDITS, Need, Outcome, Rejection, StoredReservation, StoredTransfer,
    account::{account, want_account},
    account_id,
    transfer::{Draft, transfer},
};
use crate::core::{self, Context, Errors, Wants, read};
use ifmatch_types::{
    INTEGER_MAX, NewReservation, Reservation, ReservationStatus, ServerId, TransferKind,
};
use serde_json::{Map, Value};

/// Set credits of a workspace aside.
#[derive(Clone, Debug)]
pub struct ReserveCredits {
    workspace_id: String,
    account_id: String,
    body: Map<String, Value>,
}

impl ReserveCredits {
    /// Sets credits of a workspace aside. The body is a [`NewReservation`].
    pub fn new(workspace_id: String, body: Map<String, Value>) -> Self {
        let account_id = account_id(&workspace_id, CREDITS);
        Self { workspace_id, account_id, body }
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
        let made = reserve(account, self.read()?, None, ctx)?;
        Ok(Outcome::Reserved(made))
    }

    fn read(&self) -> Result<NewReservation, core::Rejection> {
        let new: NewReservation = read(&self.body)?;
        let mut errors = Errors::default();
        errors.range("/amount", new.amount, 1, INTEGER_MAX);
        if let Some(reference) = &new.reference {
            errors.text("/ref", reference, 1, 200);
        }
        errors.into_result()?;
        Ok(new)
    }
}

/// Sets credits of an account aside.
pub(super) fn reserve(
    account: Account,
    NewReservation { amount, reference }: NewReservation,
    server_id: Option<ServerId>,
    ctx: &mut Context<'_>,
) -> Result<StoredTransfer, Rejection> {
    let draft = Draft { reference: reference.clone(), ..Draft::of(TransferKind::Reserve, amount) };
    let (account_id, workspace_id) = (account.id.clone(), account.workspace_id.clone());
    let (made, _) = transfer(account, draft, ctx)?;
    let reservation = Reservation {
        id: made.transfer.id.clone(),
        workspace_id,
        amount,
        reference,
        server_id,
        status: ReservationStatus::Pending,
        posted: None,
        resolved_by: None,
        created_at: ctx.now,
        resolved_at: None,
    };
    let stored = StoredReservation { reservation, account_id };
    ctx.state.ledger_mut().reservations.put(made.transfer.id.to_string(), stored);
    Ok(made)
}
