//! Replacing an API key by a new one of the same kind.

use super::{
    Need, Outcome, Rejection, StoredApiKey,
    api_key::{API_KEY, audit, want_key},
};
use crate::core::{self, Context, Errors, Wants};
use ifmatch_types::{ApiKey, ApiKeyId, Rotation, Timestamp};
use serde_json::Value;

/// Maximum time that the old key still works: 30 days.
const OVERLAP_MAX_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Replace an API key by a new one of the same kind. The old one ends after an overlap.
#[derive(Clone, Debug)]
pub struct RotateApiKey {
    /// The old key's id.
    pub id: String,
    /// The request's body, a [`Rotation`].
    pub body: Value,
    /// The new key's id.
    pub new_id: ApiKeyId,
    /// The digest of the whole new key.
    pub digest: String,
}

impl RotateApiKey {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_key(&self.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let before = ctx.state.access().api_keys.get(&self.id).cloned();
        let before = before
            .ok_or_else(|| core::Rejection::NotFound { what: API_KEY, id: self.id.clone() })?;
        let rotation: Rotation = core::read(core::object(&self.body)?)?;
        let mut errors = Errors::default();
        errors.range("/overlap_ms", rotation.overlap_ms, 0, OVERLAP_MAX_MS);
        errors.into_result()?;
        refuse_ended(&before, ctx.now)?;
        let new = self.successor(&before, ctx.now);
        let end = after(ctx.now, rotation.overlap_ms.saturating_mul(1_000));
        let old = before.changed(|old| {
            old.key.expires_at = Some(old.key.expires_at.map_or(end, |known| known.min(end)));
            old.key.rotated_to = Some(new.key.id.clone());
            old.name_key = None;
        });
        audit("api_key_rotated", Some(&before.key), &old.key, ctx);
        audit("api_key_created", None, &new.key, ctx);
        let keys = &mut ctx.state.access_mut().api_keys;
        keys.put(old.key.id.to_string(), old.clone());
        keys.put(new.key.id.to_string(), new.clone());
        Ok(Outcome::ApiKeyRotated { old: Box::new(old), new: Box::new(new) })
    }

    /// The new key. If the old one had an end, the new one works as long as the old one was to.
    fn successor(&self, old: &StoredApiKey, now: Timestamp) -> StoredApiKey {
        let lifetime =
            |end: Timestamp| end.as_micros().saturating_sub(old.key.created_at.as_micros()).max(0);
        let key = ApiKey {
            id: self.new_id.clone(),
            created_at: now,
            expires_at: old.key.expires_at.map(|end| after(now, lifetime(end))),
            last_used_at: None,
            ..old.key.clone()
        };
        StoredApiKey {
            name_key: old.name_key.clone(),
            line_id: Some(old.line().clone()),
            ..StoredApiKey::new(key, self.digest.clone())
        }
    }
}

/// Refuses a key that no longer works, or that was replaced before.
fn refuse_ended(stored: &StoredApiKey, now: Timestamp) -> Result<(), Rejection> {
    let from = if stored.key.revoked_at.is_some() {
        "revoked"
    } else if stored.key.rotated_to.is_some() {
        "rotated"
    } else if !stored.is_living(now) {
        "expired"
    } else {
        return Ok(());
    };
    Err(core::Rejection::InvalidTransition { from, to: "rotated", allowed: Vec::new() }.into())
}

fn after(now: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(micros)).unwrap_or(now)
}
