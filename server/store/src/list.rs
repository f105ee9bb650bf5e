//! Lists of a collection: filters by field, a sort from a documented set, keyset pages.

use crate::{
    Db, StoreError,
    read::stored_kind,
    row::Stored,
    schema::StoredRow,
    sql::{Cell, Sql},
};
use ifmatch_domain::{
    AssignmentRecord, BookingRecord, BoostRecord, FeatureRecord, PackageRecord, Resource,
    SubscriptionRecord,
};
use ifmatch_types::{Bookable, Date, Invoice, Kind, Namespace, Plan, Timestamp, Workspace};
use serde_json::Value;

/// What kind of values a filter or a sort key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text, compared as it is.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An RFC 3339 instant.
    Instant,
    /// A civil date.
    Date,
}

impl FieldType {
    /// Reads a query parameter; `None` if it is not of this type.
    fn read(self, text: &str) -> Option<Cell> {
        match self {
            Self::Text => Some(Cell::Text(text.to_owned())),
            Self::Integer => text.parse().ok().map(Cell::Int),
            Self::Boolean => text.parse().ok().map(Cell::Bool),
            Self::Instant => {
                text.parse::<Timestamp>().ok().map(|instant| Cell::Int(instant.as_micros()))
            }
            Self::Date => text.parse::<Date>().ok().map(|date| Cell::Text(date.to_string())),
        }
    }

    /// What a wrong value is told.
    pub const fn expectation(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Instant => "an RFC 3339 instant",
            Self::Date => "a date such as 2026-11-22",
        }
    }
}

/// A field that a list can be filtered by, and the type of its values.
pub type Field = (&'static str, FieldType);

/// The fields that a collection's list can be filtered by.
pub const fn filters(kind: Kind) -> &'static [Field] {
    use FieldType::{Boolean, Date, Integer, Text};
    match kind {
        Kind::Plan => &[("code", Text), ("status", Text), ("currency", Text), ("interval", Text)],
        Kind::Workspace => &[("name", Text), ("email", Text), ("currency", Text)],
        Kind::Namespace => &[("workspace_id", Text), ("name", Text)],
        Kind::Subscription => &[
            ("workspace_id", Text),
            ("plan_id", Text),
            ("status", Text),
            ("quantity", Integer),
            ("cancel_at_period_end", Boolean),
        ],
        Kind::Invoice => &[
            ("workspace_id", Text),
            ("subscription_id", Text),
            ("status", Text),
            ("number", Text),
            ("currency", Text),
        ],
        Kind::Feature => &[
            ("code", Text),
            ("status", Text),
            ("reset", Text),
            ("parent_code", Text),
            ("releasable", Boolean),
        ],
        Kind::Package => &[("code", Text), ("status", Text), ("is_base", Boolean)],
        Kind::Assignment => &[("scope", Text), ("status", Text), ("package", Text)],
        Kind::Boost => &[("scope", Text), ("feature", Text), ("kind", Text)],
        Kind::Bookable => &[("name", Text), ("status", Text)],
        Kind::Booking => &[
            ("bookable_id", Text),
            ("status", Text),
            ("user_id", Text),
            ("start_date", Date),
            ("end_date", Date),
        ],
    }
}

/// The fields that a collection's list can be sorted by; the first is the default.
pub const fn sorts(kind: Kind) -> &'static [Field] {
    use FieldType::{Date, Instant, Integer, Text};
    match kind {
        Kind::Plan => &[
            ("created_at", Instant),
            ("updated_at", Instant),
            ("code", Text),
            ("name", Text),
            ("amount", Integer),
        ],
        Kind::Workspace | Kind::Namespace | Kind::Bookable => {
            &[("created_at", Instant), ("updated_at", Instant), ("name", Text)]
        }
        Kind::Subscription => &[
            ("created_at", Instant),
            ("updated_at", Instant),
            ("current_period_end", Instant),
            ("quantity", Integer),
        ],
        Kind::Invoice => &[
            ("created_at", Instant),
            ("updated_at", Instant),
            ("total", Integer),
            ("amount_due", Integer),
        ],
        Kind::Feature | Kind::Package => {
            &[("created_at", Instant), ("updated_at", Instant), ("code", Text), ("name", Text)]
        }
        Kind::Assignment | Kind::Boost => &[("created_at", Instant), ("updated_at", Instant)],
        Kind::Booking => &[("created_at", Instant), ("updated_at", Instant), ("start_date", Date)],
    }
}

/// How a list is sorted; ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The field.
    pub field: Field,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    kind: Kind,
    filters: Vec<(&'static str, Cell)>,
    sort: SortKey,
    after: Option<(Cell, String)>,
    limit: i64,
}

impl ListQuery {
    /// Everything of a kind, in an order, so many at most.
    pub fn new(kind: Kind, sort: SortKey, limit: i64) -> Self {
        Self { kind, filters: Vec::new(), sort, after: None, limit }
    }

    /// Only objects with this value in a field. `Err` says what the field expects.
    pub fn filter(&mut self, field: Field, value: &str) -> Result<(), &'static str> {
        let (name, field_type) = field;
        let cell = field_type.read(value).ok_or(field_type.expectation())?;
        self.filters.push((name, cell));
        Ok(())
    }

    /// Only what comes after an object with this sort value and id. `None` if the value is not of
    /// the sort key's type.
    pub fn after(&mut self, value: &str, id: String) -> Option<()> {
        self.after = Some((self.sort.field.1.read(value)?, id));
        Some(())
    }

    fn sql<R: StoredRow>(&self) -> Sql {
        let mut sql = R::select().text(" WHERE deleted_at IS NULL");
        for (name, cell) in &self.filters {
            sql = sql.text(format!(" AND \"{name}\" = ")).bind(cell.clone());
        }
        let column = self.sort.field.0;
        let (order, beyond) = if self.sort.descending { ("DESC", "<") } else { ("ASC", ">") };
        if let Some((value, id)) = &self.after {
            sql = sql
                .text(format!(" AND (\"{column}\", id) {beyond} ("))
                .bind(value.clone())
                .text(", ")
                .bind(id.as_str())
                .text(")");
        }
        sql.text(format!(" ORDER BY \"{column}\" {order}, id {order} LIMIT ")).bind(self.limit)
    }
}

impl Db {
    /// Lists living objects.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn list(&mut self, query: &ListQuery) -> Result<Vec<Value>, StoreError> {
        stored_kind!(query.kind, R => {
            let rows = <R as Stored>::Row::query(self, query.sql::<<R as Stored>::Row>())?;
            rows.into_iter()
                .map(|row| {
                    let row = R::from_row(row)?;
                    Ok(serde_json::to_value(row.record.entity())
                        .expect("entities are JSON objects with texts for keys"))
                })
                .collect()
        })
    }
}
