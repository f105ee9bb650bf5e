//! When API keys were last used, to the hour.

use super::{Need, Outcome};
use crate::core::{Context, Wants};
use ifmatch_types::{ApiKeyId, Timestamp};

/// Note when API keys were used.
///
/// A process asks for this once per key and hour. It is not part of a key's version, which counts
/// changes of its rights and its end.
#[derive(Clone, Debug)]
pub struct NoteUse {
    /// The keys, each with the beginning of the hour in which it was used.
    pub used: Vec<(ApiKeyId, Timestamp)>,
}

impl NoteUse {
    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        for (id, _) in &self.used {
            super::api_key::want_key(id.as_str(), wants);
        }
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Outcome {
        let mut noted = Vec::new();
        for (id, hour) in &self.used {
            let known = ctx.state.access().api_keys.get(id.as_str()).cloned();
            let Some(mut stored) = known else { continue };
            if stored.key.last_used_at.is_none_or(|last| last < *hour) {
                stored.key.last_used_at = Some(*hour);
                ctx.state.access_mut().api_keys.put(id.to_string(), stored.clone());
            }
            noted.push(stored);
        }
        Outcome::UseNoted(noted)
    }
}
