//! Methods of bookings only: free capacity, and why a booking found no room.

use crate::{
    Collection, Error,
    pace::Deadline,
    request::{Request, Verb},
};
use ifmatch_types::{Availability, AvailabilityConflict, Bookable, BookableId, Code, Date, Kind};
use serde_json::Value;

impl Collection<Bookable> {
    /// The free capacity of each day from one to another, both included; at most 366 days.
    ///
    /// Advice only: the booking itself decides.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, room: ifmatch::BookableId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let (from, to) = ("2027-03-01".parse()?, "2027-03-31".parse()?);
    /// for day in billing.bookables().availability(&room, from, to).await?.days {
    ///     println!("{}: {} left", day.date, day.available);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is no such bookable.
    /// [`Error::Refused`] if the range is inverted or too long.
    pub async fn availability(
        &self,
        id: &BookableId,
        from: Date,
        to: Date,
    ) -> Result<Availability, Error> {
        let segments = [Kind::Bookable.collection(), id.as_str(), "availability"];
        let request = Request::new(Verb::Get, &segments).query("from", from).query("to", to);
        let deadline = Deadline::after(self.client().deadline());
        self.client().call(request, deadline).await?.decode()
    }
}

impl Error {
    /// The usage of each day, if the error is a booking that found no room.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, room: ifmatch::BookableId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use ifmatch::BookingFields;
    /// let fields = BookingFields::new(room, "2027-03-01".parse()?, "2027-03-03".parse()?, 1);
    /// match billing.bookings().create(fields).await {
    ///     Ok(booking) => println!("held until {:?}", booking.hold_expires_at),
    ///     Err(error) => match error.availability_conflict() {
    ///         Some(conflict) => println!("{} is full", conflict.first_conflict_date),
    ///         None => return Err(error.into()),
    ///     },
    /// }
    /// # Ok(()) }
    /// ```
    pub fn availability_conflict(&self) -> Option<AvailabilityConflict> {
        let problem = self.problem()?;
        if !matches!(problem.code, Code::AvailabilityConflict | Code::HoldExpired) {
            return None;
        }
        serde_json::from_value(Value::Object(problem.extensions.clone())).ok()
    }
}
