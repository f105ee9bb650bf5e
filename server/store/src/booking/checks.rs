//! What must always hold of bookings.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "what is reserved of a day is the sum of what bookings take of it",
        "SELECT d.id FROM booking_days AS d WHERE d.reserved <> \
         (SELECT coalesce(sum(b.quantity), 0) FROM bookings AS b \
         WHERE b.bookable_id = d.bookable_id AND b.start_date <= d.day AND b.taken_until > d.day)",
    ),
    (
        "a day that a booking takes is on record",
        "SELECT b.id FROM bookings AS b WHERE b.taken_until > b.start_date AND NOT EXISTS \
         (SELECT 1 FROM booking_days AS d WHERE d.bookable_id = b.bookable_id \
         AND d.day = b.start_date)",
    ),
    (
        "of no day more is reserved than there is",
        "SELECT id FROM booking_days WHERE reserved < 0 OR reserved > capacity",
    ),
];
