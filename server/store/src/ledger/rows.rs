//! The rows of the ledger.

use crate::{
    core::{
        column::{ids, names},
        record::record,
    },
    schema::{LedgerAccountRow, ReservationRow, TransferRow},
};
use ifmatch_domain::{
    core::Guarded,
    ledger::{Account, StoredReservation, StoredTransfer},
};
use ifmatch_types::{
    BalanceTransactionKind, By, Reservation, ReservationStatus, Transfer, TransferId, TransferKind,
};

ids!(TransferId);
names!(TransferKind, ReservationStatus, BalanceTransactionKind);

record! {
    LedgerAccountRow => Account {
        id, version, workspace_id, unit, available, reserved,
    }
}

record! {
    TransferRow => StoredTransfer {
        transfer: Transfer {
            id, kind, amount, version, available, reserved, reservation_id, reference, reason,
            by: By { actor, key_id, on_behalf_of, source, forced = false, },
            at,
        },
        account_id, request_id, invoice_id, invoice_cause,
    }
}

record! {
    ReservationRow => StoredReservation {
        reservation: Reservation {
            id, workspace_id, amount, reference, server_id, status, posted, resolved_by,
            created_at, resolved_at,
        },
        account_id,
    }
    write |stored| { version: stored.guard() }
}
