//! Named locks: grants with an expiry and a fence.

mod acquire;
mod action;
mod fence;
mod force_release;
mod keep;
mod name;
mod need;
mod outcome;
mod owner;
mod record;
mod rejection;
mod state;
mod unclaimed;

pub use acquire::AcquireLock;
pub use action::Action;
pub(crate) use fence::{check_fence, want_fence};
pub use force_release::{FORCE_RELEASE, ForceReleaseLock};
pub use keep::{ExtendLock, ReleaseLock, RenewLock};
pub use name::LockName;
pub use need::Need;
pub use outcome::Outcome;
pub use owner::{OwnerSecret, OwnerToken};
pub use record::{LockEnd, LockRecord};
pub use rejection::Rejection;
pub use state::State;
pub use unclaimed::ReleaseUnclaimed;
