//! Features and packages, the assignments and boosts of scopes, and their usage.

mod checks;
mod holdings;
mod load;
mod reads;
mod redacted;
mod rows;
mod save;
mod time;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub(crate) use redacted::SWEEPS;
pub(crate) use save::{SAVES, evidence};
