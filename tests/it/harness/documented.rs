//! Compares every answer that a scenario awaits with the OpenAPI document.

use super::{Answer, binary};
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

/// The address under which the schema compiler finds the document.
const PLACE: &str = "http://localhost/openapi.json";
/// Headers of HTTP itself or for browsers. The document must list all others.
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

/// Where a proxy of the tests has the server. It is not part of the documented paths.
const PROXY_PREFIX: &str = "/api";

/// What the document says about one method of one path.
struct Operation {
    method: String,
    /// The path's segments; parameters as `{name}`.
    segments: Vec<String>,
    answers: BTreeMap<u16, Documented>,
    /// Whether it requires an Idempotency-Key, always or for some bodies.
    needs_key: bool,
}

/// What the document says about one status.
struct Documented {
    /// The description. It names the codes of refusals.
    description: String,
    headers: BTreeSet<String>,
    /// Index into the shapes, by content type.
    contents: BTreeMap<String, usize>,
}

struct Document {
    operations: Vec<Operation>,
    schemas: Schemas,
    shapes: Vec<SchemaIndex>,
}

/// Compares an answer with the document.
///
/// # Panics
///
/// If the answer is not documented, or documented differently.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let proxied = path.strip_prefix(PROXY_PREFIX);
    let mut found = document().compare(method, proxied.unwrap_or(path), answer);
    if proxied.is_some() {
        // Proxies add headers of their own.
        found.retain(|difference| !difference.starts_with("no header "));
    }
    assert!(found.is_empty(), "{method} {path} is documented otherwise: {found:#?}\n{answer:?}");
}

/// Whether the document requires an Idempotency-Key for this request.
pub fn needs_key(method: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    method == "POST"
        && document().operation(method, path).is_some_and(|operation| operation.needs_key)
}

impl Document {
    /// The differences between an answer and the document.
    fn compare(&self, method: &str, path: &str, answer: &Answer) -> Vec<String> {
        let status = answer.status;
        let Some(operation) = self.operation(method, path) else {
            let is_refused = matches!(status, 400 | 404 | 405 | 429);
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
            Some(shape) if content_type.ends_with("json") => {
                let result = self.schemas.validate(&answer.body, self.shapes[*shape]);
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
        // The path with the fewest parameters wins: `usage/batch` is not `usage/{record_id}`.
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
    let mut shapes = Shapes::default();
    let mut operations = Vec::new();
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            let answers = members(&operation["responses"]);
            let answers = answers.map(|(status, answer)| {
                (status.parse().expect("a status"), documented(answer, &mut shapes))
            });
            let answers: BTreeMap<u16, Documented> = answers.collect();
            let segments = path.split('/').map(str::to_owned).collect();
            let needs_key = answers
                .get(&400)
                .is_some_and(|refused| refused.description.contains("`IDEMPOTENCY_KEY_REQUIRED`"));
            operations.push(Operation { method: method.clone(), segments, answers, needs_key });
        }
    }
    let (schemas, shapes) = compile(document, shapes);
    Document { operations, schemas, shapes }
}

/// The distinct schemas of answers. Many routes share a few.
#[derive(Default)]
struct Shapes(Vec<Value>);

impl Shapes {
    fn place_of(&mut self, schema: &Value) -> usize {
        let mut schema = schema.clone();
        forbid_more(&mut schema, false);
        let known = self.0.iter().position(|shape| *shape == schema);
        known.unwrap_or_else(|| {
            self.0.push(schema);
            self.0.len() - 1
        })
    }
}

fn documented(answer: &Value, shapes: &mut Shapes) -> Documented {
    let anything = Value::Bool(true);
    let contents = members(&answer["content"]).map(|(content_type, content)| {
        (content_type.clone(), shapes.place_of(content.get("schema").unwrap_or(&anything)))
    });
    Documented {
        contents: contents.collect(),
        description: answer["description"].as_str().unwrap_or_default().to_owned(),
        headers: members(&answer["headers"]).map(|(name, _)| name.to_lowercase()).collect(),
    }
}

/// Compiles the schemas of answers and all named schemas of the document.
fn compile(mut document: Value, shapes: Shapes) -> (Schemas, Vec<SchemaIndex>) {
    let count = shapes.0.len();
    let named = members(&document["components"]["schemas"]);
    let named = named.map(|(name, _)| format!("components/schemas/{name}")).collect::<Vec<_>>();
    document["x-shapes"] = Value::Array(shapes.0);
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource(PLACE, document).expect("the document can be read");
    let mut schemas = Schemas::new();
    let mut compiled = |place: String| {
        let compiled = compiler.compile(&format!("{PLACE}#/{place}"), &mut schemas);
        compiled.unwrap_or_else(|error| panic!("{place} is no schema: {error:#}"))
    };
    named.into_iter().map(&mut compiled).for_each(drop);
    let shapes = (0..count).map(|n| compiled(format!("x-shapes/{n}"))).collect();
    (schemas, shapes)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The schemas used in an `allOf`. They must allow members beside their own.
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

/// Forbids members that a schema does not name, unless it sets `additionalProperties`.
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
