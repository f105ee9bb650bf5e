//! What handlers and workers share.

use crate::{keyring::Keyring, lane::Lanes, metrics::Metrics, reads::Reads};
use std::sync::{Arc, atomic::AtomicBool};
use tokio::sync::Semaphore;

/// What handlers and workers share.
pub struct App {
    /// The way to every write.
    pub lanes: Lanes,
    /// The way to every read.
    pub reads: Arc<Reads>,
    /// The API keys that are accepted.
    pub keyring: Keyring,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// Whether the process is about to stop.
    pub stopping: AtomicBool,
    /// How many event streams may be open.
    pub streams: Arc<Semaphore>,
}
