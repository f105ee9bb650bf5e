//! The OpenAPI 3.1 document, made of the route table: what is served is what is documented.

mod schemas;
mod shared;

use super::endpoint::{Access, BodyForm, Endpoint, Idempotency, schema};
use actix_web::http::{Method, StatusCode};
use ifmatch_types::{Code, ForcePreview, Problem, Role};
use schemas::{Schemas, VERSION_CONFLICT};
use serde_json::Value;
use shared::{names_version, parameters_of};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{
    ToSchema,
    openapi::{
        Components, HttpMethod, Info, License, OpenApi, PathsBuilder, Ref, RefOr, Required,
        Response, ResponseBuilder, Schema, Tag,
        content::Content,
        extensions::Extensions,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
        schema::AnyOfBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// The document as JSON text, made once.
pub struct DocumentText(pub String);

const ABOUT: &str = "A subscription-billing backend in which no write is ever lost: every write \
    names the version it was computed from, and a stale one is refused with everything needed to \
    resolve it.\n\nDispatch on a problem's `code` and `retry.action`, never on the status alone. \
    `HEAD` is answered wherever `GET` is. Every request may carry `X-Request-Id`.";
const BEARER: &str = "ApiKey";

/// The document of these endpoints.
///
/// `sections` is the order of its sections; `status_of` is the table of codes.
pub fn document(
    endpoints: &[Endpoint],
    sections: &[&str],
    status_of: fn(Code) -> StatusCode,
) -> Value {
    let paths = endpoints.iter().fold(PathsBuilder::new(), |paths, endpoint| {
        let item = utoipa::openapi::PathItem::new(
            http_method(&endpoint.method),
            operation(endpoint, status_of),
        );
        paths.path(template(endpoint.info.path), item)
    });
    let mut info = Info::new("Ifmatch", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(
        License::builder().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
    );
    let document = OpenApi::builder()
        .info(info)
        .paths(paths)
        .components(Some(components()))
        .tags(Some(tags(endpoints, sections)))
        .build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("schemas".to_owned(), Schemas::of(endpoints).into_value());
    }
    document
}

fn tags(endpoints: &[Endpoint], sections: &[&str]) -> Vec<Tag> {
    let mut names: Vec<&str> = Vec::new();
    for name in endpoints.iter().filter_map(|endpoint| endpoint.docs.tag) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rank = |name: &&str| sections.iter().position(|section| section == name);
    names.sort_by_key(|name| rank(name).unwrap_or(sections.len()));
    names.into_iter().map(Tag::new).collect()
}

fn components() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("ifm_…")
        .description(Some("An API key. Its role says what it may do: viewer, agent or admin."));
    let mut components =
        Components::builder().security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    for shared in shared::parameters() {
        components = components.parameter(shared.name, shared.parameter);
    }
    for (name, description) in shared::HEADERS {
        components = components.header(name, shared::header(description));
    }
    components.build()
}

fn operation(endpoint: &Endpoint, status_of: fn(Code) -> StatusCode) -> Operation {
    let docs = &endpoint.docs;
    let mut operation = OperationBuilder::new()
        .tags(docs.tag.map(|tag| [tag]))
        .summary(docs.summary)
        .operation_id(Some(operation_id(endpoint)))
        .request_body(request_body(endpoint));
    for parameter in path_parameters(endpoint).into_iter().chain(docs.parameters.iter().cloned()) {
        operation = operation.parameter(parameter);
    }
    for name in parameters_of(endpoint) {
        operation = operation.parameter_ref(Ref::new(format!("#/components/parameters/{name}")));
    }
    for (status, response) in answers(endpoint).into_iter().chain(refusals(endpoint, status_of)) {
        operation = operation.response(status.to_string(), response);
    }
    match endpoint.info.access {
        // An empty list would fall back to the document's default; this says "none needed".
        Access::Open => operation.securities(Some([])),
        Access::Role(role) => operation
            .security(SecurityRequirement::new(BEARER, Vec::<String>::new()))
            .extensions(Some(Extensions::from_iter([("x-role", role.name())]))),
    }
    .build()
}

/// Parameters in the pattern that the row says nothing about.
fn path_parameters(endpoint: &Endpoint) -> Vec<Parameter> {
    let explained = |name: &str| {
        let mut own = endpoint.docs.parameters.iter();
        own.any(|one| one.name == name && one.parameter_in == ParameterIn::Path)
    };
    let path = template(endpoint.info.path);
    let mut before = "";
    let mut parameters = Vec::new();
    for segment in path.split('/') {
        if let Some(name) = parameter_name(segment) {
            if !explained(name) {
                let which = format!("Which {}.", singular(before).replace(['-', '_'], " "));
                let parameter = ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .description(Some(which))
                    .schema(Some(schema::text()));
                parameters.push(parameter.build());
            }
        } else {
            before = segment;
        }
    }
    parameters
}

fn request_body(endpoint: &Endpoint) -> Option<RequestBody> {
    let body = endpoint.docs.body.as_ref()?;
    let schema = Ref::from_schema_name(Schemas::body_name(endpoint)?);
    let required = if body.required { Required::True } else { Required::False };
    let builder = RequestBodyBuilder::new().required(Some(required));
    let builder = builder.content("application/json", Content::new(Some(schema.clone())));
    Some(match body.form {
        BodyForm::Whole => builder.build(),
        BodyForm::MergePatch => {
            builder.content("application/merge-patch+json", Content::new(Some(schema))).build()
        }
    })
}

fn answers(endpoint: &Endpoint) -> Vec<(u16, RefOr<Response>)> {
    let mut answers = Vec::new();
    let statuses: BTreeSet<u16> =
        endpoint.docs.successes.iter().map(|success| success.status).collect();
    for status in statuses {
        let mut response = ResponseBuilder::new().description(reason(status));
        for success in endpoint.docs.successes.iter().filter(|one| one.status == status) {
            if let Some((content_type, schema)) = &success.content {
                let schema = schema.clone().map(|schema| or_preview(endpoint, schema));
                response = response.content(*content_type, Content::new(schema));
            }
        }
        response = with_headers(response, shared::headers_of(endpoint, status));
        answers.push((status, response.into()));
    }
    if endpoint.docs.versioned && endpoint.method == Method::GET {
        let response = ResponseBuilder::new().description(reason(304));
        let names = [&shared::common_headers(endpoint)[..], &["ETag"]].concat();
        answers.push((304, with_headers(response, names).into()));
    }
    answers
}

/// What is answered, or what a dry run of it is answered.
fn or_preview(endpoint: &Endpoint, schema: RefOr<Schema>) -> RefOr<Schema> {
    if !names_version(endpoint) {
        return schema;
    }
    let preview = Ref::from_schema_name(ForcePreview::name());
    AnyOfBuilder::new().item(schema).item(preview).into()
}

/// One response per status, naming the codes that have it.
fn refusals(endpoint: &Endpoint, status_of: fn(Code) -> StatusCode) -> Vec<(u16, RefOr<Response>)> {
    let mut by_status: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    for code in codes(endpoint) {
        by_status.entry(status_of(code).as_u16()).or_default().insert(code.as_str());
        if code == Code::ConflictVersionMismatch {
            // The same conflict, if the version was named in `If-Match`.
            by_status.entry(412).or_default().insert(code.as_str());
        }
    }
    let conflict = Code::ConflictVersionMismatch.as_str();
    let response = |(status, codes): (u16, BTreeSet<&'static str>)| {
        let schema = match (codes.contains(conflict), codes.len()) {
            (true, 1) => Ref::from_schema_name(VERSION_CONFLICT).into(),
            (true, _) => AnyOfBuilder::new()
                .item(Ref::from_schema_name(VERSION_CONFLICT))
                .item(Ref::from_schema_name(Problem::name()))
                .into(),
            (false, _) => RefOr::Ref(Ref::from_schema_name(Problem::name())),
        };
        let names: Vec<_> = codes.into_iter().map(|code| format!("`{code}`")).collect();
        let response = ResponseBuilder::new()
            .description(format!("{}: {}", reason(status), names.join(", ")))
            .content("application/problem+json", Content::new(Some(schema)));
        (status, with_headers(response, shared::problem_headers(endpoint, status)).into())
    };
    by_status.into_iter().map(response).collect()
}

/// Every code an endpoint may answer: its own and those that follow from the rest of its row.
fn codes(endpoint: &Endpoint) -> Vec<Code> {
    let docs = &endpoint.docs;
    let mut codes = docs.problems.clone();
    if let Access::Role(_) = endpoint.info.access {
        codes.extend([Code::Unauthenticated, Code::RateLimited, Code::TryAgain, Code::Internal]);
        // Of a parameter that is unknown or wrong.
        codes.push(Code::ValidationFailed);
    }
    if let Access::Role(Role::Agent | Role::Admin) = endpoint.info.access {
        codes.push(Code::Forbidden);
    }
    if endpoint.method != Method::GET {
        codes.push(Code::ForceForbidden);
    }
    if docs.body.is_some() {
        codes.extend([Code::MalformedRequest, Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    if names_version(endpoint) {
        codes.extend([
            Code::NotFound,
            Code::Deleted,
            Code::ConflictVersionMismatch,
            Code::PreconditionRequired,
            Code::MalformedPrecondition,
            Code::ReasonRequired,
        ]);
    }
    match endpoint.info.idempotency {
        Idempotency::None => {}
        Idempotency::Optional => codes.push(Code::IdempotencyKeyReused),
        Idempotency::Required => {
            codes.extend([Code::IdempotencyKeyReused, Code::IdempotencyKeyRequired]);
        }
    }
    codes
}

fn with_headers(response: ResponseBuilder, names: Vec<&'static str>) -> ResponseBuilder {
    names.into_iter().fold(response, |response, name| {
        response.header_ref(name, Ref::new(format!("#/components/headers/{name}")))
    })
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        // The table's builders make no others.
        _ => HttpMethod::Get,
    }
}

/// The path as OpenAPI writes it: parameters without their regular expressions.
fn template(pattern: &str) -> String {
    let segment = |segment: &str| match parameter_name(segment) {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    };
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The name in `{name}` or `{name:regex}`.
fn parameter_name(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    inner.split(':').next()
}

/// `list_plans`, `get_plan`, `create_invoice_payment`, `reverse_invoice_payment`.
fn operation_id(endpoint: &Endpoint) -> String {
    if let Some(id) = endpoint.docs.operation_id {
        return id.to_owned();
    }
    let path = endpoint.info.path.strip_prefix("/v1").unwrap_or(endpoint.info.path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let is_parameter = |segment: &str| parameter_name(segment).is_some();
    // A literal before a parameter is a collection of which one is meant.
    let mut nouns: Vec<String> = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        if !is_parameter(segment) {
            let one = segments.get(place + 1).is_some_and(|next| is_parameter(next));
            nouns.push(if one { singular(segment) } else { (*segment).to_owned() });
        }
    }
    let last = nouns.pop().unwrap_or_default();
    let ends_in_literal = segments.last().is_some_and(|segment| !is_parameter(segment));
    let verb = match endpoint.method {
        Method::POST if ends_in_literal && singular(&last) != last => {
            nouns.push(singular(&last));
            "create".to_owned()
        }
        // A literal that is no collection is what is done: `…/reverse`.
        Method::POST if !nouns.is_empty() => last,
        ref method => {
            nouns.push(last);
            match *method {
                Method::POST => "create",
                Method::PUT => "replace",
                Method::PATCH => "update",
                Method::DELETE => "delete",
                _ if endpoint.docs.paged => "list",
                _ => "get",
            }
            .to_owned()
        }
    };
    let words: Vec<String> = std::iter::once(verb).chain(nouns).collect();
    words.join("_").replace(['-', '.'], "_")
}

fn singular(plural: &str) -> String {
    match plural.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => plural.strip_suffix('s').unwrap_or(plural).to_owned(),
    }
}

#[cfg(test)]
pub mod tests;
