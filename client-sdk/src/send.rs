//! Sends: the same bytes with the same key, until there is an answer that settles it.
//!
//! Conflicts are handled elsewhere. A request ends in an answer, a refusal, or an unknown outcome.
//! An ambiguous failure is repeated with the same bytes, never fetched and re-applied.

use crate::{
    Error, GaveUp, OutcomeUnknown, Unavailable,
    client::Client,
    pace::{Backoff, Deadline, WAIT_MAX, ms},
    reply::Reply,
    request::Request,
    wire::{Answer, WireError},
};
use ifmatch_types::{Code, Problem, RetryAction};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use std::{borrow::Cow, time::Duration};

/// A request on its way.
pub(crate) struct Sending {
    pub(crate) request: Request,
    pub(crate) deadline: Deadline,
    /// Whether an earlier send may have been applied although no answer came.
    pub(crate) in_doubt: bool,
    /// Whether the last answer came in this caller's turn, so that its next write is awaited.
    pub(crate) had_turn: bool,
    wait: Wait,
    backoff: Backoff,
    sends: u32,
}

/// How long the server may wait before it answers, beyond the client's patience.
#[derive(Clone)]
enum Wait {
    /// As the body says, in every send.
    Fixed(Duration),
    /// Until then. Each send asks for what is left, in its query.
    Until(Deadline),
    /// For its turn, if it is stale: at most half of the time that is left, because more follows, and
    /// half of the time that a send has, so that silence is not taken for a wait for long.
    Turn(String),
}

/// Why a request got no 2xx.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The server's own refusal: nothing was applied.
    Refused(Box<Problem>),
    /// A refusal without a problem body, by a proxy: its status and the beginning of its body.
    Bare(u16, String),
    /// No answer, and no more time or budget to ask again.
    Gone(Error),
}

/// The result of one exchange.
enum Told {
    Done(Reply),
    /// A refusal, and whether it came in this caller's turn.
    Refused(Box<Problem>, bool),
    Bare(u16, String),
    Again(Trouble),
}

/// A failure that may not happen again.
struct Trouble {
    cause: String,
    wait: Duration,
    maybe_applied: bool,
    problem: Option<Box<Problem>>,
}

impl Trouble {
    fn new(cause: impl Into<String>, maybe_applied: bool) -> Self {
        Self { cause: cause.into(), wait: Duration::ZERO, maybe_applied, problem: None }
    }
}

impl Sending {
    pub(crate) fn new(request: Request, deadline: Deadline) -> Self {
        Self {
            request,
            deadline,
            in_doubt: false,
            had_turn: false,
            wait: Wait::Fixed(Duration::ZERO),
            backoff: Backoff::new(),
            sends: 0,
        }
    }

    /// Lets the server wait for this long before it answers, as the body says.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = Wait::Fixed(wait);
        self
    }

    /// Asks the server to wait for this long before it answers, at most for [`WAIT_MAX`].
    ///
    /// The wait is no part of the request, and the server tells requests apart without it. So a
    /// repeated send does not wait anew, and an unknown outcome is settled without a wait.
    pub(crate) fn asking_to_wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::Until(Deadline::after(wait.min(WAIT_MAX)));
        self
    }

    /// Asks the server to let it wait for its turn rather than be refused at once as stale.
    ///
    /// `turn` is the id of the conflict that it had in its turn; empty if it had none.
    pub(crate) fn preferring_turn(mut self, turn: String) -> Self {
        self.wait = Wait::Turn(turn);
        self
    }

    /// The request as it is sent now, and how long the server may wait before it answers.
    fn next(&self, send_timeout: Duration) -> (Cow<'_, Request>, Duration) {
        let (request, left) = match &self.wait {
            Wait::Fixed(wait) => return (Cow::Borrowed(&self.request), *wait),
            Wait::Until(until) => (&self.request, until.cap(WAIT_MAX)),
            // A kept answer is not waited for.
            Wait::Turn(_) if self.in_doubt => {
                return (Cow::Borrowed(&self.request), Duration::ZERO);
            }
            Wait::Turn(turn) => {
                let left = self.deadline.cap(Duration::MAX).unwrap_or_default() / 2;
                let wait_s = left.min(WAIT_MAX).min(send_timeout / 2).as_secs();
                return match wait_s {
                    0 => (Cow::Borrowed(&self.request), Duration::ZERO),
                    _ => (
                        Cow::Owned(self.request.clone().waiting_for_turn(wait_s, turn)),
                        Duration::from_secs(wait_s),
                    ),
                };
            }
        };
        match left {
            Some(wait) => (Cow::Owned(request.clone().query("wait_ms", ms(wait))), wait),
            None => (Cow::Borrowed(request), Duration::ZERO),
        }
    }

    /// Waits before the next send, or returns why there will be none.
    pub(crate) async fn pause(&mut self, client: &Client, at_least: Duration) -> Option<GaveUp> {
        let wait = self.backoff.next().max(at_least);
        if !self.deadline.allows(wait) {
            return Some(GaveUp::Deadline);
        }
        if !client.bucket().take() {
            return Some(GaveUp::SendBudget);
        }
        tokio::time::sleep(wait).await;
        None
    }

    /// The error of a request that has no answer.
    pub(crate) fn lost(&self, why: GaveUp, cause: String, problem: Option<Box<Problem>>) -> Error {
        if self.in_doubt {
            return self.unknown(why, cause);
        }
        Error::Unavailable(Box::new(Unavailable { why, cause, problem }))
    }
}

impl Client {
    /// Sends until an answer settles it.
    pub(crate) async fn send(&self, sending: &mut Sending) -> Result<Reply, SendError> {
        if let Some(fence) = &sending.request.fence
            && sending.sends == 0
            && !sending.in_doubt
        {
            // Only before the first send: a later one may find that the write was applied.
            fence.check().map_err(SendError::Gone)?;
        }
        loop {
            let (request, wait) = sending.next(self.send_timeout());
            let patience = self.send_timeout().saturating_add(wait);
            let Some(limit) = sending.deadline.cap(patience) else {
                let error = sending.lost(GaveUp::Deadline, "there was no time to ask".into(), None);
                return Err(SendError::Gone(error));
            };
            let told = self.exchange(&request, limit).await?;
            sending.sends += 1;
            sending.had_turn = matches!(told, Told::Refused(_, true));
            let trouble = match told {
                Told::Done(reply) => return Ok(reply),
                Told::Refused(problem, _)
                    if sending.in_doubt && !self.settles(&sending.request, problem.code) =>
                {
                    let cause = problem.detail.clone();
                    let error = sending.lost(GaveUp::Refused, cause, Some(problem));
                    return Err(SendError::Gone(error));
                }
                Told::Refused(problem, _) => return Err(SendError::Refused(problem)),
                Told::Bare(status, text) => return Err(SendError::Bare(status, text)),
                Told::Again(trouble) => trouble,
            };
            // A read has no effect that could be in doubt.
            sending.in_doubt |= trouble.maybe_applied && sending.request.is_mutation();
            tracing::debug!(
                method = %sending.request.method(), path = sending.request.path(),
                request_id = sending.request.request_id, sends = sending.sends,
                cause = trouble.cause, in_doubt = sending.in_doubt,
                "send failed"
            );
            if let Some(why) = sending.pause(self, trouble.wait).await {
                let error = sending.lost(why, trouble.cause, trouble.problem);
                return Err(SendError::Gone(error));
            }
        }
    }

    async fn exchange(&self, request: &Request, limit: Duration) -> Result<Told, SendError> {
        tracing::trace!(
            method = %request.method(), path = request.path(),
            request_id = request.request_id, "send"
        );
        Ok(match tokio::time::timeout(limit, self.wire().exchange(request)).await {
            Ok(Ok(answer)) => read(answer),
            Ok(Err(WireError::Unsendable(error))) => return Err(SendError::Gone(error)),
            Ok(Err(WireError::NotConnected(cause))) => Told::Again(Trouble::new(cause, false)),
            Ok(Err(WireError::Broken(cause))) => Told::Again(Trouble::new(cause, true)),
            Err(_) => Told::Again(Trouble::new("no answer in time", true)),
        })
    }

    /// Whether a refusal with this code says that no earlier send was applied.
    ///
    /// The caller is checked before the idempotency key is looked up. An API key that was revoked in
    /// between therefore hides the stored answer. A key that was used for another request may have
    /// been used for this one, changed on the way. Stored answers come before the fence, but the
    /// server keeps them per API key.
    fn settles(&self, request: &Request, code: Code) -> bool {
        match code {
            Code::Unauthenticated
            | Code::Forbidden
            | Code::ForceForbidden
            | Code::IdempotencyKeyReused => false,
            Code::StaleFence => self.is_sender_of(request),
            _ => true,
        }
    }

    /// Sends a request that cannot meet a conflict.
    pub(crate) async fn call(&self, request: Request, deadline: Deadline) -> Result<Reply, Error> {
        let mut sending = Sending::new(request, deadline);
        match self.send(&mut sending).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(sending.settle(error)),
        }
    }
}

impl Sending {
    /// The error for the caller after a final refusal.
    pub(crate) fn settle(&self, error: SendError) -> Error {
        match error {
            SendError::Refused(problem) => match &self.request.fence {
                Some(fence) if problem.code == Code::StaleFence => fence.refused(problem),
                _ => Error::Refused(problem),
            },
            SendError::Gone(error) => error,
            // A proxy that answers with a contradiction may have delivered the request before.
            SendError::Bare(status, text)
                if self.in_doubt || (self.request.is_mutation() && is_contradiction(status)) =>
            {
                self.unknown(GaveUp::Refused, format!("a bare {status}: {text}"))
            }
            SendError::Bare(status, text) => Error::UnexpectedAnswer { status, text },
        }
    }

    /// Checks that an answer was read. A write whose answer cannot be read may have been applied.
    pub(crate) fn read<O>(&self, read: Result<O, Error>) -> Result<O, Error> {
        match read {
            Err(Error::Decode(error)) if self.request.is_mutation() => {
                Err(self.unknown(GaveUp::Unreadable, error.to_string()))
            }
            read => read,
        }
    }

    fn unknown(&self, why: GaveUp, cause: String) -> Error {
        Error::OutcomeUnknown(Box::new(OutcomeUnknown::new(self.request.clone(), why, cause)))
    }
}

/// Whether a bare status may be about a version, a key or an existing object.
pub(crate) fn is_contradiction(status: u16) -> bool {
    matches!(status, 409 | 410 | 412)
}

fn read(answer: Answer) -> Told {
    let Answer { status, headers, body } = answer;
    if (200..300).contains(&status) {
        return match serde_json::from_slice(&body) {
            Ok(body) => Told::Done(Reply::new(&headers, body)),
            Err(_) => Told::Again(Trouble::new(format!("a {status} that is not JSON"), true)),
        };
    }
    let asked = retry_after(&headers);
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        let trouble = |maybe_applied| {
            let cause = format!("a bare {status}");
            Told::Again(Trouble { wait: asked, ..Trouble::new(cause, maybe_applied) })
        };
        return match status {
            429 => trouble(false),
            // A proxy says 502, 503 or 504 even if the server applied the request.
            408 | 500..=599 => trouble(true),
            _ => Told::Bare(status, first_words(&headers, &body)),
        };
    };
    let resend = match problem.retry.action {
        RetryAction::Resend => true,
        // The body came too slowly. The key was not looked at, so this says nothing of it either.
        _ if problem.code == Code::RequestTimeout => true,
        RetryAction::Reapply | RetryAction::None => false,
        // Only the status tells whether the request itself was refused.
        RetryAction::Unknown(_) => matches!(status, 408 | 429 | 500..=599),
    };
    if !resend {
        return Told::Refused(Box::new(problem), had_turn(&headers));
    }
    Told::Again(Trouble {
        cause: problem.detail.clone(),
        wait: asked.max(Duration::from_millis(problem.retry.after_ms)),
        maybe_applied: !matches!(
            problem.code,
            Code::TryAgain | Code::RateLimited | Code::RequestTimeout
        ),
        problem: Some(Box::new(problem)),
    })
}

/// `Preference-Applied: wait` (RFC 7240 §3).
fn had_turn(headers: &HeaderMap) -> bool {
    let mut lines =
        headers.get_all("preference-applied").iter().filter_map(|one| one.to_str().ok());
    lines.any(|line| line.split(',').any(|one| one.trim().eq_ignore_ascii_case("wait")))
}

/// A proxy's answer for people: the target of a redirect, or the beginning of its body.
fn first_words(headers: &HeaderMap, body: &[u8]) -> String {
    match headers.get(LOCATION).and_then(|value| value.to_str().ok()) {
        Some(location) => format!("sent on to {location}"),
        None => String::from_utf8_lossy(body).trim().chars().take(200).collect(),
    }
}

/// `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Duration {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
        return Duration::ZERO;
    };
    if let Ok(seconds) = text.trim().parse() {
        return Duration::from_secs(seconds);
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim());
    until
        .ok()
        .and_then(|until| Duration::try_from(until.duration_since(jiff::Timestamp::now())).ok())
        .unwrap_or_default()
}
