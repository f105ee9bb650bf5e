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

    /// The next event's id and data. Comments and other fields are skipped.
    pub async fn next(&mut self) -> (i64, Value) {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| {
                    let values = block.lines().filter_map(|line| line.strip_prefix(name));
                    values.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                let (id, data) = (field("id:"), field("data:"));
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).expect("an event's data is JSON");
                    return (
                        id.trim().parse().expect("an event's id is its sequence number"),
                        data,
                    );
                }
            }
            let chunk = self.response.chunk().await.expect("the stream is readable");
            let chunk = chunk.expect("the stream does not end");
            self.unread.push_str(&String::from_utf8_lossy(&chunk).replace("\r\n", "\n"));
        }
    }
}
