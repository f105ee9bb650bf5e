//! The load's HTTP client: HTTP/1.1 on one connection, as cheap as possible.
//!
//! The load shares the processors with the measured system, so every cycle spent here is missing
//! there. One input and one output buffer, one write and one read per request.

use crate::Failure;
use std::{io::Write, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    /// The part of the head that all requests share.
    common: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// An answer; it borrows the connection's buffer.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The version in its `ETag`.
    pub version: Option<i64>,
    /// The body.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The first number in the body after this member name.
    pub fn number(&self, name: &str) -> Option<i64> {
        let text = std::str::from_utf8(self.body).ok()?;
        let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest.get(..end)?.parse().ok()
    }

    /// The text in the body after this member name. It must have no escapes.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.body).ok()?;
        let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
        Some(rest.split_once('"')?.0)
    }

    /// Status and body, for error messages.
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(self.body))
    }
}

impl Connection {
    /// Opens a connection.
    pub async fn open(address: SocketAddr, key: &str) -> Result<Self, Failure> {
        let mut connection = Self::anonymous(address).await?;
        connection.common.push_str(&format!("authorization: Bearer {key}\r\n"));
        Ok(connection)
    }

    /// Opens a connection that names no key.
    pub async fn anonymous(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let common = format!(" HTTP/1.1\r\nhost: {address}\r\n");
        Ok(Self { stream, common, request: Vec::new(), answer: Vec::with_capacity(16_384) })
    }

    /// Reads an object.
    pub async fn get(&mut self, path: &str) -> Result<Answer<'_>, Failure> {
        self.exchange("GET ", path, None, "").await
    }

    /// Changes an object.
    pub async fn patch(&mut self, path: &str, body: &str) -> Result<Answer<'_>, Failure> {
        self.exchange("PATCH ", path, None, body).await
    }

    /// Creates objects, with a fresh Idempotency-Key. Keys are in order of time, as the SDK's are.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<Answer<'_>, Failure> {
        self.exchange("POST ", path, Some(Uuid::now_v7()), body).await
    }

    /// A POST that is not meant to be repeated.
    pub async fn post_once(&mut self, path: &str, body: &str) -> Result<Answer<'_>, Failure> {
        self.exchange("POST ", path, None, body).await
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        key: Option<Uuid>,
        body: &str,
    ) -> Result<Answer<'_>, Failure> {
        self.request.clear();
        for part in [method, path, self.common.as_str()] {
            self.request.extend_from_slice(part.as_bytes());
        }
        if let Some(key) = key {
            write!(self.request, "idempotency-key: {key}\r\n")?;
        }
        if !body.is_empty() {
            let head =
                format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
            self.request.extend_from_slice(head.as_bytes());
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        let head_end = loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the server closed a connection".into());
            }
            if let Some(end) = find(&self.answer, b"\r\n\r\n") {
                break end;
            }
        };
        let head = Head::read(self.answer.get(..head_end).unwrap_or_default())?;
        let begin = head_end.saturating_add(4);
        let end = begin.saturating_add(head.length);
        while self.answer.len() < end {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the server closed a connection amid an answer".into());
            }
        }
        let body = self.answer.get(begin..end).unwrap_or_default();
        Ok(Answer { status: head.status, version: head.version, body })
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The parts of an answer's head that the load needs.
struct Head {
    status: u16,
    length: usize,
    version: Option<i64>,
}

impl Head {
    fn read(head: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(head)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let mut head = Self { status: status.parse()?, length: 0, version: None };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("etag") {
                head.version = value.trim().trim_matches('"').parse().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err("an answer without a length".into());
            }
        }
        Ok(head)
    }
}
