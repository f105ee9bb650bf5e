//! The schemas of the OpenAPI document.
//!
//! They are those of the wire's types, made readable, and those derived from them: merge patches,
//! replacements and the conflict body.

use crate::{
    http::core::endpoint::{
        BodyForm, Endpoint,
        schema::{collect, id_pattern},
    },
    kinds::entity,
};
use actix_web::http::Method;
use ifmatch_domain::set_once;
use ifmatch_types::{Conflict, INTEGER_MAX, Kind, Problem};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

const REF_PREFIX: &str = "#/components/schemas/";

/// The schemas by name.
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// All schemas that these endpoints mention.
    pub fn of(endpoints: &[Endpoint]) -> Self {
        let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
        for endpoint in endpoints {
            found.extend(endpoint.docs.schemas.iter().cloned());
        }
        collect::<Problem>(&mut found);
        collect::<Conflict>(&mut found);

        let named = found.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
        let mut schemas = Self(named);
        schemas.inline_aliases();
        schemas.0.values_mut().for_each(plain_words);
        schemas.mark_merge_groups();
        schemas.mark_set_once();
        schemas.mark_ids();
        schemas.add_conflict_to_problem();
        for endpoint in endpoints {
            schemas.derive_body(endpoint);
        }
        schemas.bound_integers(endpoints);
        schemas
    }

    /// The name of the schema of an endpoint's body, if it has one.
    pub fn body_name(endpoint: &Endpoint) -> Option<String> {
        let body = endpoint.docs.body.as_ref()?;
        let stem = body.schema.strip_suffix("Fields").unwrap_or(&body.schema);
        Some(match body.form {
            BodyForm::MergePatch => format!("{stem}Patch"),
            BodyForm::Whole if is_replacement(endpoint) => format!("{stem}Replacement"),
            BodyForm::Whole => body.schema.clone(),
        })
    }

    /// The value of the document's `components.schemas`.
    pub fn into_value(self) -> Value {
        Value::Object(self.0.into_iter().collect())
    }

    /// Inlines aliases such as `Version` (`i64`) and `Metadata` (a map).
    ///
    /// The document would otherwise call them by the names of Rust's own types.
    fn inline_aliases(&mut self) {
        let is_alias =
            |name: &str| name == "BTreeMap" || name.starts_with(|c: char| c.is_ascii_lowercase());
        let aliases: BTreeMap<_, _> = self
            .0
            .iter()
            .filter(|(name, _)| is_alias(name))
            .map(|(n, s)| (n.clone(), s.clone()))
            .collect();
        self.0.retain(|name, _| !is_alias(name));
        for schema in self.0.values_mut() {
            each_object(schema, &mut |object| {
                let target = object.get("$ref").and_then(Value::as_str);
                let name = target.and_then(|target| target.strip_prefix(REF_PREFIX));
                if let Some(Value::Object(alias)) = name.and_then(|name| aliases.get(name)) {
                    object.remove("$ref");
                    for (key, value) in alias {
                        object.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
            });
        }
    }

    /// Marks every field that belongs to a merge group with its group.
    fn mark_merge_groups(&mut self) {
        for kind in Kind::ALL {
            let name = entity(kind).0;
            let Some(schema) = self.0.get_mut(&*name) else { continue };
            for group in kind.merge_groups() {
                for path in *group {
                    let field = schema.pointer_mut(&format!("/properties{path}"));
                    if let Some(Value::Object(field)) = field {
                        field.insert("x-merge-group".to_owned(), json!(group));
                    }
                }
            }
        }
    }

    /// Marks every field that can be set only by a create.
    fn mark_set_once(&mut self) {
        for kind in Kind::ALL {
            let entity = entity(kind).0;
            for schema in [format!("{entity}Fields"), entity.into_owned()] {
                let Some(schema) = self.0.get_mut(&schema) else { continue };
                for name in set_once(kind) {
                    let field = schema.pointer_mut(&format!("/properties/{name}"));
                    if let Some(Value::Object(field)) = field {
                        field.insert("x-set-once".to_owned(), json!(true));
                    }
                }
            }
        }
    }

    /// Adds the members of a version conflict to the one schema of problems, as optional ones.
    ///
    /// With a schema of its own for conflicts, a generated client could not tell which of the two a 409
    /// is: it has other codes as well.
    fn add_conflict_to_problem(&mut self) {
        let members = self.0.remove(&*Conflict::name()).unwrap_or_default();
        let Some(Value::Object(members)) = members.get("properties").cloned() else { return };
        let problem = self.0.get_mut(&*Problem::name());
        let problem = problem.and_then(|problem| problem.pointer_mut("/properties"));
        let Some(Value::Object(problem)) = problem else { return };
        for (name, mut member) in members {
            if let Value::Object(member) = &mut member {
                let text = member.get("description").and_then(Value::as_str).unwrap_or_default();
                let text = format!("{text} With `CONFLICT_VERSION_MISMATCH` only.");
                member.insert("description".to_owned(), json!(text.trim_start()));
            }
            problem.entry(name).or_insert(member);
        }
    }

    /// Adds the pattern of each kind's ids.
    fn mark_ids(&mut self) {
        for kind in Kind::ALL {
            let id = self.0.get_mut(&format!("{}Id", entity(kind).0));
            if let Some(Value::Object(id)) = id {
                id.insert("pattern".to_owned(), json!(id_pattern(kind)));
            }
        }
    }

    /// Adds the bounds of the integers that requests set, where a schema has no narrower ones.
    fn bound_integers(&mut self, endpoints: &[Endpoint]) {
        let mut open: Vec<String> = endpoints.iter().filter_map(Self::body_name).collect();
        let mut done = BTreeSet::new();
        while let Some(name) = open.pop() {
            let Some(schema) = self.0.get_mut(&name) else { continue };
            if !done.insert(name) {
                continue;
            }
            each_object(schema, &mut |object| {
                let target = object.get("$ref").and_then(Value::as_str);
                open.extend(target.and_then(|t| t.strip_prefix(REF_PREFIX)).map(str::to_owned));
                if object.get("type").is_some_and(is_integer) {
                    object.entry("minimum").or_insert(json!(-INTEGER_MAX));
                    object.entry("maximum").or_insert(json!(INTEGER_MAX));
                }
            });
        }
    }

    /// Adds the schema of an endpoint's body if it differs from the wire's type.
    fn derive_body(&mut self, endpoint: &Endpoint) {
        let (Some(body), Some(name)) = (&endpoint.docs.body, Self::body_name(endpoint)) else {
            return;
        };
        if name == body.schema || self.0.contains_key(&name) {
            return;
        }
        let Some(Value::Object(mut schema)) = self.0.get(&body.schema).cloned() else { return };
        match body.form {
            BodyForm::MergePatch => make_patch(&mut schema),
            // A body may repeat the fields that the server manages.
            BodyForm::Whole => {
                schema.remove("additionalProperties");
            }
        }
        if let (true, Some(Value::Object(fields))) =
            (endpoint.docs.versioned || endpoint.docs.previews, schema.get_mut("properties"))
        {
            fields.insert("version".to_owned(), named_version());
        }
        self.0.insert(name, Value::Object(schema));
    }
}

/// Whether a schema's `type` is that of an integer, perhaps with `null`.
fn is_integer(schema_type: &Value) -> bool {
    let integer = json!("integer");
    *schema_type == integer || schema_type.as_array().is_some_and(|types| types.contains(&integer))
}

/// Whether a body replaces a whole object, including its version.
fn is_replacement(endpoint: &Endpoint) -> bool {
    endpoint.docs.versioned && endpoint.method == Method::PUT
}

/// Makes the schema of a merge patch.
///
/// Nothing is required, and nothing has a default. `null` asks for the default of a field that has
/// one. (A required field has none.)
fn make_patch(schema: &mut Map<String, Value>) {
    let required = schema.remove("required").unwrap_or_default();
    let required: Vec<&str> =
        required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for (name, field) in fields {
        if let Some(values) = field.get_mut("additionalProperties") {
            make_nullable(values);
        }
        if !required.contains(&name.as_str()) {
            make_nullable(field);
        }
        if let Value::Object(field) = field {
            field.remove("default");
        }
    }
}

fn make_nullable(schema: &mut Value) {
    let null_type = json!({"type": "null"});
    let Value::Object(object) = schema else { return };
    match object.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
        Some(Value::String(one)) => {
            let both = json!([one, "null"]);
            object.insert("type".to_owned(), both);
        }
        _ => {}
    }
    if let Some(Value::Array(options)) = object.get_mut("oneOf")
        && !options.contains(&null_type)
    {
        options.push(null_type.clone());
    }
    if object.contains_key("$ref") {
        *schema = json!({"oneOf": [schema, null_type]});
    }
}

fn named_version() -> Value {
    json!({
        "type": "integer", "format": "int64", "minimum": 1,
        "description": "The version this was computed from, unless `If-Match` names it."
    })
}

/// Replaces the links of Rust's documentation by plain text.
fn plain_words(schema: &mut Value) {
    each_object(schema, &mut |object| {
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = without_links(text);
        }
    });
}

/// `` [`Plan`](crate::Plan) `` and `` [`Plan`] `` become `` `Plan` ``.
fn without_links(text: &str) -> String {
    let mut parts = text.split("[`");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once("`]").unwrap_or((part, ""));
        let target_end = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        plain.extend(["`", name, "`", target_end.map_or(after, |(_, after)| after)]);
    }
    plain
}

/// Names the schemas of requests `…Input` instead of `New…`, wherever they are referred to.
///
/// A generator for Go makes a function `NewPlan` that constructs a `Plan`. A schema of that name would
/// be declared twice.
pub fn rename_inputs(document: &mut Value) {
    let name = |name: &str| name.strip_prefix("New").map(|stem| format!("{stem}Input"));
    each_object(document, &mut |object| {
        if let Some(Value::String(target)) = object.get_mut("$ref")
            && let Some(renamed) = target.strip_prefix(REF_PREFIX).and_then(name)
        {
            *target = format!("{REF_PREFIX}{renamed}");
        }
    });
    let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") else { return };
    let renamed = std::mem::take(schemas).into_iter();
    let mut renamed: Vec<_> =
        renamed.map(|(old, schema)| (name(&old).unwrap_or(old), schema)).collect();
    renamed.sort_by(|one, other| one.0.cmp(&other.0));
    schemas.extend(renamed);
}

/// Removes the components that nothing refers to.
pub fn remove_unused(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        each_object(document, &mut |object| {
            used.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
        });
        let mut removed = 0;
        for section in ["schemas", "parameters", "headers"] {
            let path = format!("/components/{section}");
            let Some(Value::Object(all)) = document.pointer_mut(&path) else { continue };
            let before = all.len();
            all.retain(|name, _| used.contains(&format!("#{path}/{name}")));
            removed += before - all.len();
        }
        if removed == 0 {
            return;
        }
    }
}

fn each_object(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values_mut().for_each(|value| each_object(value, visit));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| each_object(value, visit)),
        _ => {}
    }
}
