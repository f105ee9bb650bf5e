//! A proxy that injects network faults, one scripted fault per request.
//!
//! It speaks just enough HTTP/1.1: one request per connection, bodies with a Content-Length.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A fault for one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Delivered and answered.
    Pass,
    /// Delivered; the answer is lost.
    LoseAnswer,
    /// Not delivered; the connection ends.
    LoseRequest,
    /// Delivered; the answer is delayed.
    DelayAnswer(Duration),
    /// Delivered twice; the second answer is returned.
    Duplicate,
    /// Not delivered; the proxy answers itself, without any of Ifmatch's headers.
    Answer { status: u16, body: &'static str },
    /// Delivered; the proxy answers itself, as if it knew nothing of it.
    Replace { status: u16 },
    /// Delivered; a refusal loses its body and headers.
    StripRefusal,
    /// Delivered; the answer's ETag is made weak.
    WeakenEtag,
}

/// A request as the proxy saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    head: String,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

#[derive(Default)]
struct Script {
    /// Each fault waits for the next request of its method.
    faults: VecDeque<(&'static str, Fault)>,
    seen: Vec<Seen>,
    /// Whether requests get another id on the way, as most gateways do.
    rewrites_ids: bool,
}

/// A proxy before one server; ends when dropped.
pub struct Proxy {
    url: String,
    upstream: Arc<Mutex<String>>,
    script: Arc<Mutex<Script>>,
    accepting: AbortHandle,
}

impl Proxy {
    /// A proxy before the server at `http://host:port`. At first it passes everything.
    pub async fn before(server_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let script = Arc::new(Mutex::new(Script::default()));
        let upstream = Arc::new(Mutex::new(host(server_url)));
        let (shared, target) = (script.clone(), upstream.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, target) = (shared.clone(), target.lock().unwrap().clone());
                tokio::spawn(async move { handle(client, &target, &shared).await });
            }
        });
        Self { url, upstream, script, accepting: accepting.abort_handle() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends later requests to another server.
    pub fn point_to(&self, server_url: &str) {
        *self.upstream.lock().unwrap() = host(server_url);
    }

    /// Applies `fault` to the next request of this method, after the faults already queued.
    pub fn next(&self, method: &'static str, fault: Fault) -> &Self {
        self.script.lock().unwrap().faults.push_back((method, fault));
        self
    }

    /// Gives every later request an id of its own.
    pub fn rewrite_request_ids(&self) {
        self.script.lock().unwrap().rewrites_ids = true;
    }

    /// Every request of this method so far, in order of arrival.
    pub fn seen(&self, method: &str) -> Vec<Seen> {
        let script = self.script.lock().unwrap();
        script.seen.iter().filter(|seen| seen.method == method).cloned().collect()
    }

    /// Drops the queued faults.
    pub fn heal(&self) {
        self.script.lock().unwrap().faults.clear();
    }

    /// The number of queued faults.
    pub fn faults_left(&self) -> usize {
        self.script.lock().unwrap().faults.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

async fn handle(mut client: TcpStream, upstream: &str, script: &Mutex<Script>) -> io::Result<()> {
    let Some(mut seen) = read_request(&mut client).await? else { return Ok(()) };
    let fault = {
        let mut script = script.lock().unwrap();
        script.seen.push(seen.clone());
        if script.rewrites_ids {
            let id = format!("X-Request-Id: gateway-{}", script.seen.len());
            let is_id = |line: &&str| line.to_ascii_lowercase().starts_with("x-request-id:");
            let lines = seen.head.lines().filter(|line| !is_id(line));
            seen.head = lines.chain([id.as_str()]).collect::<Vec<_>>().join("\r\n");
        }
        let due = script.faults.iter().position(|(method, _)| *method == seen.method);
        due.and_then(|due| script.faults.remove(due)).map_or(Fault::Pass, |(_, fault)| fault)
    };
    let answer = match fault {
        Fault::LoseRequest => return Ok(()),
        Fault::LoseAnswer => {
            deliver(&seen, upstream).await?;
            return Ok(());
        }
        Fault::Answer { status, body } => own_answer(status, body),
        Fault::Replace { status } => {
            deliver(&seen, upstream).await?;
            own_answer(status, "<h1>no</h1>")
        }
        Fault::StripRefusal => {
            let answer = deliver(&seen, upstream).await?;
            let status =
                String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("").to_owned();
            match status.parse() {
                Ok(status) if status >= 400 => own_answer(status, ""),
                _ => answer,
            }
        }
        Fault::Pass => deliver(&seen, upstream).await?,
        Fault::Duplicate => {
            deliver(&seen, upstream).await?;
            deliver(&seen, upstream).await?
        }
        Fault::DelayAnswer(delay) => {
            let answer = deliver(&seen, upstream).await?;
            tokio::time::sleep(delay).await;
            answer
        }
        Fault::WeakenEtag => {
            let answer = deliver(&seen, upstream).await?;
            let text = String::from_utf8_lossy(&answer);
            text.replacen("etag: \"", "etag: W/\"", 1)
                .replacen("ETag: \"", "ETag: W/\"", 1)
                .into_bytes()
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

/// An answer of the proxy itself, without any of Ifmatch's headers.
fn own_answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Proxy\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request on a new connection and reads the whole answer.
async fn deliver(seen: &Seen, upstream: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let lines = seen.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case("connection") && !line.is_empty()
    });
    let head: String = lines.map(|line| format!("{line}\r\n")).collect();
    let request = format!("{head}Connection: close\r\n\r\n{}", seen.body);
    server.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn read_request(client: &mut TcpStream) -> io::Result<Option<Seen>> {
    let mut received = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&received);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut words = head.split(' ');
            let mut seen = Seen {
                method: words.next().unwrap_or_default().to_owned(),
                path: words.next().unwrap_or_default().to_owned(),
                head: head.to_owned(),
                body: String::new(),
            };
            let length = seen.header("Content-Length").and_then(|length| length.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                seen.body = body.to_owned();
                return Ok(Some(seen));
            }
        }
        if client.read_buf(&mut received).await? == 0 {
            return Ok(None);
        }
    }
}
