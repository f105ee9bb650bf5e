//! Ending expired holds, in the commit of the request that needs their days or of a worker.

use super::{Need, Outcome};
use crate::core::{Context, Mutant, Wants};
use ifmatch_types::{Bookable, BookingId, BookingStatus as Status, Date, Kind};

/// End expired holds of a bookable, at most one commit's worth; reports whether more are left.
#[derive(Clone, Debug)]
pub struct ExpireBookings {
    /// The bookable.
    pub bookable_id: String,
}

impl ExpireBookings {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        wants.object(Kind::Bookable, &self.bookable_id);
        want_due(&self.bookable_id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Outcome {
        let bookable = ctx.state.booking().bookables.get(&self.bookable_id);
        if let Some(bookable) = bookable.map(|row| row.record.clone()) {
            expire_holds(&bookable, None, ctx);
        }
        let due = ctx.state.booking().due_bookings.get(&self.bookable_id);
        Outcome::Expired { more: due.is_some_and(|due| !due.rest.is_empty()) }
    }
}

/// Ends the loaded expired holds of a bookable, in the commit of the request that needs their days.
///
/// Only a limited number is loaded, so that a long backlog does not make one commit slow. Decisions
/// do not count the rest. The booking `but` is skipped: it is being changed by a caller that named
/// its version.
pub(crate) fn expire_holds(bookable: &Bookable, but: Option<&BookingId>, ctx: &mut Context<'_>) {
    if Mutant::KeepExpiredBookings.is_planted() {
        return;
    }
    let due = ctx.state.booking().due_bookings.get(bookable.id.as_str());
    let due = due.map(|due| due.ids.clone()).unwrap_or_default();
    for id in due {
        let row = ctx.state.booking().bookings.find(&id).filter(|row| row.deleted.is_none());
        let Some(before) = row.map(|row| row.record.clone()) else { continue };
        let is_due = before.booking.status == Status::Held
            && before.status_at(ctx.now) == Status::Expired
            && Some(&before.booking.id) != but;
        if is_due {
            before.expire(bookable, ctx);
        }
    }
}

/// Whether this bookable is locked and exists.
pub(crate) fn is_bookable(id: &str, wants: &Wants<'_, '_, Need>) -> bool {
    wants.state.booking().bookables.original(id).is_some()
}

/// Requests the expired holds of a locked bookable, and the days that they give back.
pub(crate) fn want_due(bookable_id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !is_bookable(bookable_id, wants) {
        return;
    }
    wants.clock();
    let booking = wants.state.booking();
    let Some(due) = booking.due_bookings.get(bookable_id) else {
        return wants.push(Need::DueBookings(bookable_id.to_owned()));
    };
    for row in due.ids.iter().filter_map(|id| booking.bookings.original(id)) {
        want_days(bookable_id, [row.record.booking.start_date, row.record.until_day], wants);
    }
}

/// Requests all days from the earliest to the latest of these.
pub(crate) fn want_days(
    bookable_id: &str,
    days: impl IntoIterator<Item = Date>,
    wants: &mut Wants<'_, '_, Need>,
) {
    let days: Vec<Date> = days.into_iter().collect();
    if let (Some(from), Some(to)) = (days.iter().min(), days.iter().max())
        && !wants.state.booking().has_days(bookable_id, *from, *to)
    {
        wants.push(Need::Days(bookable_id.to_owned(), *from, *to));
    }
}
