//! Products and servers: what can be provisioned, and how far a server has come on the panel.

use crate::{ProductId, ServerId, Timestamp, TransferId, Version, WorkspaceId, known};
use serde::Deserialize;
use std::collections::BTreeMap;

names! {
    /// The panel that servers are made on.
    PanelKind {
        /// Pterodactyl, 1.11.
        Pterodactyl = "pterodactyl",
        /// Pelican, 1.0.
        Pelican = "pelican",
    }

    /// Whether a product can be ordered.
    ProductStatus {
        /// It can be ordered.
        Active = "active",
        /// No new servers are made of it. Existing ones stay.
        Archived = "archived",
    }

    /// The life cycle of a server.
    ServerStatus {
        /// It was ordered, and its credits are reserved.
        Provisioning = "provisioning",
        /// It exists on the panel, and its credits are charged.
        Active = "active",
        /// It was not made, and its credits were given back.
        Failed = "failed",
        /// Whether it exists on the panel is not known. It is looked up until that is certain.
        PendingReconciliation = "pending_reconciliation",
        /// It is being deleted on the panel.
        Deprovisioning = "deprovisioning",
        /// It was deleted on the panel.
        Deleted = "deleted",
    }

    /// A call of the panel.
    PanelCall {
        /// Creates the server. It is never sent again once its outcome is unknown.
        Create = "create",
        /// Looks the server up by its external id.
        LookUp = "look_up",
        /// Suspends the server.
        Suspend = "suspend",
        /// Ends the suspension.
        Unsuspend = "unsuspend",
        /// Deletes the server.
        Delete = "delete",
    }

    /// What a call of the panel told.
    PanelObservation {
        /// The server was created.
        Created = "created",
        /// The server exists.
        Found = "found",
        /// The server does not exist.
        Absent = "absent",
        /// The panel did what it was asked for.
        Done = "done",
        /// Another server of the panel has this external id.
        Taken = "taken",
        /// The panel refused the request's fields.
        Refused = "refused",
        /// The panel refused the key.
        Unauthorized = "unauthorized",
        /// The panel was asked too often.
        Throttled = "throttled",
        /// The connection never opened, so the panel saw nothing.
        NotConnected = "not_connected",
        /// The answer tells nothing, or none came.
        Unclear = "unclear",
        /// The worker ended during the call.
        Lost = "lost",
    }

    /// What follows from a call of the panel.
    ServerVerdict {
        /// The server is active, and its credits are charged.
        Active = "active",
        /// The server failed, and its credits were given back.
        Failed = "failed",
        /// The server is deleted.
        Deleted = "deleted",
        /// The outcome of the call is unknown. Later lookups decide.
        InDoubt = "in_doubt",
        /// The panel refused the server. One lookup confirms that it was not made.
        Confirm = "confirm",
        /// It is too early to tell; or a lookup told nothing.
        Wait = "wait",
        /// The server was absent once. A second absence decides.
        AbsentOnce = "absent_once",
        /// A server with this id exists, but with another user, egg or limits. A person decides.
        Mismatch = "mismatch",
        /// The call is repeated later.
        Repeat = "repeat",
        /// The suspension is as it is wanted.
        InSync = "in_sync",
        /// A failed server appeared on the panel. It is deleted there.
        Orphan = "orphan",
        /// A server that appeared after its failure was deleted on the panel.
        OrphanDeleted = "orphan_deleted",
        /// A failed server is still absent.
        StillAbsent = "still_absent",
    }

    /// A step in a server's timeline.
    ServerStep {
        /// It was ordered.
        Requested = "requested",
        /// A worker took it.
        Claimed = "claimed",
        /// A call of the panel began.
        Called = "called",
        /// The call ended, or its worker did.
        Observed = "observed",
        /// An admin decided.
        Resolved = "resolved",
        /// Its deletion was ordered.
        Deprovisioned = "deprovisioned",
        /// Its suspension or the end of it was ordered.
        Switched = "switched",
    }

    /// An admin's decision about a server in `pending_reconciliation`.
    Resolve {
        /// The server exists on the panel: it becomes active and is charged.
        Adopt = "adopt",
        /// The server does not exist: it fails and is not charged.
        Fail = "fail",
    }
}

/// The environment of a server: its variables by name.
pub type Environment = BTreeMap<String, String>;

const fn disk_io() -> i64 {
    500
}

wire! {
    /// The limits of a server.
    #[derive(Eq, Hash)]
    #[serde(deny_unknown_fields)]
    pub struct ServerLimits {
        /// Memory in MiB; 0 for no limit.
        pub memory: i64,
        /// Swap in MiB; 0 for none, -1 for no limit.
        #[serde(default)]
        pub swap: i64,
        /// Disk space in MiB; 0 for no limit.
        pub disk: i64,
        /// The weight of its disk accesses, 10–1,000.
        #[serde(default = "disk_io")]
        pub io: i64,
        /// Processor time in per cent of one core; 0 for no limit.
        #[serde(default)]
        pub cpu: i64,
    }

    /// How many of the panel's other things a server may have.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct FeatureLimits {
        /// Databases.
        #[serde(default)]
        pub databases: i64,
        /// Allocations beside the first.
        #[serde(default)]
        pub allocations: i64,
        /// Backups.
        #[serde(default)]
        pub backups: i64,
    }

    /// Where the panel may put a server.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct Deploy {
        /// The ids of locations; Pterodactyl only.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub locations: Vec<i64>,
        /// The tags of nodes; Pelican only.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub tags: Vec<String>,
        /// Whether the server needs an IP address of its own.
        #[serde(default)]
        pub dedicated_ip: bool,
        /// Ports or ranges of ports that it may get: `25565`, `25565-25600`.
        #[serde(default)]
        pub port_range: Vec<String>,
    }

    /// Something that can be provisioned: a price in credits, and what the panel is told.
    pub struct Product {
        /// `prd_…`
        pub id: ProductId,
        /// The number of this state.
        pub version: Version,
        /// The name shown to people.
        pub name: String,
        /// The price of one server in credits, ≥ 0.
        pub price_credits: i64,
        /// The panel's id of the egg.
        pub egg: i64,
        /// The container image.
        pub docker_image: String,
        /// The start-up command.
        pub startup: String,
        /// The variables of the egg.
        pub environment: Environment,
        /// The server's limits.
        #[serde(deserialize_with = "ShownLimits::deserialize")]
        pub limits: ServerLimits,
        /// How many of the panel's other things it may have.
        #[serde(deserialize_with = "ShownFeatureLimits::deserialize")]
        pub feature_limits: FeatureLimits,
        /// Where the panel may put it.
        #[serde(deserialize_with = "ShownDeploy::deserialize")]
        pub deploy: Deploy,
        /// How many servers of it one workspace may have at a time; `null` for no limit.
        pub max_per_workspace: Option<i64>,
        /// Whether it can be ordered.
        pub status: ProductStatus,
        /// When it was created.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Product`].
    #[serde(deny_unknown_fields)]
    pub struct ProductFields {
        /// The name shown to people, 1–200 characters.
        pub name: String,
        /// The price of one server in credits, ≥ 0.
        pub price_credits: i64,
        /// The panel's id of the egg, ≥ 1.
        pub egg: i64,
        /// The container image, 1–500 characters.
        pub docker_image: String,
        /// The start-up command, 1–5,000 characters.
        pub startup: String,
        /// The variables of the egg, ≤ 100; names ≤ 191 characters, values ≤ 2,000.
        #[serde(default)]
        pub environment: Environment,
        /// The server's limits.
        pub limits: ServerLimits,
        /// How many of the panel's other things it may have.
        #[serde(default)]
        pub feature_limits: FeatureLimits,
        /// Where the panel may put it.
        pub deploy: Deploy,
        /// How many servers of it one workspace may have at a time, ≥ 1; `null` for no limit.
        #[serde(default)]
        pub max_per_workspace: Option<i64>,
        /// Default: `active` at creation, unchanged in a replace.
        #[serde(default, deserialize_with = "known::read")]
        pub status: Option<ProductStatus>,
    }

    /// A server of a workspace: ordered here, made on the panel.
    pub struct Server {
        /// `srv_…`
        pub id: ServerId,
        /// The number of this state.
        pub version: Version,
        /// The workspace that pays for it.
        pub workspace_id: WorkspaceId,
        /// The product.
        pub product_id: ProductId,
        /// The name shown to people. A change of it does not reach the panel.
        pub name: String,
        /// The panel's numeric id of the user who owns it.
        pub panel_user: i64,
        /// Its status.
        pub status: ServerStatus,
        /// Whether it should be suspended.
        pub suspended: bool,
        /// Whether it is suspended on the panel, as far as is known.
        pub suspended_on_panel: bool,
        /// The external id on the panel: the id of this server.
        pub external_id: String,
        /// The panel's numeric id of it.
        pub remote_id: Option<i64>,
        /// The panel's UUID of it.
        pub remote_uuid: Option<String>,
        /// The panel's own word for its state, as last seen. It proves nothing.
        pub panel_status: Option<String>,
        /// The reservation of its credits, `trf_…`; `null` if it costs nothing.
        pub reservation_id: Option<TransferId>,
        /// Its price in credits.
        pub price_credits: i64,
        /// How many calls of the panel were made for it.
        pub attempts: i64,
        /// What the last call told.
        pub last_observation: Option<PanelObservation>,
        /// When the panel is called next, at the earliest.
        pub next_check_at: Option<Timestamp>,
        /// When it was ordered.
        pub created_at: Timestamp,
        /// When this version was made.
        pub updated_at: Timestamp,
        /// The name of the API key that made this version.
        pub updated_by: String,
    }

    /// The settable fields of a [`Server`].
    #[serde(deny_unknown_fields)]
    pub struct ServerFields {
        /// The workspace that pays for it; set once.
        pub workspace_id: WorkspaceId,
        /// The product; set once.
        pub product_id: ProductId,
        /// The name shown to people, 1–191 characters.
        pub name: String,
        /// The panel's numeric id of the user who owns it, ≥ 1; set once.
        pub panel_user: i64,
        /// Whether it should be suspended. Default: no at creation, unchanged in a replace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub suspended: Option<bool>,
    }

    /// An admin's decision about a server whose fate is unknown.
    #[serde(deny_unknown_fields)]
    pub struct NewResolution {
        /// The decision.
        #[serde(deserialize_with = "known::read")]
        pub verdict: Resolve,
        /// The panel's numeric id of the server, ≥ 1; for `adopt`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub remote_id: Option<i64>,
        /// Why, 1–500 characters.
        pub reason: String,
    }

    /// One entry of a server's timeline. It never changes.
    pub struct ServerEntry {
        /// Its number, from 1, without a gap.
        pub seq: i64,
        /// When it was written.
        pub at: Timestamp,
        /// The step.
        pub step: ServerStep,
        /// The call of the panel that it is about.
        pub call: Option<PanelCall>,
        /// What the call told.
        pub observation: Option<PanelObservation>,
        /// What followed from it.
        pub verdict: Option<ServerVerdict>,
        /// More about it: the panel's own words, or a reason.
        pub detail: Option<String>,
        /// The server's status after it.
        pub status: ServerStatus,
        /// The number of the claim that it belongs to.
        pub generation: i64,
        /// The author: an API key or a worker.
        pub by: String,
    }
}

impl Default for ServerLimits {
    /// No limit.
    fn default() -> Self {
        Self { memory: 0, swap: 0, disk: 0, io: disk_io(), cpu: 0 }
    }
}

impl ServerFields {
    /// A server of a product, for struct updates.
    pub fn new(
        workspace_id: WorkspaceId,
        product_id: ProductId,
        name: impl Into<String>,
        panel_user: i64,
    ) -> Self {
        Self { workspace_id, product_id, name: name.into(), panel_user, suspended: None }
    }
}

impl NewResolution {
    /// The server exists on the panel with this numeric id: it becomes active and is charged.
    pub fn adopt(remote_id: i64, reason: impl Into<String>) -> Self {
        Self { verdict: Resolve::Adopt, remote_id: Some(remote_id), reason: reason.into() }
    }

    /// The server does not exist on the panel: it fails, and its credits are given back.
    pub fn fail(reason: impl Into<String>) -> Self {
        Self { verdict: Resolve::Fail, remote_id: None, reason: reason.into() }
    }
}

/// The limits of an answer. A newer server may show more there than a request may say.
#[derive(Deserialize)]
#[serde(remote = "ServerLimits")]
struct ShownLimits {
    memory: i64,
    #[serde(default)]
    swap: i64,
    disk: i64,
    #[serde(default = "disk_io")]
    io: i64,
    #[serde(default)]
    cpu: i64,
}

/// As [`ShownLimits`].
#[derive(Deserialize)]
#[serde(remote = "FeatureLimits")]
struct ShownFeatureLimits {
    #[serde(default)]
    databases: i64,
    #[serde(default)]
    allocations: i64,
    #[serde(default)]
    backups: i64,
}

/// As [`ShownLimits`].
#[derive(Deserialize)]
#[serde(remote = "Deploy")]
struct ShownDeploy {
    #[serde(default)]
    locations: Vec<i64>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    dedicated_ip: bool,
    #[serde(default)]
    port_range: Vec<String>,
}
