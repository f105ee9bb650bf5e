//! The next state of an object: its row, its event, and the audit record of a force.

use crate::{
    Document, How, Mutant, ObjectAnswer, Resource, Row, Scope,
    command::{Force, Precondition},
    edit::json,
    state::NewEvent,
};
use ifmatch_types::{
    AuditRecord, AuditResource, ChangeKind, Deleted, Difference, HistoryEntry, Version, merge,
};
use serde_json::Value;
use std::sync::Arc;

/// An object as a command found it.
pub(crate) struct Found<R> {
    /// The object.
    pub(crate) record: R,
    /// The object as the API shows it.
    pub(crate) body: Value,
}

impl<R: Resource> Found<R> {
    pub(crate) fn new(record: R) -> Self {
        let body = json(record.entity());
        Self { record, body }
    }

    pub(crate) fn version(&self) -> Version {
        self.record.version()
    }

    /// The answer of a command that changed nothing.
    pub(crate) fn unchanged(self) -> ObjectAnswer {
        answer(&self.record, Arc::new(self.body.into()), How::Unchanged)
    }
}

/// A state that an object is about to have.
pub(crate) struct Next<R> {
    record: R,
    body: Document,
    /// What makes it different from the state before; of a first state that is all of it, and is
    /// not listed.
    pub(crate) changes: Vec<Difference>,
}

/// What a history entry says beside the change.
#[derive(Default)]
pub(crate) struct Note {
    /// Why an admin forced it.
    pub(crate) reason: Option<String>,
    /// What a repeated, earlier refused write replaced.
    pub(crate) overwrote: Vec<String>,
    /// Whether the version check was skipped over an unseen version.
    pub(crate) forced: bool,
}

impl<R: Resource> Next<R> {
    /// The first state of a new object.
    pub(crate) fn first(mut record: R, scope: &Scope<'_>) -> Self {
        record.stamp(1, scope.now, &scope.meta.actor.name);
        let body = Document::of(record.entity());
        Self { record, body, changes: Vec::new() }
    }

    /// The state after the one that was found.
    pub(crate) fn of(mut record: R, before: &Found<R>, scope: &Scope<'_>) -> Self {
        record.stamp(following(before.version()), scope.now, &scope.meta.actor.name);
        let body = json(record.entity());
        let changes = merge::diff(&before.body, &body);
        Self { record, body: body.into(), changes }
    }

    /// Saves it in memory, with its event.
    pub(crate) fn commit(
        self,
        kind: ChangeKind,
        how: How,
        note: Note,
        scope: &mut Scope<'_>,
    ) -> ObjectAnswer {
        let answer = answer(&self.record, Arc::new(self.body), how);
        let overwrote = note.overwrote.clone();
        log(&self.record, kind, note, self.changes, Arc::clone(&answer.body), scope);
        let row = Row { record: self.record, deleted: None };
        R::rows_mut(scope.state).put(answer.id.clone(), row);
        ObjectAnswer { overwrote, ..answer }
    }
}

/// Saves an object's end in memory: a tombstone with a version of its own, and its event.
pub(crate) fn entomb<R: Resource>(found: Found<R>, note: Note, scope: &mut Scope<'_>) -> Deleted {
    let Found { mut record, body } = found;
    let last_version = record.version();
    let by = scope.meta.actor.name.clone();
    record.stamp(following(last_version), scope.now, &by);
    log(&record, ChangeKind::Deleted, note, Vec::new(), Arc::new(body.into()), scope);
    let id = record.id().to_owned();
    let row = Row { record, deleted: Some((scope.now, by.clone())) };
    R::rows_mut(scope.state).put(id.clone(), row);
    Deleted { id, deleted_at: scope.now, deleted_by: by, last_version }
}

fn log<R: Resource>(
    record: &R,
    kind: ChangeKind,
    note: Note,
    changes: Vec<Difference>,
    state: Arc<Document>,
    scope: &mut Scope<'_>,
) {
    if Mutant::DropEvent.is_planted() && record.version() % 5 == 0 {
        return;
    }
    let entry = HistoryEntry {
        version: record.version(),
        at: scope.now,
        by: scope.meta.by(note.forced),
        kind,
        changes,
        reason: note.reason,
        overwrote: (!note.overwrote.is_empty()).then_some(note.overwrote),
        request_id: scope.meta.request_id.clone(),
    };
    let id = record.id().to_owned();
    scope.state.events.push(NewEvent { resource_type: R::KIND.name(), id, entry, state });
}

/// Records that an admin's write skipped the version check over a version it had not seen.
pub(crate) fn audit_force<R: Resource>(
    overwritten: &Found<R>,
    precondition: &Precondition,
    force: &Force,
    changes: Vec<Difference>,
    scope: &mut Scope<'_>,
) {
    if Mutant::ForceWithoutRecord.is_planted() {
        return;
    }
    let record = AuditRecord {
        id: scope.ids.fresh("aud_"),
        audit_type: "forced_write".to_owned(),
        at: scope.now,
        actor: scope.meta.actor.name.clone(),
        on_behalf_of: scope.meta.on_behalf_of.clone(),
        reason: Some(force.reason.clone()),
        request_id: scope.meta.request_id.clone(),
        resource: Some(AuditResource {
            resource_type: R::KIND.name().to_owned(),
            id: overwritten.record.id().to_owned(),
        }),
        expected_version: Some(precondition.named().map_or(Value::from("blind"), Value::from)),
        overwritten_version: Some(overwritten.version()),
        changes,
    };
    scope.state.audits.push(record);
}

fn answer<R: Resource>(record: &R, body: Arc<Document>, how: How) -> ObjectAnswer {
    ObjectAnswer {
        kind: R::KIND,
        id: record.id().to_owned(),
        version: record.version(),
        body,
        how,
        overwrote: Vec::new(),
    }
}

fn following(version: Version) -> Version {
    version.checked_add(1).expect("an object does not live through 2^63 changes")
}
