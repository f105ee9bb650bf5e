//! Lookups without locks. All lookups of one round of loading take one round trip.

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
/// On PostgreSQL they are one statement that returns the rows of each as JSON. A round trip costs
/// more than everything in it. SQLite has no round trips; there each lookup runs by itself when its
/// rows are taken.
///
/// A lookup may depend on the clock. The same statement reads the clock unless it is already known.
pub(crate) struct Lookups {
    is_sqlite: bool,
    clock: Option<Timestamp>,
    goes_by_clock: bool,
    parts: Vec<Part>,
}

enum Part {
    /// Not run yet. Only SQLite has several queries here.
    Asked(Vec<Sql>),
    /// The rows that were found, as JSON.
    Answered(String),
}

/// Identifies one of the lookups.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl Lookups {
    pub(crate) fn new(db: &Db, clock: Option<Timestamp>) -> Self {
        Self { is_sqlite: db.is_sqlite(), clock, goes_by_clock: false, parts: Vec::new() }
    }

    /// A query for the clock's value, for use inside a lookup on PostgreSQL.
    pub(crate) fn now(&mut self) -> &'static str {
        self.goes_by_clock = true;
        "SELECT number FROM clock"
    }

    /// Adds a lookup of the clock itself.
    pub(crate) fn clock(&mut self) -> Place {
        let now = self.now();
        self.add(vec![Sql::new(now)])
    }

    /// Adds a lookup that runs these queries.
    pub(crate) fn add(&mut self, queries: Vec<Sql>) -> Place {
        self.parts.push(Part::Asked(queries));
        Place(self.parts.len().saturating_sub(1))
    }

    /// Whether the database is SQLite. There, no part of a query is shared by all keys.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// Adds one lookup per key.
    pub(crate) fn each(
        &mut self,
        each: &Each<'_>,
        keys: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Place {
        let queries = each.of(self.is_sqlite, keys);
        self.add(queries)
    }

    /// Adds a lookup of the rows whose column has one of these keys, as
    /// [`select_where`](super::select::select_where) does.
    pub(crate) fn rows<R: StoredRow>(
        &mut self,
        condition: &str,
        column: &str,
        keys: Vec<String>,
    ) -> Place {
        self.add(selects_where::<R>(self.is_sqlite, condition, column, keys, Lock::None))
    }

    /// Runs all lookups on PostgreSQL. On SQLite, each runs when its rows are taken.
    pub(crate) fn run(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let Db::Postgres(postgres) = db else { return Ok(()) };
        let connection = postgres.connection();
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

    /// The rows found by a lookup.
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

    /// The single number found by a lookup.
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
