//! The task behind a guard: renews the grant, and notices when it is lost.

use super::{LockEnd, belief::Belief, grant::Grant};
use crate::pace::Backoff;
use std::{sync::Arc, time::Duration};

/// The part of a grant's time that one renewal may take before the next one is tried.
const TRY: u32 = 4;

/// Keeps a grant until its belief ends.
pub(crate) async fn keep(grant: Arc<Grant>, belief: Arc<Belief>, ttl: Duration) {
    tokio::select! {
        // The end first: what has ended must not be renewed.
        biased;
        () = belief.run_out() => {}
        () = renewing(&grant, &belief, ttl) => {}
    }
    if belief.how_it_ended() != Some(LockEnd::Released) {
        let (lock, fence) = (&grant.name, grant.number);
        tracing::warn!(%lock, fence, end = ?belief.how_it_ended(), "lock lost");
    }
}

/// Keeps nothing, but notices when the time is over.
pub(crate) async fn watch(belief: Arc<Belief>) {
    belief.run_out().await;
}

/// How long one renewal may take.
pub(crate) fn limit(ttl: Duration) -> Duration {
    ttl / TRY
}

/// Renews at a third of the time, and a failed renewal until it succeeds. The caller stops it when
/// the time is over.
async fn renewing(grant: &Grant, belief: &Belief, ttl: Duration) {
    loop {
        belief.due().await;
        let mut backoff = Backoff::new();
        loop {
            // A new key for each: only its own first send counts for the new time.
            let error = match grant.renew(limit(ttl)).await {
                Ok(lease) => {
                    belief.renew(lease);
                    break;
                }
                Err(error) => error,
            };
            if error.is_lock_lost() {
                return belief.end(LockEnd::TakenAway);
            }
            let (lock, fence, left) = (&grant.name, grant.number, belief.left());
            tracing::warn!(%lock, fence, ?left, %error, "renewal failed");
            tokio::time::sleep(backoff.next()).await;
        }
    }
}
