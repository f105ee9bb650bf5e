//! Outcomes of commands about servers.

use super::ServerRecord;
use crate::core;
use ifmatch_types::{ServerStatus, ServerVerdict};

/// The outcome of a command about a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A versioned object.
    Core(core::Outcome),
    /// A worker's claim: the server with the call to make. `None` if no call is due.
    Claimed(Option<Box<ServerRecord>>),
    /// Whether the worker may call the panel.
    Called(bool),
    /// A call was recorded. `None` if another worker has claimed the server since.
    Recorded(Option<Recorded>),
}

/// What followed from a recorded call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The conclusion.
    pub verdict: ServerVerdict,
    /// The server's status now.
    pub status: ServerStatus,
}

impl From<core::Outcome> for Outcome {
    fn from(outcome: core::Outcome) -> Self {
        Self::Core(outcome)
    }
}
