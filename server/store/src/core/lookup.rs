//! Lookups that lock nothing, as many as a round of loading has, in one round trip.

use super::{
    db::Db,
    error::StoreError,
    migrate::CLOCK,
    select::{Each, Lock, run, selects_where},
    sql::{Cell, Sql},
};
use crate::schema::StoredRow;
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_types::Timestamp;
use serde::de::DeserializeOwned;

/// Lookups that lock nothing.
///
/// On PostgreSQL they are one statement, which answers each one's rows as JSON: a round trip costs
/// more than all that is in it. On SQLite, which has no round trips, each runs by itself when its
/// rows are taken.
///
/// They may ask for what has expired by the clock, which the same statement reads unless it is known.
pub(crate) struct Lookups {
    is_sqlite: bool,
    clock: Option<Timestamp>,
    goes_by_clock: bool,
    parts: Vec<Part>,
}

enum Part {
    /// Asked for; several queries only on SQLite.
    Asked(Vec<Sql>),
    /// Answered, as JSON.
    Answered(String),
}

/// Which of the lookups.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl Lookups {
    pub(crate) fn new(db: &Db, clock: Option<Timestamp>) -> Self {
        Self { is_sqlite: db.is_sqlite(), clock, goes_by_clock: false, parts: Vec::new() }
    }

    /// The clock as a query, for a lookup on PostgreSQL.
    pub(crate) fn now(&mut self) -> &'static str {
        self.goes_by_clock = true;
        "SELECT number FROM clock"
    }

    /// Asks for the clock itself.
    pub(crate) fn clock(&mut self) -> Place {
        let now = self.now();
        self.add(vec![Sql::new(now)])
    }

    /// Asks for what some queries return.
    pub(crate) fn add(&mut self, queries: Vec<Sql>) -> Place {
        self.parts.push(Part::Asked(queries));
        Place(self.parts.len().saturating_sub(1))
    }

    /// Whether the database is SQLite, where a query can have no part that is read once for all keys.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// Asks for one look-up per key.
    pub(crate) fn each(
        &mut self,
        each: &Each<'_>,
        keys: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Place {
        let queries = each.of(self.is_sqlite, keys);
        self.add(queries)
    }

    /// Asks for the rows that have one of some keys in a column, as
    /// [`select_where`](super::select::select_where) does.
    pub(crate) fn rows<R: StoredRow>(
        &mut self,
        condition: &str,
        column: &str,
        keys: Vec<String>,
    ) -> Place {
        self.add(selects_where::<R>(self.is_sqlite, condition, column, keys, Lock::None))
    }

    /// Looks everything up.
    pub(crate) fn run(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let Db::Postgres(connection) = db else { return Ok(()) };
        let mut sql = Sql::default();
        if self.goes_by_clock {
            let clock = match self.clock {
                Some(known) => {
                    Sql::new("SELECT ").bind(known.as_micros()).text("::bigint AS number")
                }
                None => Sql::new(CLOCK),
            };
            sql = sql.text("WITH clock AS MATERIALIZED (").query(clock).text(") ");
        }
        let mut places = Vec::new();
        for (place, part) in self.parts.iter_mut().enumerate() {
            let Part::Asked(queries) = part else { continue };
            for query in std::mem::take(queries) {
                let union = if places.is_empty() { "" } else { " UNION ALL " };
                let head = format!(
                    "{union}SELECT {place}::bigint AS place, \
                     coalesce(json_agg(found), '[]'::json)::text AS found FROM ("
                );
                sql = sql.text(head).query(query).text(") AS found");
                places.push(place);
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let found: Vec<(i64, String)> =
            sql.returning::<(BigInt, Text)>().load::<(i64, String)>(connection)?;
        for (place, rows) in found {
            let part = usize::try_from(place).ok().and_then(|place| self.parts.get_mut(place));
            if let Some(part) = part {
                *part = Part::Answered(rows);
            }
        }
        Ok(())
    }

    /// The rows of a table that were asked for.
    pub(crate) fn take<R: StoredRow + DeserializeOwned>(
        &mut self,
        place: Place,
        db: &mut Db,
    ) -> Result<Vec<R>, StoreError> {
        match self.parts.get_mut(place.0) {
            Some(Part::Asked(queries)) => run(db, std::mem::take(queries)),
            Some(Part::Answered(rows)) => read(R::TABLE, rows),
            None => Ok(Vec::new()),
        }
    }

    /// A single number that was asked for.
    pub(crate) fn take_number(&mut self, place: Place) -> Result<Option<i64>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Row {
            number: i64,
        }
        match self.parts.get(place.0) {
            Some(Part::Answered(rows)) => {
                let rows: Vec<Row> = read("a number", rows)?;
                Ok(rows.first().map(|row| row.number))
            }
            _ => Ok(None),
        }
    }
}

fn read<T: DeserializeOwned>(table: &'static str, rows: &str) -> Result<Vec<T>, StoreError> {
    let unreadable = |error: serde_json::Error| {
        StoreError::Unforeseen(format!("rows of {table}: {error}").into())
    };
    serde_json::from_str(rows).map_err(unreadable)
}
