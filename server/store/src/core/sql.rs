//! SQL text with binds, as a Diesel query that is cached by its text.
//!
//! Diesel never caches `sql_query`, `update` or derived inserts, and an uncached statement runs at
//! half speed on PostgreSQL (measured). Diesel does cache a custom query fragment.

use diesel::{
    QueryResult,
    backend::Backend,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::Error,
    sql_types::{Array, BigInt, Bool, Nullable, Text},
    sqlite::Sqlite,
};
use std::{borrow::Cow, marker::PhantomData};

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    OptText(Option<String>),
    Int(i64),
    OptInt(Option<i64>),
    Bool(bool),
}

/// One column of several rows, for `unnest`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    Text(Vec<String>),
    OptText(Vec<Option<String>>),
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Bool(Vec<bool>),
}

impl Column {
    /// The array type that the column is bound as.
    pub(crate) const fn array_type(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::OptText(_) => "text[]",
            Self::Int(_) | Self::OptInt(_) => "bigint[]",
            Self::Bool(_) => "boolean[]",
        }
    }

    /// An empty column for values like this one.
    pub(crate) fn like(cell: &Cell) -> Self {
        match cell {
            Cell::Text(_) => Self::Text(Vec::new()),
            Cell::OptText(_) => Self::OptText(Vec::new()),
            Cell::Int(_) => Self::Int(Vec::new()),
            Cell::OptInt(_) => Self::OptInt(Vec::new()),
            Cell::Bool(_) => Self::Bool(Vec::new()),
        }
    }

    /// Adds a value of the column's type.
    pub(crate) fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Text(column), Cell::Text(value)) => column.push(value),
            (Self::OptText(column), Cell::OptText(value)) => column.push(value),
            (Self::Int(column), Cell::Int(value)) => column.push(value),
            (Self::OptInt(column), Cell::OptInt(value)) => column.push(value),
            (Self::Bool(column), Cell::Bool(value)) => column.push(value),
            _ => unreachable!("all rows of a table have the same types in the same order"),
        }
    }
}

macro_rules! cells {
    ($($rust:ty => $variant:ident,)*) => {
        $(impl From<$rust> for Cell {
            fn from(value: $rust) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

cells! {
    String => Text,
    Option<String> => OptText,
    i64 => Int,
    Option<i64> => OptInt,
    bool => Bool,
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

enum Part {
    Text(Cow<'static, str>),
    Bind(Cell),
    /// PostgreSQL only.
    Array(Column),
}

/// SQL text with binds.
#[derive(Default)]
pub(crate) struct Sql {
    parts: Vec<Part>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// Adds text.
    pub(crate) fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Adds a placeholder with its value.
    pub(crate) fn bind(mut self, value: impl Into<Cell>) -> Self {
        self.parts.push(Part::Bind(value.into()));
        self
    }

    /// Adds a placeholder with an array (PostgreSQL only).
    pub(crate) fn array(mut self, values: Column) -> Self {
        self.parts.push(Part::Array(values));
        self
    }

    /// Adds another query's text and binds.
    pub(crate) fn query(mut self, mut other: Self) -> Self {
        self.parts.append(&mut other.parts);
        self
    }

    /// The query, with what it returns.
    pub(crate) fn returning<ST>(self) -> Returning<ST> {
        Returning { sql: self, row: PhantomData }
    }
}

impl QueryId for Sql {
    // Without a static id the cache's key is the text.
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> diesel::RunQueryDsl<C> for Sql {}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => pass.push_sql(text),
                Part::Bind(cell) => bind(cell, &mut pass)?,
                Part::Array(column) => match column {
                    Column::Text(v) => pass.push_bind_param::<Array<Text>, _>(v)?,
                    Column::OptText(v) => pass.push_bind_param::<Array<Nullable<Text>>, _>(v)?,
                    Column::Int(v) => pass.push_bind_param::<Array<BigInt>, _>(v)?,
                    Column::OptInt(v) => pass.push_bind_param::<Array<Nullable<BigInt>>, _>(v)?,
                    Column::Bool(v) => pass.push_bind_param::<Array<Bool>, _>(v)?,
                },
            }
        }
        Ok(())
    }
}

impl QueryFragment<Sqlite> for Sql {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => pass.push_sql(text),
                Part::Bind(cell) => bind(cell, &mut pass)?,
                Part::Array(_) => {
                    return Err(Error::QueryBuilderError("SQLite has no arrays".into()));
                }
            }
        }
        Ok(())
    }
}

/// Binds one value on either backend.
fn bind<'b, DB>(cell: &'b Cell, pass: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>
where
    DB: Backend
        + diesel::sql_types::HasSqlType<Text>
        + diesel::sql_types::HasSqlType<BigInt>
        + diesel::sql_types::HasSqlType<Bool>,
    String: diesel::serialize::ToSql<Text, DB>,
    i64: diesel::serialize::ToSql<BigInt, DB>,
    bool: diesel::serialize::ToSql<Bool, DB>,
    Option<String>: diesel::serialize::ToSql<Nullable<Text>, DB>,
    Option<i64>: diesel::serialize::ToSql<Nullable<BigInt>, DB>,
{
    match cell {
        Cell::Text(value) => pass.push_bind_param::<Text, _>(value),
        Cell::OptText(value) => pass.push_bind_param::<Nullable<Text>, _>(value),
        Cell::Int(value) => pass.push_bind_param::<BigInt, _>(value),
        Cell::OptInt(value) => pass.push_bind_param::<Nullable<BigInt>, _>(value),
        Cell::Bool(value) => pass.push_bind_param::<Bool, _>(value),
    }
}

/// A query with the SQL types of the rows it returns.
pub(crate) struct Returning<ST> {
    sql: Sql,
    row: PhantomData<ST>,
}

impl<ST> QueryId for Returning<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Returning<ST> {
    type SqlType = ST;
}

impl<ST, C> diesel::RunQueryDsl<C> for Returning<ST> {}

impl<ST, DB: Backend> QueryFragment<DB> for Returning<ST>
where
    Sql: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.sql.walk_ast(pass)
    }
}
