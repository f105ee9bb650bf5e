//! The command that redacts an object: its decision, for all kinds.

use super::{
    audit::plain_audit,
    commit::{Found, Note, answer, following, log},
    conflict,
    context::Context,
    edit::json,
    fields::Errors,
    outcome::{Document, How, Outcome},
    precondition::Precondition,
    reach,
    redaction::Redaction,
    rejection::Rejection,
    resource::Resource,
    row::{Row, Tombstone},
    strict::read,
};
use ifmatch_types::{AuditResource, ChangeKind, Difference, Kind, NewRedaction, Version, pointer};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Maximum number of paths: all keys of metadata, and all fields.
const PATHS_MAX: usize = 60;
/// Maximum length of a reason, in characters.
const REASON_MAX: usize = 500;
/// The field whose keys are redacted one by one.
const METADATA: &str = "metadata";

/// Replace values of one object in everything that is stored about it.
#[derive(Clone, Debug)]
pub struct RedactObject {
    /// The collection.
    pub kind: Kind,
    /// The object's id. It may have been deleted.
    pub id: String,
    /// The request's body, a [`NewRedaction`].
    pub body: Map<String, Value>,
    /// The version that the caller saw.
    pub precondition: Precondition,
}

/// The place of a value to redact: a field, or one of its keys.
struct Place {
    field: String,
    key: Option<String>,
}

/// Redacts an object of the kind `R`, deleted or not.
///
/// The new version, its event, the audit record and the order to rewrite the past are one commit.
pub(crate) fn redact<R: Resource>(
    command: &RedactObject,
    ctx: &mut Context<'_>,
) -> Result<Outcome, R::Rejection> {
    reach::allow(false, ctx)?;
    let row = R::rows(ctx.state).get(&command.id).cloned();
    let row = row.ok_or_else(|| Rejection::not_found(R::KIND, &command.id))?;
    let asked: NewRedaction = read(&command.body)?;
    let places = places::<R>(&asked)?;
    let before = Found::new(row.record.clone());
    let mut record = row.record.clone();
    let marks = mark(&mut record, &places);
    if command.precondition == Precondition::Missing {
        return Err(Rejection::PreconditionRequired.into());
    }
    if !is_named(&command.precondition, &row) {
        return Err(stale(&before, command.precondition.latest(), &marks, ctx).into());
    }
    record.stamp(following(before.version()), ctx.now, &ctx.meta.actor.name);
    Ok(commit(before, record, row.deleted, (marks, asked.reason), command, ctx))
}

/// Saves the redacted object in memory, with its event, its audit record and its redaction.
fn commit<R: Resource>(
    before: Found<R>,
    record: R,
    deleted: Option<Tombstone>,
    (marks, reason): (Vec<Difference>, String),
    command: &RedactObject,
    ctx: &mut Context<'_>,
) -> Outcome {
    let id = command.id.clone();
    let resource = AuditResource { resource_type: R::KIND.name().to_owned(), id: id.clone() };
    let mut audit = plain_audit("redaction", Some(resource), Some(reason.clone()), ctx);
    audit.expected_version = command.precondition.latest().map(Value::from);
    audit.overwritten_version = Some(before.version());
    audit.changes.clone_from(&marks);
    ctx.state.redactions.push(Redaction {
        id: audit.id.clone(),
        kind: R::KIND,
        object_id: id.clone(),
        version: record.version(),
        at: ctx.now,
        marks: marks.clone(),
    });
    ctx.state.audits.push(audit);
    let stood_there =
        |mark: &Difference| before.body.pointer(&mark.path).is_some_and(|value| !value.is_null());
    let changes = marks.into_iter().filter(stood_there).collect();
    // To a follower, a deleted object stays deleted.
    let kind = if deleted.is_some() { ChangeKind::Deleted } else { ChangeKind::Updated };
    let body = Arc::new(Document::from(json(record.entity())));
    let note = Note { reason: Some(reason), ..Note::default() };
    log(&record, kind, note, changes, Arc::clone(&body), ctx);
    let answer = answer(&record, body, How::Updated);
    let deleted = deleted.map(|tombstone| Tombstone {
        last_version: Some(tombstone.last_living(before.version())),
        ..tombstone
    });
    R::rows_mut(ctx.state).put(id, Row { record, deleted });
    Outcome::Object(answer)
}

/// Reads and checks the paths and the reason.
fn places<R: Resource>(asked: &NewRedaction) -> Result<Vec<Place>, Rejection> {
    let mut errors = Errors::default();
    let mut places = Vec::new();
    if asked.paths.is_empty() || asked.paths.len() > PATHS_MAX {
        errors.push("/paths", format!("must have 1 to {PATHS_MAX} paths"));
    }
    for (index, path) in asked.paths.iter().enumerate() {
        match place::<R>(path) {
            Some(place) => places.push(place),
            None => errors.push(
                format!("/paths/{index}"),
                format!("{path} cannot be redacted; only {} can", redactable_paths::<R>()),
            ),
        }
    }
    errors.text("/reason", &asked.reason, 1, REASON_MAX);
    errors.into_result()?;
    Ok(places)
}

fn place<R: Resource>(path: &str) -> Option<Place> {
    let mut keys = path.starts_with('/').then(|| pointer::keys(path))?;
    let (field, key, rest) = (keys.next()?, keys.next(), keys.next());
    let has_key = key.as_ref().is_some_and(|key| !key.is_empty());
    let is_known = R::REDACTABLE.contains(&field.as_str())
        && rest.is_none()
        && has_key == (field == METADATA)
        && (has_key || key.is_none());
    is_known.then_some(Place { field, key })
}

/// The paths of a kind that can be redacted, for a person.
fn redactable_paths<R: Resource>() -> String {
    let path = |field: &&str| match *field {
        METADATA => "keys of /metadata".to_owned(),
        field => format!("/{field}"),
    };
    R::REDACTABLE.iter().map(path).collect::<Vec<_>>().join(", ")
}

/// Redacts these places of an object. Returns each path, with what stands there now.
fn mark<R: Resource>(record: &mut R, places: &[Place]) -> Vec<Difference> {
    let mut marks = Vec::new();
    for (name, field) in R::REDACTABLE.iter().zip(record.redactable()) {
        let of_field = || places.iter().filter(|place| place.field == *name);
        if of_field().next().is_none() {
            continue;
        }
        let mut keys: Vec<String> = of_field().filter_map(|place| place.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let now = field.redact(&keys);
        let path = pointer::member("", name);
        let paths = if keys.is_empty() {
            vec![path]
        } else {
            keys.iter().map(|key| pointer::member(&path, key)).collect()
        };
        let mark = |path: String| Difference { path, from: now.clone(), to: now.clone() };
        marks.extend(paths.into_iter().map(mark));
    }
    marks
}

/// Whether a request names the version that an object is at.
///
/// A deletion has its own version and changes no field. Its answer and every later one tell the
/// last living version, so that this names the deleted object as well.
fn is_named<R: Resource>(precondition: &Precondition, row: &Row<R>) -> bool {
    let current = row.record.version();
    let is_unchanged_since = row.deleted.as_ref().is_some_and(|gone| gone.last_version.is_none());
    precondition.matches(current)
        || (is_unchanged_since && precondition.matches(current.saturating_sub(1)))
}

/// The conflict of a redaction that names another version than the current one.
fn stale<R: Resource>(
    found: &Found<R>,
    named: Option<Version>,
    marks: &[Difference],
    ctx: &mut Context<'_>,
) -> Rejection {
    let base = named.and_then(|named| ctx.state.snapshot::<R>(found.record.id(), named));
    let seen = base.as_ref().unwrap_or(&found.body);
    let attempted: Vec<Difference> = marks
        .iter()
        .filter_map(|mark| {
            let from = seen.pointer(&mark.path).filter(|value| !value.is_null())?.clone();
            Some(Difference { from, ..mark.clone() })
        })
        .collect();
    let report = conflict::explain(found, named, base.as_ref(), &attempted, ctx);
    Rejection::Conflict(Box::new(report))
}
