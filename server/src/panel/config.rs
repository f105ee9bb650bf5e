//! Which panel is called, and with which key.

use ifmatch_types::PanelKind;
use reqwest::{
    Url,
    header::{HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// Where the panel is, and how it is called.
#[derive(Clone, Debug)]
pub struct PanelConfig {
    /// The software of the panel.
    pub kind: PanelKind,
    /// The panel's address, without `/api`. A path before it is kept.
    pub url: Url,
    /// A key of the panel's Application API that may read and write servers.
    pub key: SecretString,
    /// The longest time that a call takes: connection, answer and body.
    pub timeout: Duration,
}

/// Why the panel cannot be called with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum PanelError {
    /// The URL has another scheme.
    #[error("the panel's URL must begin with http:// or https://")]
    Scheme,
    /// The URL has no host.
    #[error("the panel's URL has no host")]
    Host,
    /// The URL holds a user name or a password.
    #[error("the panel's URL holds credentials; only its key is used")]
    Credentials,
    /// The URL has a query or a fragment.
    #[error("the panel's URL has a query or a fragment")]
    Query,
    /// The URL leads into the panel's API.
    #[error("leave out /api; the server adds it")]
    Path,
    /// The key is empty.
    #[error("the panel's key is empty")]
    NoKey,
    /// The key has characters that no header can hold.
    #[error("the panel's key cannot be sent in a header")]
    Key(#[source] InvalidHeaderValue),
    /// The HTTP client cannot be made.
    #[error("the HTTP client for the panel cannot be made; are CA certificates installed?")]
    Client(#[source] reqwest::Error),
}

impl PanelConfig {
    /// The URL of the panel's servers.
    pub(super) fn servers_url(&self) -> Result<Url, PanelError> {
        let url = &self.url;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PanelError::Scheme);
        }
        if !url.has_host() {
            return Err(PanelError::Host);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PanelError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(PanelError::Query);
        }
        let path = url.path().trim_end_matches('/');
        if ["/api", "/api/application", "/api/client"].iter().any(|end| path.ends_with(end)) {
            return Err(PanelError::Path);
        }
        Ok(below(url, &["api", "application", "servers"]))
    }

    /// The value of the `Authorization` header.
    pub(super) fn authorization(&self) -> Result<HeaderValue, PanelError> {
        let key = self.key.expose_secret();
        if key.trim().is_empty() {
            return Err(PanelError::NoKey);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(PanelError::Key)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The URL with these segments after its path.
pub(super) fn below(url: &Url, segments: &[&str]) -> Url {
    let mut url = url.clone();
    url.path_segments_mut().expect("an http URL has a path").pop_if_empty().extend(segments);
    url
}
