//! Named locks.

mod checks;
mod load;
mod reads;
mod rows;
mod save;
mod sweep;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub use reads::LockQuery;
pub(crate) use save::{SAVES, evidence};
pub use sweep::Swept;
