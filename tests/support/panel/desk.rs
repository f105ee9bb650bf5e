//! Works on one call: the trouble that it meets, what is done, and what is answered.

use super::{
    Panel, Told, Trouble,
    answers::{self, NodeFailure},
    http::{Answer, Request},
    jobs::{self, Job},
    node::{self, Then},
    routes::Route,
    state::{Arrival, Shared},
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// What the connection does for the client.
pub enum Reply {
    /// It sends this.
    Answer(Answer),
    /// It sends this in chunks, with a pause after each.
    Drip(Answer, Duration),
    /// It sends this with a body that never ends.
    Endless(Answer),
    /// It sends nothing and stays open.
    Silence,
    /// It is reset.
    Reset,
}

impl Reply {
    /// The status that the client sees.
    const fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(answer) | Self::Drip(answer, _) | Self::Endless(answer) => {
                Some(answer.status)
            }
            Self::Silence | Self::Reset => None,
        }
    }
}

/// Works on a call to its end, also if its client has gone.
pub async fn serve(shared: Arc<Shared>, request: Request) -> Reply {
    let mut arrival = shared.arrive(request, Panel::KEY);
    let _at_work = AtWork::begin(&shared);
    let reply = match (arrival.refused.take(), &arrival.route) {
        (Some(refused), _) => Reply::Answer(refused),
        (None, None) => Reply::Answer(answers::no_route(&arrival.path)),
        (None, Some(route)) => meet(&shared, &arrival, route).await,
    };
    let reply = match reply {
        Reply::Answer(answer) => Reply::Answer(
            answer
                .with("X-RateLimit-Limit", arrival.limit)
                .with("X-RateLimit-Remaining", arrival.calls_left),
        ),
        reply => reply,
    };
    shared.record_answer(arrival.number, reply.status());
    reply
}

/// Validates a call, lets half of its latency pass, does it, and lets the other half pass.
async fn meet(shared: &Arc<Shared>, arrival: &Arrival, route: &Route) -> Reply {
    if let Some(reply) = refusal(arrival.trouble) {
        pause(arrival.latency).await;
        return reply;
    }
    let job = jobs::validate(shared.kind, &shared.state().rows, route, &arrival.body);
    pause(arrival.latency / 2).await;
    let reply = match (job, arrival.trouble) {
        (Ok(job), Some(trouble)) => Desk { shared, arrival, route, job }.work(trouble).await,
        (Ok(job), None) => Reply::Answer(perform(shared, &job)),
        (Err(invalid), _) => Reply::Answer(invalid),
    };
    pause(arrival.latency / 2).await;
    reply
}

/// The reply to a call of which nothing is done.
fn refusal(trouble: Option<Trouble>) -> Option<Reply> {
    Some(Reply::Answer(match trouble? {
        Trouble::LoseRequest => return Some(Reply::Reset),
        Trouble::Hang => return Some(Reply::Silence),
        Trouble::Gateway { status, done: false } => answers::gateway(status),
        Trouble::Refuse422 => answers::unknown_user(),
        Trouble::Refuse400 => answers::no_node(),
        Trouble::Status(status, code) => answers::error(status, code, "The test wants this."),
        Trouble::Throttle { retry_after_s } => answers::throttled(retry_after_s),
        Trouble::Unauthorized => answers::unauthenticated(),
        Trouble::Forbidden => answers::forbidden(),
        Trouble::Redirect => answers::redirect(),
        _ => return None,
    }))
}

/// A valid call that meets a trouble.
struct Desk<'a> {
    shared: &'a Arc<Shared>,
    arrival: &'a Arrival,
    route: &'a Route,
    job: Job,
}

impl Desk<'_> {
    async fn work(self, trouble: Trouble) -> Reply {
        match trouble {
            Trouble::NodeAway { after, told } => {
                return self.call_node(NodeFailure::Away, after, told).await;
            }
            Trouble::NodeError { status, after } => {
                return self.call_node(NodeFailure::Status(status), after, Told::After).await;
            }
            Trouble::SlowDelete { after } if matches!(self.route, Route::Delete { .. }) => {
                return self.delete_later(after);
            }
            Trouble::LateSuccess { after } => pause(after).await,
            Trouble::NullStatus => return self.forget_status(),
            _ => {}
        }
        let answer = perform(self.shared, &self.job);
        match trouble {
            Trouble::LateSuccess { .. } => Reply::Silence,
            Trouble::LoseAnswer => Reply::Reset,
            Trouble::Twice => Reply::Answer(self.again()),
            Trouble::TwiceAtOnce => Reply::Answer(perform(self.shared, &self.job)),
            Trouble::Malformed => Reply::Answer(answers::cut_off(answer)),
            Trouble::MissingFields => Reply::Answer(answers::without_fields(answer)),
            Trouble::OtherId => Reply::Answer(answers::with_other_id(answer)),
            Trouble::Huge => Reply::Endless(answers::without_body(answer)),
            Trouble::Slow { per_chunk } => Reply::Drip(answer, per_chunk),
            Trouble::Gateway { status, .. } => Reply::Answer(answers::gateway(status)),
            _ => Reply::Answer(answer),
        }
    }

    /// Calls a node that fails.
    async fn call_node(self, failure: NodeFailure, after: Duration, told: Told) -> Reply {
        let kind = self.shared.kind;
        let (then, answer) = node::begin(kind, &mut self.shared.state().rows, &self.job, failure);
        match told {
            Told::After => {
                pause(after).await;
                then.apply(&mut self.shared.state().rows);
                Reply::Answer(answer)
            }
            Told::Before => {
                finish_later(self.shared, then, after);
                Reply::Answer(answers::gateway(504))
            }
            Told::Never => {
                finish_later(self.shared, then, after);
                Reply::Reset
            }
        }
    }

    /// Answers a delete before it is done.
    fn delete_later(self, after: Duration) -> Reply {
        let Some(id) = jobs::row_of(&self.shared.state().rows, self.route).map(|row| row.id) else {
            return Reply::Answer(answers::not_found());
        };
        finish_later(self.shared, Then::Delete(id), after);
        Reply::Answer(answers::no_content())
    }

    /// Does it, with a row that has no status.
    fn forget_status(mut self) -> Reply {
        if let Job::Create(draft) = &mut self.job {
            draft.status = None;
        }
        {
            let rows = &mut self.shared.state().rows;
            // A suspension lasts: only the other statuses get lost in reality.
            let row = jobs::row_of(rows, self.route).filter(|row| !row.suspended());
            if let Some(id) = row.map(|row| row.id) {
                rows.set_status(id, None);
            }
        }
        Reply::Answer(perform(self.shared, &self.job))
    }

    /// The same call once more, after it was done.
    fn again(&self) -> Answer {
        let (kind, body) = (self.shared.kind, &self.arrival.body);
        let job = jobs::validate(kind, &self.shared.state().rows, self.route, body);
        job.map_or_else(|invalid| invalid, |job| perform(self.shared, &job))
    }
}

/// Does what was asked for, in one moment.
fn perform(shared: &Shared, job: &Job) -> Answer {
    jobs::perform(shared.kind, &mut shared.state().rows, job)
}

/// Lets the panel finish its work after the answer.
fn finish_later(shared: &Arc<Shared>, then: Then, after: Duration) {
    let shared = shared.clone();
    tokio::spawn(async move {
        pause(after).await;
        then.apply(&mut shared.state().rows);
    });
}

/// Waits, unless there is no time to wait.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Counts a call as long as the panel works on it.
struct AtWork<'a>(&'a Shared);

impl<'a> AtWork<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let mut state = shared.state();
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        drop(state);
        Self(shared)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}
