//! The protocol of Redis on one connection, one command at a time.

use crate::Failure;
use std::{io::Write, net::SocketAddr, str};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct RedisConnection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl RedisConnection {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: Vec::new(), answer: Vec::new() })
    }

    pub fn local_port(&self) -> Result<u16, Failure> {
        Ok(self.stream.local_addr()?.port())
    }

    /// Loads a script and returns its digest.
    pub async fn load_script(&mut self, script: &str) -> Result<String, Failure> {
        let loaded = self.ask(&["SCRIPT", "LOAD", script]).await?;
        Ok(loaded.bulk().ok_or_else(|| loaded.unexpected("a script"))?.to_owned())
    }

    /// Sends a command and reads its answer.
    pub async fn ask(&mut self, parts: &[&str]) -> Result<Reply<'_>, Failure> {
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
pub struct Reply<'a>(pub &'a str);

impl Reply<'_> {
    pub fn bulk(&self) -> Option<&str> {
        self.0.strip_prefix('$')?.split("\r\n").nth(1)
    }

    pub fn unexpected(&self, of: &str) -> String {
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
