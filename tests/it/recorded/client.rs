//! A client that repeats requests over unreliable links until it has a final answer.

use super::operation::{Instant, NEVER, Operation};
use crate::harness::{
    Answer, Api, Call,
    proxy::{Fault, Proxy},
};
use ifmatch::Timestamp;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Timeout of one send.
const PATIENCE: Duration = Duration::from_millis(400);
/// Maximum time for all repeats of a request.
const DEADLINE: Duration = Duration::from_secs(20);
/// The pause before a repeat, in which a server may come back.
const PAUSE: Duration = Duration::from_millis(10);

/// The recording's clock.
#[derive(Clone, Copy)]
pub struct Clock {
    began: std::time::Instant,
    /// The same instant, as servers tell it.
    began_at: Timestamp,
}

impl Clock {
    pub fn start() -> Self {
        Self { began: std::time::Instant::now(), began_at: Timestamp::now() }
    }

    pub fn now(self) -> Instant {
        u64::try_from(self.began.elapsed().as_nanos()).expect("no recording takes centuries")
    }

    /// An instant that a server told. 0 if it was before the recording began.
    fn instant(self, told: Timestamp) -> Instant {
        let since_us = told.as_micros() - self.began_at.as_micros();
        u64::try_from(since_us.max(0) * 1_000).expect("no recording takes centuries")
    }
}

/// Seeds the clients' choices, so that runs differ only in timing. `IFMATCH_TEST_SEED` selects
/// other choices.
fn seed() -> u64 {
    let wanted = std::env::var("IFMATCH_TEST_SEED").ok();
    let wanted: u64 = wanted.map_or(0, |n| n.parse().expect("IFMATCH_TEST_SEED is a number"));
    wanted * 1_000
}

/// The result of a request and its repeats.
pub struct Sent {
    invoked_at: Instant,
    returned_at: Instant,
    /// The answer; `None` if the client gave up.
    pub answer: Option<Answer>,
    /// Whether an earlier send may have been applied or may still be running.
    pub was_repeated: bool,
}

impl Sent {
    /// The recorded operation.
    pub fn operation<C, O>(&self, client: &Client, call: C, outcome: O) -> Operation<C, O> {
        let Self { invoked_at, returned_at, .. } = *self;
        Operation { client: client.number, invoked_at, returned_at, call, outcome }
    }
}

/// The result of one send.
enum Reply {
    Answer(Answer),
    NothingWritten,
    Lost,
}

impl Reply {
    fn is_answered(&self) -> bool {
        matches!(self, Self::Answer(_))
    }

    /// The better of two replies: a success, else any answer, else a lost one.
    fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Answer(one), Self::Answer(two)) => {
                let done = |answer: &Answer| answer.status < 300;
                if done(one) && done(two) {
                    assert_eq!(lasting(one), lasting(two), "duplicates get the same answer");
                }
                if done(one) { self } else { other }
            }
            (_, Self::Answer(_) | Self::Lost) => other,
            _ => self,
        }
    }
}

/// What does not depend on when an answer was given.
fn lasting(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !["waited_ms", "ttl_remaining_ms"].contains(&name.as_str()));
    }
    body
}

pub struct Client {
    pub number: usize,
    pub random: fastrand::Rng,
    links: Vec<(Arc<Proxy>, Api)>,
    clock: Clock,
    progress: Arc<AtomicUsize>,
    sent: usize,
    ended: usize,
    /// Whether the server may answer that the outcome is unknown.
    is_forgiving: bool,
}

impl Client {
    pub fn new(
        number: usize,
        links: Vec<Arc<Proxy>>,
        api: Api,
        clock: Clock,
        progress: Arc<AtomicUsize>,
    ) -> Self {
        let links = links.into_iter().map(|proxy| {
            let api = api.at(proxy.url());
            (proxy, api)
        });
        let links = links.collect();
        let own = u64::try_from(number).expect("a small number");
        Self {
            number,
            random: fastrand::Rng::with_seed(seed() + own),
            links,
            clock,
            progress,
            sent: 0,
            ended: 0,
            is_forgiving: false,
        }
    }

    /// Accepts an unknown outcome from the server like a lost answer.
    pub fn forgiving(self, is_forgiving: bool) -> Self {
        Self { is_forgiving, ..self }
    }

    /// The number of requests that ended, with their repeats.
    pub fn requests(&self) -> usize {
        self.ended
    }

    /// An instant in a server's answer, by the recording's clock.
    #[track_caller]
    pub fn instant(&self, text: &str) -> Instant {
        self.clock.instant(text.parse().expect("an instant"))
    }

    /// A unique text.
    pub fn token(&mut self) -> String {
        self.sent += 1;
        format!("c{}-{}", self.number, self.sent)
    }

    /// Sends a request until there is a final answer.
    ///
    /// With a key it may be repeated after a lost answer, and may be delivered twice, also at the
    /// same time. Without a key it is repeated only if the server said that nothing was written.
    pub async fn send(
        &mut self,
        method: &'static str,
        key: Option<&str>,
        request: impl Fn(&Api) -> Call,
    ) -> Sent {
        let invoked_at = self.clock.now();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut was_repeated = false;
        let answer = loop {
            let reply = match key {
                Some(key) if self.random.u8(..100) < 8 => {
                    let keyed = |api: &Api| request(api).key(key);
                    let (one, other) = (self.link(true), self.link(true));
                    let (one, other) = tokio::join!(
                        self.deliver(one, method, &keyed),
                        self.deliver(other, method, &keyed)
                    );
                    was_repeated |= !one.is_answered() || !other.is_answered();
                    one.or(other)
                }
                Some(key) => {
                    let link = self.link(true);
                    self.deliver(link, method, &|api: &Api| request(api).key(key)).await
                }
                None => {
                    let link = self.link(false);
                    self.deliver(link, method, &request).await
                }
            };
            match reply {
                Reply::Answer(answer) => break Some(answer),
                Reply::NothingWritten => {}
                Reply::Lost if key.is_none() || self.random.u8(..) < 25 => break None,
                Reply::Lost => was_repeated = true,
            }
            let now = tokio::time::Instant::now();
            assert!(now < deadline, "no server answers client {} any more", self.number);
            tokio::time::sleep(PAUSE).await;
        };
        self.progress.fetch_add(1, Ordering::SeqCst);
        self.ended += 1;
        let returned_at = if answer.is_some() { self.clock.now() } else { NEVER };
        Sent { invoked_at, returned_at, answer, was_repeated }
    }

    /// Chooses a link and a fault for one send.
    fn link(&mut self, has_key: bool) -> (usize, Fault) {
        (self.random.usize(..self.links.len()), self.fault(has_key))
    }

    async fn deliver(
        &self,
        (at, fault): (usize, Fault),
        method: &'static str,
        request: &impl Fn(&Api) -> Call,
    ) -> Reply {
        let (proxy, api) = &self.links[at];
        proxy.next(method, fault);
        match tokio::time::timeout(PATIENCE, request(api).send()).await {
            Ok(Ok(answer)) if answer.status < 500 => Reply::Answer(answer),
            Ok(Ok(answer)) if answer.status == 503 => Reply::NothingWritten,
            Ok(Ok(answer)) if !self.is_forgiving => panic!("an unexpected answer: {answer:?}"),
            _ => Reply::Lost,
        }
    }

    /// Chooses the fault of one send.
    fn fault(&mut self, has_key: bool) -> Fault {
        match self.random.u8(..100) {
            0..8 => Fault::LoseAnswer,
            8..11 => Fault::LoseRequest,
            11..16 if has_key => Fault::Duplicate,
            16..20 => Fault::DelayAnswer(Duration::from_millis(self.random.u64(1..8))),
            _ => Fault::Pass,
        }
    }
}
