//! Usage and bookings: one row that every request increases, and one record per request.
//!
//! The scope's limit is a constant and a booking takes one day. No packages, boosts or bookables
//! are looked up, no answer is kept for a repeated key, and no history is written.

use super::pool::Either;
use crate::seed::LIMIT;
use diesel::{Connection, ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl};
use jiff::{Timestamp, civil::Date};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

diesel::table! {
    counters (id) {
        id -> Text,
        version -> BigInt,
        used -> BigInt,
        held -> BigInt,
    }
}

diesel::table! {
    usage_records (id) {
        id -> Text,
        version -> BigInt,
        counter_id -> Text,
        scope -> Text,
        charged_scope -> Text,
        feature -> Text,
        quantity -> BigInt,
        reversed -> BigInt,
        is_rolling -> Bool,
        metadata -> Text,
        at -> BigInt,
        actor -> Text,
        source -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    booking_days (id) {
        id -> Text,
        version -> BigInt,
        capacity -> BigInt,
        reserved -> BigInt,
    }
}

diesel::table! {
    bookings (id) {
        id -> Text,
        version -> BigInt,
        bookable_id -> Text,
        start_date -> Text,
        end_date -> Text,
        quantity -> BigInt,
        notes -> Text,
        status -> Text,
        confirmed_at -> BigInt,
        until_day -> Text,
        taken_until -> Text,
        metadata -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        updated_by -> Text,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUsage {
    feature: String,
    quantity: i64,
}

/// A booking of one day.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    bookable_id: String,
    start_date: Date,
    end_date: Date,
    quantity: i64,
    confirm: bool,
}

/// A transaction that begins by locking a row: `FOR UPDATE` on PostgreSQL, the whole database on
/// SQLite.
macro_rules! having_locked {
    ($connection:ident, $row:ident, |$c:ident, $found:pat_param| $then:block) => {
        match $connection {
            Either::Sqlite($c) => $c.immediate_transaction(|$c| {
                let $found: (i64, i64) = $row.get_result($c)?;
                $then
            }),
            Either::Postgres($c) => $c.transaction(|$c| {
                let $found: (i64, i64) = $row.for_update().get_result($c)?;
                $then
            }),
        }
    };
}

/// Records usage if it fits the limit. Returns the answer's body, or `None` if denied.
pub fn record(
    connection: &mut Either,
    workspace: &str,
    new: &NewUsage,
    request_id: &str,
) -> QueryResult<Option<Value>> {
    let scope = format!("workspaces/{workspace}");
    let counter_id = format!("{scope}/{}", new.feature);
    let counter = counters::table.find(&counter_id);
    let row = counter.select((counters::used, counters::held));
    let id = fresh_id("usg_");
    having_locked!(connection, row, |c, (used, held)| {
        let (used, now) = (used + new.quantity, Timestamp::now().as_microsecond());
        if used + held > LIMIT {
            return Ok(None);
        }
        let raised = (counters::used.eq(used), counters::version.eq(counters::version + 1));
        diesel::update(counter).set(raised).execute(c)?;
        let record = (
            usage_records::id.eq(&id),
            usage_records::version.eq(1),
            usage_records::counter_id.eq(&counter_id),
            usage_records::scope.eq(&scope),
            usage_records::charged_scope.eq(&scope),
            usage_records::feature.eq(&new.feature),
            usage_records::quantity.eq(new.quantity),
            usage_records::reversed.eq(0),
            usage_records::is_rolling.eq(false),
            usage_records::metadata.eq("{}"),
            usage_records::at.eq(now),
            usage_records::actor.eq("admin"),
            usage_records::source.eq("api"),
            usage_records::request_id.eq(request_id),
        );
        diesel::insert_into(usage_records::table).values(record).execute(c)?;
        Ok(Some(json!({"id": id, "feature": new.feature, "quantity": new.quantity, "used": used,
            "limit": LIMIT, "remaining": LIMIT - used - held, "charged_scope": scope})))
    })
}

/// Books a day if it is not full. Returns the answer's body, or `None` if it is.
pub fn book(connection: &mut Either, new: &NewBooking) -> QueryResult<Option<Value>> {
    let (bookable, quantity) = (&new.bookable_id, new.quantity);
    let (start, end) = (new.start_date.to_string(), new.end_date.to_string());
    let until = new.end_date.tomorrow().unwrap_or(Date::MAX).to_string();
    let status = if new.confirm { "confirmed" } else { "held" };
    let day = booking_days::table.find(format!("{bookable}/{start}"));
    let row = day.clone().select((booking_days::reserved, booking_days::capacity));
    let id = fresh_id("bkg_");
    having_locked!(connection, row, |c, (reserved, capacity)| {
        let (reserved, now) = (reserved + quantity, Timestamp::now());
        if reserved > capacity {
            return Ok(None);
        }
        let version = booking_days::version.eq(booking_days::version + 1);
        diesel::update(day).set((booking_days::reserved.eq(reserved), version)).execute(c)?;
        let at = now.as_microsecond();
        let booking = (
            bookings::id.eq(&id),
            bookings::version.eq(1),
            bookings::bookable_id.eq(bookable),
            bookings::start_date.eq(&start),
            bookings::end_date.eq(&end),
            bookings::quantity.eq(quantity),
            bookings::notes.eq(""),
            bookings::status.eq(status),
            bookings::confirmed_at.eq(at),
            bookings::until_day.eq(&until),
            bookings::taken_until.eq(&until),
            bookings::metadata.eq("{}"),
            bookings::created_at.eq(at),
            bookings::updated_at.eq(at),
            bookings::updated_by.eq("admin"),
        );
        diesel::insert_into(bookings::table).values(booking).execute(c)?;
        let now = now.to_string();
        Ok(Some(json!({"id": id, "version": 1, "bookable_id": bookable, "start_date": start,
            "end_date": end, "quantity": quantity, "notes": "", "status": status,
            "confirmed_at": now, "metadata": {}, "created_at": now, "updated_at": now,
            "updated_by": "admin"})))
    })
}

fn fresh_id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}
