//! The answer of a list.

use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The objects, each with its `version`.
    pub items: Vec<T>,
    /// Give this as `?cursor=` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}
