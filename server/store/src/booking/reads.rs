//! Reads of bookings outside the lane: availability, and bookables with expired holds.

use crate::{
    StoreError,
    core::{db::Db, migrate::CLOCK, sql::Sql},
    on_backend,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use ifmatch_types::{Availability, AvailableDay, Date, Timestamp};
use std::collections::HashMap;

/// The capacity of a bookable, and the quantity that its living bookings take of each day.
///
/// Holds that have expired by the clock are not counted. A day of which nothing was ever taken has
/// no row.
///
/// It is one statement, so it sees one moment. With two, a hold that ended in between would count
/// twice or not at all, and the capacity might not match the days.
const TAKEN: &str = ") SELECT clock.number, k.capacity, d.day, \
     d.reserved - CAST(coalesce((SELECT sum(b.quantity) \
     FROM bookings AS b WHERE b.bookable_id = d.bookable_id AND b.status = 'held' \
     AND b.start_date <= d.day AND b.taken_until > d.day \
     AND b.hold_expires_at <= clock.number), 0) AS bigint) \
     FROM clock CROSS JOIN bookables AS k LEFT JOIN booking_days AS d \
     ON d.bookable_id = k.id AND d.day >= ";

type TakenColumns = (BigInt, BigInt, Nullable<Text>, Nullable<BigInt>);
type Taken = (i64, i64, Option<String>, Option<i64>);

impl Db {
    /// The availability of a living bookable from one day to another, both included.
    ///
    /// `None` if there is no such bookable.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn availability(
        &mut self,
        bookable_id: &str,
        from: Date,
        to: Date,
    ) -> Result<Option<Availability>, StoreError> {
        let clock = match self {
            Self::Sqlite(_) => {
                Sql::new("SELECT ").bind(Timestamp::now().as_micros()).text(" AS number")
            }
            Self::Postgres(_) => Sql::new(CLOCK),
        };
        let sql = Sql::new("WITH clock AS MATERIALIZED (")
            .query(clock)
            .text(TAKEN)
            .bind(from.to_string())
            .text(" AND d.day <= ")
            .bind(to.to_string())
            .text(" WHERE k.deleted_at IS NULL AND k.id = ")
            .bind(bookable_id)
            .returning::<TakenColumns>();
        let rows: Vec<Taken> = on_backend!(self, c => sql.load(c))?;
        let Some(&(clock, capacity, ..)) = rows.first() else { return Ok(None) };
        let strange =
            || StoreError::Unforeseen(format!("the database's clock says {clock}").into());
        let as_of = Timestamp::from_micros(clock).ok_or_else(strange)?;
        let days = rows.into_iter().filter_map(|(_, _, day, reserved)| Some((day?, reserved?)));
        let reserved: HashMap<String, i64> = days.collect();
        let available = |date: Date| {
            let reserved = reserved.get(&date.to_string()).copied().unwrap_or_default();
            let available = capacity.saturating_sub(reserved).max(0);
            AvailableDay { date, capacity, reserved, available }
        };
        let days = from.days_before(to).chain([to]).map(available).collect();
        Ok(Some(Availability { days, as_of }))
    }

    /// The ids of bookables with expired holds, at most `limit`.
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
