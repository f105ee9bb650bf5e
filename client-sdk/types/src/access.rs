//! API keys and their roles.

use crate::{ApiKeyId, Timestamp, known};

names! {
    /// The rights of an API key. Each role includes the ones before it.
    Role {
        /// Read.
        Viewer = "viewer",
        /// Read and write.
        Agent = "agent",
        /// Also force, manage API keys and read the audit log.
        Admin = "admin",
    }
}

impl Role {
    /// Whether this role may do what `needed` may.
    pub fn allows(self, needed: Self) -> bool {
        let rank = |role| match role {
            Self::Viewer => Some(0),
            Self::Agent => Some(1),
            Self::Admin => Some(2),
            Self::Unknown(_) => None,
        };
        // Nothing is known of an unknown role, so it allows nothing.
        matches!((rank(self), rank(needed)), (Some(own), Some(needed)) if own >= needed)
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
        /// When it was made.
        pub created_at: Timestamp,
        /// When it stops working.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
    }

    /// An API key to make.
    #[serde(deny_unknown_fields)]
    pub struct NewApiKey {
        /// Its name in every change it makes, 1–100 characters.
        pub name: String,
        /// Its rights.
        #[serde(deserialize_with = "known::read")]
        pub role: Role,
        /// When it stops working; must be in the future.
        #[serde(default)]
        pub expires_at: Option<Timestamp>,
    }
}
