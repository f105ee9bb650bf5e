//! Bookings by the day: bookables, their bookings, and the reserved quantity of each day.

mod action;
mod bookable;
#[expect(clippy::module_inception, reason = "the system is named after its main noun")]
mod booking;
mod day;
mod expiry;
mod need;
mod no_room;
mod outcome;
mod record;
mod rejection;
mod room;
mod state;
mod zone;

pub use action::Action;
pub use day::{BookingDay, DueBookings, Share};
pub use expiry::ExpireBookings;
pub use need::Need;
pub use no_room::{BookingPhase, NoRoom};
pub use outcome::Outcome;
pub use record::BookingRecord;
pub use rejection::Rejection;
pub use state::State;
