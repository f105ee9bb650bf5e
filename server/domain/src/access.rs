//! API keys: made and revoked in commits of their own, with their audit records.

use crate::{Outcome, Rejection, Scope, edit, fields::Errors, state::Audit, table::Guarded};
use ifmatch_types::{ApiKey, ApiKeyId, AuditResource, NewApiKey, merge};
use serde_json::Value;

const CREATED: &str = "api_key_created";
const REVOKED: &str = "api_key_revoked";

/// Make an API key.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    /// The request's body: a [`NewApiKey`].
    pub body: Value,
    /// The key's id; its secret is derived by the caller and never seen here.
    pub id: ApiKeyId,
    /// The digest of the whole key.
    pub digest: String,
}

/// End an API key.
#[derive(Clone, Debug)]
pub struct RevokeApiKey {
    /// The key's id.
    pub id: String,
}

/// An API key as it is stored: its digest, never its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApiKey {
    /// What the API shows of it.
    pub key: ApiKey,
    /// SHA-256 of the whole key, in hexadecimal digits.
    pub digest: String,
}

impl Guarded for StoredApiKey {
    fn guard(&self) -> i64 {
        if self.key.revoked_at.is_none() { 1 } else { 2 }
    }
}

impl CreateApiKey {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let new: NewApiKey = edit::read(edit::object(&self.body)?)?;
        let mut errors = Errors::default();
        errors.text("/name", &new.name, 1, 100);
        if new.name.contains(['\n', '\r', '\t']) {
            errors.push("/name", "must be one line without tabs: lists and logs name it");
        }
        if new.expires_at.is_some_and(|expires_at| expires_at <= scope.now) {
            errors.push("/expires_at", "must be in the future");
        }
        errors.into_result()?;
        let key = ApiKey {
            id: self.id.clone(),
            name: new.name,
            role: new.role,
            created_at: scope.now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        audit(CREATED, &key, scope);
        let stored = StoredApiKey { key, digest: self.digest.clone() };
        scope.state.api_keys.put(self.id.to_string(), stored.clone());
        Ok(Outcome::ApiKeyCreated(stored))
    }
}

impl RevokeApiKey {
    pub(crate) fn decide(&self, scope: &mut Scope<'_>) -> Result<Outcome, Rejection> {
        let stored = scope.state.api_keys.get(&self.id).cloned();
        let mut stored =
            stored.ok_or_else(|| Rejection::NotFound { what: "api_key", id: self.id.clone() })?;
        if stored.key.revoked_at.is_none() {
            stored.key.revoked_at = Some(scope.now);
            audit(REVOKED, &stored.key, scope);
            scope.state.api_keys.put(self.id.clone(), stored.clone());
        }
        Ok(Outcome::ApiKeyRevoked(stored))
    }
}

fn audit(audit_type: &str, key: &ApiKey, scope: &mut Scope<'_>) {
    let resource = AuditResource { resource_type: "api_key".to_owned(), id: key.id.to_string() };
    let shown = edit::json(key);
    let before = match audit_type {
        CREATED => Value::Object(Default::default()),
        _ => edit::json(&ApiKey { revoked_at: None, ..key.clone() }),
    };
    let mut record = plain_audit(audit_type, Some(resource), None, scope);
    record.changes = merge::diff(&before, &shown);
    scope.state.audits.push(record);
}

/// An audit record that is about no version.
pub(crate) fn plain_audit(
    audit_type: &str,
    resource: Option<AuditResource>,
    reason: Option<String>,
    scope: &mut Scope<'_>,
) -> Audit {
    Audit {
        id: scope.ids.fresh("aud_"),
        audit_type: audit_type.to_owned(),
        at: scope.now,
        actor: scope.meta.actor.name.clone(),
        on_behalf_of: scope.meta.on_behalf_of.clone(),
        reason,
        request_id: scope.meta.request_id.clone(),
        resource,
        expected_version: None,
        overwritten_version: None,
        changes: Vec::new(),
    }
}
