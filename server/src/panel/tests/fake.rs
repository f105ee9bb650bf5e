//! A fake panel: it records each request and does with its connection what it was told.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What the fake does with its connection.
pub enum Act {
    /// Answers with these bytes and closes.
    Answer(Vec<u8>),
    /// Sends these bytes and then nothing, until the client closes.
    Stall(Vec<u8>),
    /// Sends this head and then a body without an end.
    Flood(Vec<u8>),
    /// Closes the connection without having read the request, which resets it.
    Reset,
}

/// The fake. It stops when it is dropped.
pub struct Fake {
    /// Where it listens.
    pub url: String,
    acts: mpsc::Sender<Act>,
    requests: UnboundedReceiver<String>,
}

impl Fake {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (acts, next_act) = mpsc::channel::<Act>();
        let (requested, requests) = unbounded_channel();
        thread::spawn(move || {
            for act in next_act {
                let request = act.carry_out(listener.accept().unwrap().0);
                let _ = requested.send(request);
            }
        });
        Self { url, acts, requests }
    }

    /// Starts one that does this with its first connection.
    pub fn that(act: Act) -> Self {
        let fake = Self::start();
        fake.will(act);
        fake
    }

    /// Does this with the next connection.
    pub fn will(&self, act: Act) {
        self.acts.send(act).unwrap();
    }

    /// The next request that it got, once its connection has ended.
    pub async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

impl Act {
    fn carry_out(self, mut stream: TcpStream) -> String {
        if let Self::Reset = self {
            stream.read_exact(&mut [0]).unwrap();
            return String::new();
        }
        let request = read_request(&mut stream);
        match self {
            // The client may stop reading early.
            Self::Answer(bytes) => drop(stream.write_all(&bytes)),
            Self::Stall(bytes) => {
                stream.write_all(&bytes).unwrap();
                until_closed(&mut stream);
            }
            Self::Flood(head) => {
                stream.write_all(&head).unwrap();
                while stream.write_all(&[b' '; 16 << 10]).is_ok() {}
            }
            Self::Reset => {}
        }
        request
    }
}

/// Reads a request, or what a TLS client sends instead.
fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4 << 10];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().unwrap())
        });
        if whole || read == 0 || bytes[0] == 0x16 {
            return text.into_owned();
        }
    }
}

fn until_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 1 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return;
            }
        }
    }
}

/// An answer with this status, these headers and this body.
pub fn answer(status: u16, headers: &[&str], body: &str) -> Act {
    let mut text = format!("HTTP/1.1 {status} Said\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if status != 204 {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("connection: close\r\n\r\n");
    text.push_str(body);
    Act::Answer(text.into_bytes())
}
