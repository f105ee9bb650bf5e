//! Provisioning: servers of workspaces, made on a panel that may fail, lie and be late.
//!
//! A server is ordered in one commit, which reserves its credits. Workers call the panel between
//! commits, never inside one; [`step`] says what follows from each call. The server's row is locked
//! by every command about it, after the workspace's account and the workspace.

mod action;
mod calls;
mod limit;
mod need;
mod outcome;
mod product;
mod record;
mod rejection;
mod remote;
mod resolve;
mod saga;
mod server;
mod state;
mod timeline;

pub use action::Action;
pub use calls::{ClaimServer, RecordCall, StartCall};
pub use limit::Slots;
pub use need::Need;
pub use outcome::{Outcome, Recorded};
pub use product::unknown_field;
pub use record::{Progress, ServerRecord};
pub use rejection::Rejection;
pub use remote::{Observation, Remote, ServerSpec};
pub use resolve::ResolveServer;
pub use saga::{
    Doubt, Effect, EndedCall, JITTER_MAX_PERMILLE, Saga, Seen, Step, Windows, later, step,
};
pub use state::State;
pub use timeline::StoredEntry;
