//! The usual lock in Redis, over its own protocol: `SET key token NX PX`, and a script that compares
//! the token and deletes.
//!
//! The script also leaves a signal in a list. Waiters wait for it with `BLPOP` and try again, which
//! is faster than polling and as unfair: the client that released may be first again.

use super::TTL_MS;
use crate::Failure;
use std::{io::Write, net::SocketAddr, str};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const RELEASE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('DEL', KEYS[1], KEYS[2]) \
    redis.call('LPUSH', KEYS[2], '1') \
    redis.call('PEXPIRE', KEYS[2], ARGV[2]) \
    return 1";
/// How long a waiter waits for the signal before it looks by itself, in seconds.
const SIGNAL_S: &str = "1";

pub struct RedisLocks {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// The digest of the release script.
    script: String,
    client: u16,
    grants: u64,
}

impl RedisLocks {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let client = stream.local_addr()?.port();
        let (request, answer) = (Vec::new(), Vec::new());
        let script = String::new();
        let mut locks = Self { stream, request, answer, script, client, grants: 0 };
        let loaded = locks.ask(&["SCRIPT", "LOAD", RELEASE]).await?;
        locks.script = loaded.bulk().ok_or_else(|| loaded.unexpected("a script"))?.to_owned();
        Ok(locks)
    }

    /// Acquires the lock and returns its token.
    pub async fn acquire(&mut self, name: &str) -> Result<String, Failure> {
        self.grants = self.grants.saturating_add(1);
        let token = format!("{}-{}", self.client, self.grants);
        let (ttl, signal) = (TTL_MS.to_string(), format!("{name}:free"));
        loop {
            let set = self.ask(&["SET", name, &token, "NX", "PX", &ttl]).await?;
            match set.0 {
                "+OK\r\n" => return Ok(token),
                "$-1\r\n" => {}
                _ => return Err(set.unexpected("a SET").into()),
            }
            let waited = self.ask(&["BLPOP", &signal, SIGNAL_S]).await?;
            if waited.0.starts_with('-') {
                return Err(waited.unexpected("a BLPOP").into());
            }
        }
    }

    pub async fn release(&mut self, name: &str, token: &str) -> Result<(), Failure> {
        let (signal, ttl) = (format!("{name}:free"), TTL_MS.to_string());
        let script = self.script.clone();
        let released = self.ask(&["EVALSHA", &script, "2", name, &signal, token, &ttl]).await?;
        if released.0 == ":1\r\n" { Ok(()) } else { Err(released.unexpected("a release").into()) }
    }

    /// Sends a command and reads its answer.
    async fn ask(&mut self, parts: &[&str]) -> Result<Reply<'_>, Failure> {
        self.request.clear();
        write!(self.request, "*{}\r\n", parts.len())?;
        for part in parts {
            write!(self.request, "${}\r\n{part}\r\n", part.len())?;
        }
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("Redis closed a connection".into());
            }
            if is_whole(str::from_utf8(&self.answer)?) {
                break;
            }
        }
        Ok(Reply(str::from_utf8(&self.answer)?))
    }
}

/// An answer as Redis wrote it.
struct Reply<'a>(&'a str);

impl Reply<'_> {
    fn bulk(&self) -> Option<&str> {
        self.0.strip_prefix('$')?.split("\r\n").nth(1)
    }

    fn unexpected(&self, of: &str) -> String {
        format!("{of} of Redis: {}", self.0.trim_end())
    }
}

/// Whether an answer is complete: one line; a text with its length before it; or a list of texts,
/// each of which takes two lines.
fn is_whole(answer: &str) -> bool {
    let mut lines = answer.split_inclusive("\r\n").filter(|line| line.ends_with("\r\n"));
    let Some(first) = lines.next() else { return false };
    let length = first.get(1..).and_then(|rest| rest.trim_end().parse::<i64>().ok());
    let more = match (first.as_bytes().first(), length) {
        (Some(b'$'), Some(0..)) => 1,
        (Some(b'*'), Some(count @ 1..)) => count.saturating_mul(2),
        _ => 0,
    };
    i64::try_from(lines.count()).is_ok_and(|count| count >= more)
}
