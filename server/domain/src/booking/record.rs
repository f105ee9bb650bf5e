//! A booking as it is stored, and the share that each status takes of its bookable.

use super::{day::Share, zone};
use crate::core::{Context, change_internally};
use ifmatch_types::{Bookable, Booking, BookingStatus as Status, Date, Timestamp};

/// A booking as it is stored, with the days that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct BookingRecord {
    /// The booking as the API shows it.
    pub booking: Booking,
    /// The day after its last day, by the bookable's range mode at the time of booking.
    pub until_day: Date,
    /// The day after the last day that it still takes; its first day if it takes none.
    pub taken_until: Date,
}

impl BookingRecord {
    /// The share that it takes of its bookable.
    pub fn share(&self) -> Share {
        Share {
            start: self.booking.start_date,
            until: self.taken_until,
            quantity: self.booking.quantity,
        }
    }

    /// Its status at `now`. An expired hold counts as expired, even if that is not stored yet.
    pub fn status_at(&self, now: Timestamp) -> Status {
        match self.booking.status {
            Status::Held if self.booking.hold_expires_at.is_none_or(|end| end <= now) => {
                Status::Expired
            }
            status => status,
        }
    }

    /// Ends an expired hold and gives its days back. The recorded author is `expiry`.
    pub(crate) fn expire(self, bookable: &Bookable, ctx: &mut Context<'_>) {
        let mut after = self.clone();
        after.enter(Status::Expired, bookable, ctx.now);
        self.share().replace_by(after.share(), bookable, ctx.state.booking_mut());
        ctx.as_expiry(|ctx| {
            change_internally(after, self, ctx);
        });
    }

    /// Sets a status and the fields that depend on it.
    pub(crate) fn enter(&mut self, status: Status, bookable: &Bookable, now: Timestamp) {
        let booking = &mut self.booking;
        booking.status = status;
        match status {
            Status::Held => {
                let ttl_us = bookable.hold_ttl_ms.saturating_mul(1_000);
                let end = Timestamp::from_micros(now.as_micros().saturating_add(ttl_us));
                booking.hold_expires_at = Some(end.unwrap_or(now));
            }
            Status::Confirmed => {
                booking.hold_expires_at = None;
                booking.confirmed_at = Some(now);
                booking.ended_at = None;
            }
            Status::InUse | Status::Unknown(_) => {}
            Status::Completed | Status::NoShow | Status::Expired => booking.ended_at = Some(now),
            Status::Cancelled => {
                booking.cancelled_at = Some(now);
                booking.ended_at = Some(now);
            }
        }
        self.taken_until = self.still_taken(zone::today(bookable, now));
    }

    /// The day after the last day that its current status takes.
    pub(crate) fn still_taken(&self, today: Date) -> Date {
        let start = self.booking.start_date;
        match self.booking.status {
            Status::Held | Status::Confirmed | Status::InUse | Status::Unknown(_) => self.until_day,
            Status::Expired | Status::Cancelled => start,
            Status::Completed | Status::NoShow => {
                let by_nights = self.until_day == self.booking.end_date;
                let free_from = if by_nights { Some(today) } else { today.plus_days(1) };
                free_from.map_or(self.until_day, |day| day.clamp(start, self.until_day))
            }
        }
    }
}
