//! Rewrites what was stored about a redacted object, slice by slice.
//!
//! The commit that redacts an object leaves a row here. Each slice is one short transaction: it
//! locks that row, rewrites some rows of one table, and notes how far it has come. The row goes
//! with the last slice. A process that dies leaves the row, and any process goes on from there;
//! a slice that is run twice finds nothing left to replace.

use super::{column::InColumn, db::Db, error::StoreError, record::read_column, sql::Sql};
use crate::{
    on_backend,
    schema::{RedactionRow, StoredRow},
    systems::SWEEPS,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::core::Redaction;
use ifmatch_types::Kind;

/// A table that may hold values of redacted objects.
pub(crate) struct Sweep {
    /// The name, which is stored while a redaction is at this table.
    pub(crate) name: &'static str,
    /// Rewrites the next rows after a place. Returns the place to go on from, or `None` at the end.
    /// The first place is empty.
    pub(crate) slice: fn(&mut Db, &Redaction, &str) -> Result<Option<String>, StoreError>,
}

/// The row of a new redaction, at the beginning of the first table.
pub(crate) fn new_row(redaction: &Redaction) -> RedactionRow {
    RedactionRow {
        id: redaction.id.clone(),
        resource_type: redaction.kind.name().to_owned(),
        resource_id: redaction.object_id.clone(),
        version: redaction.version,
        at: redaction.at.hold(),
        marks: redaction.marks.hold(),
        stage: String::new(),
        place: String::new(),
    }
}

impl Db {
    /// The ids of the redactions that are not finished, oldest first, perhaps only of one object.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn unfinished_redactions(
        &mut self,
        object_id: Option<&str>,
    ) -> Result<Vec<String>, StoreError> {
        let mut sql = Sql::new("SELECT id FROM redactions");
        if let Some(id) = object_id {
            sql = sql.text(" WHERE resource_id = ").bind(id);
        }
        let sql = sql.text(" ORDER BY at, id LIMIT 100").returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }

    /// Rewrites the next rows for a redaction, in a transaction of its own. Returns whether there
    /// are more. Several processes may do so at the same time.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`]. Nothing has changed then.
    pub fn redact_slice(&mut self, id: &str) -> Result<bool, StoreError> {
        self.begin()?;
        match self.redact_next(id).and_then(|has_more| {
            self.commit()?;
            Ok(has_more)
        }) {
            Ok(has_more) => Ok(has_more),
            Err(error) => {
                // If this fails, too, the connection is not used again.
                let _ = self.rollback();
                Err(error)
            }
        }
    }

    fn redact_next(&mut self, id: &str) -> Result<bool, StoreError> {
        let lock = if self.is_sqlite() { "" } else { " FOR UPDATE" };
        let sql = RedactionRow::select().text(" WHERE id = ").bind(id).text(lock);
        let Some(row) = RedactionRow::query(self, sql)?.pop() else { return Ok(false) };
        let sweeps: Vec<&Sweep> = SWEEPS.into_iter().flatten().collect();
        // A table that this server does not know was swept by a newer one: begin anew.
        let known = sweeps.iter().position(|sweep| sweep.name == row.stage);
        let place = if known.is_some() { row.place.clone() } else { String::new() };
        let index = known.unwrap_or_default();
        let redaction = redaction_from(row)?;
        let reached = match sweeps.get(index) {
            Some(sweep) => (sweep.slice)(self, &redaction, &place)?,
            None => None,
        };
        let next = match reached {
            Some(place) => sweeps.get(index).map(|sweep| (sweep.name, place)),
            None => sweeps.get(index.saturating_add(1)).map(|sweep| (sweep.name, String::new())),
        };
        let has_more = next.is_some();
        let sql = match next {
            Some((stage, place)) => {
                let sql = Sql::new("UPDATE redactions SET stage = ").bind(stage);
                sql.text(", place = ").bind(place)
            }
            None => Sql::new("DELETE FROM redactions"),
        };
        let sql = sql.text(" WHERE id = ").bind(id);
        on_backend!(self, c => sql.execute(c))?;
        Ok(has_more)
    }
}

fn redaction_from(row: RedactionRow) -> Result<Redaction, StoreError> {
    let kind = Kind::from_name(&row.resource_type).ok_or_else(|| StoreError::Corrupt {
        table: RedactionRow::TABLE,
        column: "resource_type",
        id: row.id.clone(),
        what: format!("`{}`", row.resource_type),
    })?;
    Ok(Redaction {
        kind,
        at: read_column::<RedactionRow, _>(&row.id, "at", row.at)?,
        marks: read_column::<RedactionRow, _>(&row.id, "marks", row.marks)?,
        object_id: row.resource_id,
        version: row.version,
        id: row.id,
    })
}
