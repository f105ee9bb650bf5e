//! Converts between database rows and domain records. Each column is named once.

use super::{column::InColumn, error::StoreError};
use crate::schema::StoredRow;
use ifmatch_domain::core::Tombstone;
use ifmatch_types::{Timestamp, Version};

/// A domain type that is stored as one row of a table.
pub(crate) trait Record: Sized {
    /// Its row type.
    type Row: StoredRow;

    /// Reads a row. A value that its type does not have is [`StoreError::Corrupt`].
    fn from_row(row: Self::Row) -> Result<Self, StoreError>;
    /// The row to store.
    fn to_row(&self) -> Self::Row;
}

/// Reads rows, in their order.
pub(crate) fn records<T: Record>(rows: Vec<T::Row>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::from_row).collect()
}

/// The deletion of an object, from its columns.
pub(crate) fn tombstone(
    at: Option<Timestamp>,
    by: Option<String>,
    last_version: Option<Version>,
) -> Option<Tombstone> {
    let (at, by) = at.zip(by)?;
    Some(Tombstone { at, by, last_version })
}

/// Reads one column of a row.
pub(crate) fn read_column<R: StoredRow, T: InColumn>(
    id: &str,
    column: &'static str,
    held: T::Held,
) -> Result<T, StoreError> {
    T::read(held).map_err(|what| StoreError::Corrupt {
        table: R::TABLE,
        column,
        id: id.to_owned(),
        what,
    })
}

/// Implements [`Record`] from the shape of the domain type, whose fields are columns.
///
/// `field` is a column of that name, and `field as column` one of another name. `field: Type { … }`
/// is a part with its own columns. `field = value` has no column; it is computed when a row is
/// read. `write` adds columns that are computed from the record, as `|record|`.
///
/// `Row<Type> { … }` is a versioned object with its tombstone.
macro_rules! record {
    ($row:ident => Row<$object:ident> { $($shape:tt)* } $(write |$of:ident| { $($column:ident: $value:expr),* $(,)? })?) => {
        $crate::core::record::record! {
            @parse $row, ifmatch_domain::core::Row<$object>,
            { Row { record: $object { $($shape)* }, deleted = $crate::core::record::tombstone(deleted_at, deleted_by, last_version) } },
            (record, {
                deleted_at: record.deleted.as_ref().map(|deleted| deleted.at.as_micros()),
                deleted_by: record.deleted.as_ref().map(|deleted| deleted.by.clone()),
                last_version: record.deleted.as_ref().and_then(|deleted| deleted.last_version),
            }),
            ($($of, { $($column: $value,)* })?),
            [deleted_at deleted_by last_version] [] $($shape)*
        }
    };
    ($row:ident => $type:ident { $($shape:tt)* } $(write |$of:ident| { $($column:ident: $value:expr),* $(,)? })?) => {
        $crate::core::record::record! {
            @parse $row, $type,
            { $type { $($shape)* } },
            (record, {}),
            ($($of, { $($column: $value,)* })?),
            [] [] $($shape)*
        }
    };

    // Collects the columns that the shape names.
    (@parse $row:ident, $type:ty, $shape:tt, $own:tt, $extra:tt, $read:tt [$($done:ident)*] , $($rest:tt)*) => {
        $crate::core::record::record! { @parse $row, $type, $shape, $own, $extra, $read [$($done)*] $($rest)* }
    };
    (@parse $row:ident, $type:ty, $shape:tt, $own:tt, $extra:tt, $read:tt [$($done:ident)*] $field:tt: $part:ident { $($inside:tt)* } $($rest:tt)*) => {
        $crate::core::record::record! { @parse $row, $type, $shape, $own, $extra, $read [$($done)*] $($inside)* , $($rest)* }
    };
    (@parse $row:ident, $type:ty, $shape:tt, $own:tt, $extra:tt, $read:tt [$($done:ident)*] $field:tt as $column:ident $($rest:tt)*) => {
        $crate::core::record::record! { @parse $row, $type, $shape, $own, $extra, $read [$($done)* $column] $($rest)* }
    };
    (@parse $row:ident, $type:ty, $shape:tt, $own:tt, $extra:tt, $read:tt [$($done:ident)*] $field:tt = $value:expr, $($rest:tt)*) => {
        $crate::core::record::record! { @parse $row, $type, $shape, $own, $extra, $read [$($done)*] $($rest)* }
    };
    (@parse $row:ident, $type:ty, $shape:tt, $own:tt, $extra:tt, $read:tt [$($done:ident)*] $column:ident $($rest:tt)*) => {
        $crate::core::record::record! { @parse $row, $type, $shape, $own, $extra, $read [$($done)* $column] $($rest)* }
    };

    (@parse $row:ident, $type:ty, { $shape:ident { $($inside:tt)* } }, ($own:ident, { $($own_column:ident: $own_value:expr,)* }), ($($of:ident, { $($column:ident: $value:expr,)* })?), [$($read:ident)*] [$($done:ident)*]) => {
        impl $crate::core::record::Record for $type {
            type Row = $row;

            fn from_row(row: $row) -> Result<Self, $crate::StoreError> {
                let row_id = $crate::schema::StoredRow::name(&row);
                $(let $done = $crate::core::record::read_column::<$row, _>(&row_id, stringify!($done), row.$done)?;)*
                $(let $read = $crate::core::record::read_column::<$row, _>(&row_id, stringify!($read), row.$read)?;)*
                Ok($crate::core::record::value!($shape { $($inside)* }))
            }

            fn to_row(&self) -> $row {
                let $crate::core::record::pattern!($shape { $($inside)* }) = self;
                let $own = self;
                $(let $of = self;)?
                let _ = $own;
                $row {
                    $($done: $crate::core::column::InColumn::hold($done),)*
                    $($own_column: $own_value,)*
                    $($($column: $value,)*)?
                }
            }
        }
    };
}
pub(crate) use record;

/// The shape of a record as a pattern: it binds a reference for every column.
macro_rules! pattern {
    ($type:ident { $($field:tt $(as $column:ident)? $(: $part:ident { $($inside:tt)* })? $(= $value:expr)?),* $(,)? }) => {
        $type { $($field: $crate::core::record::pattern!(@field $field $(as $column)? $(: $part { $($inside)* })? $(= $value)?)),* }
    };
    (@field $field:ident) => { $field };
    (@field $field:tt as $column:ident) => { $column };
    (@field $field:tt : $part:ident { $($inside:tt)* }) => { $crate::core::record::pattern!($part { $($inside)* }) };
    (@field $field:tt = $value:expr) => { _ };
}
pub(crate) use pattern;

/// The shape of a record as an expression: it takes a variable for every column.
macro_rules! value {
    ($type:ident { $($field:tt $(as $column:ident)? $(: $part:ident { $($inside:tt)* })? $(= $value:expr)?),* $(,)? }) => {
        $type { $($field: $crate::core::record::value!(@field $field $(as $column)? $(: $part { $($inside)* })? $(= $value)?)),* }
    };
    (@field $field:ident) => { $field };
    (@field $field:tt as $column:ident) => { $column };
    (@field $field:tt : $part:ident { $($inside:tt)* }) => { $crate::core::record::value!($part { $($inside)* }) };
    (@field $field:tt = $value:expr) => { $value };
}
pub(crate) use value;
