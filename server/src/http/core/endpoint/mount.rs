//! Puts the route table into an actix application.

use super::{Endpoint, EndpointInfo};
use actix_web::{
    Error, HttpRequest, Resource, Responder, Route, Scope,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    guard::{self, GuardContext},
    http::{Method, header::ALLOW},
    middleware::{Next, from_fn},
    web,
};
use std::collections::BTreeMap;

/// Registers all endpoints.
///
/// - Endpoints of one path become one resource. A literal segment wins over a parameter.
/// - `HEAD` is answered wherever `GET` is.
/// - A known path with another method is answered by `wrong_method`. It gets the value for `Allow`;
///   the header is added here.
/// - Every endpoint is behind `gate`, which decides whether a request may pass. It runs before the
///   handler's extractors. It finds the [`EndpointInfo`] in the request's extensions, where the
///   middleware around the application finds it, too.
pub fn mount<G, F, B, W, R>(
    endpoints: Vec<Endpoint>,
    config: &mut web::ServiceConfig,
    gate: G,
    wrong_method: W,
) where
    G: Fn(ServiceRequest, Next<BoxBody>) -> F + Clone + 'static,
    F: Future<Output = Result<ServiceResponse<B>, Error>> + 'static,
    B: MessageBody + 'static,
    W: Fn(HttpRequest, String) -> R + Clone + 'static,
    R: Responder + 'static,
{
    let mut resources: Vec<(&'static str, Vec<Endpoint>)> = Vec::new();
    for endpoint in endpoints {
        match resources.iter_mut().find(|(path, _)| *path == endpoint.info.path) {
            Some((_, same_path)) => same_path.push(endpoint),
            None => resources.push((endpoint.info.path, vec![endpoint])),
        }
    }
    // The router takes the first match. The sort is stable, so the table's order decides the rest.
    resources.sort_by_key(|(path, _)| path.split('/').map(is_parameter).collect::<Vec<_>>());

    // The prefix of a collection is one text comparison, but a parameter is a regular expression.
    // With this nesting, a request meets only the patterns of its own collection. After the
    // object's id, most of those are text comparisons again.
    let mut collections: BTreeMap<&'static str, Collection> = BTreeMap::new();
    for (path, endpoints) in resources {
        let allow = allow_header(&endpoints);
        let (prefix, rest) = split_prefix(path);
        let (parameter, member) = split_parameter(rest);
        let mut resource = web::resource(match (prefix, parameter) {
            ("", _) => path,
            (_, "") => rest,
            _ => member,
        });
        for endpoint in endpoints {
            resource = resource.route(guarded(endpoint).wrap(from_fn(gate.clone())));
        }
        let resource = with_wrong_method(resource, allow, wrong_method.clone());
        if prefix.is_empty() {
            config.service(resource);
            continue;
        }
        let Collection { own, members } = collections.remove(prefix).unwrap_or_else(|| {
            let own = web::scope(prefix);
            Collection { own, members: None }
        });
        let collection = if parameter.is_empty() {
            Collection { own: own.service(resource), members }
        } else {
            let members = members.unwrap_or_else(|| web::scope(parameter));
            Collection { own, members: Some(members.service(resource)) }
        };
        collections.insert(prefix, collection);
    }
    for Collection { own, members } in collections.into_values() {
        // This comes last, because a literal segment takes precedence over the parameter.
        config.service(members.into_iter().fold(own, Scope::service));
    }
}

/// The routes below `/v1/plans`, and those below `/v1/plans/{id}`.
struct Collection {
    own: Scope,
    members: Option<Scope>,
}

/// The endpoint's route, for its method only. It puts the [`EndpointInfo`] into the request.
fn guarded(endpoint: Endpoint) -> Route {
    let Endpoint { method, info, route, .. } = endpoint;
    let announce = move |context: &GuardContext<'_>| {
        context.req_data_mut().insert::<EndpointInfo>(info);
        true
    };
    let route = if method == Method::GET {
        route.guard(guard::Any(guard::Get()).or(guard::Head()))
    } else {
        route.method(method)
    };
    route.guard(guard::fn_guard(announce))
}

fn with_wrong_method<W, R>(resource: Resource, allow: String, wrong_method: W) -> Resource
where
    W: Fn(HttpRequest, String) -> R + Clone + 'static,
    R: Responder + 'static,
{
    resource.default_service(web::to(move |request: HttpRequest| {
        let answer = wrong_method(request, allow.clone());
        let allow = allow.clone();
        async move { answer.customize().insert_header((ALLOW, allow)) }
    }))
}

fn allow_header(endpoints: &[Endpoint]) -> String {
    let names = endpoints.iter().flat_map(|endpoint| match endpoint.method {
        Method::GET => vec!["GET", "HEAD"],
        ref method => vec![method.as_str()],
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The part of a path that names its collection, `/v1/plans`, and the rest.
///
/// The part is `""` if the path is shorter or a parameter comes first.
fn split_prefix(path: &'static str) -> (&'static str, &'static str) {
    let end = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at);
    let (prefix, rest) = path.split_at_checked(end).unwrap_or(("", path));
    if prefix.matches('/').count() == 2 && !prefix.split('/').any(is_parameter) {
        (prefix, rest)
    } else {
        ("", path)
    }
}

/// The parameter that the rest of a path begins with, `/{id}`, and what follows.
///
/// The parameter is `""` if the rest begins with anything else.
fn split_parameter(rest: &'static str) -> (&'static str, &'static str) {
    let end = rest.match_indices('/').nth(1).map_or(rest.len(), |(at, _)| at);
    match rest.split_at_checked(end) {
        Some((first, behind)) if first.split('/').any(is_parameter) => (first, behind),
        _ => ("", rest),
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}
