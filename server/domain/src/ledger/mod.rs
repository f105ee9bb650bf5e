//! The ledger: accounts whose balances never fall below zero, and the transfers that move them.
//!
//! The credits of a workspace are its first use, the customers' balances its second. Each command
//! locks the account's row first; the row also protects the account's reservations.

mod account;
mod action;
mod balance;
mod credits;
mod need;
mod outcome;
mod owned;
mod rejection;
mod reservation;
mod reserve;
mod resolve;
mod state;
mod transfer;

pub use account::{Account, CREDITS, account_id};
pub use action::Action;
pub(crate) use balance::{Cause, balance, move_balance, want_balances};
pub use credits::{MoveCredits, Movement};
pub use need::Need;
pub use outcome::Outcome;
pub(crate) use owned::{reserve_for, resolve_owned, want_account_of, want_reservation};
pub use rejection::Rejection;
pub use reservation::StoredReservation;
pub use reserve::ReserveCredits;
pub use resolve::{Resolution, ResolveReservation};
pub use state::State;
pub use transfer::StoredTransfer;
