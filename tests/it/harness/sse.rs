//! Server-sent events, read one by one.

use serde_json::Value;

/// An open stream of events.
pub struct EventStream {
    response: reqwest::Response,
    unread: String,
}

impl EventStream {
    pub fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        let content_type = response.headers().get("Content-Type").expect("it has a type");
        assert!(content_type.to_str().unwrap().starts_with("text/event-stream"));
        Self { response, unread: String::new() }
    }

    /// The rest of the stream, unparsed.
    pub fn into_response(self) -> reqwest::Response {
        self.response
    }

    /// The next event's number and data. Comments and blocks without data are skipped.
    pub async fn next(&mut self) -> (i64, Value) {
        loop {
            let block = self.block().await;
            let (id, data) = (field(&block, "id:"), field(&block, "data:"));
            if !data.is_empty() {
                let data: Value = serde_json::from_str(&data).expect("an event's data is JSON");
                assert_eq!(data["cursor"], id, "an event's id is its cursor");
                return (data["seq"].as_i64().expect("an event has a number"), data);
            }
        }
    }

    /// The next block of lines.
    pub async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return block;
            }
            let chunk = self.response.chunk().await.expect("the stream is readable");
            let chunk = chunk.expect("the stream does not end");
            self.unread.push_str(&String::from_utf8_lossy(&chunk).replace("\r\n", "\n"));
        }
    }
}

/// The value of a field in a block of lines.
pub fn field(block: &str, name: &str) -> String {
    let values = block.lines().filter_map(|line| line.strip_prefix(name));
    values.map(str::trim_start).collect::<Vec<_>>().join("\n")
}
