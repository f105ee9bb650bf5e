//! One grant of a lock: how it is renewed and given back.

use super::{belief::Lease, clock::Clock, name::LockName, owner::OwnerToken};
use crate::{
    Client, Error,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
    send::Sending,
};
use ifmatch_types::{Code, LockGrant, LockRenewal};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// A grant, as long as it is not known to be over.
#[derive(Debug)]
pub(crate) struct Grant {
    client: Client,
    pub(crate) name: LockName,
    owner: OwnerToken,
    pub(crate) number: i64,
}

/// A grant that is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) grant: Arc<Grant>,
    /// The runtime that it was acquired in, for the drop on another thread.
    runtime: Option<Handle>,
    release_on_drop: bool,
}

impl Grant {
    /// Reads a grant, and for how long the answer promises it.
    pub(crate) fn read(client: &Client, reply: Reply) -> Result<(Self, Duration), Error> {
        let LockGrant {
            workspace_id, key, scope, function, owner, fence, ttl_remaining_ms, ..
        } = reply.decode()?;
        let name = LockName { workspace_id, scope, function, key };
        let owner = OwnerToken::new(owner);
        Ok((Self { client: client.clone(), name, owner, number: fence }, ms(ttl_remaining_ms)))
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.client.clock()
    }

    /// Renews it, within this time. The lease counts from before the first send.
    pub(crate) async fn renew(&self, limit: Duration) -> Result<Lease, Error> {
        let since = self.clock().now();
        let renewed: LockRenewal = self.say("renew", limit).await?.decode()?;
        Ok(Lease { since, lasts: ms(renewed.ttl_remaining_ms) })
    }

    /// Gives it back.
    pub(crate) async fn release(&self) -> Result<(), Error> {
        self.say("release", self.client.deadline()).await.map(drop)
    }

    async fn say(&self, what: &str, limit: Duration) -> Result<Reply, Error> {
        let mut body = Map::new();
        self.name.put(&mut body);
        let request = Request::new(Verb::Post, &self.name.path(&[what]))
            .body(&Value::Object(body))
            .owned_by(self.owner.clone())
            .key(None);
        let mut sending = Sending::new(self.client.signed(request), Deadline::after(limit));
        match self.client.send(&mut sending).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(sending.settle(error)),
        }
    }
}

impl Owned {
    pub(crate) fn new(grant: Grant) -> Self {
        let runtime = Handle::try_current().ok();
        Self { grant: Arc::new(grant), runtime, release_on_drop: true }
    }

    /// The grant is over: there is nothing to give back.
    pub(crate) fn is_over(&mut self) {
        self.release_on_drop = false;
    }

    /// Gives it back now. Unless the server answers, the drop tries it again.
    pub(crate) async fn release(&mut self) -> Result<(), Error> {
        let released = self.grant.release().await;
        if matches!(released, Ok(()) | Err(Error::Refused(_))) {
            self.is_over();
        }
        released
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if !self.release_on_drop {
            return;
        }
        let release = UnseenRelease { grant: self.grant.clone(), is_over: false };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(release.run());
        }
    }
}

/// A release that no caller waits for. Dropped before the grant is over, it counts as failed: a
/// runtime that ends drops its tasks without a word.
struct UnseenRelease {
    grant: Arc<Grant>,
    is_over: bool,
}

impl UnseenRelease {
    async fn run(mut self) {
        let released = self.grant.release().await;
        let (lock, fence) = (&self.grant.name, self.grant.number);
        self.is_over = match released {
            Ok(()) => true,
            Err(error) if error.is_lock_lost() => {
                tracing::debug!(%lock, fence, %error, "the lock was over before its release");
                true
            }
            Err(error) => {
                tracing::warn!(%lock, fence, %error, "not released; it will expire");
                false
            }
        };
    }
}

impl Drop for UnseenRelease {
    fn drop(&mut self) {
        if !self.is_over {
            self.grant.client.count_failed_release();
        }
    }
}

/// Whether this code says that the caller's grant is over.
pub(crate) fn is_over(code: Code) -> bool {
    matches!(code, Code::LockLost | Code::LockOwnershipMismatch | Code::LockNotFound)
}

fn ms(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}
