//! `Prefer: wait=<seconds>`: a stale write that would rather wait for its turn (RFC 7240 §4.3).
//!
//! A caller that adds the parameter `turn` says that it names its turn: empty in a first attempt, and
//! the `conflict_id` of the refusal that it had in its turn in the next one.

use crate::lane::Patience;
use actix_web::http::header::HeaderMap;
use std::time::Duration;

/// The longest wait. Gateways give up after 50 to 60 s.
const WAIT_MAX_S: u64 = 45;

/// Marks a request that had its turn, so that its answer says `Preference-Applied: wait`.
#[derive(Clone, Copy, Debug)]
pub struct HadTurn;

/// How long the caller would wait, and the turn it names; `None` if it would not wait.
///
/// The first `wait` counts (RFC 7240 §2). A preference that is malformed is none.
pub fn wait(headers: &HeaderMap) -> Option<Patience> {
    let lines = headers.get_all("prefer").filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    preferences.find_map(|preference| {
        let mut parts = preference.split(';').map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'))
        });
        let (_, seconds) = parts.next().filter(|(name, _)| name == "wait")?;
        let turn = parts.find(|(name, _)| name == "turn").map(|(_, turn)| turn.to_owned());
        Some(
            seconds.parse().ok().filter(|seconds: &u64| *seconds > 0).map(|seconds| Patience {
                wait: Duration::from_secs(seconds.min(WAIT_MAX_S)),
                turn,
            }),
        )
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn wait_of(lines: &[&str]) -> Option<u64> {
        let request = lines
            .iter()
            .fold(TestRequest::default(), |request, line| request.append_header(("Prefer", *line)));
        wait(request.to_http_request().headers()).map(|patience| patience.wait.as_secs())
    }

    fn turn_of(line: &str) -> Option<String> {
        let request = TestRequest::default().insert_header(("Prefer", line)).to_http_request();
        wait(request.headers())?.turn
    }

    #[test]
    fn a_turn_is_named_in_a_parameter() {
        assert_eq!(turn_of("wait=7"), None);
        assert_eq!(turn_of("wait=7; turn").as_deref(), Some(""));
        assert_eq!(turn_of("wait=7;x=1;Turn=\"cfl_1\"").as_deref(), Some("cfl_1"));
        assert_eq!(turn_of("x;turn=cfl_2, wait=7; turn=cfl_1").as_deref(), Some("cfl_1"));
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        assert_eq!(wait_of(&["wait=7"]), Some(7));
        assert_eq!(wait_of(&["respond-async, WAIT = \"7\"; x=1"]), Some(7));
        assert_eq!(wait_of(&["return=minimal", "wait=7"]), Some(7));
        assert_eq!(wait_of(&["wait=3, wait=7"]), Some(3));
        assert_eq!(wait_of(&["wait=600"]), Some(45));
    }

    #[test]
    fn what_is_no_wait_is_none() {
        for line in ["", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5", "waits=7", "x=wait=7"] {
            assert_eq!(wait_of(&[line]), None, "{line}");
        }
    }
}
