//! The rows of histories, of the event stream and of the audit log.

use super::{
    column::InColumn,
    error::StoreError,
    record::{Record, read_column},
    states::stored_state,
};
use crate::schema::{AuditRow, EventRow};
use ifmatch_domain::core::{Audit, NewEvent};
use ifmatch_types::{AuditResource, By, ChangeKind, Event, EventCursor, HistoryEntry, merge};
use serde_json::{Map, Value};

/// The row of a change.
pub(crate) fn event_row(event: &NewEvent) -> EventRow {
    let entry = &event.entry;
    let changes: String = entry.changes.hold();
    EventRow {
        resource_id: event.id.clone(),
        version: entry.version,
        resource_type: event.resource_type.to_owned(),
        kind: entry.kind.hold(),
        at: entry.at.hold(),
        workspace_id: event.workspace_id.hold(),
        actor: entry.by.actor.clone(),
        key_id: entry.by.key_id.hold(),
        on_behalf_of: entry.by.on_behalf_of.clone(),
        source: entry.by.source.hold(),
        forced: entry.by.forced,
        reason: entry.reason.clone(),
        overwrote: entry.overwrote.hold(),
        request_id: entry.request_id.clone(),
        key_digest: entry.key_digest.clone(),
        state: stored_state(event, changes.len()),
        changes,
    }
}

/// A history entry as the API shows it.
///
/// The changes of a creation are not stored, because its state has all of them. They are derived
/// here.
pub(crate) fn shown_entry_from(row: &EventRow) -> Result<HistoryEntry, StoreError> {
    let mut entry = entry_from(row)?;
    if entry.kind == ChangeKind::Created && entry.changes.is_empty() {
        entry.changes = merge::diff(&Value::Object(Map::new()), &state_from(row)?);
    }
    Ok(entry)
}

/// A history entry as it is stored.
pub(crate) fn entry_from(row: &EventRow) -> Result<HistoryEntry, StoreError> {
    Ok(HistoryEntry {
        version: row.version,
        at: column(row, "at", row.at)?,
        by: By {
            actor: row.actor.clone(),
            key_id: column(row, "key_id", row.key_id.clone())?,
            on_behalf_of: row.on_behalf_of.clone(),
            source: column(row, "source", row.source.clone())?,
            forced: row.forced,
        },
        kind: column(row, "kind", row.kind.clone())?,
        changes: column(row, "changes", row.changes.clone())?,
        reason: row.reason.clone(),
        overwrote: column(row, "overwrote", row.overwrote.clone())?,
        request_id: row.request_id.clone(),
        key_digest: row.key_digest.clone(),
    })
}

/// The object's state after a change. A state that follows from others must be filled in first.
pub(crate) fn state_from(row: &EventRow) -> Result<Value, StoreError> {
    column(row, "state", row.state.clone())
}

/// A change as the event stream shows it.
pub(crate) fn event_from(epoch: &str, seq: i64, row: &EventRow) -> Result<Event, StoreError> {
    let entry = shown_entry_from(row)?;
    let (resource_type, id) = (row.resource_type.clone(), row.resource_id.clone());
    Ok(Event {
        seq,
        cursor: EventCursor::in_epoch(epoch, seq),
        event_type: format!("{resource_type}.{}", row.kind),
        resource: AuditResource { resource_type, id },
        workspace_id: column(row, "workspace_id", row.workspace_id.clone())?,
        entry,
        state: state_from(row)?,
    })
}

fn column<T: InColumn>(row: &EventRow, name: &'static str, held: T::Held) -> Result<T, StoreError> {
    read_column::<EventRow, T>(&row.resource_id, name, held)
}

impl Record for Audit {
    type Row = AuditRow;

    fn from_row(row: AuditRow) -> Result<Self, StoreError> {
        let id = &row.id;
        let resource = match (row.resource_type, row.resource_id) {
            (Some(resource_type), Some(id)) => Some(AuditResource { resource_type, id }),
            _ => None,
        };
        Ok(Self {
            at: read_column::<AuditRow, _>(id, "at", row.at)?,
            expected_version: read_column::<AuditRow, _>(
                id,
                "expected_version",
                row.expected_version,
            )?,
            changes: read_column::<AuditRow, _>(id, "changes", row.changes)?,
            resource,
            audit_type: row.audit_type,
            actor: row.actor,
            key_id: read_column::<AuditRow, _>(id, "key_id", row.key_id)?,
            on_behalf_of: row.on_behalf_of,
            reason: row.reason,
            request_id: row.request_id,
            overwritten_version: row.overwritten_version,
            attempts: row.attempts,
            id: row.id,
        })
    }

    fn to_row(&self) -> AuditRow {
        AuditRow {
            id: self.id.clone(),
            audit_type: self.audit_type.clone(),
            at: self.at.hold(),
            actor: self.actor.clone(),
            key_id: self.key_id.hold(),
            on_behalf_of: self.on_behalf_of.clone(),
            reason: self.reason.clone(),
            request_id: self.request_id.clone(),
            resource_type: self.resource.as_ref().map(|resource| resource.resource_type.clone()),
            resource_id: self.resource.as_ref().map(|resource| resource.id.clone()),
            expected_version: self.expected_version.hold(),
            overwritten_version: self.overwritten_version,
            changes: self.changes.hold(),
            attempts: self.attempts,
        }
    }
}
