//! The parts that follow from an endpoint's path: template, parameters, and name of the operation.

use crate::http::core::endpoint::{Endpoint, schema};
use actix_web::http::Method;
use ifmatch_types::Kind;
use utoipa::openapi::{
    RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
};

/// The parameters in the pattern that the row does not describe.
pub fn path_parameters(endpoint: &Endpoint) -> Vec<Parameter> {
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
                    .schema(Some(schema_of(name, before)));
                parameters.push(parameter.build());
            }
        } else {
            before = segment;
        }
    }
    parameters
}

/// The schema of a parameter: `id` is that of the object in the collection before it.
fn schema_of(name: &str, before: &str) -> RefOr<Schema> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.collection() == before);
    match kind.filter(|_| name == "id") {
        Some(kind) => schema::matching(schema::id_pattern(kind)),
        None if before == "locks" => schema::matching("^[A-Za-z0-9_.:-]{1,200}$"),
        None => schema::value_of(name),
    }
}

/// The path as OpenAPI writes it: parameters without their regular expressions.
pub fn template(pattern: &str) -> String {
    let segment = |segment: &str| match parameter_name(segment) {
        Some(name) => format!("{{{name}}}"),
        None => segment.to_owned(),
    };
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The name in `{name}` or `{name:regex}`.
pub fn parameter_name(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    inner.split(':').next()
}

/// `list_plans`, `get_plan`, `create_invoice_payment`, `reverse_invoice_payment`.
pub fn operation_id(endpoint: &Endpoint) -> String {
    if let Some(id) = endpoint.docs.operation_id {
        return id.to_owned();
    }
    let path = endpoint.info.path.strip_prefix("/v1").unwrap_or(endpoint.info.path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let is_parameter = |segment: &str| parameter_name(segment).is_some();
    // A literal before a parameter is a collection, and the parameter selects one of its members.
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
        // A literal that is not a collection is an action: `…/reverse`.
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
