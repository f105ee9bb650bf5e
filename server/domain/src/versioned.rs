//! Create, update and delete for every versioned collection: versions, merges, force, history.

use crate::{
    How, ObjectAnswer, Outcome, Rejection, Resource, Row,
    command::{Change, CreateObject, DeleteObject, Force, Mode, Precondition, UpdateObject},
    conflict,
    fields::Errors,
    resource::Scope,
    state::NewEvent,
};
use ifmatch_types::{
    AuditRecord, AuditResource, ChangeKind, Deleted, Difference, FieldError, HistoryEntry, Kind,
    Timestamp, Verdict, Version,
    merge::{self, touches},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

/// Makes an object of the kind `R`.
pub(crate) fn create<R: Resource>(
    command: &CreateObject,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let body = &command.body;
    refuse_unsettable::<R>(body.keys(), &Map::new())?;
    let fields = parse::<R>(Value::Object(body.clone()))?;
    if let Some(existing) = R::existing(&fields, scope.state) {
        return repeat_of::<R>(&existing, body, &fields);
    }
    let id = scope.ids.fresh(R::KIND.id_prefix());
    let record = R::create(fields, id, scope)?;
    let body = commit(record, None, ChangeKind::Created, Note::default(), scope);
    Ok(Outcome::Object(body.answer(How::Created)))
}

/// A create whose unique key is taken: the first result if it asks for the same, else a rejection.
fn repeat_of<R: Resource>(
    existing: &R,
    body: &Map<String, Value>,
    fields: &R::Fields,
) -> Result<Outcome, Rejection> {
    let there = json(existing.entity());
    let mut wanted = json(fields);
    // What the request left to the server cannot differ.
    if let Value::Object(wanted) = &mut wanted {
        wanted
            .retain(|key, _| body.contains_key(key) || !R::KEPT_IF_ABSENT.contains(&key.as_str()));
    }
    let differing: Vec<String> = merge::diff(&settable::<R>(&there), &wanted)
        .into_iter()
        .filter(|difference| {
            let key = difference.path.split('/').nth(1).unwrap_or_default();
            body.contains_key(key) || !R::KEPT_IF_ABSENT.contains(&key)
        })
        .map(|difference| difference.path)
        .collect();
    if differing.is_empty() {
        return Ok(Outcome::Object(ObjectAnswer {
            kind: R::KIND,
            id: existing.id().to_owned(),
            version: existing.version(),
            body: there,
            how: How::Existed,
            overwrote: Vec::new(),
        }));
    }
    Err(Rejection::AlreadyExists {
        what: R::KIND.name(),
        existing_id: existing.id().to_owned(),
        differing_fields: differing,
    })
}

/// Changes an object of the kind `R`, or explains why its version stands in the way.
pub(crate) fn update<R: Resource>(
    command: &UpdateObject,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let record = living::<R>(&command.id, scope)?;
    let current = json(record.entity());
    let base = match (command.precondition.named(), &command.mode) {
        // A forced write is applied to what is there, whatever its caller saw.
        (None, _) | (_, Mode::Force(_)) => Some(current.clone()),
        (Some(named), _) if named == record.version() => Some(current.clone()),
        (Some(named), _) => scope.state.snapshot::<R>(&command.id, named),
    };
    let edit = Edit::read::<R>(command, &current, base)?;
    let matches = command.precondition.matches(record.version());
    match &command.mode {
        Mode::Force(force) => forced::<R>(command, force, matches, &record, &current, &edit, scope),
        _ if command.precondition == Precondition::Missing => Err(Rejection::PreconditionRequired),
        _ if matches => written::<R>(command, &record, &current, &edit, scope),
        mode => stale::<R>(command, *mode == Mode::Merge, &record, &current, &edit, scope),
    }
}

/// Deletes an object of the kind `R`.
pub(crate) fn delete<R: Resource>(
    command: &DeleteObject,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let record = living::<R>(&command.id, scope)?;
    let matches = command.precondition.matches(record.version());
    let current = json(record.entity());
    if command.force.is_none() {
        if command.precondition == Precondition::Missing {
            return Err(Rejection::PreconditionRequired);
        }
        if !matches {
            let named = command.precondition.named();
            let base = named.and_then(|v| scope.state.snapshot::<R>(&command.id, v));
            let report = conflict::explain(
                R::KIND,
                &command.id,
                named,
                record.version(),
                &current,
                base.as_ref(),
                &[],
                scope,
            );
            return Err(Rejection::Conflict(Box::new(report)));
        }
    }
    record.delete(scope)?;
    let overwritten_version = record.version();
    if let Some(Force { dry_run: true, .. }) = command.force {
        return Ok(Outcome::DryRun {
            would_overwrite: merge::diff(&current, &Value::Object(Map::new())),
            current_version: overwritten_version,
        });
    }
    let forced = command.force.as_ref().filter(|_| !matches);
    let note = Note { reason: forced.map(|force| force.reason.clone()), ..Note::default() };
    let changes = merge::diff(&current, &Value::Object(Map::new()));
    if let Some(force) = forced {
        let version = record.version();
        audit_force::<R>(&command.id, &command.precondition, version, force, &changes, scope);
    }
    let deleted = Deleted {
        id: command.id.clone(),
        deleted_at: scope.now,
        deleted_by: scope.meta.actor.name.clone(),
        last_version: overwritten_version,
    };
    entomb(record, forced.is_some(), note, current, scope);
    Ok(Outcome::Deleted { deleted, forced: forced.is_some() })
}

/// Asserts an object's version, as an operation of a transaction.
pub(crate) fn check<R: Resource>(
    id: &str,
    version: Version,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let record = living::<R>(id, scope)?;
    if record.version() != version {
        let base = scope.state.snapshot::<R>(id, version);
        let current = json(record.entity());
        let report = conflict::explain(
            R::KIND,
            id,
            Some(version),
            record.version(),
            &current,
            base.as_ref(),
            &[],
            scope,
        );
        return Err(Rejection::Conflict(Box::new(report)));
    }
    Ok(Outcome::Checked { kind: R::KIND, id: id.to_owned(), version })
}

/// Changes an object because of another command's effect, such as a payment's on its invoice.
pub(crate) fn change_internally<R: Resource>(record: R, before: &R, scope: &mut Scope<'_>) {
    let current = json(before.entity());
    commit(record, Some((before.version(), &current)), ChangeKind::Updated, Note::default(), scope);
}

/// Stores an object that another command's effect brings into being.
pub(crate) fn create_internally<R: Resource>(record: R, scope: &mut Scope<'_>) {
    commit(record, None, ChangeKind::Created, Note::default(), scope);
}

/// Stores what the API does not show of an object; its version stays.
pub(crate) fn keep_internally<R: Resource>(record: R, scope: &mut Scope<'_>) {
    R::rows_mut(scope.state).put(record.id().to_owned(), Row { record, deleted: None });
}

/// The living object, or why there is none.
pub(crate) fn living<R: Resource>(id: &str, scope: &Scope<'_>) -> Result<R, Rejection> {
    let row = R::rows(scope.state).get(id).ok_or_else(|| Rejection::not_found(R::KIND, id))?;
    match row.tombstone() {
        Some(deleted) => Err(Rejection::Deleted(R::KIND, deleted)),
        None => Ok(row.record.clone()),
    }
}

/// A request's wishes, read against the state it was computed from.
struct Edit {
    /// The state the caller computed from; `None` if nobody knows it any more.
    base: Option<Value>,
    /// Every settable field, as it should become if `base` is the current state.
    wanted: Value,
    /// The paths the request would change against its own base.
    attempted: Vec<Difference>,
}

impl Edit {
    fn read<R: Resource>(
        command: &UpdateObject,
        current: &Value,
        base: Option<Value>,
    ) -> Result<Self, Rejection> {
        let seen = base.as_ref().unwrap_or(current);
        let seen_fields = settable::<R>(seen);
        let wanted = match &command.change {
            Change::Patch(patch) => {
                refuse_unsettable::<R>(patch.keys(), entity_keys(seen))?;
                refuse_null::<R>(patch)?;
                let mut wanted = seen_fields.clone();
                json_patch::merge(&mut wanted, &Value::Object(patch.clone()));
                wanted
            }
            Change::Replace(fields) => {
                let forced = matches!(command.mode, Mode::Force(_));
                let known = base.as_ref().filter(|_| !forced);
                replacement::<R>(fields, known, seen, &seen_fields)?
            }
        };
        let wanted = keep_absent::<R>(wanted, &seen_fields);
        let fields = parse::<R>(wanted)?;
        let wanted = json(&fields);
        let attempted = merge::diff(&seen_fields, &wanted);
        refuse_set_once::<R>(&attempted)?;
        Ok(Self { attempted: if base.is_some() { attempted } else { Vec::new() }, base, wanted })
    }
}

/// The settable fields out of a full replace, its echoes of read-only fields checked.
fn replacement<R: Resource>(
    fields: &Map<String, Value>,
    known_base: Option<&Value>,
    seen: &Value,
    seen_fields: &Value,
) -> Result<Value, Rejection> {
    let mut errors = Errors::default();
    let mut wanted = Map::new();
    for (key, value) in fields {
        if R::FIELDS.contains(&key.as_str()) {
            wanted.insert(key.clone(), value.clone());
        } else if !entity_keys(seen).contains_key(key) {
            errors.push(format!("/{key}"), "is not a field of this object");
        } else if known_base.is_some_and(|base| base.get(key) != Some(value)) {
            errors.push(format!("/{key}"), "is read-only and differs from the version named");
        }
    }
    into_result(errors)?;
    // An echoed `null` of a field that the server fills in means "as it is".
    Ok(keep_absent::<R>(Value::Object(wanted), seen_fields))
}

/// Copies the fields that a replace may leave out without changing them.
fn keep_absent<R: Resource>(mut wanted: Value, seen_fields: &Value) -> Value {
    for key in R::KEPT_IF_ABSENT {
        if wanted.get(key).is_none_or(Value::is_null)
            && let (Value::Object(wanted), Some(kept)) = (&mut wanted, seen_fields.get(key))
        {
            wanted.insert((*key).to_owned(), kept.clone());
        }
    }
    wanted
}

/// A write at the current version.
fn written<R: Resource>(
    command: &UpdateObject,
    record: &R,
    current: &Value,
    edit: &Edit,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let changed = record.change(parse::<R>(edit.wanted.clone())?, scope)?;
    let changes = merge::diff(current, &json(changed.entity()));
    if changes.is_empty() {
        return Ok(unchanged(record, current));
    }
    let overwrote = command
        .refused_at
        .map(|refused_at| overwritten(&command.id, refused_at, &changes, scope))
        .unwrap_or_default();
    let note = Note { overwrote: overwrote.clone(), ..Note::default() };
    let before = Some((record.version(), current));
    let committed = commit(changed, before, ChangeKind::Updated, note, scope);
    Ok(Outcome::Object(ObjectAnswer { overwrote, ..committed.answer(How::Updated) }))
}

/// A write computed from another version than the current one.
fn stale<R: Resource>(
    command: &UpdateObject,
    merging: bool,
    record: &R,
    current: &Value,
    edit: &Edit,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let named = command.precondition.named();
    let mut report = conflict::explain(
        R::KIND,
        &command.id,
        named,
        record.version(),
        current,
        edit.base.as_ref(),
        &edit.attempted,
        scope,
    );
    match (report.merge.verdict, named) {
        (Verdict::Identical, _) if merging => return Ok(unchanged(record, current)),
        (Verdict::Clean, Some(named)) if merging => {
            let changed = merged(record, current, &edit.attempted, scope)?;
            if merge::diff(current, &json(changed.entity())).is_empty() {
                return Ok(unchanged(record, current));
            }
            let before = Some((record.version(), current));
            let committed = commit(changed, before, ChangeKind::Merged, Note::default(), scope);
            return Ok(Outcome::Object(committed.answer(How::Merged(named))));
        }
        (Verdict::Clean, _) => report.merge.preview = preview(record, current, edit, scope),
        _ => {}
    }
    Err(Rejection::Conflict(Box::new(report)))
}

/// What a merge would make, if the rules allow it; nothing of it stays.
fn preview<R: Resource>(
    record: &R,
    current: &Value,
    edit: &Edit,
    scope: &mut Scope<'_>,
) -> Option<Value> {
    let checkpoint = scope.state.checkpoint();
    let merged = merged(record, current, &edit.attempted, scope);
    scope.state.rollback(&checkpoint);
    merged.ok().map(|merged| json(merged.entity()))
}

/// The current object with the attempted paths, and only those, put on top.
fn merged<R: Resource>(
    record: &R,
    current: &Value,
    attempted: &[Difference],
    scope: &mut Scope<'_>,
) -> Result<R, Rejection> {
    let mut wanted = settable::<R>(current);
    merge::apply(&mut wanted, attempted);
    record.change(parse::<R>(wanted)?, scope)
}

/// A write that an admin wants through whatever the version.
fn forced<R: Resource>(
    command: &UpdateObject,
    force: &Force,
    matches: bool,
    record: &R,
    current: &Value,
    edit: &Edit,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let changed = record.change(parse::<R>(edit.wanted.clone())?, scope)?;
    let changes = merge::diff(current, &json(changed.entity()));
    if force.dry_run {
        return Ok(Outcome::DryRun { would_overwrite: changes, current_version: record.version() });
    }
    if changes.is_empty() {
        return Ok(unchanged(record, current));
    }
    let (kind, how) = if matches {
        (ChangeKind::Updated, How::Updated)
    } else {
        audit_force::<R>(
            &command.id,
            &command.precondition,
            record.version(),
            force,
            &changes,
            scope,
        );
        (ChangeKind::Forced, How::Forced)
    };
    let reason = (!matches).then(|| force.reason.clone());
    let note = Note { reason, ..Note::default() };
    let committed = commit(changed, Some((record.version(), current)), kind, note, scope);
    Ok(Outcome::Object(committed.answer(how)))
}

/// The paths that somebody else changed since an earlier refusal and that this write replaces.
fn overwritten(
    id: &str,
    refused_at: Version,
    changes: &[Difference],
    scope: &Scope<'_>,
) -> Vec<String> {
    let me = scope.meta.by(false);
    let others: Vec<&HistoryEntry> = scope
        .state
        .changes_since(id, refused_at)
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| entry.by.actor != me.actor || entry.by.on_behalf_of != me.on_behalf_of)
        .collect();
    changes
        .iter()
        .filter(|change| {
            let theirs = others.iter().flat_map(|entry| &entry.changes);
            theirs.into_iter().any(|other| touches(&other.path, &change.path))
        })
        .map(|change| change.path.clone())
        .collect()
}

fn audit_force<R: Resource>(
    id: &str,
    precondition: &Precondition,
    overwritten_version: Version,
    force: &Force,
    changes: &[Difference],
    scope: &mut Scope<'_>,
) {
    let expected = precondition.named().map_or(Value::from("blind"), Value::from);
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
            id: id.to_owned(),
        }),
        expected_version: Some(expected),
        overwritten_version: Some(overwritten_version),
        changes: changes.to_vec(),
    };
    scope.state.audits.push(record);
}

/// What a history entry says beside the change.
#[derive(Default)]
struct Note {
    reason: Option<String>,
    overwrote: Vec<String>,
}

/// A new state of an object, saved in memory.
struct Committed {
    kind: Kind,
    id: String,
    version: Version,
    body: Value,
}

impl Committed {
    fn answer(self, how: How) -> ObjectAnswer {
        ObjectAnswer {
            kind: self.kind,
            id: self.id,
            version: self.version,
            body: self.body,
            how,
            overwrote: Vec::new(),
        }
    }
}

/// Makes the next version of an object: the row and its event.
fn commit<R: Resource>(
    mut record: R,
    before: Option<(Version, &Value)>,
    kind: ChangeKind,
    note: Note,
    scope: &mut Scope<'_>,
) -> Committed {
    let version = before.map_or(1, |(version, _)| next(version));
    record.stamp(version, scope.now, &scope.meta.actor.name);
    let body = json(record.entity());
    let empty = Value::Object(Map::new());
    let changes = merge::diff(before.map_or(&empty, |(_, before)| before), &body);
    let id = record.id().to_owned();
    log::<R>(&id, version, kind, note, changes, body.clone(), scope);
    R::rows_mut(scope.state).put(id.clone(), Row { record, deleted: None });
    Committed { kind: R::KIND, id, version, body }
}

/// Makes an object's last version: a tombstone and its event.
fn entomb<R: Resource>(
    mut record: R,
    forced: bool,
    note: Note,
    last_state: Value,
    scope: &mut Scope<'_>,
) {
    let version = next(record.version());
    let id = record.id().to_owned();
    let by = scope.meta.actor.name.clone();
    let changes = Vec::new();
    log_by::<R>(&id, version, ChangeKind::Deleted, forced, note, changes, last_state, scope);
    record.stamp(version, scope.now, &by);
    let deleted: Option<(Timestamp, String)> = Some((scope.now, by));
    R::rows_mut(scope.state).put(id, Row { record, deleted });
}

fn log<R: Resource>(
    id: &str,
    version: Version,
    kind: ChangeKind,
    note: Note,
    changes: Vec<Difference>,
    state: Value,
    scope: &mut Scope<'_>,
) {
    let forced = kind == ChangeKind::Forced;
    log_by::<R>(id, version, kind, forced, note, changes, state, scope);
}

#[expect(clippy::too_many_arguments, reason = "one line of the log has so many parts")]
fn log_by<R: Resource>(
    id: &str,
    version: Version,
    kind: ChangeKind,
    forced: bool,
    note: Note,
    changes: Vec<Difference>,
    state: Value,
    scope: &mut Scope<'_>,
) {
    let entry = HistoryEntry {
        version,
        at: scope.now,
        by: scope.meta.by(forced),
        kind,
        changes,
        reason: note.reason,
        overwrote: (!note.overwrote.is_empty()).then_some(note.overwrote),
        request_id: scope.meta.request_id.clone(),
    };
    scope.state.events.push(NewEvent { kind: R::KIND, id: id.to_owned(), entry, state });
}

fn unchanged<R: Resource>(record: &R, current: &Value) -> Outcome {
    Outcome::Object(ObjectAnswer {
        kind: R::KIND,
        id: record.id().to_owned(),
        version: record.version(),
        body: current.clone(),
        how: How::Unchanged,
        overwrote: Vec::new(),
    })
}

fn next(version: Version) -> Version {
    version.checked_add(1).expect("an object does not live through 2^63 changes")
}

/// An entity as JSON. It cannot fail: entities have no maps with other keys than texts.
pub(crate) fn json(entity: &impl Serialize) -> Value {
    serde_json::to_value(entity).expect("entities are JSON objects")
}

/// The settable part of an entity.
fn settable<R: Resource>(entity: &Value) -> Value {
    R::FIELDS
        .iter()
        .map(|key| ((*key).to_owned(), entity.get(key).cloned().unwrap_or_default()))
        .collect::<Map<_, _>>()
        .into()
}

fn entity_keys(entity: &Value) -> &Map<String, Value> {
    entity.as_object().expect("entities are JSON objects")
}

/// Reads the settable fields and checks each.
fn parse<R: Resource>(fields: Value) -> Result<R::Fields, Rejection> {
    let mut fields: R::Fields = read(fields)?;
    let mut errors = Errors::default();
    R::check(&mut fields, &mut errors);
    into_result(errors)?;
    Ok(fields)
}

/// Reads a request's body, naming the field that is wrong.
pub(crate) fn read<T: DeserializeOwned>(body: Value) -> Result<T, Rejection> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.push_str(&format!("/{index}")),
                Segment::Map { key } => path.push_str(&format!("/{key}")),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let message = error.inner().to_string();
        // serde names missing and unknown fields in the message only.
        let field_after = |prefix: &str| message.strip_prefix(prefix)?.split_once('`');
        if let Some((field, _)) = field_after("missing field `") {
            return Rejection::invalid(format!("{path}/{field}"), "is required");
        }
        if let Some((field, _)) = field_after("unknown field `") {
            let unknown = format!("/{field}");
            let path = path.strip_suffix(&unknown).map_or(path.as_str(), |parent| parent);
            return Rejection::invalid(format!("{path}{unknown}"), "is not a field here");
        }
        Rejection::invalid(path, message)
    })
}

fn into_result(errors: Errors) -> Result<(), Rejection> {
    let errors: Vec<FieldError> = errors.into_inner();
    if errors.is_empty() { Ok(()) } else { Err(Rejection::Invalid(errors)) }
}

/// Refuses names that a client may not set.
fn refuse_unsettable<'a, R: Resource>(
    keys: impl Iterator<Item = &'a String>,
    entity: &Map<String, Value>,
) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    for key in keys.filter(|key| !R::FIELDS.contains(&key.as_str())) {
        let message = if entity.contains_key(key) || is_server_managed(key) {
            "is read-only"
        } else {
            "is not a field of this object"
        };
        errors.push(format!("/{key}"), message);
    }
    into_result(errors)
}

fn is_server_managed(key: &str) -> bool {
    matches!(key, "id" | "version" | "created_at" | "updated_at" | "updated_by")
}

/// Refuses to unset what the server filled in.
fn refuse_null<R: Resource>(patch: &Map<String, Value>) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    for key in R::KEPT_IF_ABSENT {
        if patch.get(*key).is_some_and(Value::is_null) {
            errors.push(format!("/{key}"), "must not be null");
        }
    }
    into_result(errors)
}

fn refuse_set_once<R: Resource>(attempted: &[Difference]) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    for difference in attempted {
        if R::SET_ONCE.iter().any(|key| difference.path.strip_prefix('/') == Some(key)) {
            errors.push(&difference.path, "is set once and cannot be changed");
        }
    }
    into_result(errors)
}
