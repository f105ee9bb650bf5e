//! The names of locks.

use crate::core::{self, Context, Errors, Fence};
use ifmatch_types::{Kind, Lock, LockHeld, LockScope, WorkspaceId, lock::is_lock_name};

/// The name of a lock: its space, scope, function and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName {
    /// The workspace in whose space it is. `None`: the installation's own space.
    pub workspace_id: Option<WorkspaceId>,
    /// The scope.
    pub scope: LockScope,
    /// The function, with the scope `function`.
    pub function: Option<String>,
    /// The key.
    pub key: String,
}

impl LockName {
    /// Checks the parts of a name.
    ///
    /// # Errors
    ///
    /// [`Invalid`](core::Rejection::Invalid) with each wrong field.
    pub fn new(
        workspace_id: Option<WorkspaceId>,
        scope: LockScope,
        function: Option<String>,
        key: &str,
    ) -> Result<Self, core::Rejection> {
        let mut errors = Errors::default();
        let allowed = "must have 1 to 200 characters from A-Z a-z 0-9 - _ : .";
        if !is_lock_name(key) {
            errors.push("/key", allowed);
        }
        match (scope, &function) {
            (LockScope::Function, Some(function)) if is_lock_name(function) => {}
            (LockScope::Function, Some(_)) => errors.push("/function", allowed),
            (LockScope::Function, None) => {
                errors.push("/function", "is required with the scope function");
            }
            (LockScope::Global, Some(_)) => {
                errors.push("/function", "is only allowed with the scope function");
            }
            (LockScope::Global, None) => {}
            (LockScope::Unknown(_), _) => errors.push("/scope", "must be global or function"),
        }
        errors.into_result()?;
        Ok(Self { workspace_id, scope, function, key: key.to_owned() })
    }

    /// The id of the lock's row: `<workspace>/<scope>/<function>/<key>`.
    ///
    /// No part contains a slash, so that two names never have one id.
    pub fn id(&self) -> String {
        let space = self.workspace_id.as_ref().map_or("", WorkspaceId::as_str);
        let function = self.function.as_deref().unwrap_or_default();
        id_of(space, &format!("{}/{function}/{}", self.scope.name(), self.key))
    }

    /// The name of a lock that the API shows.
    pub fn of(lock: &Lock) -> Self {
        let Lock { workspace_id, scope, function, key, .. } = lock.clone();
        Self { workspace_id, scope, function, key }
    }

    /// A lock without a row, as the API shows it: nobody has held it, at least not for long.
    pub fn never_held(&self, waiters: u64) -> Lock {
        let Self { workspace_id, scope, function, key } = self.clone();
        Lock {
            workspace_id,
            key,
            scope,
            function,
            locked: false,
            label: None,
            fence: 0,
            acquired_at: None,
            expires_at: None,
            ttl_remaining_ms: 0,
            cooldown_until: None,
            waiters,
        }
    }

    /// What a caller is told that waited in vain and of whose holder nothing is known.
    pub fn held_by_unknown(&self) -> LockHeld {
        let Self { workspace_id, scope, function, key } = self.clone();
        LockHeld {
            workspace_id,
            key,
            scope,
            function,
            label: None,
            expires_at: None,
            cooldown_until: None,
            waited_ms: 0,
        }
    }

    /// Refuses a lock in a space that the caller's key does not see.
    pub(super) fn see(&self, ctx: &Context<'_>) -> Result<(), core::Rejection> {
        match (&ctx.meta.actor.workspace_id, &self.workspace_id) {
            (Some(own), Some(named)) if own != named => {
                Err(core::Rejection::not_found(Kind::Workspace, named.as_str()))
            }
            (Some(_), None) => Err(core::Rejection::NeedsUnscopedKey),
            _ => Ok(()),
        }
    }
}

/// The id of the lock that a fence belongs to.
pub(super) fn id_of_fence(fence: &Fence) -> String {
    id_of(fence.workspace_id.as_deref().unwrap_or_default(), &fence.lock)
}

fn id_of(space: &str, rest: &str) -> String {
    format!("{space}/{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(scope: LockScope, function: Option<&str>, key: &str) -> Result<String, Vec<String>> {
        let name = LockName::new(None, scope, function.map(str::to_owned), key);
        name.map(|name| name.id()).map_err(|rejection| match rejection {
            core::Rejection::Invalid(errors) => errors.into_iter().map(|e| e.path).collect(),
            other => vec![format!("{other:?}")],
        })
    }

    #[test]
    fn a_key_of_a_function_is_another_lock_than_a_global_one() {
        let (global, function) = (LockScope::Global, LockScope::Function);
        assert_eq!(id(global, None, "f:k").unwrap(), "/global//f:k");
        assert_eq!(id(function, Some("f"), "k").unwrap(), "/function/f/k");
        let own = LockName::new(Some(WorkspaceId::from_unchecked("wsp_1")), global, None, "k");
        assert_eq!(own.unwrap().id(), "wsp_1/global//k");
    }

    #[test]
    fn wrong_parts_are_named() {
        let (global, function) = (LockScope::Global, LockScope::Function);
        let long = "k".repeat(201);
        for key in ["", "a b", "a/b", "ä", "a\n", &long] {
            assert_eq!(id(global, None, key).unwrap_err(), ["/key"], "{key}");
        }
        assert!(id(global, None, &long[1..]).is_ok());
        assert_eq!(id(global, Some("f"), "k").unwrap_err(), ["/function"]);
        assert_eq!(id(function, None, "k").unwrap_err(), ["/function"]);
        assert_eq!(id(function, Some("a/b"), "").unwrap_err(), ["/key", "/function"]);
        assert_eq!(id(LockScope::Unknown("host"), None, "k").unwrap_err(), ["/scope"]);
    }
}
