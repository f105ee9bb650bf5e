//! A connection that the test closes when it wants: sequential requests, no pool.

use super::{ADMIN_KEY, Server};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// An HTTP/1.1 connection to a server. Dropping it hangs up.
pub struct Socket {
    stream: TcpStream,
    host: String,
    key: String,
}

impl Socket {
    pub async fn connect(server: &Server) -> Self {
        Self::connect_with(server, ADMIN_KEY, None).await
    }

    /// Connects with another key, and with a small receive buffer for a client that does not read.
    pub async fn deaf(server: &Server, key: &str) -> Self {
        Self::connect_with(server, key, Some(4_096)).await
    }

    async fn connect_with(server: &Server, key: &str, buffer: Option<u32>) -> Self {
        let host = server.url().strip_prefix("http://").expect("it listens without TLS").to_owned();
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).expect("a buffer can be small");
        }
        let address = host.parse().expect("it listens at an IPv4 address");
        let stream = socket.connect(address).await.expect("the server listens");
        Self { stream, host, key: key.to_owned() }
    }

    /// Connects and sends a request.
    pub async fn with(server: &Server, method: &str, path: &str) -> Self {
        let mut socket = Self::connect(server).await;
        socket.send(method, path).await;
        socket
    }

    /// Sends a request without a body.
    pub async fn send(&mut self, method: &str, path: &str) {
        let Self { host, key, .. } = self;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
    }

    /// Sends a request with a JSON body.
    pub async fn post(&mut self, path: &str, body: &str) {
        let Self { host, key, .. } = self;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
    }

    /// Sends this text and nothing else.
    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Sends this text, unless the server has closed the connection.
    pub async fn try_write(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Reads everything up to the end of the connection, which the server has to close.
    pub async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let ended = timeout(Duration::from_secs(30), self.stream.read_to_end(&mut read)).await;
        // A reset after the last byte is an end, too.
        let _ = ended.expect("the server closes the connection");
        String::from_utf8(read).expect("it is text")
    }

    /// Reads the head of the next answer and nothing after it.
    pub async fn head(&mut self) -> String {
        self.up_to("\r\n\r\n").await
    }

    /// Reads up to this text. Hanging up with unread bytes is a reset, not an orderly close.
    pub async fn up_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(Duration::from_secs(30), self.stream.read_u8()).await;
            read.push(byte.expect("an answer comes").expect("the connection is open"));
        }
        String::from_utf8(read).expect("it is text")
    }
}
