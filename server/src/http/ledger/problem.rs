//! The texts of the ledger's rejections.

use crate::http::core::problem::{HttpProblem, rejection};
use ifmatch_domain::ledger::{Rejection, StoredTransfer};
use ifmatch_types::{Code, TransferKind};

/// The problem of a rejection by the ledger.
pub fn problem(rejection: Rejection) -> HttpProblem {
    match rejection {
        Rejection::Core(rejection) => rejection::problem(rejection),
        Rejection::Insufficient { required, available } => HttpProblem::new(
            Code::InsufficientCredits,
            format!("{required} credits are needed and {available} are available"),
        )
        .with("required", required)
        .with("available", available),
        Rejection::ExceedsReservation { reserved, amount } => HttpProblem::new(
            Code::ExceedsReservation,
            format!("{amount} is more than the {reserved} that are reserved"),
        )
        .with("reserved", reserved)
        .with("amount", amount),
        Rejection::Owned { server_id } => HttpProblem::new(
            Code::ReservationOwned,
            format!("the reservation belongs to server {server_id}, which posts or voids it"),
        )
        .with("server_id", server_id.as_str()),
        Rejection::AlreadyResolved { by } => resolved(&by),
    }
}

/// The refusal of a reservation that is resolved in another way.
fn resolved(by: &StoredTransfer) -> HttpProblem {
    let transfer = &by.transfer;
    let (code, detail) = if transfer.kind == TransferKind::Post {
        let detail = format!("the reservation was posted already: {} credits", transfer.amount);
        (Code::ReservationAlreadyPosted, detail)
    } else {
        (Code::ReservationAlreadyVoided, "the reservation was voided already".to_owned())
    };
    HttpProblem::new(code, detail)
        .with("reservation_id", transfer.reservation_id.as_ref().map(|id| id.as_str()))
        .with("transfer_id", transfer.id.as_str())
        .with("amount", transfer.amount)
        .with("at", transfer.at.to_string())
}
