//! Lists of a collection: filters by field, a documented set of sorts, keyset pages.

use super::{
    db::Db,
    error::StoreError,
    object::{RowOf, StoredObject},
    record::{Record, records},
    sql::{Cell, Sql},
};
use crate::{schema::StoredRow, systems::stored_kind};
use ifmatch_domain::core::Row;
use ifmatch_types::{Date, Kind, Timestamp};
use serde_json::Value;

/// The type of a filter's or a sort key's values.
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
    /// An RFC 3339 instant or `null`, which is sorted after every instant.
    OptInstant,
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
            Self::OptInstant if text == "null" => Some(Cell::Int(i64::MAX)),
            Self::OptInstant => Self::Instant.read(text),
            Self::Date => text.parse::<Date>().ok().map(|date| Cell::Text(date.to_string())),
        }
    }

    /// What the type expects, for the answer to a wrong value.
    pub const fn expectation(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Instant | Self::OptInstant => "an RFC 3339 instant",
            Self::Date => "a date such as 2026-11-22",
        }
    }
}

/// A field that a list can be filtered by, and the type of its values.
pub type Field = (&'static str, FieldType);

/// The fields that a collection's list can be filtered by.
pub const fn filters(kind: Kind) -> &'static [Field] {
    stored_kind!(kind, R => R::FILTERS)
}

/// The fields that a collection's list can be sorted by; the first is the default.
pub const fn sorts(kind: Kind) -> &'static [Field] {
    stored_kind!(kind, R => R::SORTS)
}

/// How a list is sorted; ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The field.
    pub field: Field,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// A query for a list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    kind: Kind,
    filters: Vec<(&'static str, Cell)>,
    sort: SortKey,
    after: Option<(Cell, String)>,
    limit: i64,
}

impl ListQuery {
    /// All living objects of a kind, sorted, up to a limit.
    pub fn new(kind: Kind, sort: SortKey, limit: i64) -> Self {
        Self { kind, filters: Vec::new(), sort, after: None, limit }
    }

    /// Sets how many objects are read.
    pub fn set_limit(&mut self, limit: i64) {
        self.limit = limit;
    }

    /// Keeps only objects with this value in a field. `Err` says what the field expects.
    pub fn filter(&mut self, field: Field, value: &str) -> Result<(), &'static str> {
        let (name, field_type) = field;
        let cell = field_type.read(value).ok_or(field_type.expectation())?;
        self.filters.push((name, cell));
        Ok(())
    }

    /// Keeps only objects that hang on this workspace. Every key may see the catalogue.
    pub fn within(&mut self, workspace_id: &str) {
        if let Some(column) = stored_kind!(self.kind, R => R::WORKSPACE) {
            self.filters.push((column, Cell::Text(workspace_id.to_owned())));
        }
    }

    /// Keeps only objects after the one with this sort value and id.
    ///
    /// `None` if the value is not of the sort key's type.
    pub fn after(&mut self, value: &str, id: String) -> Option<()> {
        self.after = Some((self.sort.field.1.read(value)?, id));
        Some(())
    }

    fn sql<R: StoredRow>(&self) -> Sql {
        let mut sql = R::select().text(" WHERE deleted_at IS NULL");
        for (name, cell) in &self.filters {
            sql = sql.text(format!(" AND \"{name}\" = ")).bind(cell.clone());
        }
        let (name, field_type) = self.sort.field;
        // An index has this expression.
        let column = match field_type {
            FieldType::OptInstant => format!("coalesce(\"{name}\", {})", i64::MAX),
            _ => format!("\"{name}\""),
        };
        let (order, beyond) = if self.sort.descending { ("DESC", "<") } else { ("ASC", ">") };
        if let Some((value, id)) = &self.after {
            sql = sql
                .text(format!(" AND ({column}, id) {beyond} ("))
                .bind(value.clone())
                .text(", ")
                .bind(id.as_str())
                .text(")");
        }
        sql.text(format!(" ORDER BY {column} {order}, id {order} LIMIT ")).bind(self.limit)
    }
}

impl Db {
    /// Lists living objects.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn list(&mut self, query: &ListQuery) -> Result<Vec<Value>, StoreError> {
        stored_kind!(query.kind, R => list_of::<R>(self, query))
    }
}

fn list_of<R: StoredObject>(db: &mut Db, query: &ListQuery) -> Result<Vec<Value>, StoreError>
where
    Row<R>: Record,
{
    let rows = records::<Row<R>>(RowOf::<R>::query(db, query.sql::<RowOf<R>>())?)?;
    let shown = rows.iter().map(|row| {
        serde_json::to_value(row.record.entity())
            .expect("entities are JSON objects with texts for keys")
    });
    Ok(shown.collect())
}
