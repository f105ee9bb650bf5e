//! One exchange with the server: a request out, an answer or a failure back, nothing retried.

use crate::{Error, config::is_loopback, request::Request};
use futures::{FutureExt, future::BoxFuture};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use std::error::Error as StdError;

/// More than any answer of the server: a page has at most 200 objects, each of some 64 KiB.
const ANSWER_MAX: usize = 64 << 20;

/// An answer, of the server or of a proxy before it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The request cannot be written as HTTP. Repeating it is of no use.
    Unsendable(Error),
    /// There was no connection, so the server cannot have seen the request.
    NotConnected(String),
    /// The connection broke. The server may have seen the request.
    Broken(String),
}

/// Exchanges a request for an answer. Tests bring their own.
pub(crate) trait Wire: Send + Sync {
    fn exchange<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, WireError>>;
}

/// The exchange over HTTP.
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    authorization: HeaderValue,
}

impl Http {
    pub(crate) fn new(
        base: Url,
        authorization: HeaderValue,
        user_agent: &str,
    ) -> Result<Self, Error> {
        use rustls::crypto::{CryptoProvider, ring};
        if CryptoProvider::get_default().is_none() {
            // If this fails, the host application has just chosen a provider, which is fine.
            let _ = ring::default_provider().install_default();
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if base.scheme() == "http" {
            // reqwest 0.13 asks for the machine's certificates even if no TLS is spoken.
            builder = builder.tls_certs_only([]);
            if is_loopback(&base) {
                // A proxy of the environment would get the key, and is on another host.
                builder = builder.no_proxy();
            }
        }
        let client = builder.build().map_err(|error| Error::Setup(chain(&error)))?;
        Ok(Self { client, base, authorization })
    }

    async fn run(&self, request: &Request) -> Result<Answer, WireError> {
        let headers = request.headers().map_err(WireError::Unsendable)?;
        let url = request.url(&self.base).map_err(WireError::Unsendable)?;
        let mut builder = self
            .client
            .request(request.method(), url)
            .headers(headers)
            .header(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = request.payload().map_err(WireError::Unsendable)? {
            builder = builder.body(body);
        }
        let mut response = builder.send().await.map_err(broken)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(WireError::Broken(format!("an answer of over {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }
}

impl Wire for Http {
    fn exchange<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, WireError>> {
        self.run(request).boxed()
    }
}

fn broken(error: reqwest::Error) -> WireError {
    let not_connected = error.is_connect();
    let text = chain(&error.without_url());
    if not_connected { WireError::NotConnected(text) } else { WireError::Broken(text) }
}

/// An error with all its causes. The useful one of reqwest is the last.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
