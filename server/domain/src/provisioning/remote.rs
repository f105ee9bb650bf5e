//! The panel's side of a server: what it is asked for, and what it tells.

use super::Seen;
use ifmatch_types::{
    Deploy, Environment, FeatureLimits, PanelObservation, Product, Server, ServerLimits,
};
use serde::{Deserialize, Serialize};

/// What the panel is asked for: the product as it was when the server was ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The panel's id of the egg.
    pub egg: i64,
    /// The container image.
    pub docker_image: String,
    /// The start-up command.
    pub startup: String,
    /// The variables of the egg.
    pub environment: Environment,
    /// The server's limits.
    pub limits: ServerLimits,
    /// How many of the panel's other things it may have.
    pub feature_limits: FeatureLimits,
    /// Where the panel may put it.
    pub deploy: Deploy,
}

impl ServerSpec {
    /// The spec of a server of this product.
    pub fn of(product: &Product) -> Self {
        Self {
            egg: product.egg,
            docker_image: product.docker_image.clone(),
            startup: product.startup.clone(),
            environment: product.environment.clone(),
            limits: product.limits.clone(),
            feature_limits: product.feature_limits.clone(),
            deploy: product.deploy.clone(),
        }
    }
}

/// A server as the panel shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// The panel's numeric id.
    pub id: i64,
    /// The panel's UUID.
    pub uuid: String,
    /// The id that it was created with.
    pub external_id: Option<String>,
    /// The panel's id of its owner.
    pub user: i64,
    /// The panel's id of its egg.
    pub egg: i64,
    /// Its limits.
    pub limits: ServerLimits,
    /// The panel's own word for its state.
    pub status: Option<String>,
    /// Whether it is suspended.
    pub suspended: bool,
}

impl Remote {
    /// Whether it is the server that was ordered.
    pub fn is(&self, server: &Server, spec: &ServerSpec) -> bool {
        self.external_id.as_deref() == Some(server.external_id.as_str())
            && self.user == server.panel_user
            && self.egg == spec.egg
            && self.limits == spec.limits
    }
}

/// What a call of the panel told.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A create was answered with this server.
    Created(Remote),
    /// A lookup found this server.
    Found(Remote),
    /// There is no such server.
    Absent,
    /// A suspension, its end or a deletion was carried out.
    Done,
    /// A create was refused, because another server has the external id.
    Taken,
    /// A create was refused for its fields.
    Refused,
    /// The key was refused.
    Unauthorized,
    /// The panel was asked too often.
    Throttled {
        /// When to ask again, in milliseconds from now.
        retry_after_ms: i64,
    },
    /// The connection never opened.
    NotConnected,
    /// Nothing can be concluded.
    Unclear,
}

impl Observation {
    /// The name on the wire.
    pub const fn name(&self) -> PanelObservation {
        match self {
            Self::Created(_) => PanelObservation::Created,
            Self::Found(_) => PanelObservation::Found,
            Self::Absent => PanelObservation::Absent,
            Self::Done => PanelObservation::Done,
            Self::Taken => PanelObservation::Taken,
            Self::Refused => PanelObservation::Refused,
            Self::Unauthorized => PanelObservation::Unauthorized,
            Self::Throttled { .. } => PanelObservation::Throttled,
            Self::NotConnected => PanelObservation::NotConnected,
            Self::Unclear => PanelObservation::Unclear,
        }
    }

    /// The server that it shows.
    pub const fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Created(remote) | Self::Found(remote) => Some(remote),
            _ => None,
        }
    }

    /// What it tells about a server.
    pub(super) fn seen(&self, server: &Server, spec: &ServerSpec) -> Seen {
        match self {
            Self::Created(remote) | Self::Found(remote) => {
                Seen::Exists { remote_id: remote.id, is_ours: remote.is(server, spec) }
            }
            Self::Absent => Seen::Absent,
            Self::Done => Seen::Done,
            Self::Taken => Seen::Taken,
            Self::Refused => Seen::Refused,
            Self::Unauthorized => Seen::Unauthorized,
            Self::Throttled { retry_after_ms } => {
                Seen::Throttled { retry_after_ms: *retry_after_ms }
            }
            Self::NotConnected => Seen::NotConnected,
            Self::Unclear => Seen::Unclear,
        }
    }
}
