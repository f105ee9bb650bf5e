//! Requests use the document's enumerations and refuse any other value.

use crate::{
    harness::{Api, Server, both_databases, id, version},
    surface::make,
};
use serde_json::{Value, json};

/// A value that is in no enumeration.
const UNHEARD_OF: &str = "unheard_of";

both_databases![no_request_takes_a_value_that_the_document_does_not_list];

/// An enumeration in a request's body: its JSON Pointer and its values.
struct Enumeration {
    pointer: String,
    values: Vec<String>,
}

/// Collects the enumerations of a schema. Index 0 stands for every item of a list.
fn enumerations(document: &Value, schema: &Value, pointer: &str, found: &mut Vec<Enumeration>) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#')).expect("a schema");
        return enumerations(document, target, pointer, found);
    }
    if let Some(values) = schema["enum"].as_array() {
        let texts = values.iter().filter_map(|value| value.as_str().map(str::to_owned));
        found.push(Enumeration { pointer: pointer.to_owned(), values: texts.collect() });
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        for schema in schema[choice].as_array().into_iter().flatten() {
            enumerations(document, schema, pointer, found);
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        enumerations(document, schema, &format!("{pointer}/{name}"), found);
    }
    if schema["items"].is_object() {
        enumerations(document, &schema["items"], &format!("{pointer}/0"), found);
    }
}

/// Sets a value at a JSON Pointer and creates the path to it.
fn put(target: &mut Value, pointer: &str, value: &str) {
    let mut at = target;
    for key in pointer.split('/').skip(1) {
        if key == "0" {
            if !at.is_array() {
                *at = json!([{}]);
            }
            at = &mut at[0];
        } else {
            at = &mut at[key];
        }
    }
    *at = json!(value);
}

/// A real address for a documented path, and the version of its object.
async fn address(api: &Api, path: &str, method: &str) -> (String, i64) {
    let plain: Vec<_> =
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
    let plain = plain.join("/");
    if let Some(object) = plain.strip_suffix("/preview") {
        let (address, version) = Box::pin(address(api, object, "patch")).await;
        return (format!("{address}/preview"), version);
    }
    let collection = plain.trim_start_matches("/v1/");
    match collection.strip_suffix("/{}") {
        Some(collection) if method != "post" => {
            let (object, _) = make(api, collection).await;
            let collection = match object["scope"].as_str() {
                Some(scope) => format!("{scope}/packages"),
                None => collection.to_owned(),
            };
            (format!("/v1/{collection}/{}", id(&object)), version(&object))
        }
        _ => match collection.split_once("/{}/") {
            Some((parents, below)) => {
                let (parent, _) = make(api, parents).await;
                (format!("/v1/{parents}/{}/{below}", id(&parent)), 0)
            }
            None => (plain, 0),
        },
    }
}

async fn no_request_takes_a_value_that_the_document_does_not_list(server: Server) {
    let api = server.api();
    let document = api.without_key().get("/openapi.json").await.ok(200);
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().expect("it lists paths") {
        for method in ["post", "put", "patch"] {
            let schema = &item[method]["requestBody"]["content"]["application/json"]["schema"];
            let mut found = Vec::new();
            enumerations(&document, schema, "", &mut found);
            for Enumeration { pointer, values } in found {
                let (address, version) = address(&api, path, method).await;
                let mut body = json!({});
                if path == "/v1/transactions" {
                    body = json!({"operations": [{"op": "check", "type": "plan"}]});
                }
                put(&mut body, &pointer, UNHEARD_OF);
                let call = api
                    .call(&method.to_uppercase(), &address)
                    .body("application/json", body.to_string());
                let call = if method == "post" { call } else { call.if_match(version) };
                let refused = call.await.invalid(&pointer);
                let errors = refused["errors"].as_array().expect("errors is a list");
                let error = errors.iter().find(|error| error["path"] == pointer.as_str()).unwrap();
                let message = error["message"].as_str().unwrap();
                let listed = format!("unknown variant `{UNHEARD_OF}`, expected ");
                assert!(message.starts_with(&listed), "{method} {path}{pointer}: {message}");
                for value in values {
                    assert!(message.contains(&format!("`{value}`")), "{path}: {message}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 40, "requests have that many enumerations: {checked}");
}
