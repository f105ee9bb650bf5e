//! The usual lock in Redis, over its own protocol: `SET key token NX PX`, and a script that compares
//! the token and deletes.
//!
//! The script also leaves a signal in a list. Waiters wait for it with `BLPOP` and try again, which
//! is faster than polling and as unfair: the client that released may be first again.

use super::TTL_MS;
use crate::{Failure, peers::RedisConnection};
use std::net::SocketAddr;

const RELEASE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('DEL', KEYS[1], KEYS[2]) \
    redis.call('LPUSH', KEYS[2], '1') \
    redis.call('PEXPIRE', KEYS[2], ARGV[2]) \
    return 1";
/// How long a waiter waits for the signal before it looks by itself, in seconds.
const SIGNAL_S: &str = "1";

pub struct RedisLocks {
    connection: RedisConnection,
    /// The digest of the release script.
    script: String,
    client: u16,
    grants: u64,
}

impl RedisLocks {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let mut connection = RedisConnection::open(address).await?;
        let client = connection.local_port()?;
        let script = connection.load_script(RELEASE).await?;
        Ok(Self { connection, script, client, grants: 0 })
    }

    /// Acquires the lock and returns its token.
    pub async fn acquire(&mut self, name: &str) -> Result<String, Failure> {
        self.grants = self.grants.saturating_add(1);
        let token = format!("{}-{}", self.client, self.grants);
        let (ttl, signal) = (TTL_MS.to_string(), format!("{name}:free"));
        loop {
            let set = self.connection.ask(&["SET", name, &token, "NX", "PX", &ttl]).await?;
            match set.0 {
                "+OK\r\n" => return Ok(token),
                "$-1\r\n" => {}
                _ => return Err(set.unexpected("a SET").into()),
            }
            let waited = self.connection.ask(&["BLPOP", &signal, SIGNAL_S]).await?;
            if waited.0.starts_with('-') {
                return Err(waited.unexpected("a BLPOP").into());
            }
        }
    }

    pub async fn release(&mut self, name: &str, token: &str) -> Result<(), Failure> {
        let (signal, ttl) = (format!("{name}:free"), TTL_MS.to_string());
        let released = self
            .connection
            .ask(&["EVALSHA", &self.script, "2", name, &signal, token, &ttl])
            .await?;
        if released.0 == ":1\r\n" { Ok(()) } else { Err(released.unexpected("a release").into()) }
    }
}
