//! The catalogue of features and packages, what scopes have of it, and what they used.

mod checks;
mod holdings;
mod load;
mod reads;
mod rows;
mod save;
mod time;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub(crate) use save::{SAVES, evidence};
