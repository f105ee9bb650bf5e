#!/usr/bin/env bash
#
# reqwest 0.13: without CA certificates on the machine, no client can be made, also for plain HTTP
#
# Versions
#   The crate reqwest 0.13.5 with the feature `rustls-no-provider`, rustls 0.23 with ring, Linux.
#
# Behaviour
#   `Client::builder().build()` fails with "No CA certificates were loaded from the system" if the
#   machine has none. The client of this script only speaks plain HTTP to 127.0.0.1, and the same build
#   succeeds with `tls_certs_only([])`. reqwest 0.12 with the feature `rustls-tls-native-roots-no-provider`
#   makes the client without them; only a request over TLS would fail.
#
# Why it surprises
#   The certificates are needed for a handshake, and the error comes long before one, where many programs
#   call `expect`. `reqwest::get` and `Client::new()` do the same; the latter panics.
#
# Who is hurt
#   Programs in slim containers (debian:*-slim, distroless static, scratch) that talk to a side-car or to
#   a service of the same host without TLS. They worked with 0.12 and do not start after the update.
#
# What helps
#   `tls_certs_only([])` for a client that is only used for http://, with redirects off; or the
#   package ca-certificates in the image.
set -euo pipefail

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

mkdir src no-certificates
cat > Cargo.toml <<'TOML'
[package]
name = "plain"
version = "0.0.0"
edition = "2021"
[dependencies]
new = { package = "reqwest", version = "=0.13.5", default-features = false, features = ["rustls-no-provider"] }
old = { package = "reqwest", version = "=0.12.28", default-features = false, features = ["rustls-tls-native-roots-no-provider"] }
rustls = { version = "0.23", default-features = false, features = ["ring", "std", "tls12"] }
tokio = { version = "1", features = ["rt", "net", "io-util", "macros"] }
[workspace]
TOML
cat > src/main.rs <<'RUST'
use std::error::Error;
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::TcpListener};

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    });

    let refused = new::Client::builder().build().map(drop).map_err(|error| chain(&error));
    println!("reqwest 0.13, as it comes: {refused:?}");
    assert!(refused.unwrap_err().contains("No CA certificates were loaded"));

    let client = new::Client::builder().tls_certs_only([]).build().unwrap();
    let told = client.get(&url).send().await.unwrap().text().await.unwrap();
    println!("reqwest 0.13, tls_certs_only([]): GET over plain HTTP says {told:?}");
    assert_eq!(told, "ok");

    let client = old::Client::builder().build().map_err(|error| chain(&error)).unwrap();
    let told = client.get(&url).send().await.unwrap().text().await.unwrap();
    println!("reqwest 0.12: GET over plain HTTP says {told:?}");
    assert_eq!(told, "ok");
    println!("as described");
}
RUST
cargo build --quiet
# The two variables stand for a machine without certificates.
SSL_CERT_FILE="$here/none.pem" SSL_CERT_DIR="$here/no-certificates" target/debug/plain
