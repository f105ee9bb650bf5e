//! Bookables, bookings, and the quantity reserved of each day.

mod checks;
mod load;
mod reads;
mod rows;
mod save;

pub(crate) use checks::CHECKS;
pub(crate) use load::Wanted;
pub(crate) use save::SAVES;
