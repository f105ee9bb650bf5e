//! The invariants of locks, which `verify` checks.

use crate::core::verify::Check;

pub(crate) const CHECKS: &[Check] = &[
    (
        "a lock's grant is for at most a day from its last renewal",
        "SELECT id FROM locks WHERE ttl_ms > 86400000 OR ttl_ms < 1",
    ),
    (
        "a lock's workspace exists or did exist",
        "SELECT l.id FROM locks AS l WHERE l.workspace_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM workspaces AS w WHERE w.id = l.workspace_id)",
    ),
];
