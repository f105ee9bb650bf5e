//! Create, update and delete for all kinds of versioned objects, with versions, merges and force.

use super::{
    commit::{Found, Next, Note, audit_force, entomb},
    conflict,
    context::Context,
    edit::{Edit, json, parse, parse_body, refuse_unsettable, settable},
    mutant::Mutant,
    outcome::{How, ObjectAnswer, Outcome},
    precondition::{CreateObject, DeleteObject, Force, Mode, Precondition, UpdateObject},
    reach,
    rejection::Rejection,
    resource::Resource,
    row::Row,
    state::State,
};
use ifmatch_types::{
    ChangeKind, Difference, HistoryEntry, Verdict, Version,
    merge::{self, touches},
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Creates an object of the kind `R`.
pub(crate) fn create<R: Resource>(
    command: &CreateObject,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    let body = &command.body;
    reach::create::<R>(body, ctx)?;
    refuse_unsettable::<R>(body.keys(), &Map::new())?;
    let fields = parse_body::<R>(body)?;
    if let Some(existing) = R::existing(&fields, ctx.state) {
        return repeat_of::<R>(existing, body, &fields);
    }
    let id = ctx.ids.fresh(R::KIND.id_prefix());
    let record = R::create(fields, id, ctx)?;
    reach::created(&record, ctx)?;
    let next = Next::first(record, ctx);
    let how = if R::GOES_ON { How::Begun { forced: false } } else { How::Created };
    let answer = next.commit(ChangeKind::Created, how, Note::default(), ctx);
    Ok(Outcome::Object(answer))
}

/// Answers a create whose unique key exists: the existing object if it is equal, or a rejection.
fn repeat_of<R: Resource>(
    existing: R,
    body: &Map<String, Value>,
    fields: &R::Fields,
) -> Result<Outcome, R::Rejection> {
    let there = json(existing.entity());
    // Fields that the request left to the server do not count as different.
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
    }
    .into())
}

/// Changes an object of the kind `R`, or explains the version conflict.
pub(crate) fn update<R: Resource>(
    command: &UpdateObject,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    reach::update::<R>(&command.id, command.change.body(), ctx)?;
    let Read { found, old_base, edit } = Read::<R>::of(command, ctx)?;
    let matches =
        command.precondition.matches(found.version()) || Mutant::DropVersionGuard.is_planted();
    match &command.mode {
        Mode::Force(force) => forced(command, force, matches, found, edit, ctx),
        _ if command.precondition == Precondition::Missing => {
            Err(Rejection::PreconditionRequired.into())
        }
        _ if matches => written(command, found, edit, ctx),
        mode => {
            let attempted = old_base.as_ref().map(|base| edit.attempted(&command.change, base));
            let attempted = attempted.unwrap_or_default();
            stale(command, *mode == Mode::Merge, found, old_base.as_ref(), &attempted, ctx)
        }
    }
}

/// A change whose fields were read and checked, before its version is compared.
pub(crate) struct Read<R: Resource> {
    /// The current object.
    pub(crate) found: Found<R>,
    /// The named version of the object, if it is an older one that is still known.
    pub(crate) old_base: Option<Value>,
    /// The state that the request asks for.
    pub(crate) edit: Edit<R>,
}

impl<R: Resource> Read<R> {
    /// Reads a change against the state that its caller saw.
    pub(crate) fn of(command: &UpdateObject, ctx: &Context<'_>) -> Result<Self, R::Rejection> {
        let found = living::<R>(&command.id, ctx)?;
        let named = command.precondition.named(found.version());
        let current_is_base = match (named, &command.mode) {
            // A forced write applies to the current state, whatever version its caller saw.
            (None, _) | (_, Mode::Force(_)) => true,
            (Some(named), _) => named == found.version(),
        };
        let old_base = match named {
            Some(named) if !current_is_base => ctx.state.snapshot::<R>(&command.id, named),
            _ => None,
        };
        let seen = old_base.as_ref().unwrap_or(&found.body);
        let is_base = current_is_base || old_base.is_some();
        let edit = Edit::<R>::read(command, seen, is_base)?;
        if is_base {
            found.record.check_change(&edit.fields, seen, ctx)?;
        }
        Ok(Self { found, old_base, edit })
    }
}

/// Deletes an object of the kind `R`.
pub(crate) fn delete<R: Resource>(
    command: &DeleteObject,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    reach::delete::<R>(&command.id, ctx)?;
    let found = living::<R>(&command.id, ctx)?;
    let matches = command.precondition.matches(found.version());
    if command.force.is_none() {
        if command.precondition == Precondition::Missing {
            return Err(Rejection::PreconditionRequired.into());
        }
        if !matches {
            return Err(stale_claim(found, command.precondition.latest(), ctx).into());
        }
    }
    found.record.delete(ctx)?;
    let retired = found.record.retired(ctx).map(|record| Next::of(record, &found, ctx));
    let forced = command.force.as_ref().filter(|_| !matches);
    if let Some(force) = forced {
        let everything = || merge::diff(&found.body, &Value::Object(Map::new()));
        let changes = retired.as_ref().map_or_else(everything, |next| next.changes.clone());
        audit_force(&found, &command.precondition, force, changes, ctx);
    }
    let reason = forced.map(|force| force.reason.clone());
    let note = Note { reason, forced: forced.is_some(), ..Note::default() };
    let forced = forced.is_some();
    if let Some(next) = retired {
        let kind = if forced { ChangeKind::Forced } else { ChangeKind::Updated };
        return Ok(Outcome::Object(next.commit(kind, How::Begun { forced }, note, ctx)));
    }
    let found = living::<R>(&command.id, ctx)?;
    Ok(Outcome::Deleted { deleted: entomb(found, note, ctx), forced })
}

/// Checks an object's version, as an operation of a transaction.
pub(crate) fn check<R: Resource>(
    id: &str,
    version: Version,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    reach::see(R::KIND, id, ctx)?;
    let found = living::<R>(id, ctx)?;
    if found.version() != version {
        return Err(stale_claim(found, Some(version), ctx).into());
    }
    Ok(Outcome::Checked { kind: R::KIND, id: id.to_owned(), version })
}

/// Changes an object as an effect of another command, such as a payment that changes its invoice.
pub(crate) fn change_internally<R: Resource>(
    record: R,
    before: R,
    ctx: &mut Context<'_>,
) -> ObjectAnswer {
    let next = Next::of(record, &Found::new(before), ctx);
    next.commit(ChangeKind::Updated, How::Updated, Note::default(), ctx)
}

/// Creates an object as an effect of another command.
pub(crate) fn create_internally<R: Resource>(record: R, ctx: &mut Context<'_>) -> ObjectAnswer {
    let next = Next::first(record, ctx);
    next.commit(ChangeKind::Created, How::Created, Note::default(), ctx)
}

/// Stores a change of fields that the API does not show; the version stays the same.
pub(crate) fn keep_internally<R: Resource>(record: R, ctx: &mut Context<'_>) {
    R::rows_mut(ctx.state).put(record.id().to_owned(), Row { record, deleted: None });
}

/// The stored living object, or the rejection if it does not exist or was deleted.
pub(crate) fn alive<'a, R: Resource>(id: &str, state: &'a State) -> Result<&'a R, Rejection> {
    let row = R::rows(state).get(id).ok_or_else(|| Rejection::not_found(R::KIND, id))?;
    match row.tombstone().or_else(|| row.record.gone()) {
        Some(deleted) => Err(Rejection::Deleted(R::KIND, deleted)),
        None => Ok(&row.record),
    }
}

/// The living object, stored and as the API shows it, or the rejection if there is none.
pub(crate) fn living<R: Resource>(id: &str, ctx: &Context<'_>) -> Result<Found<R>, Rejection> {
    Ok(Found::new(alive::<R>(id, ctx.state)?.clone()))
}

/// Applies a write that names the current version.
fn written<R: Resource>(
    command: &UpdateObject,
    found: Found<R>,
    edit: Edit<R>,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    let next = Next::of(found.record.change(edit.fields, ctx)?, &found, ctx);
    if next.changes.is_empty() {
        return Ok(Outcome::Object(found.unchanged()));
    }
    let overwrote = command
        .refused_at
        .map(|refused_at| overwritten(&command.id, refused_at, &next.changes, ctx))
        .unwrap_or_default();
    let note = Note { overwrote, ..Note::default() };
    Ok(Outcome::Object(next.commit(ChangeKind::Updated, How::Updated, note, ctx)))
}

/// Merges or refuses a write that was computed from another version than the current one.
fn stale<R: Resource>(
    command: &UpdateObject,
    merging: bool,
    found: Found<R>,
    base: Option<&Value>,
    attempted: &[Difference],
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    let named = command.precondition.latest();
    if let Some(named) = named.filter(|_| merging) {
        let report = conflict::judge(&found, named, base, attempted, ctx.state);
        let is_planted = Mutant::MergeSameField.is_planted() && base.is_some();
        if report.verdict == Verdict::Clean || is_planted {
            return merge_in(found, named, attempted, ctx);
        }
        if report.verdict == Verdict::Identical {
            return Ok(Outcome::Object(found.unchanged()));
        }
    }
    // Only a refusal tells who changed what. That costs more than the verdict.
    let mut report = conflict::explain(&found, named, base, attempted, ctx);
    if report.merge.verdict == Verdict::Clean {
        report.merge.preview = preview(&found, attempted, ctx);
    }
    Err(Rejection::Conflict(Box::new(report)).into())
}

/// Applies a stale write on top of the current version.
fn merge_in<R: Resource>(
    found: Found<R>,
    named: Version,
    attempted: &[Difference],
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    let next = Next::of(merged(&found, attempted, ctx)?, &found, ctx);
    if next.changes.is_empty() {
        return Ok(Outcome::Object(found.unchanged()));
    }
    let answer = next.commit(ChangeKind::Merged, How::Merged(named), Note::default(), ctx);
    Ok(Outcome::Object(answer))
}

/// The conflict of a delete or a check that names another version than the current one.
pub(crate) fn stale_claim<R: Resource>(
    found: Found<R>,
    named: Option<Version>,
    ctx: &mut Context<'_>,
) -> Rejection {
    let base = named.and_then(|named| ctx.state.snapshot::<R>(found.record.id(), named));
    let whole = merge::diff(base.as_ref().unwrap_or(&found.body), &Value::Object(Map::new()));
    let report = conflict::explain(&found, named, base.as_ref(), &whole, ctx);
    Rejection::Conflict(Box::new(report))
}

/// The result that a merge would have, if the rules allow it. The state is rolled back.
fn preview<R: Resource>(
    found: &Found<R>,
    attempted: &[Difference],
    ctx: &mut Context<'_>,
) -> Option<Value> {
    let checkpoint = ctx.state.checkpoint();
    let merged = merged(found, attempted, ctx);
    ctx.state.rollback(&checkpoint);
    merged.ok().map(|merged| json(merged.entity()))
}

/// The current object with only the attempted changes applied.
fn merged<R: Resource>(
    found: &Found<R>,
    attempted: &[Difference],
    ctx: &mut Context<'_>,
) -> Result<R, R::Rejection> {
    let mut wanted = settable::<R>(&found.body);
    merge::apply(&mut wanted, attempted);
    found.record.change(parse::<R>(&wanted)?, ctx)
}

/// Applies a forced write.
fn forced<R: Resource>(
    command: &UpdateObject,
    force: &Force,
    matches: bool,
    found: Found<R>,
    edit: Edit<R>,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    ctx.force = Some(force.clone());
    let changed = found.record.change(edit.fields, ctx);
    ctx.force = None;
    let next = Next::of(changed?, &found, ctx);
    if next.changes.is_empty() {
        return Ok(Outcome::Object(found.unchanged()));
    }
    if matches {
        let answer = next.commit(ChangeKind::Updated, How::Updated, Note::default(), ctx);
        return Ok(Outcome::Object(answer));
    }
    audit_force(&found, &command.precondition, force, next.changes.clone(), ctx);
    let note = Note { reason: Some(force.reason.clone()), forced: true, ..Note::default() };
    Ok(Outcome::Object(next.commit(ChangeKind::Forced, How::Forced, note, ctx)))
}

/// The paths this write replaces that another caller has changed since an earlier refusal.
fn overwritten(
    id: &str,
    refused_at: Version,
    changes: &[Difference],
    ctx: &Context<'_>,
) -> Vec<String> {
    let me = ctx.meta.by(false);
    let is_other = |entry: &&HistoryEntry| {
        entry.by.actor != me.actor || entry.by.on_behalf_of != me.on_behalf_of
    };
    let since = ctx.state.changes_since(id, refused_at).unwrap_or_default();
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
