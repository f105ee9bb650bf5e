//! API keys.

mod load;
mod reads;
mod rows;
mod save;

pub(crate) use load::Wanted;
pub use reads::ApiKeyTally;
pub(crate) use save::SAVES;
