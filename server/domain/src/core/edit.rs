//! Reads a request's fields against the state that its caller computed them from.

use super::{
    fields::Errors,
    precondition::{Change, Mode, UpdateObject},
    rejection::Rejection,
    resource::Resource,
    strict::read,
};
use ifmatch_types::{Difference, Timestamp, merge, pointer};
use serde::Serialize;
use serde_json::{Map, Value};

/// The state that a request asks for.
pub(crate) struct Edit<R: Resource> {
    /// All settable fields, as they should be if the state that the caller saw is the current one.
    pub(crate) fields: R::Fields,
}

impl<R: Resource> Edit<R> {
    /// Reads a request against the state that its caller saw.
    ///
    /// `is_base` is true if `seen` is the version that the caller named. It is false if that
    /// version is no longer known and `seen` is the current state instead.
    pub(crate) fn read(
        command: &UpdateObject,
        seen: &Value,
        is_base: bool,
    ) -> Result<Self, Rejection> {
        // Force skips the version check, so read-only fields are not compared either.
        let compare = is_base && !matches!(command.mode, Mode::Force(_));
        let mut wanted = match &command.change {
            Change::Patch(patch) => {
                refuse_unsettable::<R>(patch.keys(), entity_keys(seen))?;
                refuse_null::<R>(patch)?;
                let mut wanted = settable::<R>(seen);
                json_patch::merge(&mut wanted, &Value::Object(patch.clone()));
                wanted
            }
            Change::Replace(fields) => replacement::<R>(fields, seen, compare)?,
        };
        drop_echoes::<R>(&mut wanted, seen, compare);
        keep_absent::<R>(&mut wanted, seen);
        refuse_set_once::<R>(seen, &wanted)?;
        Ok(Self { fields: parse::<R>(&wanted)? })
    }

    /// The changes that the request would make to the state that the caller saw.
    ///
    /// A `null` for a member that the caller did not see is one of them: no form echoes it.
    pub(crate) fn attempted(&self, change: &Change, seen: &Value) -> Vec<Difference> {
        let mut attempted = merge::diff(&settable::<R>(seen), &json(&self.fields));
        if let Change::Patch(patch) = change {
            for (name, value) in patch {
                let seen = seen.get(name).unwrap_or(&Value::Null);
                add_removals(&pointer::member("", name), value, seen, &mut attempted);
            }
        }
        attempted
    }
}

/// Takes the settable fields out of a full replace and checks the read-only fields it repeats.
fn replacement<R: Resource>(
    fields: &Map<String, Value>,
    seen: &Value,
    compare: bool,
) -> Result<Value, Rejection> {
    let mut errors = Errors::default();
    let mut wanted = Map::new();
    for (key, value) in fields {
        if R::FIELDS.contains(&key.as_str()) {
            wanted.insert(key.clone(), value.clone());
        } else if !entity_keys(seen).contains_key(key) {
            errors.push(pointer::member("", key), "is not a field of this object");
        } else if compare && !is_echo(value, seen.get(key).unwrap_or(&Value::Null)) {
            errors
                .push(pointer::member("", key), "is read-only and differs from the named version");
        }
    }
    errors.into_result()?;
    Ok(Value::Object(wanted))
}

/// Adds the members that a patch removes although they were not there.
fn add_removals(path: &str, patch: &Value, seen: &Value, attempted: &mut Vec<Difference>) {
    let Value::Object(patch) = patch else { return };
    for (name, value) in patch {
        let path = pointer::member(path, name);
        match seen.get(name) {
            None if value.is_null() => {
                attempted.push(Difference { path, from: Value::Null, to: Value::Null });
            }
            seen => add_removals(&path, value, seen.unwrap_or(&Value::Null), attempted),
        }
    }
}

/// Drops the computed members of list items that a form echoed, so that they are computed anew.
///
/// If `compare` is set, those are kept that no item of the seen list has: they are refused as any
/// other value of a read-only field.
fn drop_echoes<R: Resource>(wanted: &mut Value, seen: &Value, compare: bool) {
    for (list, name) in R::COMPUTED {
        let seen = seen.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_echo = |value: &Value| seen.iter().any(|item| item.get(name) == Some(value));
        let items = wanted.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            if item.get(*name).is_some_and(|value| !compare || is_echo(value)) {
                item.shift_remove(*name);
            }
        }
    }
}

/// Copies the current value of each omitted field that must not change when it is omitted.
fn keep_absent<R: Resource>(wanted: &mut Value, seen: &Value) {
    let Value::Object(wanted) = wanted else { return };
    for key in R::KEPT_IF_ABSENT {
        if wanted.get(*key).is_none_or(Value::is_null) {
            wanted.insert((*key).to_owned(), seen.get(key).cloned().unwrap_or_default());
        }
    }
}

/// An entity as JSON. This cannot fail, because all map keys in entities are strings.
pub(crate) fn json(entity: &impl Serialize) -> Value {
    serde_json::to_value(entity).expect("entities are JSON objects")
}

/// The settable part of an entity.
pub(crate) fn settable<R: Resource>(entity: &Value) -> Value {
    R::FIELDS
        .iter()
        .map(|key| ((*key).to_owned(), entity.get(key).cloned().unwrap_or_default()))
        .collect::<Map<_, _>>()
        .into()
}

fn entity_keys(entity: &Value) -> &Map<String, Value> {
    entity.as_object().expect("entities are JSON objects")
}

/// Reads and checks the settable fields of an object.
pub(crate) fn parse<R: Resource>(fields: &Value) -> Result<R::Fields, Rejection> {
    parse_body::<R>(entity_keys(fields))
}

/// Reads and checks the settable fields in a request's body.
pub(crate) fn parse_body<R: Resource>(body: &Map<String, Value>) -> Result<R::Fields, Rejection> {
    let mut fields: R::Fields = read(body)?;
    let mut errors = Errors::default();
    R::check(&mut fields, &mut errors);
    errors.into_result()?;
    Ok(fields)
}

/// Requires a JSON object as body; serde alone would also accept a list of the fields' values.
pub(crate) fn object(body: &Value) -> Result<&Map<String, Value>, Rejection> {
    body.as_object().ok_or_else(|| Rejection::invalid("", "must be a JSON object"))
}

/// Refuses fields that a client may not set.
pub(crate) fn refuse_unsettable<'a, R: Resource>(
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
        errors.push(pointer::member("", key), message);
    }
    errors.into_result()
}

fn is_server_managed(key: &str) -> bool {
    matches!(key, "id" | "version" | "created_at" | "updated_at" | "updated_by")
}

/// Refuses `null` for fields that the server fills in.
fn refuse_null<R: Resource>(patch: &Map<String, Value>) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    for key in R::KEPT_IF_ABSENT {
        if patch.get(*key).is_some_and(Value::is_null) {
            errors.push(format!("/{key}"), "must not be null");
        }
    }
    errors.into_result()
}

fn refuse_set_once<R: Resource>(seen: &Value, wanted: &Value) -> Result<(), Rejection> {
    let mut errors = Errors::default();
    for key in R::SET_ONCE {
        let seen = seen.get(key).unwrap_or(&Value::Null);
        if wanted.get(key).is_some_and(|wanted| !is_echo(wanted, seen)) {
            errors.push(format!("/{key}"), "cannot be changed after creation");
        }
    }
    errors.into_result()
}

/// Whether a value equals the shown one, or is the same instant in another spelling.
fn is_echo(value: &Value, seen: &Value) -> bool {
    let instant = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    value == seen || instant(value).is_some_and(|at| instant(seen) == Some(at))
}
