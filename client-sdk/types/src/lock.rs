//! Named locks with an expiry, and the fences of their grants.

use crate::{Timestamp, WorkspaceId, known};

names! {
    /// Whose names a lock's key is one of.
    LockScope {
        /// The key alone names the lock.
        Global = "global",
        /// The name of a function and the key name the lock.
        Function = "function",
    }
}

/// Maximum length of a key, and of the name of a function.
const NAME_LENGTH_MAX: usize = 200;

/// Whether a text can be a lock's key or the name of a function: `^[A-Za-z0-9\-_:.]{1,200}$`.
pub fn is_lock_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

const fn global() -> LockScope {
    LockScope::Global
}

wire! {
    /// A lock to acquire.
    #[serde(deny_unknown_fields)]
    pub struct NewLock {
        /// How long it is held unless it is renewed, 1 ms to 24 h.
        pub ttl_ms: i64,
        /// Default: `global`.
        #[serde(default = "global", deserialize_with = "known::read")]
        pub scope: LockScope,
        /// The function; required with the scope `function`, and only allowed there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub function: Option<String>,
        /// How long to wait for it, 0 (the default) to 45,000 ms.
        #[serde(default)]
        pub wait_ms: i64,
        /// A description of the holder for people, ≤ 200 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub label: Option<String>,
        /// The workspace in whose space the lock is. Default: that of a scoped key, else the
        /// installation's own space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A grant to end or to renew.
    #[serde(deny_unknown_fields)]
    pub struct LockOwner {
        /// The owner token of the grant.
        pub owner: String,
        /// Default: `global`.
        #[serde(default = "global", deserialize_with = "known::read")]
        pub scope: LockScope,
        /// The function; required with the scope `function`, and only allowed there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub function: Option<String>,
        /// The workspace in whose space the lock is. Default: that of a scoped key, else the
        /// installation's own space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A grant to extend.
    #[serde(deny_unknown_fields)]
    pub struct LockExtension {
        /// The owner token of the grant.
        pub owner: String,
        /// How much later it expires, ≥ 1 ms. The time that is left is at most 24 h then.
        pub additional_ms: i64,
        /// Default: `global`.
        #[serde(default = "global", deserialize_with = "known::read")]
        pub scope: LockScope,
        /// The function; required with the scope `function`, and only allowed there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub function: Option<String>,
        /// The workspace in whose space the lock is. Default: that of a scoped key, else the
        /// installation's own space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A lock to take away from its holder.
    #[serde(deny_unknown_fields)]
    pub struct LockForceRelease {
        /// Why, 1–500 characters.
        pub reason: String,
        /// How long nobody can acquire it, 0 (the default) to 24 h.
        #[serde(default)]
        pub cooldown_ms: i64,
        /// Default: `global`.
        #[serde(default = "global", deserialize_with = "known::read")]
        pub scope: LockScope,
        /// The function; required with the scope `function`, and only allowed there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub function: Option<String>,
        /// The workspace in whose space the lock is. Default: the installation's own space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A lock that was acquired.
    pub struct LockGrant {
        /// The workspace in whose space the lock is; `null`: the installation's own space.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The key.
        pub key: String,
        /// The scope.
        pub scope: LockScope,
        /// The function, with the scope `function`.
        pub function: Option<String>,
        /// The owner token: whoever knows it can renew and release the grant.
        pub owner: String,
        /// The number of the grant. Each grant of this lock has a higher one than all before it.
        pub fence: i64,
        /// When it was acquired, by the clock of the server or its database.
        pub acquired_at: Timestamp,
        /// When it expires, by the same clock.
        pub expires_at: Timestamp,
        /// How long it is still held, in milliseconds.
        pub ttl_remaining_ms: i64,
        /// How long the caller waited for it, in milliseconds.
        pub waited_ms: i64,
    }

    /// A grant that was extended or renewed.
    pub struct LockRenewal {
        /// The workspace in whose space the lock is; `null`: the installation's own space.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The key.
        pub key: String,
        /// The scope.
        pub scope: LockScope,
        /// The function, with the scope `function`.
        pub function: Option<String>,
        /// The number of the grant.
        pub fence: i64,
        /// When it was acquired, by the clock of the server or its database.
        pub acquired_at: Timestamp,
        /// When it expires, by the same clock.
        pub expires_at: Timestamp,
        /// How long it is still held, in milliseconds.
        pub ttl_remaining_ms: i64,
    }

    /// A lock as it is now.
    pub struct Lock {
        /// The workspace in whose space the lock is; `null`: the installation's own space.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The key.
        pub key: String,
        /// The scope.
        pub scope: LockScope,
        /// The function, with the scope `function`.
        pub function: Option<String>,
        /// Whether somebody holds it.
        pub locked: bool,
        /// How its holder describes itself; `null` if nobody holds it.
        pub label: Option<String>,
        /// The number of its latest grant or forced release; 0 if there was none.
        pub fence: i64,
        /// When its holder acquired it; `null` if nobody holds it.
        pub acquired_at: Option<Timestamp>,
        /// When its holder's grant expires; `null` if nobody holds it.
        pub expires_at: Option<Timestamp>,
        /// How long it is still held, in milliseconds; 0 if nobody holds it.
        pub ttl_remaining_ms: i64,
        /// Until when nobody can acquire it, after a forced release.
        pub cooldown_until: Option<Timestamp>,
        /// How many callers of this server process wait for it.
        pub waiters: u64,
    }

    /// The part of a problem body that `LOCK_ACQUISITION_FAILED` and `LOCK_TIMEOUT` add.
    pub struct LockHeld {
        /// The workspace in whose space the lock is; `null`: the installation's own space.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The key.
        pub key: String,
        /// The scope.
        pub scope: LockScope,
        /// The function, with the scope `function`.
        pub function: Option<String>,
        /// How its holder describes itself; `null` if nobody holds it.
        pub label: Option<String>,
        /// When its holder's grant expires; `null` if nobody holds it.
        pub expires_at: Option<Timestamp>,
        /// Until when nobody can acquire it, after a forced release.
        pub cooldown_until: Option<Timestamp>,
        /// How long the caller waited in vain, in milliseconds.
        #[serde(default)]
        pub waited_ms: i64,
    }
}

impl NewLock {
    /// A global lock that is not waited for, for struct updates.
    pub const fn new(ttl_ms: i64) -> Self {
        let scope = LockScope::Global;
        Self { ttl_ms, scope, function: None, wait_ms: 0, label: None, workspace_id: None }
    }
}
