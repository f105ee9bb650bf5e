//! The ledger: accounts, transfers and reservations.

mod checks;
mod load;
mod reads;
mod rows;
mod save;

pub(crate) use checks::CHECKS;
pub(crate) use load::{STAMPED_TABLE, Wanted};
pub use reads::{BalanceQuery, OpenReservations, ReservationQuery, TransferQuery};
pub(crate) use save::{SAVES, evidence};
