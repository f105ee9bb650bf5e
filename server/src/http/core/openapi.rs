//! The OpenAPI 3.1 document. It is made from the route table, so it describes what is served.

mod path;
mod refusals;
mod schemas;
mod shared;

use super::endpoint::{Access, BodyForm, Endpoint, Idempotency};
use actix_web::http::{Method, StatusCode};
use ifmatch_types::Code;
use path::{operation_id, path_parameters, template};
use refusals::refusals;
use schemas::{Schemas, remove_unused, rename_inputs};
use serde_json::Value;
use shared::parameters_of;
use std::collections::BTreeSet;
use utoipa::openapi::{
    Components, Contact, HttpMethod, Info, License, OpenApi, PathsBuilder, Ref, RefOr, Required,
    Response, ResponseBuilder, Tag,
    content::Content,
    extensions::Extensions,
    path::{Operation, OperationBuilder},
    request_body::{RequestBody, RequestBodyBuilder},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    server::Server,
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
/// `sections` are its sections in reading order, with what each is about. `status_of` gives the status of a code. `public_url` is
/// where clients reach the server; without it, they reach it where they got the document.
pub fn document(
    endpoints: &[Endpoint],
    sections: &[(&str, &str)],
    status_of: fn(Code) -> StatusCode,
    public_url: Option<&str>,
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
    info.contact = Some(Contact::builder().name(Some("The operator of this server")).build());
    info.license = Some(
        License::builder().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
    );
    let document = OpenApi::builder()
        .info(info)
        .servers(Some([Server::new(public_url.unwrap_or("/"))]))
        .paths(paths)
        .components(Some(components()))
        .tags(Some(tags(endpoints, sections)))
        .build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("schemas".to_owned(), Schemas::of(endpoints).into_value());
    }
    rename_inputs(&mut document);
    remove_unused(&mut document);
    document
}

fn tags(endpoints: &[Endpoint], sections: &[(&str, &str)]) -> Vec<Tag> {
    let mut names: Vec<&str> = Vec::new();
    for name in endpoints.iter().filter_map(|endpoint| endpoint.docs.tag) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rank = |name: &&str| sections.iter().position(|(section, _)| section == name);
    names.sort_by_key(|name| rank(name).unwrap_or(sections.len()));
    let tag = |name: &str| {
        let about = sections.iter().find(|(section, _)| *section == name).map(|(_, about)| *about);
        let mut tag = Tag::new(name);
        tag.description = about.map(str::to_owned);
        tag
    };
    names.into_iter().map(tag).collect()
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
        .description(Some(description(endpoint)))
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
        // With an empty list, the document's default would apply; this says that no key is needed.
        Access::Probe | Access::Open => operation.securities(Some([])),
        access @ Access::AnyOf(_) => operation
            .security(SecurityRequirement::new(BEARER, Vec::<String>::new()))
            .extensions(Some(Extensions::from_iter([
                ("x-role", Value::from(access.least_roles())),
                ("x-scoped-keys", Value::from(endpoint.info.is_scoped)),
            ]))),
    }
    .build()
}

/// The role that an endpoint asks for, and what its requests must have.
fn description(endpoint: &Endpoint) -> String {
    let info = &endpoint.info;
    let mut sentences = vec![match info.access {
        Access::Probe => "Needs no key, and counts against no rate limit.".to_owned(),
        Access::Open => "Needs no key.".to_owned(),
        access @ Access::AnyOf(_) => {
            let scoped = match info.is_scoped {
                true => "A key of one workspace may call it for what it sees.",
                false => "It is not for keys of one workspace.",
            };
            format!("Needs a key with the role {}. {scoped}", access.least_roles())
        }
    }];
    if shared::names_version(endpoint) {
        let named =
            "The request names the version that it was computed from; a stale one is refused.";
        sentences.push(named.to_owned());
    }
    match info.idempotency {
        Idempotency::None => {}
        Idempotency::Optional => {
            sentences.push("With an `Idempotency-Key` it can be repeated safely.".to_owned());
        }
        Idempotency::Required => sentences.push("It needs an `Idempotency-Key`.".to_owned()),
    }
    sentences.join(" ")
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
                response = response.content(*content_type, Content::new(schema.clone()));
            }
        }
        response = with_headers(response, shared::headers_of(endpoint, status));
        answers.push((status, response.into()));
    }
    if endpoint.docs.tagged && endpoint.method == Method::GET {
        let response = ResponseBuilder::new().description(reason(304));
        let names = [&shared::common_headers(endpoint)[..], &["ETag"]].concat();
        answers.push((304, with_headers(response, names).into()));
    }
    answers
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
        // The table's builders make no other methods.
        _ => HttpMethod::Get,
    }
}

#[cfg(test)]
pub mod tests;
