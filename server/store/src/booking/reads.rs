//! Reads about bookings beside the lane: free days, and expired holds.

use crate::{
    StoreError,
    core::{
        db::Db,
        select::{Lock, select_by},
        sql::Sql,
    },
    on_backend,
    schema::BookableRow,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_types::{Availability, AvailableDay, Date, Timestamp};
use std::collections::HashMap;

/// What a day's living bookings take of it, without expired holds.
///
/// One statement, and so one moment: a hold that ends between two would count twice or never.
const RESERVED: &str = "SELECT d.day, d.reserved - CAST(coalesce((SELECT sum(b.quantity) \
     FROM bookings AS b WHERE b.bookable_id = d.bookable_id AND b.status = 'held' \
     AND b.start_date <= d.day AND b.taken_until > d.day AND b.hold_expires_at <= ";

impl Db {
    /// What is free of a bookable on these days, both included.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn availability(
        &mut self,
        bookable_id: &str,
        from: Date,
        to: Date,
    ) -> Result<Availability, StoreError> {
        let as_of = self.clock()?;
        let key = vec![bookable_id.to_owned()];
        let bookables = select_by::<BookableRow>(self, "id", key, Lock::None)?;
        let capacity = bookables.first().map_or(0, |row| row.capacity);
        let sql = Sql::new(RESERVED)
            .bind(as_of.as_micros())
            .text("), 0) AS bigint) FROM booking_days AS d WHERE d.bookable_id = ")
            .bind(bookable_id)
            .text(" AND d.day >= ")
            .bind(from.to_string())
            .text(" AND d.day <= ")
            .bind(to.to_string())
            .returning::<(Text, BigInt)>();
        let rows: Vec<(String, i64)> = on_backend!(self, c => sql.load(c))?;
        let reserved: HashMap<String, i64> = rows.into_iter().collect();
        let available = |date: Date| {
            let reserved = reserved.get(&date.to_string()).copied().unwrap_or_default();
            let available = capacity.saturating_sub(reserved).max(0);
            AvailableDay { date, capacity, reserved, available }
        };
        let days = from.days_before(to).chain([to]).map(available).collect();
        Ok(Availability { days, as_of })
    }

    /// Bookables with expired holds, up to a limit.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn bookables_with_due_holds(
        &mut self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let sql = Sql::new("SELECT DISTINCT bookable_id FROM bookings WHERE status = 'held' AND hold_expires_at <= ")
            .bind(now.as_micros())
            .text(" LIMIT ")
            .bind(limit)
            .returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }
}
