//! The documents that the server serves: OpenAPI, the pages, the metrics.

use crate::harness::{Server, both_databases, id};
use serde_json::{Value, json};

both_databases![
    the_document_is_openapi_3_1_and_names_the_merge_groups,
    the_documentation_and_the_console_work_offline,
    a_file_that_a_page_does_not_have_is_not_found,
    metrics_are_prometheus_text,
];

async fn the_document_is_openapi_3_1_and_names_the_merge_groups(server: Server) {
    let document = server.api().without_key().get("/openapi.json").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let text = document.to_string();
    assert!(text.contains("x-merge-group"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for schema in ["Subscription", "Plan", "Workspace", "Namespace", "Invoice", "Problem"] {
        assert!(schemas.contains_key(schema), "{schema} has no schema");
    }
    let how_many = json!(["bookable_id", "start_date", "end_date", "quantity"]);
    for schema in ["BookingInput", "BookingReplacement"] {
        assert_eq!(schemas[schema]["required"], how_many, "{schema}");
    }
    let grouped = schemas["Subscription"].to_string();
    assert!(grouped.contains("x-merge-group"), "{grouped}");
    for reference in references(&document) {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member {
                Value::String(target) if name == "$ref" => vec![target.clone()],
                other => references(other),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Every address that a page loads, as far as its own text shows.
fn loaded_addresses(page: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for tag in ["<script", "<link", "<img", "<iframe"] {
        for rest in page.split(tag).skip(1) {
            let attributes = &rest[..rest.find('>').unwrap_or(rest.len())];
            for attribute in ["src=", "href="] {
                if let Some((_, value)) = attributes.split_once(attribute) {
                    let value = value.trim_start_matches(['"', '\'']);
                    let end = value.find(['"', '\'', ' ']).unwrap_or(value.len());
                    addresses.push(value[..end].to_owned());
                }
            }
        }
    }
    for rest in page.split("@import").skip(1) {
        addresses.push(rest.trim_start_matches([' ', '"', '\'', '(', 'u', 'r', 'l']).to_owned());
    }
    addresses
}

async fn assert_offline(server: &Server, path: &str) {
    let api = server.api().without_key();
    let mut page = api.get(path).await;
    if (300..400).contains(&page.status) {
        let location = page.header("Location").expect("a redirect says where to").to_owned();
        page = api.get(&location).await;
    }
    let page = page.is(200);
    assert!(page.header("Content-Type").unwrap().starts_with("text/html"));
    for address in loaded_addresses(&page.text) {
        let outside = address.starts_with("http:")
            || address.starts_with("https:")
            || address.starts_with("//");
        assert!(!outside, "{path} loads {address}");
        if !address.starts_with("data:") {
            let asset = api.get(&format!("/{}", address.trim_start_matches('/'))).await;
            assert_eq!(asset.status, 200, "{path} loads {address}");
        }
    }
}

async fn the_documentation_and_the_console_work_offline(server: Server) {
    assert_offline(&server, "/docs").await;
    assert_offline(&server, "/console").await;
}

async fn a_file_that_a_page_does_not_have_is_not_found(server: Server) {
    let api = server.api().without_key();
    for (path, script) in [("/docs", "init.js"), ("/console", "main.js")] {
        let page = api.get(path).await.is(200);
        let addresses = loaded_addresses(&page.text);
        let address = addresses.iter().find(|address| address.ends_with(script)).unwrap();
        let file = api.get(&format!("/{address}")).await.is(200);
        assert_eq!(file.header("Content-Type"), Some("text/javascript; charset=utf-8"));
        for path in [&format!("/{address}"), path] {
            assert_eq!(api.call("HEAD", path).await.is(200).text, "");
        }
        let directory = address.rsplit_once('/').unwrap().0;
        api.get(&format!("/{directory}/nothing.js")).await.problem(404, "NOT_FOUND");
        // A file of another version would be cached forever under the wrong address.
        api.get(&format!("{path}/00000000/{script}")).await.problem(404, "NOT_FOUND");
    }
}

async fn metrics_are_prometheus_text(server: Server) {
    let api = server.api();
    let (agent, key) = api.make_named_key("agent").await;
    let workspace = agent.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    agent.patch(&path, &json!({"name": "x"})).if_match(1).await.ok(200);
    agent.patch(&path, &json!({"name": "y"})).if_match(1).await.conflict(412);
    let answer = api.without_key().get("/metrics").await.is(200);
    assert!(answer.header("Content-Type").unwrap().starts_with("text/plain"));
    for line in answer.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        let number = value.parse::<f64>().is_ok() || ["NaN", "+Inf", "-Inf"].contains(&value);
        assert!(number, "no Prometheus line: {line}");
    }
    let counts_conflicts =
        |line: &str| line.contains("conflict") && !line.starts_with('#') && !line.ends_with(" 0");
    assert!(answer.text.lines().any(counts_conflicts), "conflicts are counted: {}", answer.text);
    for secret in [id(&workspace), key["name"].as_str().unwrap()] {
        assert!(!answer.text.contains(secret), "ids and names are no labels: {secret}");
    }
}
