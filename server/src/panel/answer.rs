//! What an answer tells about a server.

use super::{
    exchange::{Answer, Failure},
    wire::{PanelErrors, read_server},
};
use ifmatch_domain::provisioning::Observation;
use ifmatch_types::PanelCall;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// The pause after a 429 that names none.
const RETRY_AFTER_DEFAULT_S: i64 = 60;
/// The longest pause that a 429 can ask for.
const RETRY_AFTER_MAX_S: i64 = 60 * 60;

/// What a call told, and in which words.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What it told.
    pub observation: Observation,
    /// The panel's own words or the failure, for people; `None` if there is nothing to add.
    pub detail: Option<String>,
}

impl Answered {
    /// An observation with words for it.
    pub fn because(observation: Observation, detail: impl Into<String>) -> Self {
        Self { observation, detail: Some(detail.into()) }
    }

    /// A call that tells nothing.
    pub fn unclear(detail: impl Into<String>) -> Self {
        Self::because(Observation::Unclear, detail)
    }

    /// A call that was not answered.
    pub fn failed(failure: &Failure) -> Self {
        match failure {
            Failure::NotConnected(_) => {
                Self::because(Observation::NotConnected, failure.to_string())
            }
            Failure::TimedOut | Failure::Broken(_) | Failure::TooLarge => {
                Self::unclear(failure.to_string())
            }
        }
    }

    /// What this answer to a call tells about the server with this external id.
    pub fn read(call: PanelCall, external_id: &str, answer: &Answer, now: Timestamp) -> Self {
        use PanelCall::{Create, Delete, LookUp, Suspend, Unsuspend};
        let errors = PanelErrors::read(&answer.body);
        let with_words = |observation| Self::because(observation, words(answer.status, &errors));
        if errors.blame_a_node() {
            // Before every status: the panel may pass on the node's as its own.
            return with_words(Observation::Unclear);
        }
        match (answer.status, call) {
            (201, Create) => created(&answer.body),
            (200, LookUp) => found(external_id, &answer.body),
            (204, Suspend | Unsuspend | Delete) => {
                Self { observation: Observation::Done, detail: None }
            }
            (404, LookUp | Suspend | Unsuspend | Delete) if errors.say_absent() => {
                Self { observation: Observation::Absent, detail: None }
            }
            (422, Create) if errors.say_taken() => with_words(Observation::Taken),
            // A proxy's refusal does not prove that the panel made nothing.
            (400 | 422, Create) if errors.are_the_panels() => with_words(Observation::Refused),
            (401 | 403, _) => with_words(Observation::Unauthorized),
            (429, _) => {
                let retry_after_ms = retry_after_ms(answer.retry_after.as_deref(), now);
                with_words(Observation::Throttled { retry_after_ms })
            }
            (_, _) => with_words(Observation::Unclear),
        }
    }
}

fn created(body: &[u8]) -> Answered {
    match read_server(body) {
        Ok(remote) => Answered { observation: Observation::Created(remote), detail: None },
        Err(error) => Answered::unclear(format!("status 201 without a server: {error}")),
    }
}

fn found(external_id: &str, body: &[u8]) -> Answered {
    match read_server(body) {
        Ok(remote) if remote.external_id.as_deref() == Some(external_id) => {
            Answered { observation: Observation::Found(remote), detail: None }
        }
        Ok(remote) => Answered::unclear(format!(
            "status 200 with another server: {} has the external id {}",
            remote.id,
            remote.external_id.as_deref().unwrap_or("null"),
        )),
        Err(error) => Answered::unclear(format!("status 200 without a server: {error}")),
    }
}

fn words(status: u16, errors: &PanelErrors) -> String {
    if errors.are_the_panels() {
        format!("status {status}: {}", errors.words())
    } else {
        format!("status {status}")
    }
}

/// `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
fn retry_after_ms(text: Option<&str>, now: Timestamp) -> i64 {
    let seconds =
        text.and_then(|text| seconds_after(text.trim(), now)).filter(|seconds| *seconds > 0);
    seconds.unwrap_or(RETRY_AFTER_DEFAULT_S).min(RETRY_AFTER_MAX_S).saturating_mul(1_000)
}

fn seconds_after(text: &str, now: Timestamp) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(until.as_second().saturating_sub(now.as_second()))
}
