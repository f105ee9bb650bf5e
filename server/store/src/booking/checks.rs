//! The invariants of bookings, which `verify` checks.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "a day's reserved quantity is the sum of what its bookings take",
        "SELECT d.id FROM booking_days AS d WHERE d.reserved <> \
         (SELECT coalesce(sum(b.quantity), 0) FROM bookings AS b \
         WHERE b.bookable_id = d.bookable_id AND b.start_date <= d.day AND b.taken_until > d.day)",
    ),
    (
        "a day that a booking takes has a row",
        "SELECT b.id FROM bookings AS b WHERE b.taken_until > b.start_date AND NOT EXISTS \
         (SELECT 1 FROM booking_days AS d WHERE d.bookable_id = b.bookable_id \
         AND d.day = b.start_date)",
    ),
    (
        "a day's reserved quantity is between zero and its capacity",
        "SELECT id FROM booking_days WHERE reserved < 0 OR reserved > capacity",
    ),
];
