//! Bodies and connections: what a client may keep waiting, and for how long.

use crate::harness::{
    ADMIN_KEY, Api, Backend, Database, Server, Settings, Socket, block_on, both_databases, id,
    sqlite_only,
};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

both_databases![a_key_that_is_revoked_while_a_body_arrives_does_nothing];
sqlite_only![
    a_body_that_does_not_arrive_is_408_and_ends_the_connection,
    a_refusal_ends_a_connection_whose_body_is_not_read,
    no_body_is_asked_for_without_an_accepted_key,
    a_client_that_asks_first_sends_its_body_with_a_key,
    a_connection_without_a_request_is_kept_and_then_closed_in_silence,
];

async fn with(settings: &[&str]) -> Server {
    let database = Arc::new(Database::create(Backend::Sqlite));
    Server::start_with(database, Settings::args(settings)).await
}

/// The head of a request with a JSON body.
fn head(method: &str, path: &str, key: Option<&str>, body: &str) -> String {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: server\r\n{key}Content-Type: application/json\r\n{body}\r\n"
    )
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Pools open connections ahead. An answer that nobody asked for would meet their first request.
async fn a_connection_without_a_request_is_kept_and_then_closed_in_silence(_: Server) {
    let server = with(&["--keep-alive-s", "2"]).await;
    let mut late = Socket::connect(&server).await;
    let (mut silent, mut begun) = (Socket::connect(&server).await, Socket::connect(&server).await);
    begun.write("GET /heal").await;
    let told = tokio::time::timeout(Duration::from_secs(6), late.head()).await;
    assert!(told.is_err(), "nothing is told: {told:?}");
    late.send("GET", "/healthz").await;
    let answer = late.head().await;
    assert_eq!(status(&answer), "200", "{answer}");
    let (silent, begun) = futures::join!(silent.rest(), begun.rest());
    assert_eq!((silent.as_str(), begun.as_str()), ("", ""));
}

async fn a_key_that_is_revoked_while_a_body_arrives_does_nothing(server: Server) {
    let api = server.api();
    for (role, path, body) in [
        ("agent", "/v1/workspaces", r#"{"name":"late"}"#),
        ("admin", "/v1/api-keys", r#"{"name":"late","role":"admin"}"#),
    ] {
        let (late, key) = api.make_named_key(role).await;
        let mut socket = Socket::connect(&server).await;
        let length = format!("Content-Length: {}\r\n", body.len());
        let (first, rest) = body.split_at(5);
        socket.write(&head("POST", path, Some(late.key()), &length)).await;
        socket.write(first).await;
        // Another request of the same key shows that the server has seen the head by now.
        late.get("/v1/plans").await.ok(200);
        api.delete(&format!("/v1/api-keys/{}", id(&key))).await;
        socket.write(rest).await;
        let answer = socket.head().await;
        assert_eq!(status(&answer), "401", "{role}: {answer}");
        let made = api.list(path).await;
        assert!(made.iter().all(|item| item["name"] != "late"), "{role}: {made:?}");
    }
}

async fn a_body_that_does_not_arrive_is_408_and_ends_the_connection(server: Server) {
    for body in ["Content-Length: 20\r\n", CHUNKED] {
        let mut socket = Socket::connect(&server).await;
        let began_at = Instant::now();
        socket.write(&head("POST", "/v1/workspaces", Some(ADMIN_KEY), body)).await;
        let answer = socket.rest().await;
        assert_eq!(status(&answer), "408", "{answer}");
        assert!(answer.contains(r#""code":"REQUEST_TIMEOUT""#), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        let waited = began_at.elapsed();
        assert!((9..20).contains(&waited.as_secs()), "{waited:?}");
    }
}

async fn a_refusal_ends_a_connection_whose_body_is_not_read(server: Server) {
    let viewer = server.api().make_key("viewer").await;
    for (path, key, expected) in [
        ("/v1/workspaces", None, "401"),
        ("/v1/workspaces", Some("ifm_wrong"), "401"),
        ("/v1/workspaces", Some(viewer.key()), "403"),
        ("/v1/nowhere", Some(ADMIN_KEY), "404"),
        ("/healthz", None, "405"),
    ] {
        let mut socket = Socket::connect(&server).await;
        socket.write(&head("POST", path, key, CHUNKED)).await;
        let began_at = Instant::now();
        let answer = socket.rest().await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        let waited = began_at.elapsed();
        assert!(waited < Duration::from_secs(5), "{path}: closed only after {waited:?}");
    }
}

#[test]
fn many_clients_that_send_a_head_and_nothing_else_leave_room_for_others() {
    block_on(async {
        let server = with(&["--connections", "64"]).await;
        let mut sockets = Vec::new();
        for _ in 0..230 {
            let mut socket = Socket::connect(&server).await;
            // The server may have closed it already.
            socket.try_write(&head("POST", "/v1/workspaces", None, CHUNKED)).await;
            sockets.push(socket);
        }
        let began_at = Instant::now();
        let answer = Api::new(server.url(), None).get("/healthz").send().await;
        let answered_after = began_at.elapsed();
        let healthy = answer.is_ok_and(|answer| answer.status == 200);
        assert!(healthy && answered_after < Duration::from_secs(5), "{answered_after:?}");
    });
}

#[test]
fn a_new_client_takes_the_place_of_the_one_that_was_idle_longest() {
    block_on(async {
        let server = with(&["--connections", "3"]).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            let mut socket = Socket::with(&server, "GET", "/healthz").await;
            socket.up_to("}").await;
            idle.push(socket);
        }
        let mut newest = Socket::with(&server, "GET", "/healthz").await;
        assert_eq!(status(&newest.head().await), "200");
        assert_eq!(idle[0].rest().await, "", "it was closed");
        idle[2].send("GET", "/healthz").await;
        assert_eq!(status(&idle[2].head().await), "200", "it is still open");
    });
}

#[test]
fn a_connection_without_a_request_is_closed_after_the_time_that_is_set() {
    block_on(async {
        let server = with(&["--keep-alive-s", "1"]).await;
        let mut socket = Socket::with(&server, "GET", "/healthz").await;
        socket.up_to("}").await;
        let began_at = Instant::now();
        assert_eq!(socket.rest().await, "");
        let waited = began_at.elapsed();
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    });
}

async fn no_body_is_asked_for_without_an_accepted_key(server: Server) {
    let long = "Content-Length: 100000\r\nExpect: 100-continue\r\n";
    let short = "Content-Length: 15\r\nExpect: 100-continue\r\n";
    let chunked = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    for (key, body, expected, code) in [
        (None, short, "401", "UNAUTHENTICATED"),
        (Some("ifm_wrong"), chunked, "401", "UNAUTHENTICATED"),
        (Some(ADMIN_KEY), long, "413", "PAYLOAD_TOO_LARGE"),
    ] {
        let mut socket = Socket::connect(&server).await;
        socket.write(&head("POST", "/v1/workspaces", key, body)).await;
        let answer = socket.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{answer}");
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nx-request-id: "), "{answer}");
    }
}

async fn a_client_that_asks_first_sends_its_body_with_a_key(server: Server) {
    let body = r#"{"name":"asked"}"#;
    let length = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let mut socket = Socket::connect(&server).await;
    socket.write(&head("POST", "/v1/workspaces", Some(ADMIN_KEY), &length)).await;
    assert_eq!(socket.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write(body).await;
    assert_eq!(status(&socket.head().await), "201");
}

/// A self-signed P-256 certificate for `localhost`, made for tests alone.
const CERTIFICATE: &str = "\
        MIIBgDCCASWgAwIBAgIUaA/dzO1NcQx2QVb0z6y2WWYwhfYwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9j\
        YWxob3N0MCAXDTI2MTEyMjA4NTAwOVoYDzIxMjYxMDI5MDg1MDA5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3Qw\
        WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAST9K1NDM+gIbxn1l5XLxEoBThiLdK93+GVoUb/JyRXbRteqmdt\
        uGDpVems4jsC+ggmPT/edPUaQ/C3M8FUtviBo1MwUTAdBgNVHQ4EFgQUdUtsP5Va8VabLOqRSut3wTb46fYw\
        HwYDVR0jBBgwFoAUdUtsP5Va8VabLOqRSut3wTb46fYwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJ\
        ADBGAiEAhvEv7XuMGafcNwnd2NnRwLqCFfn6OVGSTL4PSn3xdTcCIQD4hovbK2Kqu4d80ZlV0fRO4HOtiG5J\
        OCpEsSWjluZK1A==";
const KEY: &str = "\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxG+AequIHbZxT7L0ni5gBcZr+/PLSaJMpIz5\
        glUhm0WhRANCAAST9K1NDM+gIbxn1l5XLxEoBThiLdK93+GVoUb/JyRXbRteqmdtuGDpVems4jsC+ggmPT/e\
        dPUaQ/C3M8FUtviB";

#[test]
fn connections_over_tls_have_places_and_end_as_others_do() {
    block_on(async {
        let database = Arc::new(Database::create(Backend::Sqlite));
        let file = |name: &str, kind: &str, base64: &str| {
            let path = database.dir().join(name);
            let pem = format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n");
            fs::write(&path, pem).unwrap();
            path.display().to_string()
        };
        let cert = file("cert.pem", "CERTIFICATE", CERTIFICATE);
        let key = file("key.pem", "PRIVATE KEY", KEY);
        let settings = ["--tls-cert", &cert, "--tls-key", &key, "--connections", "2"];
        let server = Server::start_with(Arc::clone(&database), Settings::args(&settings)).await;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let client = reqwest::Client::builder().no_proxy();
            let client = client.tls_danger_accept_invalid_certs(true).build().unwrap();
            let answer = client.get(format!("{}/readyz", server.url())).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            clients.push(client);
        }
        let last = clients.last().unwrap();
        let refused = last.post(format!("{}/v1/plans", server.url())).body("{}").send().await;
        assert_eq!(refused.unwrap().status(), 401);
        let metrics = last.get(format!("{}/metrics", server.url())).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(metrics.contains(r#"connections_refused_total{reason="idle"}"#), "{metrics}");
    });
}
