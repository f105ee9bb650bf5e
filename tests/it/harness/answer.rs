//! An answer of the server, with the checks that apply to every answer.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as JSON; null if it is not JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII"))
    }

    /// Asserts the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The body, after asserting the status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        self.is(status).body
    }

    /// The body of a refusal, after checking what every refusal has.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let Self { headers, body, text, .. } = self.clone().is(status);
        assert_eq!(body["code"], code, "{text}");
        assert_eq!(body["status"], status, "{text}");
        let content_type = self.header("Content-Type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "{content_type}: {text}");
        assert!(!headers.contains_key("ETag"), "a refusal has no ETag: {headers:?}");
        assert!(body["type"].as_str().is_some_and(|t| t.starts_with("/problems/")), "{text}");
        for member in ["title", "detail"] {
            assert!(body[member].as_str().is_some_and(|t| !t.is_empty()), "no {member}: {text}");
        }
        assert_eq!(body["request_id"].as_str(), self.header("X-Request-Id"), "{text}");
        assert_eq!(body["retry"]["action"], retry_action(code), "{text}");
        assert!(body["retry"]["after_ms"].is_u64(), "{text}");
        body
    }

    /// The body of a 422 that names this wrong field.
    #[track_caller]
    pub fn invalid(self, path: &str) -> Value {
        let body = self.problem(422, "VALIDATION_FAILED");
        let errors = body["errors"].as_array().expect("errors is a list");
        assert!(
            errors.iter().any(|error| error["path"] == path && error["message"].is_string()),
            "{path} is not named in {body}"
        );
        body
    }

    /// The body of a version conflict.
    #[track_caller]
    pub fn conflict(self, status: u16) -> Value {
        self.problem(status, "CONFLICT_VERSION_MISMATCH")
    }
}

/// The last column of the contract's table of refusals.
fn retry_action(code: &str) -> &'static str {
    match code {
        "CONFLICT_VERSION_MISMATCH" => "reapply",
        "RATE_LIMITED" | "TRY_AGAIN" | "INTERNAL" => "resend",
        _ => "none",
    }
}
