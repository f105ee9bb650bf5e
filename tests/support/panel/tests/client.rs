//! A client without any mercy or memory: a connection per request, no redirects, no retries.

use super::super::{Kind, Panel, Remote};
use serde_json::{Value, json};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval},
};

pub const BOTH: [Kind; 2] = [Kind::Pterodactyl, Kind::Pelican];
pub const SERVERS: &str = "/api/application/servers";
/// Long enough for several calls on a busy machine.
pub const SOON: Duration = Duration::from_millis(500);
/// Longer than any test.
pub const NEVER: Duration = Duration::from_secs(600);

/// An answer as it was received.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    /// `attributes` of the server.
    pub fn attributes(&self) -> Value {
        let body = self.json();
        assert_eq!(body["object"], "server");
        body["attributes"].clone()
    }

    /// The status and the code of the first error.
    pub fn error(&self) -> (u16, String) {
        let error = &self.json()["errors"][0];
        assert_eq!(error["status"], self.status.to_string(), "the status is repeated as a text");
        (self.status, error["code"].as_str().expect("it has a code").to_owned())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends a request and leaves the answer in the connection.
pub async fn send(panel: &Panel, key: &str, method: &str, path: &str, body: &str) -> TcpStream {
    let at = panel.url().replace("http://", "");
    let mut stream = TcpStream::connect(at).await.expect("the panel listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: panel\r\nAuthorization: Bearer {key}\r\n\
         Accept: Application/vnd.pterodactyl.v1+json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("the panel reads");
    stream
}

/// Reads the answer to its end. An error if the connection is reset.
pub async fn receive(mut stream: TcpStream) -> io::Result<Got> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await?;
    let text = String::from_utf8(received).expect("an answer is text");
    let (head, text) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).expect("it has a status").parse().expect("a number");
    Ok(Got { status, head: head.to_owned(), text: text.to_owned() })
}

pub async fn call(panel: &Panel, method: &str, path: &str) -> io::Result<Got> {
    receive(send(panel, Panel::KEY, method, path, "").await).await
}

pub async fn create(panel: &Panel, external_id: &str) -> io::Result<Got> {
    let body = body(panel.kind(), external_id).to_string();
    receive(send(panel, Panel::KEY, "POST", SERVERS, &body).await).await
}

pub async fn look_up(panel: &Panel, external_id: &str) -> io::Result<Got> {
    call(panel, "GET", &format!("{SERVERS}/external/{external_id}")).await
}

/// A call of a server by its id: `suspend`, `unsuspend`, `delete` or `force`.
pub async fn act(panel: &Panel, id: i64, action: &str) -> io::Result<Got> {
    match action {
        "delete" => call(panel, "DELETE", &format!("{SERVERS}/{id}")).await,
        "force" => call(panel, "DELETE", &format!("{SERVERS}/{id}/force")).await,
        action => call(panel, "POST", &format!("{SERVERS}/{id}/{action}")).await,
    }
}

/// A planted server's id, and its status.
pub fn plant(panel: &Panel, external_id: &str, status: Option<&str>) -> i64 {
    let status = status.map(str::to_owned);
    panel.plant(Remote { status, ..Remote::new(external_id, 7, 3) }).id
}

/// The status of the server with this external id.
pub fn status(panel: &Panel, external_id: &str) -> Option<String> {
    panel.server(external_id).expect("it exists").status
}

/// A create with every field that this panel knows and needs.
pub fn body(kind: Kind, external_id: &str) -> Value {
    let mut body = json!({
        "external_id": external_id,
        "name": "Höhle",
        "user": 7,
        "egg": 3,
        "docker_image": "ghcr.io/games/java:21",
        "startup": "java -jar server.jar",
        "environment": {"JAR": "server.jar"},
        "limits": {"memory": 2048, "swap": 0, "disk": 10240, "io": 500, "cpu": 200},
        "feature_limits": {"databases": 1, "allocations": 0, "backups": 2},
        "deploy": {"dedicated_ip": false, "port_range": []},
        "start_on_completion": true,
    });
    match kind {
        Kind::Pterodactyl => body["deploy"]["locations"] = json!([1]),
        Kind::Pelican => body["deploy"]["tags"] = json!(["eu"]),
    }
    body
}

/// Polls until the condition holds, for at most 10 seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut ticks = interval(Duration::from_millis(2));
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        ticks.tick().await;
    }
}
