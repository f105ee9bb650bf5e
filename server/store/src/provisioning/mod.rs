//! Products, servers, their slots and their timelines.

mod checks;
mod load;
mod reads;
mod rows;
mod save;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub use reads::{ServersByStatus, UnsettledServer};
pub(crate) use save::{SAVES, evidence};
