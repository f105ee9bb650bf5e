//! Time zones of bookables: which civil date is today there.
//!
//! The names and rules are those of the database that is compiled in, never the system's.

use crate::core::Errors;
use ifmatch_types::{Bookable, Date, Timestamp};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Checks that a field is the name of a zone, written as in the database.
pub(crate) fn check(errors: &mut Errors, path: &str, name: &str) {
    let zone = ZONES.get(name).ok().filter(|zone| !zone.is_unknown());
    if zone.as_ref().and_then(TimeZone::iana_name) != Some(name) {
        errors.push(path, "must be the IANA name of a time zone, such as Europe/Berlin");
    }
}

/// Today's date at the place of a bookable.
pub(crate) fn today(bookable: &Bookable, now: Timestamp) -> Date {
    // A zone that a newer database knew when it was stored is UTC here.
    let zone = ZONES.get(&bookable.time_zone).unwrap_or(TimeZone::UTC);
    Date::in_zone(now, zone)
}
