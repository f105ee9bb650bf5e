//! The next state of an object: its row, its event, and the audit record of a forced write.

use super::{
    context::Context,
    edit::json,
    journal::NewEvent,
    mutant::Mutant,
    outcome::{Document, How, ObjectAnswer},
    precondition::{Force, Precondition},
    resource::Resource,
    row::{Row, Tombstone},
};
use ifmatch_types::{
    AuditRecord, AuditResource, ChangeKind, Deleted, Difference, HistoryEntry, Version,
    WorkspaceId, merge,
};
use serde_json::Value;
use std::sync::Arc;

/// An object as it was before the command.
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

    /// The answer to a command that changed nothing.
    pub(crate) fn unchanged(self) -> ObjectAnswer {
        answer(&self.record, Arc::new(self.body.into()), How::Unchanged)
    }
}

/// The next state of an object.
pub(crate) struct Next<R> {
    record: R,
    body: Document,
    /// The changes since the previous state. Empty for a new object, where every field is new.
    pub(crate) changes: Vec<Difference>,
}

/// The parts of a history entry beside the change itself.
#[derive(Default)]
pub(crate) struct Note {
    /// The reason an admin gave for forcing the write.
    pub(crate) reason: Option<String>,
    /// The paths that a write replaced when it was repeated after a refusal.
    pub(crate) overwrote: Vec<String>,
    /// Whether the write skipped the version check and replaced a version its caller had not seen.
    pub(crate) forced: bool,
}

impl<R: Resource> Next<R> {
    /// The first state of a new object.
    pub(crate) fn first(mut record: R, ctx: &Context<'_>) -> Self {
        record.stamp(1, ctx.now, &ctx.meta.actor.name);
        let body = Document::of(record.entity());
        Self { record, body, changes: Vec::new() }
    }

    /// The state that follows `before`.
    pub(crate) fn of(mut record: R, before: &Found<R>, ctx: &Context<'_>) -> Self {
        record.stamp(following(before.version()), ctx.now, &ctx.meta.actor.name);
        let body = json(record.entity());
        let changes = merge::diff(&before.body, &body);
        Self { record, body: body.into(), changes }
    }

    /// Saves this state and its event in memory.
    pub(crate) fn commit(
        self,
        kind: ChangeKind,
        how: How,
        note: Note,
        ctx: &mut Context<'_>,
    ) -> ObjectAnswer {
        let answer = answer(&self.record, Arc::new(self.body), how);
        let overwrote = note.overwrote.clone();
        log(&self.record, kind, note, self.changes, Arc::clone(&answer.body), ctx);
        let row = Row { record: self.record, deleted: None };
        R::rows_mut(ctx.state).put(answer.id.clone(), row);
        ObjectAnswer { overwrote, ..answer }
    }
}

/// Saves a deletion in memory: a tombstone, which has its own version, and its event.
pub(crate) fn entomb<R: Resource>(found: Found<R>, note: Note, ctx: &mut Context<'_>) -> Deleted {
    let Found { mut record, body } = found;
    let last_version = record.version();
    let by = ctx.meta.actor.name.clone();
    record.stamp(following(last_version), ctx.now, &by);
    log(&record, ChangeKind::Deleted, note, Vec::new(), Arc::new(body.into()), ctx);
    let id = record.id().to_owned();
    let tombstone = Tombstone { at: ctx.now, by: by.clone(), last_version: None };
    let row = Row { record, deleted: Some(tombstone) };
    R::rows_mut(ctx.state).put(id.clone(), row);
    Deleted { id, deleted_at: ctx.now, deleted_by: by, last_version }
}

/// Adds the event of an object's new version.
pub(crate) fn log<R: Resource>(
    record: &R,
    kind: ChangeKind,
    note: Note,
    changes: Vec<Difference>,
    state: Arc<Document>,
    ctx: &mut Context<'_>,
) {
    if Mutant::DropEvent.is_planted() && record.version() % 5 == 0 {
        return;
    }
    let entry = HistoryEntry {
        version: record.version(),
        at: ctx.now,
        by: ctx.meta.by(note.forced),
        kind,
        changes,
        reason: note.reason,
        overwrote: (!note.overwrote.is_empty()).then_some(note.overwrote),
        request_id: ctx.meta.request_id.clone(),
        key_digest: ctx.meta.key_digest.clone(),
    };
    let id = record.id().to_owned();
    let workspace_id = record.workspace_id(ctx.state).map(WorkspaceId::from_unchecked);
    let resource_type = R::KIND.name();
    ctx.state.events.push(NewEvent { resource_type, id, workspace_id, entry, state });
}

/// Records that an admin's write skipped the version check and replaced an unseen version.
pub(crate) fn audit_force<R: Resource>(
    overwritten: &Found<R>,
    precondition: &Precondition,
    force: &Force,
    changes: Vec<Difference>,
    ctx: &mut Context<'_>,
) {
    if Mutant::ForceWithoutRecord.is_planted() {
        return;
    }
    let record = AuditRecord {
        id: ctx.ids.fresh("aud_"),
        audit_type: "forced_write".to_owned(),
        at: ctx.now,
        actor: ctx.meta.actor.name.clone(),
        key_id: ctx.meta.actor.key_id.clone(),
        on_behalf_of: ctx.meta.on_behalf_of.clone(),
        reason: Some(force.reason.clone()),
        request_id: ctx.meta.request_id.clone(),
        resource: Some(AuditResource {
            resource_type: R::KIND.name().to_owned(),
            id: overwritten.record.id().to_owned(),
        }),
        expected_version: Some(precondition.latest().map_or(Value::from("blind"), Value::from)),
        overwritten_version: Some(overwritten.version()),
        attempts: 1,
        changes,
    };
    ctx.state.audits.push(record);
}

/// The answer with an object.
pub(crate) fn answer<R: Resource>(record: &R, body: Arc<Document>, how: How) -> ObjectAnswer {
    ObjectAnswer {
        kind: R::KIND,
        id: record.id().to_owned(),
        version: record.version(),
        body,
        how,
        overwrote: Vec::new(),
    }
}

/// The version after this one.
pub(crate) fn following(version: Version) -> Version {
    version.checked_add(1).expect("an object does not live through 2^63 changes")
}
