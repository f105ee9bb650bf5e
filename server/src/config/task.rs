//! The subcommands and their own arguments.

use clap::Subcommand;
use clap_complete::Shell;
use ifmatch_types::Role;
use std::time::Duration;

/// A subcommand.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Serve the API; the default without a subcommand
    Serve,
    /// Bring the database's schema up to date, then stop
    Migrate,
    /// Make, list, replace and revoke API keys
    #[command(subcommand)]
    Keys(KeysTask),
    /// Print the OpenAPI document
    Openapi,
    /// Print a configuration file with every setting and its default
    Settings,
    /// Print the manual page
    Man,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Check configuration, database, migrations and clock
    Doctor,
    /// Check every stored invariant; list the broken ones and exit with 1
    Verify,
    /// Say that a backup was restored: begin a new epoch of the event log
    Restored,
}

impl Task {
    /// Whether it only prints what is the same with all settings. It reads none of them, so that a
    /// wrong one is no reason to fail.
    pub fn is_paper(&self) -> bool {
        matches!(self, Self::Settings | Self::Man | Self::Completions { .. })
    }
}

/// What to do with API keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysTask {
    /// Make a key and print it, once
    Create {
        /// The name that is recorded with every change made with the key
        #[arg(long)]
        name: String,
        /// The key's role: viewer, usage, agent or admin
        #[arg(long, value_parser = role)]
        role: Role,
        /// The only workspace that the key sees, wsp_…; all if left out
        #[arg(long, value_name = "ID")]
        workspace: Option<String>,
        /// The user that the key always speaks for
        #[arg(long, value_name = "USER")]
        acting_for: Option<String>,
        /// How long the key is valid, such as 90days; for ever if left out
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List all keys, without their secrets
    List,
    /// Replace a key by a new one of the same kind, and print the new one, once
    Rotate {
        /// The old key's id, key_…
        id: String,
        /// How long the old key still works, such as 1h, up to 30days; not at all if left out
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration,
            default_value = "0s")]
        overlap: Duration,
    },
    /// Revoke a key
    Revoke {
        /// The key's id, key_…
        id: String,
    },
}

fn role(text: &str) -> Result<Role, &'static str> {
    Role::from_name(text).ok_or("a role is viewer, usage, agent or admin")
}
