use super::{path::parameter_name, *};
use crate::{
    http::core::endpoint::{delete, get, group, patch, post, put, schema},
    kinds::entity,
};
use ifmatch_types::{
    Deleted, Event, Kind, NewPayment, Payment, Plan, PlanFields, Subscription, SubscriptionFields,
};
use serde_json::json;

async fn handler() -> &'static str {
    ""
}

fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(match code {
        Code::Unauthenticated => 401,
        Code::Forbidden | Code::ForceForbidden => 403,
        Code::NotFound => 404,
        Code::ConflictVersionMismatch | Code::PlanInUse => 409,
        Code::Deleted => 410,
        Code::ValidationFailed => 422,
        Code::PreconditionRequired => 428,
        Code::RateLimited => 429,
        Code::Internal => 500,
        Code::TryAgain => 503,
        _ => 400,
    })
    .unwrap()
}

fn table() -> Vec<Endpoint> {
    let plans = group(
        "Plans",
        [
            get("/v1/plans", handler)
                .viewer()
                .summary("List plans")
                .paged()
                .query("status", "Only with this status.", schema::one_of(&["draft", "active"]))
                .answers_page::<Plan>(200),
            post("/v1/plans", handler)
                .agent()
                .body::<PlanFields>()
                .answers::<Plan>(201)
                .idempotent(),
            get("/v1/plans/{id}", handler).viewer().versioned().answers::<Plan>(200),
            patch("/v1/plans/{id}", handler)
                .agent()
                .versioned()
                .merge_patch::<PlanFields>()
                .answers::<Plan>(200)
                .problems(&[Code::PlanInUse]),
            put("/v1/plans/{id}", handler)
                .agent()
                .versioned()
                .body::<PlanFields>()
                .answers::<Plan>(200),
            delete("/v1/plans/{id}", handler).agent().versioned().answers::<Deleted>(200),
            get("/v1/plans/{id}/versions/{n}", handler).viewer().answers::<Plan>(200),
        ],
    );
    let others = group(
        "Others",
        [
            get("/v1/events", handler).viewer().paged().answers_page::<Event>(200),
            patch("/v1/subscriptions/{id}", handler)
                .agent()
                .versioned()
                .merge_patch::<SubscriptionFields>()
                .answers::<Subscription>(200),
            post("/v1/invoices/{id}/payments", handler)
                .agent()
                .idempotency_required()
                .body::<NewPayment>()
                .answers::<Payment>(201),
            post("/v1/invoices/{id}/payments/{payment_id}/reverse", handler)
                .agent()
                .answers::<Payment>(200),
            post("/v1/billing-runs", handler).admin().answers_with(200, "text/plain"),
            post("/v1/locks/{key:[a-z]+}/force-release", handler)
                .admin()
                .answers_with(200, "text/plain"),
            get("/metrics", handler).open().answers_with(200, "text/plain; version=0.0.4"),
            get("/v1/events/stream", handler)
                .viewer()
                .operation_id("stream_events")
                .answers_with(200, "text/event-stream"),
        ],
    );
    plans.into_iter().chain(others).collect()
}

fn document_of_table() -> Value {
    document(&table(), &[], status_of, None)
}

#[track_caller]
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"))
}

/// Finds every value of this key at any depth.
fn each<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key));
            object.values().for_each(|value| each(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| each(value, key, found)),
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, one)| (format!("{method} {path}"), one))
    });
    operations.collect()
}

/// Asserts that a table's document is sound. The table that is served is tested with it, too.
#[track_caller]
pub fn assert_sound(endpoints: &[Endpoint], document: &Value) {
    assert_eq!(document["openapi"], "3.1.0");
    assert_every_endpoint_is_there(endpoints, document);
    assert_references_lead_somewhere(document);
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id is taken");
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{name} has no answer");
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{name} {status}");
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let path = name.split(' ').nth(1).unwrap();
        let mut in_path: Vec<&str> = path.split('/').filter_map(parameter_name).collect();
        for parameter in &parameters {
            assert!(parameter["$ref"].is_string() || parameter["schema"].is_object(), "{name}");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{name}");
                assert!(in_path.contains(&parameter["name"].as_str().unwrap()), "{name}");
                in_path.retain(|other| parameter["name"] != *other);
            }
        }
        assert!(in_path.is_empty(), "{name} does not explain {in_path:?}");
    }
}

#[track_caller]
fn assert_every_endpoint_is_there(endpoints: &[Endpoint], document: &Value) {
    let mut documented: Vec<_> = operations(document).into_iter().map(|(name, _)| name).collect();
    let row = |endpoint: &Endpoint| {
        format!("{} {}", endpoint.method.as_str().to_lowercase(), template(endpoint.info.path))
    };
    let mut served: Vec<_> = endpoints.iter().map(row).collect();
    documented.sort();
    served.sort();
    assert_eq!(documented, served);
}

#[track_caller]
fn assert_references_lead_somewhere(document: &Value) {
    let mut references = Vec::new();
    each(document, "$ref", &mut references);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn it_is_sound() {
    assert_sound(&table(), &document_of_table());
}

#[test]
#[should_panic = "/components/schemas/Event"]
fn a_page_whose_items_nobody_explains_is_not_sound() {
    let endpoints = [get("/v1/events", handler).answers::<ifmatch_types::Page<Event>>(200)];
    assert_sound(&endpoints, &document(&endpoints, &[], status_of, None));
}

#[test]
fn it_says_what_it_is_and_how_to_get_in() {
    let document = document_of_table();
    assert_eq!(document["info"]["title"], "Ifmatch");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let scheme = at(&document, "/components/securitySchemes/ApiKey");
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    assert_eq!(document["tags"], json!([{"name": "Plans"}, {"name": "Others"}]));
    for name in at(&document, "/components/schemas").as_object().unwrap().keys() {
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        assert!(!name.contains('<') && name != "BTreeMap" && name != "Page", "{name}");
    }
}

#[test]
fn operation_ids_read_well() {
    let document = document_of_table();
    let id = |path: &str, method: &str| document["paths"][path][method]["operationId"].clone();
    for (path, method, expected) in [
        ("/v1/plans", "get", "list_plans"),
        ("/v1/plans", "post", "create_plan"),
        ("/v1/plans/{id}", "get", "get_plan"),
        ("/v1/plans/{id}", "patch", "update_plan"),
        ("/v1/plans/{id}", "put", "replace_plan"),
        ("/v1/plans/{id}", "delete", "delete_plan"),
        ("/v1/plans/{id}/versions/{n}", "get", "get_plan_version"),
        ("/v1/invoices/{id}/payments", "post", "create_invoice_payment"),
        ("/v1/invoices/{id}/payments/{payment_id}/reverse", "post", "reverse_invoice_payment"),
        ("/v1/billing-runs", "post", "create_billing_run"),
        ("/v1/locks/{key}/force-release", "post", "force_release_lock"),
        ("/v1/events/stream", "get", "stream_events"),
        ("/metrics", "get", "get_metrics"),
    ] {
        assert_eq!(id(path, method), expected);
    }
}

#[test]
fn access_is_documented() {
    let document = document_of_table();
    assert_eq!(document["paths"]["/metrics"]["get"]["security"], json!([]));
    let create = &document["paths"]["/v1/plans"]["post"];
    assert_eq!(create["security"], json!([{"ApiKey": []}]));
    assert_eq!(create["x-role"], "agent");
    assert!(create["responses"]["401"].is_object() && create["responses"]["403"].is_object());
    assert!(document["paths"]["/metrics"]["get"]["responses"]["401"].is_null());
}

#[test]
fn a_versioned_write_documents_the_conflict_and_the_ways_out() {
    let document = document_of_table();
    let update = &document["paths"]["/v1/plans/{id}"]["patch"];
    for status in ["409", "412", "428"] {
        let content = &update["responses"][status]["content"]["application/problem+json"];
        assert_eq!(content["schema"], json!({"$ref": "#/components/schemas/Problem"}), "{status}");
    }
    let problem = &document["components"]["schemas"]["Problem"];
    for member in ["current", "changes", "merge", "expected_version"] {
        assert!(problem["properties"][member].is_object(), "{member}");
        assert!(!problem["required"].to_string().contains(member), "{member}");
    }
    let both = "Conflict: `CONFLICT_VERSION_MISMATCH`, `PLAN_IN_USE`";
    assert_eq!(update["responses"]["409"]["description"], both);
    let parameters = update["parameters"].to_string();
    for name in ["IfMatch", "OnConflict", "Force", "ForceReason", "OnBehalfOf"] {
        assert!(parameters.contains(&format!("parameters/{name}\"")), "{name}: {parameters}");
    }
    let headers = &update["responses"]["200"]["headers"];
    assert_eq!(headers["X-Merged-From"]["$ref"], "#/components/headers/X-Merged-From");
    assert!(document["paths"]["/v1/plans/{id}"]["get"]["responses"]["304"].is_object());
}

#[test]
fn a_merge_patch_requires_nothing_and_may_reset_what_has_a_default() {
    let document = document_of_table();
    let schema = at(&document, "/components/schemas/PlanPatch");
    assert!(schema["required"].is_null());
    assert_eq!(schema["additionalProperties"], false);
    let fields = &schema["properties"];
    assert_eq!(fields["code"]["type"], "string");
    assert_eq!(fields["description"]["type"], json!(["string", "null"]));
    assert_eq!(fields["metadata"]["type"], json!(["object", "null"]));
    assert_eq!(fields["metadata"]["additionalProperties"]["type"], json!(["string", "null"]));
    assert_eq!(fields["version"]["type"], "integer");
    let body = &document["paths"]["/v1/plans/{id}"]["patch"]["requestBody"];
    assert_eq!(body["required"], true);
    for content_type in ["application/json", "application/merge-patch+json"] {
        let schema = &body["content"][content_type]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/PlanPatch");
    }
}

#[test]
fn a_replacement_may_echo_what_the_server_manages_and_a_creation_may_not() {
    let document = document_of_table();
    let replacement = at(&document, "/components/schemas/PlanReplacement");
    assert!(replacement["additionalProperties"].is_null());
    assert_eq!(replacement["required"][0], "code");
    assert_eq!(replacement["properties"]["version"]["type"], "integer");
    let creation = at(&document, "/components/schemas/PlanFields");
    assert_eq!(creation["additionalProperties"], false);
    assert!(creation["properties"]["version"].is_null());
}

#[test]
fn pages_of_different_things_are_different_schemas() {
    let document = document_of_table();
    for (page, item) in [("PlanPage", "Plan"), ("EventPage", "Event")] {
        let items = at(&document, &format!("/components/schemas/{page}/properties/items/items"));
        assert_eq!(items["$ref"], format!("#/components/schemas/{item}"));
    }
}

#[test]
fn what_is_set_once_and_how_ids_look_is_said() {
    let document = crate::routes::document(None);
    for schema in ["Subscription", "SubscriptionFields", "SubscriptionPatch"] {
        let properties = at(&document, &format!("/components/schemas/{schema}/properties"));
        assert_eq!(properties["workspace_id"]["x-set-once"], json!(true), "{schema}");
        assert!(properties["plan_id"]["x-set-once"].is_null(), "{schema}");
    }
    let id = at(&document, "/components/schemas/SubscriptionId");
    assert_eq!(id["pattern"], "^sub_[0-9a-f]{32}$");
}

#[test]
fn fields_of_a_merge_group_name_their_group() {
    let document = document_of_table();
    for kind in [Kind::Plan, Kind::Subscription] {
        let properties = format!("/components/schemas/{}/properties", entity(kind).0);
        for group in kind.merge_groups() {
            for path in *group {
                let field = at(&document, &format!("{properties}{path}"));
                assert_eq!(field["x-merge-group"], json!(group), "{kind}{path}");
            }
        }
        let notes = at(&document, &format!("{properties}/metadata"));
        assert!(notes["x-merge-group"].is_null());
    }
}

#[test]
fn descriptions_have_no_links_of_rust() {
    let document = document_of_table();
    let mut descriptions = Vec::new();
    each(&document, "description", &mut descriptions);
    for description in descriptions.iter().filter_map(|text| text.as_str()) {
        assert!(!description.contains("crate::") && !description.contains("[`"), "{description}");
    }
    assert_eq!(
        at(&document, "/components/schemas/PlanId/description"),
        "The id of a `Plan`: `pln_…`."
    );
}

#[test]
fn enumerations_have_the_names_of_the_wire() {
    let document = document_of_table();
    let values = |name: &str| at(&document, &format!("/components/schemas/{name}/enum")).clone();
    assert_eq!(values("PlanStatus"), json!(["draft", "active", "archived"]));
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(values("Code"), json!(codes));
}

#[test]
fn what_a_generator_stumbles_over_is_not_there() {
    let document = crate::routes::document(None);
    let text = document.to_string();
    for section in ["schemas", "parameters", "headers"] {
        for name in document["components"][section].as_object().unwrap().keys() {
            let is_used = text.contains(&format!("\"#/components/{section}/{name}\""));
            assert!(is_used, "nothing refers to {section}/{name}");
            let constructs = name.strip_prefix("New").is_some_and(|stem| !stem.is_empty());
            assert!(!constructs, "{name} is what Go calls a constructor");
        }
    }
    for tag in document["tags"].as_array().unwrap() {
        assert!(tag["description"].is_string(), "{tag}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["description"].is_string(), "{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let Some(schema) = parameter.get("schema") else { continue };
                let bounds = ["pattern", "minLength", "enum", "format", "minimum", "$ref"];
                let is_bounded = bounds.iter().any(|bound| schema.get(bound).is_some())
                    || schema["type"] == "boolean";
                assert!(is_bounded, "{method} {path}: {parameter}");
            }
        }
    }
}
