//! The state that handlers and workers share.

use crate::{
    budget::Budget,
    http::{
        core::{denials::Denials, ops::Readiness},
        lock::Locks,
    },
    keyring::Keyring,
    lane::Lanes,
    listener::Places,
    metrics::Metrics,
    reads::Reads,
    streams::Streams,
    tail::Tail,
    workers::health::Workers,
};
use ifmatch_domain::provisioning::Windows;
use std::sync::{Arc, atomic::AtomicBool};

/// The state that handlers and workers share.
pub struct App {
    /// Carries out all writes.
    pub lanes: Lanes,
    /// Carries out all reads.
    pub reads: Arc<Reads>,
    /// The reader of new events.
    pub tail: Tail,
    /// The API keys that are accepted.
    pub keyring: Keyring,
    /// Whether the background work succeeds.
    pub workers: Workers,
    /// The refused forces that have no audit record yet.
    pub denials: Denials,
    /// Whether the database can be used.
    pub readiness: Readiness,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The bytes of large answers that wait for their clients.
    pub answers: Arc<Budget>,
    /// Whether the process is about to stop.
    pub stopping: AtomicBool,
    /// The places for connections.
    pub places: Arc<Places>,
    /// Who waits for locks, and the secret of their owners' tokens.
    pub locks: Locks,
    /// The windows of provisioning.
    pub windows: Windows,
    /// The open event streams.
    pub streams: Arc<Streams>,
}
