//! Create, update and delete for every versioned collection: versions, merges, force.

use crate::{
    How, Mutant, ObjectAnswer, Outcome, Rejection, Resource, Row, State,
    command::{CreateObject, DeleteObject, Force, Mode, Precondition, UpdateObject},
    commit::{Found, Next, Note, audit_force, entomb},
    conflict,
    edit::{Edit, json, parse, parse_body, refuse_unsettable, settable},
    resource::Scope,
};
use ifmatch_types::{
    ChangeKind, Difference, ForcePreview, HistoryEntry, Verdict, Version,
    merge::{self, touches},
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Makes an object of the kind `R`.
pub(crate) fn create<R: Resource>(
    command: &CreateObject,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let body = &command.body;
    refuse_unsettable::<R>(body.keys(), &Map::new())?;
    let fields = parse_body::<R>(body)?;
    if let Some(existing) = R::existing(&fields, scope.state) {
        return repeat_of::<R>(existing, body, &fields);
    }
    let id = scope.ids.fresh(R::KIND.id_prefix());
    let record = R::create(fields, id, scope)?;
    let next = Next::first(record, scope);
    let answer = next.commit(ChangeKind::Created, How::Created, Note::default(), scope);
    Ok(Outcome::Object(answer))
}

/// A create whose unique key is taken: the first result if it asks for the same, else a rejection.
fn repeat_of<R: Resource>(
    existing: R,
    body: &Map<String, Value>,
    fields: &R::Fields,
) -> Result<Outcome, Rejection> {
    let there = json(existing.entity());
    // What the request left to the server cannot differ.
    let left_out = |path: &str| {
        let key = path.split('/').nth(1).unwrap_or_default();
        R::KEPT_IF_ABSENT.contains(&key) && !body.contains_key(key)
    };
    let differing: Vec<String> = merge::diff(&settable::<R>(&there), &json(fields))
        .into_iter()
        .map(|difference| difference.path)
        .filter(|path| !left_out(path))
        .collect();
    if differing.is_empty() {
        return Ok(Outcome::Object(ObjectAnswer {
            kind: R::KIND,
            id: existing.id().to_owned(),
            version: existing.version(),
            body: Arc::new(there.into()),
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
    let found = living::<R>(&command.id, scope)?;
    let current_is_base = match (command.precondition.named(), &command.mode) {
        // A forced write is applied to what is there, whatever its caller saw.
        (None, _) | (_, Mode::Force(_)) => true,
        (Some(named), _) => named == found.version(),
    };
    let old_base = match command.precondition.named() {
        Some(named) if !current_is_base => scope.state.snapshot::<R>(&command.id, named),
        _ => None,
    };
    let seen = old_base.as_ref().unwrap_or(&found.body);
    let is_base = current_is_base || old_base.is_some();
    let edit = Edit::<R>::read(command, seen, is_base)?;
    if is_base {
        found.record.check_change(&edit.fields, seen, scope)?;
    }
    let matches =
        command.precondition.matches(found.version()) || Mutant::DropVersionGuard.is_planted();
    match &command.mode {
        Mode::Force(force) => forced(command, force, matches, found, edit, scope),
        _ if command.precondition == Precondition::Missing => Err(Rejection::PreconditionRequired),
        _ if matches => written(command, found, edit, scope),
        mode => {
            let base = match command.precondition.named() {
                // A weak tag may name the current version, which then is the base.
                Some(_) if current_is_base => Some(found.body.clone()),
                _ => old_base,
            };
            let attempted = base.as_ref().map(|base| edit.attempted(base)).unwrap_or_default();
            stale(command, *mode == Mode::Merge, found, base.as_ref(), &attempted, scope)
        }
    }
}

/// Deletes an object of the kind `R`.
pub(crate) fn delete<R: Resource>(
    command: &DeleteObject,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let found = living::<R>(&command.id, scope)?;
    let matches = command.precondition.matches(found.version());
    if command.force.is_none() {
        if command.precondition == Precondition::Missing {
            return Err(Rejection::PreconditionRequired);
        }
        if !matches {
            return Err(stale_claim(found, command.precondition.named(), scope));
        }
    }
    let checkpoint = scope.state.checkpoint();
    found.record.delete(scope)?;
    let everything = || merge::diff(&found.body, &Value::Object(Map::new()));
    if command.force.as_ref().is_some_and(|force| force.dry_run) {
        scope.state.rollback(&checkpoint);
        return Ok(Outcome::DryRun(ForcePreview {
            would_overwrite: everything(),
            current_version: found.version(),
        }));
    }
    let forced = command.force.as_ref().filter(|_| !matches);
    if let Some(force) = forced {
        audit_force(&found, &command.precondition, force, everything(), scope);
    }
    let reason = forced.map(|force| force.reason.clone());
    let note = Note { reason, forced: forced.is_some(), ..Note::default() };
    let forced = forced.is_some();
    let found = living::<R>(&command.id, scope)?;
    Ok(Outcome::Deleted { deleted: entomb(found, note, scope), forced })
}

/// Asserts an object's version, as an operation of a transaction.
pub(crate) fn check<R: Resource>(
    id: &str,
    version: Version,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let found = living::<R>(id, scope)?;
    if found.version() != version {
        return Err(stale_claim(found, Some(version), scope));
    }
    Ok(Outcome::Checked { kind: R::KIND, id: id.to_owned(), version })
}

/// Changes an object because of another command's effect, such as a payment's on its invoice.
pub(crate) fn change_internally<R: Resource>(record: R, before: R, scope: &mut Scope<'_>) {
    let next = Next::of(record, &Found::new(before), scope);
    next.commit(ChangeKind::Updated, How::Updated, Note::default(), scope);
}

/// Stores an object that another command's effect brings into being.
pub(crate) fn create_internally<R: Resource>(record: R, scope: &mut Scope<'_>) -> ObjectAnswer {
    let next = Next::first(record, scope);
    next.commit(ChangeKind::Created, How::Created, Note::default(), scope)
}

/// Stores what the API does not show of an object; its version stays.
pub(crate) fn keep_internally<R: Resource>(record: R, scope: &mut Scope<'_>) {
    R::rows_mut(scope.state).put(record.id().to_owned(), Row { record, deleted: None });
}

/// The living object as it is stored, or why there is none.
pub(crate) fn alive<'a, R: Resource>(id: &str, state: &'a State) -> Result<&'a R, Rejection> {
    let row = R::rows(state).get(id).ok_or_else(|| Rejection::not_found(R::KIND, id))?;
    match row.tombstone() {
        Some(deleted) => Err(Rejection::Deleted(R::KIND, deleted)),
        None => Ok(&row.record),
    }
}

/// The living object, and as the API shows it, or why there is none.
pub(crate) fn living<R: Resource>(id: &str, scope: &Scope<'_>) -> Result<Found<R>, Rejection> {
    Ok(Found::new(alive::<R>(id, scope.state)?.clone()))
}

/// A write at the current version.
fn written<R: Resource>(
    command: &UpdateObject,
    found: Found<R>,
    edit: Edit<R>,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let next = Next::of(found.record.change(edit.fields, scope)?, &found, scope);
    if next.changes.is_empty() {
        return Ok(Outcome::Object(found.unchanged()));
    }
    let overwrote = command
        .refused_at
        .map(|refused_at| overwritten(&command.id, refused_at, &next.changes, scope))
        .unwrap_or_default();
    let note = Note { overwrote, ..Note::default() };
    Ok(Outcome::Object(next.commit(ChangeKind::Updated, How::Updated, note, scope)))
}

/// A write computed from another version than the current one.
fn stale<R: Resource>(
    command: &UpdateObject,
    merging: bool,
    found: Found<R>,
    base: Option<&Value>,
    attempted: &[Difference],
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let named = command.precondition.named();
    let mut report = conflict::explain(&found, named, base, attempted, scope);
    if Mutant::MergeSameField.is_planted() && base.is_some() {
        report.merge.verdict = Verdict::Clean;
    }
    match (report.merge.verdict, named) {
        (Verdict::Identical, _) if merging => return Ok(Outcome::Object(found.unchanged())),
        (Verdict::Clean, Some(named)) if merging => {
            let next = Next::of(merged(&found, attempted, scope)?, &found, scope);
            if next.changes.is_empty() {
                return Ok(Outcome::Object(found.unchanged()));
            }
            let how = How::Merged(named);
            let answer = next.commit(ChangeKind::Merged, how, Note::default(), scope);
            return Ok(Outcome::Object(answer));
        }
        (Verdict::Clean, _) => report.merge.preview = preview(&found, attempted, scope),
        _ => {}
    }
    Err(Rejection::Conflict(Box::new(report)))
}

/// A claim about a version that does not hold, of a request that is about the whole object.
fn stale_claim<R: Resource>(
    found: Found<R>,
    named: Option<Version>,
    scope: &mut Scope<'_>,
) -> Rejection {
    let base = named.and_then(|named| scope.state.snapshot::<R>(found.record.id(), named));
    let whole = merge::diff(base.as_ref().unwrap_or(&found.body), &Value::Object(Map::new()));
    let report = conflict::explain(&found, named, base.as_ref(), &whole, scope);
    Rejection::Conflict(Box::new(report))
}

/// What a merge would make, if the rules allow it; nothing of it stays.
fn preview<R: Resource>(
    found: &Found<R>,
    attempted: &[Difference],
    scope: &mut Scope<'_>,
) -> Option<Value> {
    let checkpoint = scope.state.checkpoint();
    let merged = merged(found, attempted, scope);
    scope.state.rollback(&checkpoint);
    merged.ok().map(|merged| json(merged.entity()))
}

/// The current object with the attempted paths, and only those, put on top.
fn merged<R: Resource>(
    found: &Found<R>,
    attempted: &[Difference],
    scope: &mut Scope<'_>,
) -> Result<R, Rejection> {
    let mut wanted = settable::<R>(&found.body);
    merge::apply(&mut wanted, attempted);
    found.record.change(parse::<R>(&wanted)?, scope)
}

/// A write that an admin wants through whatever the version.
fn forced<R: Resource>(
    command: &UpdateObject,
    force: &Force,
    matches: bool,
    found: Found<R>,
    edit: Edit<R>,
    scope: &mut Scope<'_>,
) -> Result<Outcome, Rejection> {
    let checkpoint = scope.state.checkpoint();
    scope.force = Some(force.clone());
    let changed = found.record.change(edit.fields, scope);
    scope.force = None;
    let next = Next::of(changed?, &found, scope);
    if force.dry_run {
        scope.state.rollback(&checkpoint);
        return Ok(Outcome::DryRun(ForcePreview {
            would_overwrite: next.changes,
            current_version: found.version(),
        }));
    }
    if next.changes.is_empty() {
        return Ok(Outcome::Object(found.unchanged()));
    }
    if matches {
        let answer = next.commit(ChangeKind::Updated, How::Updated, Note::default(), scope);
        return Ok(Outcome::Object(answer));
    }
    audit_force(&found, &command.precondition, force, next.changes.clone(), scope);
    let note = Note { reason: Some(force.reason.clone()), forced: true, ..Note::default() };
    Ok(Outcome::Object(next.commit(ChangeKind::Forced, How::Forced, note, scope)))
}

/// The paths that somebody else changed since an earlier refusal and that this write replaces.
fn overwritten(
    id: &str,
    refused_at: Version,
    changes: &[Difference],
    scope: &Scope<'_>,
) -> Vec<String> {
    let me = scope.meta.by(false);
    let is_other = |entry: &&HistoryEntry| {
        entry.by.actor != me.actor || entry.by.on_behalf_of != me.on_behalf_of
    };
    let since = scope.state.changes_since(id, refused_at).unwrap_or_default();
    let others: Vec<&HistoryEntry> = since.into_iter().filter(is_other).collect();
    changes
        .iter()
        .filter(|change| {
            let mut theirs = others.iter().flat_map(|entry| &entry.changes);
            theirs.any(|other| touches(&other.path, &change.path))
        })
        .map(|change| change.path.clone())
        .collect()
}
