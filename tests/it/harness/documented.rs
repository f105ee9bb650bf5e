//! The OpenAPI document is a promise: every answer that a scenario awaits is compared with it.

use super::{Answer, binary};
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

/// Where the compiler finds the document.
const PLACE: &str = "http://localhost/openapi.json";
/// Headers that HTTP itself has, or a browser asks for; the document tells of all others.
const USUAL: [&str; 16] = [
    "access-control-allow-origin",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "date",
    "link",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
];

/// What the document says of one method of one path.
struct Operation {
    method: String,
    /// With `{names}`.
    segments: Vec<String>,
    answers: BTreeMap<u16, Documented>,
}

/// What it says of one status.
struct Documented {
    /// Names the codes of refusals.
    description: String,
    headers: BTreeSet<String>,
    /// Schemas by content type.
    contents: BTreeMap<String, SchemaIndex>,
}

struct Document {
    operations: Vec<Operation>,
    schemas: Schemas,
}

/// Compares an answer with the document.
///
/// # Panics
///
/// If the document tells otherwise, or nothing.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let found = document().compare(method, path, answer);
    assert!(found.is_empty(), "{method} {path} is documented otherwise: {found:#?}\n{answer:?}");
}

impl Document {
    /// What is not as the document says.
    fn compare(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let status = answer.status;
        let Some(operation) = self.operation(method, path) else {
            let is_refused = matches!(status, 400 | 404 | 405);
            return if is_refused { Vec::new() } else { vec!["there is no such path".to_owned()] };
        };
        let Some(said) = operation.answers.get(&status) else {
            return vec![format!("no {status}")];
        };
        let names = answer.headers.keys().map(reqwest::header::HeaderName::as_str);
        let mut found: Vec<String> = names
            .filter(|name| !USUAL.contains(name) && !said.headers.contains(*name))
            .map(|name| format!("no header {name}"))
            .collect();
        if answer.text.is_empty() {
            return found;
        }
        let content_type = answer.header("Content-Type").unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default();
        match said.contents.get(content_type) {
            None => found.push(format!("no {content_type}")),
            Some(schema) if content_type.ends_with("json") => {
                let result = self.schemas.validate(&answer.body, *schema);
                found.extend(result.err().map(|error| format!("{error:#}")));
            }
            Some(_) => {}
        }
        let code = answer.body["code"].as_str().filter(|_| status >= 400);
        let untold = code.filter(|code| !said.description.contains(&format!("`{code}`")));
        found.extend(untold.map(|code| format!("no {code}")));
        found
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let method = if method == "HEAD" { "get" } else { &method.to_lowercase() };
        let segments: Vec<&str> = path.split('/').collect();
        let is_there = |operation: &&Operation| {
            operation.segments.len() == segments.len()
                && operation.segments.iter().zip(&segments).all(|(known, asked)| {
                    (known.starts_with('{') && !asked.is_empty()) || known == asked
                })
        };
        // The most literal path has it: `usage/batch` is no `usage/{record_id}`.
        let named = |operation: &Operation| {
            operation.segments.iter().filter(|s| s.starts_with('{')).count()
        };
        let there: Vec<&Operation> = self.operations.iter().filter(is_there).collect();
        let fewest = there.iter().map(|operation| named(operation)).min()?;
        there.into_iter().find(|operation| operation.method == method && named(operation) == fewest)
    }
}

fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let printed = Command::new(binary()).arg("openapi").output().expect("it can be started");
        read(serde_json::from_slice(&printed.stdout).expect("the document is JSON"))
    })
}

fn read(mut document: Value) -> Document {
    let parts: BTreeSet<String> = parts(&document).into_iter().collect();
    let schemas = document["components"]["schemas"].as_object_mut().expect("it has schemas");
    for (name, schema) in schemas {
        forbid_more(schema, parts.contains(&format!("#/components/schemas/{name}")));
    }
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let mut schemas = Schemas::new();
    // Each schema of an answer once: there are many routes, and few things to answer.
    let paths = document["paths"].as_object().expect("it has paths").clone();
    let mut operations = Vec::new();
    let mut pending = Vec::new();
    for (path, methods) in &paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(answers) = operation["responses"].as_object() else { continue };
            let segments = path.split('/').map(str::to_owned).collect();
            operations.push(Operation {
                method: method.clone(),
                segments,
                answers: BTreeMap::new(),
            });
            pending.push(answers);
        }
    }
    let mut shapes: Vec<Value> = Vec::new();
    let mut place_of = |schema: &Value| {
        let mut schema = schema.clone();
        forbid_more(&mut schema, false);
        let known = shapes.iter().position(|shape| *shape == schema);
        known.unwrap_or_else(|| {
            shapes.push(schema);
            shapes.len() - 1
        })
    };
    let mut places = Vec::new();
    for answers in &pending {
        for answer in answers.values() {
            for (_, content) in members(&answer["content"]) {
                places.push(place_of(content.get("schema").unwrap_or(&Value::Bool(true))));
            }
        }
    }
    document["x-shapes"] = Value::Array(shapes);
    let names: Vec<String> =
        members(&document["components"]["schemas"]).map(|(n, _)| n.clone()).collect();
    compiler.add_resource(PLACE, document).expect("the document can be read");
    for name in names {
        let compiled =
            compiler.compile(&format!("{PLACE}#/components/schemas/{name}"), &mut schemas);
        compiled.unwrap_or_else(|error| panic!("{name} is no schema: {error:#}"));
    }
    let mut places = places.into_iter();
    for (operation, answers) in operations.iter_mut().zip(pending) {
        for (status, answer) in answers {
            let headers =
                members(&answer["headers"]).map(|(name, _)| name.to_lowercase()).collect();
            let contents = members(&answer["content"]).map(|(content_type, _)| {
                let place = places.next().expect("as many as before");
                let shape = compiler.compile(&format!("{PLACE}#/x-shapes/{place}"), &mut schemas);
                (content_type.clone(), shape.expect("a schema"))
            });
            let contents = contents.collect();
            let description = answer["description"].as_str().unwrap_or_default().to_owned();
            let status = status.parse().expect("a status");
            operation.answers.insert(status, Documented { description, headers, contents });
        }
    }
    Document { operations, schemas }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The schemas that others are put together from: there may be more beside their members.
fn parts(value: &Value) -> Vec<String> {
    match value {
        Value::Object(all) => all
            .iter()
            .flat_map(|(name, value)| {
                let own = value.as_array().filter(|_| name == "allOf").into_iter().flatten();
                let own = own.filter_map(|part| part["$ref"].as_str().map(str::to_owned));
                own.chain(parts(value)).collect::<Vec<_>>()
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(parts).collect(),
        _ => Vec::new(),
    }
}

/// Members that a schema does not name are a mistake, unless it says that there may be more.
fn forbid_more(schema: &mut Value, is_part: bool) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(members)) => {
                members.values_mut().for_each(|member| forbid_more(member, false));
            }
            ("items", item) => forbid_more(item, false),
            ("oneOf" | "anyOf", Value::Array(choices)) => {
                choices.iter_mut().for_each(|choice| forbid_more(choice, is_part));
            }
            ("allOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(|part| forbid_more(part, true));
            }
            _ => {}
        }
    }
    let is_object = keywords.contains_key("properties") || keywords.contains_key("allOf");
    if is_object && !is_part && !keywords.contains_key("additionalProperties") {
        keywords.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}
