//! Releasing a grant whose caller hung up before it was answered.

use super::{
    LockEnd, LockName, LockRecord, Need, Outcome, Rejection, record::change, state::want_lock,
};
use crate::core::{Context, Wants};

/// Release a grant that its caller has not got.
///
/// It names the grant and the version of the lock that it made. Whoever got the grant by a repeat of
/// the request has made another version since, and keeps it.
#[derive(Clone, Debug)]
pub struct ReleaseUnclaimed {
    id: String,
    name: LockName,
    fence: i64,
    version: i64,
}

impl ReleaseUnclaimed {
    /// Releases this grant.
    pub fn new(granted: &LockRecord) -> Self {
        let LockRecord { id, name, fence, version, .. } = granted;
        Self { id: id.clone(), name: name.clone(), fence: *fence, version: *version }
    }

    /// The lock's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn wants(&self, wants: &mut Wants<'_, '_, Need>) {
        want_lock(&self.id, wants);
    }

    pub(crate) fn decide(&self, ctx: &mut Context<'_>) -> Result<Outcome, Rejection> {
        let now = ctx.now;
        let lock = ctx.state.lock().locks.get(&self.id);
        let is_unclaimed = |lock: &&LockRecord| {
            lock.is_held(now) && (lock.fence, lock.version) == (self.fence, self.version)
        };
        let unclaimed = lock.filter(is_unclaimed);
        let unclaimed = unclaimed.cloned().ok_or_else(|| Rejection::NotFound(self.name.clone()))?;
        let lock = change(&unclaimed, ctx, |lock| lock.ended = Some(LockEnd::Released));
        Ok(Outcome::Released { lock, at: now })
    }
}
