//! Just enough HTTP/1.1: requests with a Content-Length in, answers out.

use serde_json::Value;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// A request, as it was received.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
    head: String,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Reads the next request. `received` keeps what came behind it. `None` at the connection's end.
pub async fn read(client: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(received) {
            received.drain(..length);
            return Ok(Some(request));
        }
        if client.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// The first request in these bytes and its length, once it is complete.
fn parse(received: &[u8]) -> Option<(Request, usize)> {
    let head_end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(received.get(..head_end)?).into_owned();
    let mut words = head.split(' ');
    let mut request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        body: String::new(),
        head: String::new(),
    };
    request.head = head;
    let length = request.header("Content-Length").and_then(|length| length.parse().ok());
    let body_start = head_end + 4;
    let end = body_start + length.unwrap_or(0);
    request.body = String::from_utf8_lossy(received.get(body_start..end)?).into_owned();
    Some((request, end))
}

/// An answer of the panel.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// An answer in JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// The status line and the headers. Without a length, the body is in chunks.
    fn head(&self, length: Option<usize>) -> String {
        let mut head = format!("HTTP/1.1 {} Panel\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            // RFC 9110 §8.6: a 204 has no length.
            Some(_) if self.status == 204 => {}
            Some(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
            None => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head
    }

    /// Sends it at once.
    pub async fn send(&self, client: &mut TcpStream) -> io::Result<()> {
        let whole = format!("{}{}", self.head(Some(self.body.len())), self.body);
        client.write_all(whole.as_bytes()).await
    }

    /// Sends it in chunks of 16 bytes, with a pause after each.
    pub async fn drip(&self, client: &mut TcpStream, pause: Duration) -> io::Result<()> {
        client.write_all(self.head(Some(self.body.len())).as_bytes()).await?;
        for chunk in self.body.as_bytes().chunks(16) {
            client.write_all(chunk).await?;
            sleep(pause).await;
        }
        Ok(())
    }

    /// Sends it with a body that goes on until the client hangs up.
    pub async fn send_endlessly(&self, client: &mut TcpStream) -> io::Result<()> {
        let start = r#"{"object":"server","attributes":{"description":""#;
        let begin = format!("{}{:x}\r\n{start}\r\n", self.head(None), start.len());
        client.write_all(begin.as_bytes()).await?;
        let filling = "x".repeat(0x4000);
        let chunk = format!("4000\r\n{filling}\r\n");
        loop {
            client.write_all(chunk.as_bytes()).await?;
        }
    }
}
