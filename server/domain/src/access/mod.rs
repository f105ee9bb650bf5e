//! Access: creating and revoking API keys.

mod action;
mod api_key;
mod need;
mod outcome;
mod rejection;
mod state;
mod stored;

pub use action::Action;
pub use api_key::{CreateApiKey, RevokeApiKey};
pub use need::Need;
pub use outcome::Outcome;
pub use rejection::Rejection;
pub use state::{Named, State};
pub use stored::StoredApiKey;
