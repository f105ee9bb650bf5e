//! Named locks.

pub mod acquisition;
pub mod locks;
pub mod look;
pub mod observe;
pub mod problem;
pub mod render;
pub mod routes;
pub mod unclaimed;
pub mod waiting;

use ifmatch_domain::lock::OwnerSecret;
use std::sync::Arc;
use waiting::WaitingRoom;

/// What the handlers of locks share.
pub struct Locks {
    /// The callers that wait for locks.
    pub room: Arc<WaitingRoom>,
    /// The secret that owner tokens are derived from.
    pub secret: OwnerSecret,
}
