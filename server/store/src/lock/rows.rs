//! The rows of locks.

use crate::{
    core::{column::names, record::record},
    schema::LockRow,
};
use ifmatch_domain::lock::{LockEnd, LockName, LockRecord};
use ifmatch_types::LockScope;

names!(LockScope, LockEnd);

record! {
    LockRow => LockRecord {
        id,
        name: LockName { workspace_id, scope, function, key },
        version, fence, owner_digest, label, acquired_at, expires_at, ttl_ms, ended,
        previous_digest, previous_end, cooldown_until, changed_by,
    }
}
