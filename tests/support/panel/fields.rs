//! The fields of a create: what each panel demands, and what it drops in silence.

use super::{
    Kind,
    answers::Violation,
    rows::{INSTALLING, Remote},
};
use serde_json::{Map, Value, json};

/// Whether a field may be missing.
#[derive(Clone, Copy)]
enum Need {
    /// It must be there and not be empty.
    Required,
    /// It must be there.
    Present,
    /// It may be missing.
    Optional,
}
use Need::{Optional, Present, Required};

/// What a field may hold.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    /// A whole number from 0.
    Count,
    /// A whole number from 1, the id of something that exists.
    Id,
    /// A number within these bounds.
    Number(f64, f64),
    Flag,
    /// PHP knows one array for both lists and objects.
    Array,
    Anything,
}
use Shape::{Anything, Array, Count, Flag, Id, Number, Text};

/// A field's path, with one dot at most, and its rules.
type Field = (&'static str, Need, Shape);

/// The longest text: the length of a column.
const TEXT_MAX: usize = 191;
/// The texts that are not in such a column.
const LONG_TEXTS: [&str; 3] = ["description", "startup", "docker_image"];

const BOTH: [Field; 22] = [
    ("external_id", Optional, Text),
    ("name", Required, Text),
    ("description", Optional, Text),
    ("user", Required, Id),
    ("egg", Required, Id),
    ("environment", Present, Array),
    ("skip_scripts", Optional, Flag),
    ("start_on_completion", Optional, Flag),
    ("limits", Required, Array),
    ("limits.memory", Required, Number(0.0, f64::MAX)),
    ("limits.swap", Required, Number(-1.0, f64::MAX)),
    ("limits.disk", Required, Number(0.0, f64::MAX)),
    ("limits.cpu", Required, Number(0.0, f64::MAX)),
    ("limits.threads", Optional, Anything),
    ("feature_limits", Required, Array),
    ("feature_limits.databases", Present, Count),
    ("feature_limits.allocations", Optional, Count),
    ("feature_limits.backups", Present, Count),
    ("allocation", Optional, Array),
    ("allocation.additional", Optional, Array),
    ("deploy.dedicated_ip", Required, Flag),
    ("deploy.port_range", Present, Array),
];

const PTERODACTYL: [Field; 5] = [
    ("docker_image", Required, Text),
    ("startup", Required, Text),
    ("oom_disabled", Optional, Flag),
    ("limits.io", Required, Number(10.0, 1000.0)),
    ("deploy.locations", Present, Array),
];

const PELICAN: [Field; 6] = [
    ("docker_image", Optional, Text),
    ("docker_labels", Optional, Array),
    ("startup", Optional, Text),
    ("oom_killer", Optional, Flag),
    ("limits.io", Required, Number(0.0, 1000.0)),
    ("deploy.tags", Present, Array),
];

/// The rules of a create of this body. `deploy` and `allocation.default` exclude each other.
fn rules(kind: Kind, body: &Value) -> Vec<Field> {
    let own: &[Field] = match kind {
        Kind::Pterodactyl => &PTERODACTYL,
        Kind::Pelican => &PELICAN,
    };
    let mut rules = BOTH.to_vec();
    rules.extend(own);
    if body.get("deploy").is_some() {
        rules.extend([("deploy", Required, Array), ("allocation.default", Optional, Anything)]);
    } else {
        rules.retain(|(path, ..)| !path.starts_with("deploy."));
        rules.push(("allocation.default", Required, Id));
    }
    rules
}

/// The names in a body that the panel drops in silence.
pub fn dropped(kind: Kind, body: &Value) -> Vec<String> {
    let rules = rules(kind, body);
    let is_known = |path: &str| rules.iter().any(|(known, ..)| *known == path);
    let mut dropped = Vec::new();
    for (name, value) in members(body) {
        if !is_known(name) {
            dropped.push(name.clone());
        } else if name != "environment" && name != "docker_labels" {
            let children = members(value).map(|(child, _)| format!("{name}.{child}"));
            dropped.extend(children.filter(|path| !is_known(path)));
        }
    }
    dropped
}

/// The server that a body asks for, or every rule that it breaks.
pub fn check(kind: Kind, body: &Value) -> Result<Remote, Vec<Violation>> {
    let broken: Vec<Violation> = rules(kind, body)
        .into_iter()
        .filter_map(|(path, need, shape)| {
            let rule = broken_rule(path, at(body, path), need, shape)?;
            let words = path.replace(['_', '.'], " ");
            let detail = match rule {
                "required" => format!("The {words} field is required."),
                "present" => format!("The {words} field must be present."),
                rule => format!("The {words} breaks the rule {rule}."),
            };
            Some(Violation { field: path.to_owned(), rule, detail })
        })
        .collect();
    if broken.is_empty() { Ok(draft(kind, body)) } else { Err(broken) }
}

/// The first rule that a field breaks.
fn broken_rule(
    path: &str,
    value: Option<&Value>,
    need: Need,
    shape: Shape,
) -> Option<&'static str> {
    let is_empty = match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(_) => false,
    };
    match need {
        Required if is_empty => return Some("required"),
        Present if value.is_none() => return Some("present"),
        _ => {}
    }
    // The panel turns an empty text into `null`, which every other field may be.
    let value = value.filter(|_| !is_empty)?;
    match shape {
        Text => match value.as_str() {
            None => Some("string"),
            Some(text) if text.chars().count() > TEXT_MAX && !LONG_TEXTS.contains(&path) => {
                Some("max")
            }
            Some(_) => None,
        },
        Count | Id => match value.as_i64() {
            None => Some("integer"),
            Some(number) if number < 0 => Some("min"),
            Some(0) if matches!(shape, Id) => Some("exists"),
            Some(_) => None,
        },
        Number(least, most) => match value.as_f64() {
            None => Some("numeric"),
            Some(number) if number < least || number > most => {
                Some(if most < f64::MAX { "between" } else { "min" })
            }
            Some(_) => None,
        },
        Flag if !value.is_boolean() => Some("boolean"),
        Array if !value.is_array() && !value.is_object() => Some("array"),
        Flag | Array | Anything => None,
    }
}

/// The row of a valid body, without the fields that the panel drops.
fn draft(kind: Kind, body: &Value) -> Remote {
    let rules = rules(kind, body);
    let part = |name: &str| {
        let known = members(body.get(name).unwrap_or(&Value::Null))
            .filter(|(child, _)| {
                rules.iter().any(|(path, ..)| *path == format!("{name}.{child}").as_str())
            })
            .map(|(child, value)| (child.clone(), value.clone()));
        Value::Object(known.collect())
    };
    let text = |name| at(body, name).and_then(Value::as_str).map(str::to_owned);
    let number = |name| at(body, name).and_then(Value::as_i64).unwrap_or_default();
    let environment = members(body.get("environment").unwrap_or(&Value::Null));
    let environment: Map<_, _> = environment.map(|(k, v)| (k.clone(), v.clone())).collect();
    Remote {
        id: 0,
        uuid: String::new(),
        external_id: text("external_id").filter(|id| !id.is_empty()),
        name: text("name").unwrap_or_default(),
        user: number("user"),
        egg: number("egg"),
        limits: part("limits"),
        feature_limits: part("feature_limits"),
        image: text("docker_image").unwrap_or_default(),
        startup: text("startup").unwrap_or_default(),
        environment: json!(environment),
        deploy: part("deploy"),
        status: Some(INSTALLING.to_owned()),
    }
}

/// The value at a path with one dot at most.
fn at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, name| value.get(name))
}

/// The members of an object, or none.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
