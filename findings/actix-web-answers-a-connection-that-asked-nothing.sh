#!/usr/bin/env bash
#
# actix-web: a connection that has sent nothing is answered 408, an idle one is not
#
# Versions
#   The crate actix-web 4.18.1 without its default features, with its default settings but a keep-alive
#   of 3 s, HTTP/1.1.
#
# Behaviour
#   A client connects and sends nothing. After 5 s (`client_request_timeout`) the server sends a whole
#   answer, "HTTP/1.1 408 Request Timeout", and closes. A client that has sent one request and then
#   nothing is closed after its keep-alive without a byte.
#
# Why it surprises
#   Both connections are idle and wait for a head. One expects the timer for slow heads to begin with the
#   first byte of a head, as the setting's name says. RFC 9110 allows such a 408, but nginx closes an
#   untouched connection in silence, and HAProxy has `option http-ignore-probes` for the same.
#
# Who is hurt
#   Clients whose pools open connections ahead: Envoy's preconnect, and hyper's pool, which keeps the
#   loser of a race between a new connection and one that became free. The pool's first request can
#   cross with the 408. Then the request counts as answered although no server saw it, or fails
#   with a protocol error (hyper: an unexpected message), which is hard to reproduce: it takes a
#   first use just 5 s after the connect.
#
# What helps
#   `client_request_timeout(Duration::ZERO)`, and a limit of one's own on the socket for connections
#   without a request.
set -euo pipefail

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "idle"
version = "0.0.0"
edition = "2021"
[dependencies]
actix-web = { version = "=4.18.1", default-features = false, features = ["macros"] }
[workspace]
TOML
cat > src/main.rs <<'RUST'
use actix_web::{web, App, HttpServer};
use std::{io::{Read, Write}, net::{SocketAddr, TcpStream}, time::{Duration, Instant}};

/// What arrives on an idle connection before it ends, and after how many seconds.
fn idle(address: SocketAddr, asks_first: bool) -> (String, f64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut buffer = [0; 4096];
    if asks_first {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let read = stream.read(&mut buffer).unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
    let since = Instant::now();
    let read = stream.read(&mut buffer).unwrap();
    let line = String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or("").to_owned();
    (line, since.elapsed().as_secs_f64())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(|| async { "" })))
        .workers(1)
        .keep_alive(Duration::from_secs(3))
        .bind("127.0.0.1:0")?;
    let address = server.addrs()[0];
    let running = actix_web::rt::spawn(server.run());
    let clients = web::block(move || (idle(address, false), idle(address, true)));
    let (fresh, used) = clients.await.unwrap();
    println!("  nothing sent:     after {:.0} s {:?}", fresh.1, fresh.0);
    println!("  one request sent: after {:.0} s {:?}", used.1, used.0);
    running.abort();
    let is_as_told = fresh.0 == "HTTP/1.1 408 Request Timeout" && used.0.is_empty();
    std::process::exit(i32::from(!is_as_told));
}
RUST

echo "An idle connection to actix-web 4.18.1:"
if CARGO_TARGET_DIR="$here/target" cargo run --quiet; then
    echo "As described: only the connection that asked nothing is answered."
else
    echo "This has changed." >&2
    exit 1
fi
