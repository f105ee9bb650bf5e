//! What a write would do.

use crate::{Difference, Problem, Verdict, Version};
use serde::{Deserialize, Serialize};

/// What a write would do to an object as it is now. Nothing was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preview {
    /// The version of the object.
    pub current_version: Version,
    /// How the write relates to what happened since the version it names.
    pub verdict: Verdict,
    /// Each path it would change, with its values before and after. If it would be refused: each
    /// path it asks to change.
    pub would_change: Vec<Difference>,
    /// Those of them that others changed since the version it names.
    pub would_overwrite: Vec<Difference>,
    /// The refusal that the write would get.
    pub would_refuse: Option<Box<Problem>>,
}
