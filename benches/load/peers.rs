//! Other systems that check versions: what the same update costs there.
//!
//! Each client writes its own objects, as with Ifmatch. An object is as wide as Ifmatch stores it.

mod redis;
mod service;

pub use redis::RedisConnection;
pub use service::Service;

use crate::{
    Failure,
    http::Connection,
    load::{Draws, Tally, Target, Window},
    system::System,
};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Replaces a state if its version is the one that the caller knows. An absent object has version 1.
const COMPARE_AND_SET: &str = "if (redis.call('HGET', KEYS[1], 'version') or '1') ~= ARGV[1] then return 0 end \
    redis.call('HSET', KEYS[1], 'version', ARGV[2], 'state', ARGV[3]) \
    return 1";

/// A connection to objects with versions.
enum Objects {
    Etcd(Connection),
    /// With the digest of the script.
    Redis(RedisConnection, String),
}

impl Objects {
    async fn open(system: System, address: SocketAddr) -> Result<Self, Failure> {
        if system == System::Etcd {
            return Ok(Self::Etcd(Connection::anonymous(address).await?));
        }
        let mut connection = RedisConnection::open(address).await?;
        let script = connection.load_script(COMPARE_AND_SET).await?;
        Ok(Self::Redis(connection, script))
    }

    /// Writes an object whose version is known and returns its next version.
    async fn update(&mut self, place: usize, version: i64, width: usize) -> Result<i64, Failure> {
        // Letters and digits in multiples of four are base64, which etcd reads.
        let key = format!("sub{place:09}");
        match self {
            Self::Etcd(connection) => {
                // The first revision of an object is 2 or more. One that is absent has 0.
                let known = if version == 1 { 0 } else { version };
                let length = width.div_ceil(3).saturating_mul(4);
                let state = format!("{version:0>length$}");
                let body = format!(
                    r#"{{"compare":[{{"key":"{key}","target":"MOD","mod_revision":"{known}"}}],"success":[{{"request_put":{{"key":"{key}","value":"{state}"}}}}]}}"#
                );
                let answer = connection.post_once("/v3/kv/txn", &body).await?;
                let revision = answer.text_of("revision").and_then(|text| text.parse().ok());
                match revision {
                    Some(revision) if answer.text().contains(r#""succeeded":true"#) => Ok(revision),
                    _ => Err(format!("a transaction of etcd: {}", answer.text()).into()),
                }
            }
            Self::Redis(connection, script) => {
                let next = version.saturating_add(1);
                let (known, new) = (version.to_string(), next.to_string());
                let state = format!("{version:0>width$}");
                let parts = ["EVALSHA", script, "1", &key, &known, &new, &state];
                let answer = connection.ask(&parts).await?;
                if answer.0 == ":1\r\n" {
                    Ok(next)
                } else {
                    Err(answer.unexpected("a write").into())
                }
            }
        }
    }
}

/// Updates a client's own objects until the window closes.
pub async fn run(
    target: Arc<Target>,
    (number, clients): (usize, usize),
    window: Window,
) -> Result<Tally, Failure> {
    let mut objects = Objects::open(target.system, target.address(number)?).await?;
    let mut draws = Draws::of(number, clients)?;
    let mut tally = Tally::default();
    while !window.is_over() {
        let place = draws.own_place(&target)?;
        let slot = target.version(place)?;
        let started = Instant::now();
        let new = objects.update(place, slot.load(Ordering::Relaxed), target.width).await?;
        slot.store(new, Ordering::Relaxed);
        tally.record(&window, started);
    }
    Ok(tally)
}
