//! One exchange over HTTP: a request out, and an answer within limits or a failure back.

use super::config::PanelError;
use reqwest::{Client, Request, header::RETRY_AFTER, redirect, retry};
use rustls::crypto::{CryptoProvider, ring};
use std::{error::Error as StdError, time::Duration};

/// Maximum size of an answer's body in bytes. A server is some 3 KiB.
pub const BODY_MAX: usize = 256 << 10;
/// The longest time for a connection: name, TCP and TLS. At most half of a call's time.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// An answer, by the panel or by something before it.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection never opened, so the panel saw no byte of the request.
    #[error("the connection never opened: {0}")]
    NotConnected(String),
    /// The time was over.
    #[error("there was no whole answer in time")]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The body was larger than [`BODY_MAX`].
    #[error("the answer is too large")]
    TooLarge,
}

impl Failure {
    /// The name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::TimedOut => "timed_out",
            Self::Broken(_) => "broken",
            Self::TooLarge => "too_large",
        }
    }
}

/// The HTTP client of the panel.
pub struct Exchange {
    client: Client,
    timeout: Duration,
}

impl Exchange {
    /// A client for URLs of this scheme, whose exchanges take at most this long.
    pub fn new(scheme: &str, timeout: Duration) -> Result<Self, PanelError> {
        if CryptoProvider::get_default().is_none() {
            // If this fails, another thread has just chosen a provider, which is fine.
            let _ = ring::default_provider().install_default();
        }
        let mut builder = Client::builder()
            .user_agent(concat!("ifmatch/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX.min(timeout / 2))
            // A kept connection may be closed by the panel just when a create is sent on it, whose
            // outcome would then be unknown. Calls are rare and slow: each has its own connection.
            .pool_max_idle_per_host(0)
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if scheme == "http" {
            // reqwest 0.13 asks for the machine's certificates even if no TLS is spoken.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(PanelError::Client)?;
        Ok(Self { client, timeout })
    }

    /// Sends the request once. If the future is dropped, the panel may still carry it out.
    pub async fn run(&self, request: Request) -> Result<Answer, Failure> {
        let answer = tokio::time::timeout(self.timeout, self.receive(request)).await;
        answer.unwrap_or(Err(Failure::TimedOut))
    }

    async fn receive(&self, request: Request) -> Result<Answer, Failure> {
        let mut response = self.client.execute(request).await.map_err(failure)?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len().saturating_add(chunk.len()) > BODY_MAX {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status().as_u16(), retry_after, body })
    }
}

/// Tells apart whether the request can have left.
///
/// `is_connect` covers the name, the connection, the TLS handshake and the time limit of them, and
/// nothing after them.
fn failure(error: reqwest::Error) -> Failure {
    let never_connected = error.is_connect();
    let cause = innermost(&error.without_url());
    if never_connected { Failure::NotConnected(cause) } else { Failure::Broken(cause) }
}

/// The innermost cause of an error, which is the useful one of reqwest.
fn innermost(mut error: &dyn StdError) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
