//! API keys and their roles.

use crate::{ApiKeyId, Timestamp, WorkspaceId, known};

names! {
    /// The rights of an API key. `admin` includes `agent`, which includes `viewer` and `usage`.
    Role {
        /// Read.
        Viewer = "viewer",
        /// Record usage, and read what may be used. Nothing else can be read.
        Usage = "usage",
        /// Read, write and record usage.
        Agent = "agent",
        /// Also force, manage API keys and read the audit log.
        Admin = "admin",
    }
}

impl Role {
    /// Whether this role may do what `needed` may.
    ///
    /// `viewer` and `usage` do not include each other.
    pub fn allows(self, needed: Self) -> bool {
        match self {
            Self::Viewer => matches!(needed, Self::Viewer),
            Self::Usage => matches!(needed, Self::Usage),
            Self::Agent => matches!(needed, Self::Viewer | Self::Usage | Self::Agent),
            Self::Admin => !matches!(needed, Self::Unknown(_)),
            // Nothing is known of an unknown role, so it allows nothing.
            Self::Unknown(_) => false,
        }
    }
}

wire! {
    /// A key to the API, without its secret.
    pub struct ApiKey {
        /// `key_…`
        pub id: ApiKeyId,
        /// Its name in every change it makes.
        pub name: String,
        /// Its rights.
        pub role: Role,
        /// The only workspace that it sees. `None`: it sees all of them.
        #[serde(default)]
        pub workspace_id: Option<WorkspaceId>,
        /// The user that it always speaks for.
        #[serde(default)]
        pub acting_for: Option<String>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it stops working.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// The key that replaces it, if it was rotated.
        #[serde(default)]
        pub rotated_to: Option<ApiKeyId>,
        /// When it was last used, to the hour.
        #[serde(default)]
        pub last_used_at: Option<Timestamp>,
    }

    /// An API key to make.
    #[serde(deny_unknown_fields)]
    pub struct NewApiKey {
        /// Its name in every change it makes, 1–100 characters.
        pub name: String,
        /// Its rights.
        #[serde(deserialize_with = "known::read")]
        pub role: Role,
        /// The only workspace that it sees: that workspace, and what hangs on it. Never with the
        /// role `admin`. By default it sees all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
        /// The user that it always speaks for, 1–200 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub acting_for: Option<String>,
        /// When it stops working; must be in the future.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
    }

    /// How to replace a key by a new one of the same kind.
    #[serde(deny_unknown_fields)]
    pub struct Rotation {
        /// How long the old key still works, 0 (the default) to 30 days.
        #[serde(default)]
        pub overlap_ms: i64,
    }
}

impl NewApiKey {
    /// A key for all workspaces that works until it is revoked, for struct updates.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, workspace_id: None, acting_for: None, expires_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_allows_what_the_roles_it_includes_allow() {
        use Role::{Admin, Agent, Unknown, Usage, Viewer};
        for (role, allowed) in [
            (Viewer, vec![Viewer]),
            (Usage, vec![Usage]),
            (Agent, vec![Viewer, Usage, Agent]),
            (Admin, vec![Viewer, Usage, Agent, Admin]),
            (Unknown("owner"), vec![]),
        ] {
            for needed in [Viewer, Usage, Agent, Admin, Unknown("owner")] {
                assert_eq!(role.allows(needed), allowed.contains(&needed), "{role:?} {needed:?}");
            }
        }
    }
}
