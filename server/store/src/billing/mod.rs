//! Plans, workspaces, namespaces, subscriptions, invoices with their numbers, and payments.

mod checks;
mod load;
mod reads;
mod recheck;
mod rows;
mod save;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub use reads::DueSubscription;
pub(crate) use recheck::recheck;
pub(crate) use save::{LAST_SAVES, SAVES};
