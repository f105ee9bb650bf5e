//! The replies to the commands of the ledger.

use crate::http::core::render::Reply;
use ifmatch_domain::ledger::{Outcome, StoredTransfer};

/// The reply of an outcome of the ledger.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Transferred(made) => {
            Reply::new(201, &made.transfer).header("Location", location(made))
        }
        Outcome::Reserved(made) => Reply::new(201, &made.transfer)
            .header("Location", format!("/v1/reservations/{}", made.transfer.id)),
        // A repeat is answered in the same way, so that its sender need not tell them apart.
        Outcome::Resolved { transfer, .. } => Reply::new(200, &transfer.transfer),
    }
}

/// The path of a transfer. An account's id begins with its workspace's and ends with its unit.
fn location(made: &StoredTransfer) -> String {
    format!("/v1/workspaces/{}/transfers/{}", made.account_id, made.transfer.id)
}
