//! The options of a client.

use crate::{
    Client, ConflictStorage, Error, SendBudget,
    client::{Settings, Shared},
    locks::SystemClock,
    open::OpenConflicts,
    pace::Bucket,
    request::KeyMark,
    wire::Http,
};
use reqwest::{Url, header::HeaderValue};
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

/// Builds a [`Client`].
///
/// ```
/// # fn example(key: String) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let billing = ifmatch::Client::builder("https://billing.example.com")
///     .key(key)
///     .send_timeout(Duration::from_secs(5))
///     .deadline(Duration::from_secs(20))
///     .attempts_max(5)
///     .on_behalf_of("ann@example.com")
///     .conflict_storage(ifmatch::FileStore::open("conflicts")?)
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct ClientBuilder {
    url: String,
    key: String,
    user_agent: String,
    on_behalf_of: Option<String>,
    settings: Settings,
    send_budget: SendBudget,
    conflicts_max: usize,
    storage: Option<Arc<dyn ConflictStorage>>,
    plain_http: bool,
}

impl fmt::Debug for ClientBuilder {
    /// Leaves out the key, and the URL because it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("user_agent", &self.user_agent)
            .field("on_behalf_of", &self.on_behalf_of)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            key: String::new(),
            user_agent: concat!("ifmatch-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            on_behalf_of: None,
            settings: Settings {
                send_timeout: Duration::from_secs(10),
                deadline: Duration::from_secs(30),
                attempts_max: 3,
            },
            send_budget: SendBudget::default(),
            conflicts_max: 1000,
            storage: None,
            plain_http: false,
        }
    }

    /// The API key. It appears in no log, error or `Debug` output of this crate.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080").key("ifm_…");
    /// ```
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Allows `http://` to another host than this one.
    ///
    /// Without TLS, whoever is on the way reads the API key and everything it can reach. Allow it
    /// only where the way is protected otherwise, such as in a service mesh.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://billing.internal:8080").allow_plain_http();
    /// ```
    pub fn allow_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// How long one send may take before it is repeated; 10 seconds by default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080")
    ///     .send_timeout(Duration::from_secs(3));
    /// ```
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.settings.send_timeout = timeout;
        self
    }

    /// How long a call may take, with all its sends, attempts and pauses; 30 seconds by default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080")
    ///     .deadline(Duration::from_secs(5));
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// Maximum new attempts after conflicts before the edit is parked; 3 by default.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080").attempts_max(5);
    /// ```
    pub fn attempts_max(mut self, attempts_max: u32) -> Self {
        self.settings.attempts_max = attempts_max;
        self
    }

    /// How many sends the client may repeat, over all its calls.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080")
    ///     .send_budget(ifmatch::SendBudget { capacity: 20, refill_per_second: 2 });
    /// ```
    pub fn send_budget(mut self, budget: SendBudget) -> Self {
        self.send_budget = budget;
        self
    }

    /// The user the client acts for, recorded beside the key's name in every change.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080").on_behalf_of("ann");
    /// ```
    pub fn on_behalf_of(mut self, user: impl Into<String>) -> Self {
        self.on_behalf_of = Some(user.into());
        self
    }

    /// The name of the application, in front of this crate's.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080").user_agent("shop/2.1");
    /// ```
    pub fn user_agent(mut self, application: &str) -> Self {
        self.user_agent = format!("{application} {}", self.user_agent);
        self
    }

    /// Keeps open conflicts over restarts. By default they live in memory only.
    ///
    /// ```
    /// # fn example() -> std::io::Result<()> {
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080")
    ///     .conflict_storage(ifmatch::FileStore::open("conflicts")?);
    /// # Ok(()) }
    /// ```
    pub fn conflict_storage(mut self, storage: impl ConflictStorage) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// How many conflicts may be open; 1000 by default.
    ///
    /// The next one fails its call with [`Error::ConflictStoreFull`], which holds the edit. Nothing
    /// is dropped to make room.
    ///
    /// ```
    /// let builder = ifmatch::Client::builder("http://127.0.0.1:8080").conflicts_max(50);
    /// ```
    pub fn conflicts_max(mut self, conflicts_max: usize) -> Self {
        self.conflicts_max = conflicts_max;
        self
    }

    /// Builds the client.
    ///
    /// ```
    /// # fn example(key: String) -> Result<(), ifmatch::Error> {
    /// let billing = ifmatch::Client::builder("http://127.0.0.1:8080").key(key).build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PlainHttp`] if the key would be sent without TLS to another host than this one,
    /// [`Error::Setup`] if the URL or the key cannot be used, [`Error::Storage`] if the open
    /// conflicts of an earlier run cannot be read.
    pub fn build(self) -> Result<Client, Error> {
        let base = base_url(&self.url)?;
        if base.scheme() == "http" && !self.plain_http && !is_loopback(&base) {
            return Err(Error::PlainHttp { host: base.host_str().unwrap_or_default().to_owned() });
        }
        if self.key.is_empty() {
            return Err(Error::Setup("there is no API key".to_owned()));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", self.key))
            .map_err(|_| Error::Setup("the API key is not a header value".to_owned()))?;
        authorization.set_sensitive(true);
        let http = Http::new(base, authorization, &self.user_agent)?;
        let shared = Shared {
            wire: Box::new(http),
            bucket: Bucket::new(self.send_budget),
            settings: self.settings,
            sender: KeyMark::of(&self.key),
            clock: Arc::new(SystemClock),
            failed_releases: Default::default(),
            store: Arc::new(OpenConflicts::load(self.storage, self.conflicts_max)?),
        };
        Ok(Client::new(shared, self.on_behalf_of))
    }
}

/// Whether requests to this URL stay on this host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // These names are reserved for this host (RFC 6761 §6.3).
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Checks the URL. Credentials, a query or a fragment may hold secrets and are refused.
fn base_url(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| Error::Setup(format!("bad URL: {error}")))?;
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "the URL must begin with http:// or https://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "the URL holds credentials; the API key belongs into `key`"
    } else if url.query().is_some() || url.fragment().is_some() {
        "the URL has a query or a fragment"
    } else if url.path().trim_end_matches('/').ends_with("/v1") {
        "the URL ends in /v1, which is added to it"
    } else {
        return Ok(url);
    };
    Err(Error::Setup(problem.to_owned()))
}
