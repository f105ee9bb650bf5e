use super::*;
use actix_web::{
    App, Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody, to_bytes},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header::ALLOW},
    middleware::Next,
    test::{TestRequest, call_service, init_service},
    web::Path,
};

async fn one(id: Path<String>) -> String {
    format!("one {id}")
}

async fn list() -> &'static str {
    "list"
}

async fn due() -> &'static str {
    "due"
}

fn table() -> Vec<Endpoint> {
    vec![
        get("/healthz", list).open(),
        get("/v1/plans/{id}", one).viewer(),
        delete("/v1/plans/{id}", one).agent().idempotent(),
        get("/v1/plans/due", due).viewer(),
        get("/v1/plans", list).viewer(),
        post("/v1/plans/{id}/close", one).idempotency_required(),
        get("/v1/plansets", list).viewer(),
    ]
}

/// Refuses requests to endpoints for admins, before the endpoint sees them.
async fn gate(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let info = request.extensions().get::<EndpointInfo>().copied();
    match info.expect("the gate knows the endpoint").access {
        Access::AnyOf([Role::Admin]) => {
            Ok(request.into_response(HttpResponse::Forbidden().finish()))
        }
        _ => next.call(request).await,
    }
}

fn wrong_method(request: HttpRequest, allow: String) -> HttpResponse {
    HttpResponse::MethodNotAllowed().body(format!("{}: only {allow}", request.path()))
}

/// The status, the pattern that the outermost middleware sees, `Allow`, and the body.
async fn answer(method: &str, path: &str) -> (u16, Option<&'static str>, String, String) {
    let app = App::new().configure(|config| mount(table(), config, gate, wrong_method));
    let app = init_service(app).await;
    let request = TestRequest::with_uri(path).method(method.parse().unwrap()).to_request();
    let response: ServiceResponse<_> = call_service(&app, request).await;
    let pattern = response.request().extensions().get::<EndpointInfo>().map(|info| info.path);
    let allow = response.headers().get(ALLOW).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().boxed();
    let body = String::from_utf8(to_bytes(body).await.unwrap().to_vec()).unwrap();
    (status, pattern, allow.unwrap_or_default(), body)
}

#[actix_web::test]
async fn a_request_reaches_its_endpoint_and_everybody_learns_which() {
    for (method, path, pattern, body) in [
        ("GET", "/healthz", "/healthz", "list"),
        ("GET", "/v1/plans", "/v1/plans", "list"),
        ("GET", "/v1/plans/7", "/v1/plans/{id}", "one 7"),
        ("HEAD", "/v1/plans/7", "/v1/plans/{id}", "one 7"),
        ("DELETE", "/v1/plans/7", "/v1/plans/{id}", "one 7"),
        ("GET", "/v1/plansets", "/v1/plansets", "list"),
    ] {
        let (status, seen, _, got) = answer(method, path).await;
        assert_eq!((status, seen, got.as_str()), (200, Some(pattern), body), "{method} {path}");
    }
}

#[actix_web::test]
async fn a_literal_segment_wins_over_a_parameter_whatever_the_order() {
    assert_eq!(answer("GET", "/v1/plans/due").await.3, "due");
}

#[actix_web::test]
async fn another_method_is_told_which_there_are() {
    let (status, pattern, allow, body) = answer("PUT", "/v1/plans/7").await;
    assert_eq!((status, pattern), (405, None));
    assert_eq!(allow, "GET, HEAD, DELETE");
    assert_eq!(body, "/v1/plans/7: only GET, HEAD, DELETE");
    assert_eq!(answer("GET", "/v1/plans/7/close").await.2, "POST");
    assert_eq!(answer("POST", "/healthz").await.2, "GET, HEAD");
}

#[actix_web::test]
async fn what_is_no_path_is_not_found() {
    for path in ["/", "/v1", "/v1/plans/", "/v1/plans/7/open", "/v1/planset"] {
        assert_eq!(answer("GET", path).await.0, StatusCode::NOT_FOUND.as_u16(), "{path}");
    }
}

#[actix_web::test]
async fn the_gate_comes_before_the_endpoint() {
    let (status, pattern, _, body) = answer("POST", "/v1/plans/7/close").await;
    assert_eq!((status, pattern, body.as_str()), (403, Some("/v1/plans/{id}/close"), ""));
}

#[test]
fn who_may_call_is_admins_until_the_row_says_otherwise() {
    let access = |endpoint: Endpoint| endpoint.info().access;
    assert_eq!(access(get("/x", list)), Access::AnyOf(&[Role::Admin]));
    assert_eq!(access(get("/x", list).agent()), Access::AnyOf(&[Role::Agent]));
    let either = access(get("/x", list).viewer_or_usage());
    assert!(either.allows(Role::Viewer) && either.allows(Role::Usage));
    assert!(!access(get("/x", list).usage()).allows(Role::Viewer));
    assert_eq!(access(get("/x", list).open()), Access::Open);
    let [close] =
        group("Plans", [post("/x", list).idempotency_required()]).try_into().ok().unwrap();
    assert_eq!(close.info().idempotency, Idempotency::Required);
    assert_eq!(close.docs.tag, Some("Plans"));
}
