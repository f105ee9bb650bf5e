//! Saves bookings, parents before children.

use crate::core::{
    bulk::Writes,
    save::{Save, append_objects, in_order, save_objects, write_records},
};
use ifmatch_domain::{State, booking::BookingRecord};
use ifmatch_types::Bookable;

pub(crate) const SAVES: &[Save] =
    &[save_objects::<Bookable>, append_objects::<BookingRecord>, days];

fn days(state: &State, writes: &mut Writes) {
    let changes = in_order(&state.booking().booking_days, |a, b| {
        (&a.bookable_id, a.day).cmp(&(&b.bookable_id, b.day))
    });
    write_records(changes, writes);
}
