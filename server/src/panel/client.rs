//! The panel: where each call is made, measured and logged.

use super::{
    answer::Answered,
    config::{PanelConfig, PanelError, below},
    detail::clean,
    exchange::Exchange,
    pelican, pterodactyl,
};
use crate::metrics;
use ifmatch_domain::provisioning::{Observation, ServerRecord, unknown_field};
use ifmatch_types::{PanelCall, PanelKind};
use jiff::Timestamp;
use reqwest::{
    Method, Request, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use secrecy::SecretString;
use std::time::Instant;

/// A panel that servers are made on. It is shared in an `Arc`.
pub struct Panel {
    kind: PanelKind,
    servers: Url,
    key: SecretString,
    authorization: HeaderValue,
    exchange: Exchange,
}

/// How far a call came, for the log.
#[derive(Default)]
struct Trace {
    status: Option<u16>,
    failure: Option<&'static str>,
}

/// Why a call is not sent. The panel then did nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Unsent {
    #[error("not sent: the panel's id of the server is not known")]
    NoRemoteId,
    #[error("not sent: the product names {0}, which this panel does not know")]
    Misplaced(&'static str),
    #[error("not sent: this version does not know the call")]
    UnknownCall,
}

impl Unsent {
    fn told(self) -> Answered {
        let observation = match self {
            Self::Misplaced(_) => Observation::Refused,
            Self::NoRemoteId | Self::UnknownCall => Observation::Unclear,
        };
        Answered::because(observation, self.to_string())
    }
}

impl Panel {
    /// The panel of this configuration. It is not called yet.
    ///
    /// # Errors
    /// If the URL or the key cannot be used.
    pub fn new(config: PanelConfig) -> Result<Self, PanelError> {
        Ok(Self {
            kind: config.kind,
            servers: config.servers_url()?,
            authorization: config.authorization()?,
            exchange: Exchange::new(config.url.scheme(), config.timeout)?,
            key: config.key,
        })
    }

    /// Makes one call for a server and says what it told.
    ///
    /// It never fails and never repeats anything. If its future is dropped, the panel may still
    /// carry out the call.
    pub async fn call(&self, call: PanelCall, record: &ServerRecord) -> Answered {
        let started = Instant::now();
        let mut trace = Trace::default();
        let Answered { observation, detail } = self.observe(call, record, &mut trace).await;
        let detail = detail.map(|detail| clean(&detail, &self.key));
        let latency = started.elapsed();
        let name = observation.name().name();
        tracing::info!(
            server = record.server.id.as_str(),
            call = call.name(),
            kind = self.kind.name(),
            status = trace.status,
            failure = trace.failure,
            observation = name,
            latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            "panel called"
        );
        metrics::panel_called(call.name(), name, latency);
        Answered { observation, detail }
    }

    async fn observe(&self, call: PanelCall, record: &ServerRecord, trace: &mut Trace) -> Answered {
        let request = match self.request(call, record) {
            Ok(request) => request,
            Err(unsent) => {
                trace.failure = Some("not_sent");
                return unsent.told();
            }
        };
        match self.exchange.run(request).await {
            Ok(answer) => {
                trace.status = Some(answer.status);
                Answered::read(call, &record.server.external_id, &answer, Timestamp::now())
            }
            Err(failure) => {
                trace.failure = Some(failure.name());
                Answered::failed(&failure)
            }
        }
    }

    /// The request of a call.
    fn request(&self, call: PanelCall, record: &ServerRecord) -> Result<Request, Unsent> {
        let remote_id =
            || record.server.remote_id.map(|id| id.to_string()).ok_or(Unsent::NoRemoteId);
        let servers = &self.servers;
        let mut request = match call {
            PanelCall::Create => {
                let mut request = Request::new(Method::POST, servers.clone());
                request
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *request.body_mut() = Some(self.create(record)?.into());
                request
            }
            PanelCall::LookUp => {
                let segments = ["external", record.server.external_id.as_str()];
                Request::new(Method::GET, below(servers, &segments))
            }
            PanelCall::Suspend => empty_post(below(servers, &[&remote_id()?, "suspend"])),
            PanelCall::Unsuspend => empty_post(below(servers, &[&remote_id()?, "unsuspend"])),
            PanelCall::Delete => Request::new(Method::DELETE, below(servers, &[&remote_id()?])),
            PanelCall::Unknown(_) => return Err(Unsent::UnknownCall),
        };
        let accept = match self.kind {
            PanelKind::Pelican => pelican::ACCEPT,
            PanelKind::Pterodactyl | PanelKind::Unknown(_) => pterodactyl::ACCEPT,
        };
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Ok(request)
    }

    /// The body of a create. It is not sent if the panel would ignore where the server belongs.
    fn create(&self, record: &ServerRecord) -> Result<Vec<u8>, Unsent> {
        let deploy = &record.spec.deploy;
        let is_placed = match self.kind {
            PanelKind::Pelican => !deploy.tags.is_empty(),
            PanelKind::Pterodactyl | PanelKind::Unknown(_) => !deploy.locations.is_empty(),
        };
        if let Some(field) = unknown_field(deploy, self.kind)
            && !is_placed
        {
            return Err(Unsent::Misplaced(field));
        }
        Ok(match self.kind {
            PanelKind::Pelican => pelican::create(record),
            PanelKind::Pterodactyl | PanelKind::Unknown(_) => pterodactyl::create(record),
        })
    }
}

/// A POST without a body. Some proxies refuse one that does not name its length.
fn empty_post(url: Url) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    request
}
