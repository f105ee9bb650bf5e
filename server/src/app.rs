//! What all handlers share.

use crate::{
    http::{limit::Limiter, refused::Refusals},
    keyring::Keyring,
    lane::Lanes,
    metrics::Metrics,
    reads::Reads,
    workers::health::Workers,
};
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::Semaphore;

/// What all handlers share.
pub struct App {
    /// The way to every write.
    pub lanes: Lanes,
    /// The way to every read.
    pub reads: Arc<Reads>,
    /// The API keys that are accepted.
    pub keyring: Keyring,
    /// The rate limit.
    pub limiter: Limiter,
    /// Writes that were refused a moment ago.
    pub refusals: Refusals,
    /// Whether the background work succeeds.
    pub workers: Workers,
    /// What is counted.
    pub metrics: Metrics,
    /// The OpenAPI document, as JSON text.
    pub openapi: String,
    /// Whether the process is about to stop.
    pub stopping: AtomicBool,
    /// How many event streams may be open.
    pub streams: Arc<Semaphore>,
}
