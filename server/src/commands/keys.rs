//! `keys`: makes, lists, replaces and revokes API keys.
//!
//! It works while servers run.

use super::{COMMAND_CONNECTIONS, CommandError, open_current, prepare, say, submit, write_line};
use crate::{
    config::{Config, KeysTask},
    key,
};
use ifmatch_domain::{
    Action, Outcome,
    access::{self, CreateApiKey, RevokeApiKey, RotateApiKey},
};
use ifmatch_types::{ApiKeyId, Role, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::{process::ExitCode, time::Duration};

/// `keys create|list|rotate|revoke`
pub fn keys(config: &Config, action: KeysTask) -> Result<ExitCode, CommandError> {
    let mut db = match action {
        KeysTask::Create { .. } => {
            let is_new = config.database_url.is_missing_file();
            let db = prepare(config, COMMAND_CONNECTIONS)?;
            if is_new {
                eprintln!("made a new database, {:?}", config.database_url);
            }
            db
        }
        // These are about keys that exist. They neither make a database nor migrate one.
        _ => open_current(config, COMMAND_CONNECTIONS)?,
    };
    match action {
        KeysTask::Create { name, role, workspace, acting_for, expires_in } => {
            let wanted = WantedKey { workspace, acting_for, expires_in };
            let (secret, id) = create_key(config, &name, role, wanted)?;
            eprintln!("created {id} ({}); the key is shown only this once:", role.name());
            // A failure must be reported here, because the key cannot be shown again.
            write_line(secret.expose_secret())?;
        }
        KeysTask::List => {
            let keys = db.api_keys()?;
            if keys.is_empty() {
                eprintln!("there are no keys in {:?}", config.database_url);
            }
            for stored in keys {
                let key = stored.key;
                let state = match (key.revoked_at, key.expires_at) {
                    (Some(at), _) => format!("revoked {at}"),
                    (None, Some(at)) if at <= Timestamp::now() => format!("expired {at}"),
                    (None, Some(at)) => format!("works until {at}"),
                    (None, None) => "works".to_owned(),
                };
                let scope = key.workspace_id.map(|id| format!("  in {id}")).unwrap_or_default();
                let user = key.acting_for.map(|user| format!("  for {user}")).unwrap_or_default();
                let role = key.role.name();
                say(format_args!("{}  {role:6}  {}  {state}{scope}{user}", key.id, key.name))?;
            }
        }
        KeysTask::Rotate { id, overlap } => rotate_key(config, id, overlap)?,
        KeysTask::Revoke { id } => {
            let revoke = RevokeApiKey { id: id.clone() };
            submit(config, Action::Access(access::Action::RevokeApiKey(revoke)))?;
            say(format_args!("revoked {id}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What limits a key beside its role.
#[derive(Debug, Default)]
pub struct WantedKey {
    /// The only workspace that it sees.
    pub workspace: Option<String>,
    /// The user that it always speaks for.
    pub acting_for: Option<String>,
    /// How long it works.
    pub expires_in: Option<Duration>,
}

/// Makes a key through its own lane, so that it is audited like every other key.
fn create_key(
    config: &Config,
    name: &str,
    role: Role,
    wanted: WantedKey,
) -> Result<(SecretString, ApiKeyId), CommandError> {
    let (id, secret) = mint()?;
    let create = new_key(id.clone(), name, role, wanted, key::digest_of(&secret))?;
    submit(config, Action::Access(access::Action::CreateApiKey(create)))?;
    Ok((secret, id))
}

/// A new id, and the key with this id.
fn mint() -> Result<(ApiKeyId, SecretString), CommandError> {
    let id = key::fresh_id();
    let secret = key::mint(&id)
        .map_err(|error| CommandError::Refused(format!("no random numbers: {error}")))?;
    Ok((id, secret))
}

/// Replaces a key by a new one of the same kind, and prints the new one.
fn rotate_key(config: &Config, id: String, overlap: Duration) -> Result<(), CommandError> {
    let (new_id, secret) = mint()?;
    // A longer overlap than there are milliseconds is refused like every other too long one.
    let body = json!({ "overlap_ms": i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX) });
    let digest = key::digest_of(&secret);
    let rotate = RotateApiKey { id, body, new_id, digest };
    let outcome = submit(config, Action::Access(access::Action::RotateApiKey(rotate)))?;
    if let Outcome::Access(access::Outcome::ApiKeyRotated { old, new }) = outcome {
        let (old, new) = (old.key, new.key);
        let end = old.expires_at.map(|end| format!(", which works until {end}"));
        let end = end.unwrap_or_default();
        eprintln!("made {} in place of {}{end}; the key is shown only this once:", new.id, old.id);
    }
    // A failure must be reported here, because the key cannot be shown again.
    write_line(secret.expose_secret())
}

/// The command that makes a key.
pub fn new_key(
    id: ApiKeyId,
    name: &str,
    role: Role,
    wanted: WantedKey,
    digest: String,
) -> Result<CreateApiKey, CommandError> {
    let too_long = || CommandError::Refused("--expires-in: is too long".to_owned());
    let expires_at = match wanted.expires_in {
        None => None,
        Some(duration) => {
            let micros = i64::try_from(duration.as_micros()).map_err(|_| too_long())?;
            let at = Timestamp::now().as_micros().checked_add(micros).ok_or_else(too_long)?;
            Some(Timestamp::from_micros(at).ok_or_else(too_long)?)
        }
    };
    let body = json!({
        "name": name,
        "role": role.name(),
        "workspace_id": wanted.workspace,
        "acting_for": wanted.acting_for,
        "expires_at": expires_at,
    });
    Ok(CreateApiKey { body, id, digest })
}
