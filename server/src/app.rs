//! The state that handlers and workers share.

use crate::{
    keyring::Keyring, lane::Lanes, metrics::Metrics, reads::Reads, streams::Streams, tail::Tail,
    workers::health::Workers,
};
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
    /// The metrics of this process.
    pub metrics: Metrics,
    /// Whether the process is about to stop.
    pub stopping: AtomicBool,
    /// The open event streams.
    pub streams: Arc<Streams>,
}
