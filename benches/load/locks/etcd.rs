//! etcd's own lock, through its JSON gateway.

use super::TTL_MS;
use crate::{Failure, http::Connection};
use std::net::SocketAddr;

/// A connection with a lease. As in etcd's own clients, all locks of a client hang on it, so that a
/// pair does not pay for one.
pub struct EtcdLocks {
    connection: Connection,
    lease: String,
}

impl EtcdLocks {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let mut connection = Connection::anonymous(address).await?;
        let body = format!(r#"{{"TTL":"{}"}}"#, TTL_MS / 1_000);
        let answer = connection.post_once("/v3/lease/grant", &body).await?;
        let lease = answer.text_of("ID").ok_or_else(|| format!("no lease: {}", answer.text()))?;
        let lease = lease.to_owned();
        Ok(Self { connection, lease })
    }

    /// Waits for the lock and returns the key of the grant.
    pub async fn acquire(&mut self, name: &str) -> Result<String, Failure> {
        let body = format!(r#"{{"name":"{name}","lease":"{}"}}"#, self.lease);
        let answer = self.connection.post_once("/v3/lock/lock", &body).await?;
        match answer.text_of("key") {
            Some(key) if answer.status == 200 => Ok(key.to_owned()),
            _ => Err(format!("a lock of etcd: {}", answer.text()).into()),
        }
    }

    pub async fn release(&mut self, key: &str) -> Result<(), Failure> {
        let body = format!(r#"{{"key":"{key}"}}"#);
        let answer = self.connection.post_once("/v3/lock/unlock", &body).await?;
        if answer.status == 200 {
            return Ok(());
        }
        Err(format!("an unlock of etcd: {}", answer.text()).into())
    }
}
