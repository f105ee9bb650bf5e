//! The rules of Ifmatch, as pure functions over a state in memory.
//!
//! This crate never waits, reads a clock or draws a random number. The current time and the seed
//! for new ids are parameters.
//!
//! [`needs`] names the rows that a command reads. The caller loads them, then calls [`decide`]. A
//! rejected command leaves the state exactly as it was.
//!
//! Each system is a folder. [`core`] knows no system; `systems.rs` lists them all.
#![deny(missing_docs)]

pub mod access;
pub mod billing;
pub mod booking;
pub mod core;
pub mod entitlement;
pub mod ledger;
pub mod lock;
pub mod provisioning;
mod systems;

pub use systems::{
    Action, Command, Need, Outcome, Rejection, Settings, decide, entitlement_needs, goes_on,
    is_in_catalogue, needs, scoped_writes, set_once,
};

pub use core::{Mutant, State};
