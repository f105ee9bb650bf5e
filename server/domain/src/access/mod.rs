//! Access: creating, rotating and revoking API keys.

mod action;
mod api_key;
mod last_use;
mod need;
mod outcome;
mod rejection;
mod rotation;
mod state;
mod stored;

pub use action::Action;
pub use api_key::{CreateApiKey, RevokeApiKey};
pub use last_use::NoteUse;
pub use need::Need;
pub use outcome::Outcome;
pub use rejection::Rejection;
pub use rotation::RotateApiKey;
pub use state::{Named, State};
pub use stored::StoredApiKey;
