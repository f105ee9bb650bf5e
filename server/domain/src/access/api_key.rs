//! Creating and revoking API keys, with audit records.

use super::{Need, Outcome, Rejection, StoredApiKey};
use crate::core::{self, Context, Errors, Wants, plain_audit};
use ifmatch_types::{ApiKey, ApiKeyId, AuditResource, NewApiKey, merge};
use serde_json::Value;

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
        errors.into_result()?;
        let key = ApiKey {
            id: self.id.clone(),
            name: new.name,
            role: new.role,
            created_at: ctx.now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        audit(CREATED, &key, ctx);
        let stored = StoredApiKey { key, digest: self.digest.clone() };
        ctx.state.access_mut().api_keys.put(self.id.to_string(), stored.clone());
        Ok(Outcome::ApiKeyCreated(stored))
    }
}

impl RevokeApiKey {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        if !wants.state.access().api_keys.is_loaded(&self.id) {
            wants.push(Need::ApiKey(self.id.clone()));
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let stored = ctx.state.access().api_keys.get(&self.id).cloned();
        let mut stored = stored
            .ok_or_else(|| core::Rejection::NotFound { what: "api_key", id: self.id.clone() })?;
        if stored.key.revoked_at.is_none() {
            stored.key.revoked_at = Some(ctx.now);
            audit(REVOKED, &stored.key, ctx);
            ctx.state.access_mut().api_keys.put(self.id.clone(), stored.clone());
        }
        Ok(Outcome::ApiKeyRevoked(stored))
    }
}

fn audit(audit_type: &str, key: &ApiKey, ctx: &mut Context<'_>) {
    let resource = AuditResource { resource_type: "api_key".to_owned(), id: key.id.to_string() };
    let shown = core::json(key);
    let before = match audit_type {
        CREATED => Value::Object(Default::default()),
        _ => core::json(&ApiKey { revoked_at: None, ..key.clone() }),
    };
    let mut record = plain_audit(audit_type, Some(resource), None, ctx);
    record.changes = merge::diff(&before, &shown);
    ctx.state.audits.push(record);
}
