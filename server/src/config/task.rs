//! What the process is asked to do: the subcommands and their own arguments.

use clap::Subcommand;
use ifmatch_types::Role;
use std::time::Duration;

/// What the process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Serve the API; this is what happens without a subcommand
    Serve,
    /// Bring the database's schema up to date, then stop
    Migrate,
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(KeysTask),
    /// Print the OpenAPI document
    Openapi,
    /// Check configuration, database, migrations and clock
    Doctor,
    /// Check every stored invariant again; exit 1 and a list if one is broken
    Verify,
}

/// What to do with API keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysTask {
    /// Make a key and print it, once
    Create {
        /// What the key is recorded as in every change it makes
        #[arg(long)]
        name: String,
        /// What it may do: viewer, agent or admin
        #[arg(long, value_parser = role)]
        role: Role,
        /// How long it works, such as 90days; for ever if left out
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List all keys, without their secrets
    List,
    /// Revoke a key
    Revoke {
        /// The key's id, key_…
        id: String,
    },
}

fn role(text: &str) -> Result<Role, &'static str> {
    Role::from_name(text).ok_or("a role is viewer, agent or admin")
}
