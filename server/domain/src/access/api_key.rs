//! Creating and revoking API keys, with audit records.

use super::{Named, Need, Outcome, Rejection, StoredApiKey};
use crate::core::{self, Context, Errors, Wants, plain_audit, referenced};
use ifmatch_types::{ApiKey, ApiKeyId, AuditResource, Kind, NewApiKey, Role, Workspace, merge};
use serde_json::Value;

pub(super) const API_KEY: &str = "api_key";
const CREATED: &str = "api_key_created";
const REVOKED: &str = "api_key_revoked";

/// Create an API key.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    /// The request's body, a [`NewApiKey`].
    pub body: Value,
    /// The key's id. The HTTP layer makes the secret; the domain never sees it.
    pub id: ApiKeyId,
    /// The digest of the whole key.
    pub digest: String,
}

/// Revoke an API key.
#[derive(Clone, Debug)]
pub struct RevokeApiKey {
    /// The key's id.
    pub id: String,
}

impl CreateApiKey {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if let Some(workspace_id) = self.body.get("workspace_id").and_then(Value::as_str) {
            wants.reference(Kind::Workspace, workspace_id);
        }
        let Some(name) = self.body.get("name").and_then(Value::as_str) else { return };
        match wants.state.access().named.find(name) {
            Some(Named(holders)) => {
                for id in holders.clone() {
                    want_key(&id, wants);
                }
            }
            None => wants.push(Need::KeysNamed(name.to_owned())),
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let new: NewApiKey = core::read(core::object(&self.body)?)?;
        let mut errors = Errors::default();
        errors.text("/name", &new.name, 1, 100);
        if new.name.contains(['\n', '\r', '\t']) {
            errors.push("/name", "must be a single line without tabs");
        }
        if new.expires_at.is_some_and(|expires_at| expires_at <= ctx.now) {
            errors.push("/expires_at", "must be in the future");
        }
        if new.workspace_id.is_some() && new.role == Role::Admin {
            errors.push("/role", "must not be admin for a key of one workspace");
        }
        if let Some(user) = &new.acting_for {
            errors.text("/acting_for", user, 1, 200);
            if user.trim() != user || user.contains(['\n', '\r', '\t']) {
                errors.push("/acting_for", "must be a single line without spaces at its ends");
            }
        }
        errors.into_result()?;
        if let Some(workspace_id) = &new.workspace_id {
            referenced::<Workspace>("/workspace_id", workspace_id.as_str(), ctx.state)?;
        }
        free_name(&new, ctx)?;
        let key = ApiKey {
            id: self.id.clone(),
            name: new.name,
            role: new.role,
            workspace_id: new.workspace_id,
            acting_for: new.acting_for,
            created_at: ctx.now,
            expires_at: new.expires_at,
            revoked_at: None,
            rotated_to: None,
            last_used_at: None,
        };
        audit(CREATED, None, &key, ctx);
        let stored = StoredApiKey::new(key, self.digest.clone());
        ctx.state.access_mut().api_keys.put(self.id.to_string(), stored.clone());
        Ok(Outcome::ApiKeyCreated(stored))
    }
}

impl RevokeApiKey {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_key(&self.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let stored = ctx.state.access().api_keys.get(&self.id).cloned();
        let mut stored = stored
            .ok_or_else(|| core::Rejection::NotFound { what: API_KEY, id: self.id.clone() })?;
        if stored.key.revoked_at.is_none() {
            let before = stored.key.clone();
            stored = stored.changed(|stored| {
                stored.key.revoked_at = Some(ctx.now);
                stored.name_key = None;
            });
            audit(REVOKED, Some(&before), &stored.key, ctx);
            ctx.state.access_mut().api_keys.put(self.id.clone(), stored.clone());
        }
        Ok(Outcome::ApiKeyRevoked(stored))
    }
}

/// Requests a key.
pub(super) fn want_key(id: &str, wants: &mut Wants<'_, '_, Need>) {
    if !wants.state.access().api_keys.is_loaded(id) {
        wants.push(Need::ApiKey(id.to_owned()));
    }
}

/// Refuses a name that a living key has. A key that has expired gives it up.
///
/// Two processes that take one name at the same time are kept apart by the unique `name_key`.
fn free_name(new: &NewApiKey, ctx: &mut Context<'_>) -> Result<(), Rejection> {
    let keys = &ctx.state.access().api_keys;
    let named = keys.iter().filter(|stored| stored.key.name == new.name);
    let mut named: Vec<StoredApiKey> = named.cloned().collect();
    named.sort_unstable_by(|a, b| a.key.id.cmp(&b.key.id));
    if let Some(there) = named.iter().find(|stored| stored.is_living(ctx.now)) {
        return Err(core::Rejection::AlreadyExists {
            what: API_KEY,
            existing_id: there.key.id.to_string(),
            differing_fields: differing(&there.key, new),
        }
        .into());
    }
    for expired in named.iter().filter(|stored| stored.name_key.is_some()) {
        let freed = expired.changed(|stored| stored.name_key = None);
        ctx.state.access_mut().api_keys.put(freed.key.id.to_string(), freed);
    }
    Ok(())
}

/// The fields in which an existing key differs from a new one.
fn differing(there: &ApiKey, new: &NewApiKey) -> Vec<String> {
    [
        ("/role", there.role != new.role),
        ("/workspace_id", there.workspace_id != new.workspace_id),
        ("/acting_for", there.acting_for != new.acting_for),
        ("/expires_at", there.expires_at != new.expires_at),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(path, _)| path.to_owned())
    .collect()
}

/// Records what became of a key.
pub(super) fn audit(
    audit_type: &str,
    before: Option<&ApiKey>,
    after: &ApiKey,
    ctx: &mut Context<'_>,
) {
    let resource = AuditResource { resource_type: API_KEY.to_owned(), id: after.id.to_string() };
    let before = before.map_or_else(|| Value::Object(Default::default()), core::json);
    let mut record = plain_audit(audit_type, Some(resource), None, ctx);
    record.changes = merge::diff(&before, &core::json(after));
    ctx.state.audits.push(record);
}
