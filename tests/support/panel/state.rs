//! What the panel knows: its rows, its script of troubles, and the calls so far.

use super::{
    Chaos, Kind, On, Trouble,
    answers::{forbidden, throttled, unauthenticated},
    fields,
    http::{Answer, Request},
    jobs,
    routes::Route,
    rows::Rows,
};
use fastrand::Rng;
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The time over which calls are counted for the limit.
const MINUTE: Duration = Duration::from_mins(1);

/// A request as the panel received it.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was asked for; `None` for a path that the API does not have.
    pub on: Option<On>,
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// When it had arrived.
    pub at: Instant,
    /// The external id that it is about, as far as the panel knows.
    pub external_id: Option<String>,
    /// The body, as it was received.
    pub body: String,
    /// The names in the body that the panel dropped in silence, with dots.
    pub dropped: Vec<String>,
    /// The trouble that it met.
    pub trouble: Option<Trouble>,
    /// The status that was answered; `None` so far, or for ever.
    pub answered: Option<u16>,
    request: Request,
}

impl Call {
    /// The value of a header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }
}

/// A call to work on.
pub struct Arrival {
    /// Its place in the calls.
    pub number: usize,
    /// What was asked for, and the body.
    pub route: Option<Route>,
    pub path: String,
    pub body: String,
    /// The answer of the layers before the API, if they refuse it.
    pub refused: Option<Answer>,
    pub trouble: Option<Trouble>,
    pub latency: Duration,
    /// How many calls are left in this minute.
    pub calls_left: usize,
    pub limit: usize,
}

/// All of the panel that changes.
#[derive(Default)]
pub struct State {
    pub rows: Rows,
    pub calls: Vec<Call>,
    /// Each trouble waits for the next call of its sort, for one server or for any.
    pub script: VecDeque<(On, Option<String>, Trouble)>,
    /// Each trouble meets every call of its sort.
    pub always: Vec<(On, Trouble)>,
    pub chaos: Option<(Chaos, Rng)>,
    pub latency: Duration,
    pub calls_per_minute: Option<usize>,
    /// When the calls of the last minute arrived.
    recent: VecDeque<Instant>,
    /// How many creates arrived for each external id.
    pub creates: HashMap<String, usize>,
    pub at_once: usize,
    pub most_at_once: usize,
}

/// The panel, as its connections share it.
pub struct Shared {
    pub kind: Kind,
    state: Mutex<State>,
}

impl Shared {
    pub fn new(kind: Kind) -> Self {
        Self { kind, state: Mutex::default() }
    }

    /// The state. A panic elsewhere leaves it as it is.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and decides what it meets.
    pub fn arrive(&self, request: Request, key: &str) -> Arrival {
        let at = Instant::now();
        let route = Route::of(&request.method, &request.path);
        let on = route.as_ref().map(Route::on);
        let mut state = self.state();
        let limit = state.calls_per_minute.unwrap_or_else(|| self.kind.calls_per_minute());
        let (refused, calls_left) = state.admit(&request, key, at, limit);
        let is_create = on == Some(On::Create);
        let body = serde_json::from_str(&request.body).unwrap_or(Value::Null);
        let external_id = if is_create {
            body.get("external_id").and_then(Value::as_str).map(str::to_owned)
        } else {
            state.external_id(route.as_ref())
        };
        let trouble = on
            .filter(|_| refused.is_none())
            .and_then(|on| state.next_trouble(on, external_id.as_deref()));
        if is_create && let Some(external_id) = &external_id {
            *state.creates.entry(external_id.clone()).or_default() += 1;
        }
        let number = state.calls.len();
        let latency = state.latency;
        state.calls.push(Call {
            on,
            method: request.method.clone(),
            path: request.path.clone(),
            at,
            external_id,
            body: request.body.clone(),
            dropped: if is_create { fields::dropped(self.kind, &body) } else { Vec::new() },
            trouble,
            answered: None,
            request: request.clone(),
        });
        let (path, body) = (request.path, request.body);
        Arrival { number, route, path, body, refused, trouble, latency, calls_left, limit }
    }

    /// Records the answer to a call.
    pub fn record_answer(&self, number: usize, status: Option<u16>) {
        if let Some(call) = self.state().calls.get_mut(number) {
            call.answered = status;
        }
    }
}

impl State {
    /// Whether the key is right and the limit of calls is kept, and how many calls are left.
    fn admit(
        &mut self,
        request: &Request,
        key: &str,
        at: Instant,
        limit: usize,
    ) -> (Option<Answer>, usize) {
        let Some(token) = request.header("Authorization").and_then(|it| it.strip_prefix("Bearer "))
        else {
            return (Some(unauthenticated()), limit);
        };
        // Keys of people begin like this. They may not use the Application API.
        if token.starts_with("ptlc_") || token.starts_with("pacc_") {
            return (Some(forbidden()), limit);
        }
        if token != key {
            return (Some(unauthenticated()), limit);
        }
        while self.recent.front().is_some_and(|call| at.duration_since(*call) >= MINUTE) {
            self.recent.pop_front();
        }
        if self.calls_per_minute.is_some() && self.recent.len() >= limit {
            let oldest = self.recent.front().copied().unwrap_or(at);
            let left = MINUTE.saturating_sub(at.duration_since(oldest));
            return (Some(throttled(left.as_secs() + 1)), 0);
        }
        self.recent.push_back(at);
        (None, limit.saturating_sub(self.recent.len()))
    }

    /// The trouble of the next call of this sort: scripted, permanent, or random.
    fn next_trouble(&mut self, call: On, external_id: Option<&str>) -> Option<Trouble> {
        let is_due = |(on, whose, _): &(On, Option<String>, Trouble)| {
            on.covers(call) && whose.as_deref().is_none_or(|whose| Some(whose) == external_id)
        };
        let due = self.script.iter().position(is_due);
        if let Some((.., trouble)) = due.and_then(|due| self.script.remove(due)) {
            return Some(trouble);
        }
        if let Some((_, trouble)) = self.always.iter().find(|(on, _)| on.covers(call)) {
            return Some(*trouble);
        }
        let (chaos, generator) = self.chaos.as_mut()?;
        chaos.choose(generator, call)
    }

    /// The external id that a route is about.
    fn external_id(&self, route: Option<&Route>) -> Option<String> {
        match route? {
            Route::Find(external_id) => Some(external_id.clone()),
            route => jobs::row_of(&self.rows, route)?.external_id.clone(),
        }
    }
}
