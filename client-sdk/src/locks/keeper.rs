//! The task behind a guard: renews the grant, and notices when it is lost.

use super::{LockEnd, belief::Belief, grant::Grant};
use crate::pace::Backoff;
use std::{sync::Arc, time::Duration};

/// The part of a grant's time that one renewal may take before the next one is tried.
const TRY: u32 = 4;

/// Keeps a grant until its belief ends: renews it unless there is no `ttl`, and watches the clock.
pub(crate) async fn keep(grant: Arc<Grant>, belief: Arc<Belief>, ttl: Option<Duration>) {
    let renewing = async {
        match ttl {
            Some(ttl) => renewing(&grant, &belief, ttl).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The end first: what has ended must not be renewed.
        biased;
        () = belief.run_out() => {}
        () = renewing => {}
    }
    let end = belief.how_it_ended();
    if end != Some(LockEnd::Released) {
        tracing::warn!(lock = %grant.name, fence = grant.number, ?end, "lock lost");
    }
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
