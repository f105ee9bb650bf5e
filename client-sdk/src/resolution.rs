//! The conflict loop: edit, send, and on a conflict edit again, merge, ask, or park.
//!
//! An *attempt* is a new base, the edit made again and a new key. The repeated *sends* of one
//! attempt are `send.rs`, and an attempt ends only when its outcome is known.

use crate::{
    Attempt, Conflict, Decision, Error, GaveUp, Policy, Resource, Unavailable, Versioned,
    WriteInfo,
    edit::report_of,
    error::is_stale,
    pace::{Backoff, Deadline},
    versioned::to_json,
};
use ifmatch_types::Verdict;
use serde_json::Value;
use std::{future::Future, ops::ControlFlow};

/// Runs any mutation of one object until it is applied, decided, or parked.
///
/// `fetch` gets the object as it is, `apply` edits it, `send` writes the edit. When `send` fails
/// with a conflict, the policy decides: by default the edit is applied again to the object as it is
/// now and sent with a new key. The first time it is sent at once, with the state that came with the
/// conflict, and the second time too if the conflict came in this caller's turn; else after a random
/// pause and a fresh `fetch`. An edit that changes nothing is not sent.
///
/// [`update`](crate::Collection::update) and [`save`](crate::Collection::save) are made of this.
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::{Policy, with_conflict_resolution};
///
/// let subs = billing.subscriptions();
/// let sub = with_conflict_resolution(
///     Policy::reapply(&billing),
///     || subs.get(&id),
///     |s| {
///         s.quantity += 5;
///         Ok(())
///     },
///     |attempt| subs.send(attempt),
/// )
/// .await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::Unresolved`] when the edit was parked; [`Error::Conflict`] when the policy's callback
/// gave it up; else what `fetch`, `apply` or `send` failed with. Once there has been a conflict,
/// running out of time parks the edit too. An object that the callback made
/// ([`Decision::Send`]) is parked also if it is refused, because only the loop has it.
pub async fn with_conflict_resolution<'a, T, Fetch, Fetching, Apply, Write, Writing>(
    policy: Policy<'a, T>,
    mut fetch: Fetch,
    mut apply: Apply,
    mut send: Write,
) -> Result<Versioned<T>, Error>
where
    T: Resource,
    Fetch: FnMut() -> Fetching,
    Fetching: Future<Output = Result<Versioned<T>, Error>>,
    Apply: FnMut(&mut T) -> Result<(), Error>,
    Write: FnMut(Attempt<T>) -> Writing,
    Writing: Future<Output = Result<Versioned<T>, Error>>,
{
    let deadline = Deadline::after(policy.deadline);
    let is_relative = policy.is_relative();
    let backoff = Backoff::new();
    let (number, met, is_decided) = (0, None, false);
    let mut course = Course { policy, deadline, backoff, number, met, is_relative, is_decided };
    let base = in_time(deadline, fetch()).await?;
    let mut step = Step::Reapply { base };
    loop {
        let attempt = course.attempt(step, &mut apply)?;
        if attempt.force.is_none() && attempt.edit()?.attempted().is_empty() {
            return Ok(attempt.base.unchanged().after(course.number));
        }
        tracing::debug!(
            kind = T::KIND.name(), id = %attempt.base.id(), attempt = attempt.number,
            base = attempt.base.version(), "attempt"
        );
        let conflict = match send(attempt.clone()).await {
            Ok(written) => return Ok(written.after(course.number)),
            Err(error) => course.conflict(&attempt, error).await?,
        };
        let conflict = match course.pause(conflict).await? {
            Paused::Ready(conflict) => conflict,
            Paused::Fetch(conflict) => {
                let now = in_time(deadline, fetch()).await;
                course.refreshed(conflict, now).await?
            }
        };
        let ruling = course.decide(conflict).await?;
        course.number += 1;
        match ruling {
            ControlFlow::Break(remote) => return Ok(remote.after(course.number)),
            ControlFlow::Continue(next) => step = next,
        }
    }
}

/// The next step of the loop.
enum Step<T> {
    /// Make the edit on this base.
    Reapply { base: Versioned<T> },
    /// Write this instead of this base.
    Write { base: Versioned<T>, edited: T, force: Option<String> },
}

/// A decision: go on with a step, or end with the object as it is.
type Ruling<T> = ControlFlow<Versioned<T>, Step<T>>;

/// A conflict before its decision: ready, or to be refreshed by a fetch.
enum Paused {
    Ready(Conflict<Value>),
    Fetch(Conflict<Value>),
}

/// One run of the loop.
struct Course<'a, T> {
    policy: Policy<'a, T>,
    deadline: Deadline,
    backoff: Backoff,
    number: u32,
    /// The last conflict. Once there is one, the edit is parked rather than dropped.
    met: Option<Conflict<Value>>,
    /// Whether the edit is computed from the current object.
    is_relative: bool,
    /// Whether the edit is an object that the callback made. Only the loop has it.
    is_decided: bool,
}

impl<T: Resource> Course<'_, T> {
    fn exhausted(&self) -> bool {
        self.number >= self.policy.attempts_max
    }

    /// The turn that the next attempt is made in; empty if in none.
    fn turn(&self) -> String {
        let met = self.met.as_ref().filter(|met| met.in_turn);
        met.and_then(|met| met.conflict_id.clone()).unwrap_or_default()
    }

    fn attempt(
        &self,
        step: Step<T>,
        apply: &mut impl FnMut(&mut T) -> Result<(), Error>,
    ) -> Result<Attempt<T>, Error> {
        let (base, edited, force) = match step {
            Step::Reapply { base } => {
                let mut edited = base.clone().into_inner();
                apply(&mut edited)?;
                (base, edited, self.policy.force.clone())
            }
            Step::Write { base, edited, force } => (base, edited, force),
        };
        Ok(Attempt {
            base,
            edited,
            number: self.number,
            idempotency_key: self.policy.key_of(self.number),
            force,
            fence: self.policy.fence.clone(),
            deadline: self.deadline,
            turn: self.turn(),
        })
    }

    /// The conflict in an error, or the error that ends the loop.
    async fn conflict(
        &mut self,
        attempt: &Attempt<T>,
        error: Error,
    ) -> Result<Conflict<Value>, Error> {
        let mut conflict = match error {
            Error::Conflict(conflict) => *conflict,
            // The caller's own `send` may return the problem unread.
            Error::Refused(problem) if is_stale(&problem) => {
                let edit = attempt.edit()?;
                match report_of(&problem) {
                    Some(report) if report.resource.id == edit.id => {
                        Conflict::reported(&edit, report)?
                    }
                    _ => return Err(self.end(Error::Refused(problem)).await),
                }
            }
            other => return Err(self.end(other).await),
        };
        conflict.attempts = self.number + 1;
        conflict.is_relative = self.is_relative;
        tracing::info!(
            kind = T::KIND.name(), id = conflict.resource_id, attempt = self.number,
            base = conflict.base_version, remote = conflict.remote_version,
            verdict = ?conflict.verdict, conflict_id = conflict.conflict_id, "conflict"
        );
        self.met = Some(conflict.clone());
        Ok(conflict)
    }

    /// Waits from the second conflict on, so that the writers of a hot object spread out. The state
    /// in the conflict is old after that. In its turn, this writer is awaited; if it lost all the same,
    /// others do not wait, and the next conflict is followed by a pause.
    async fn pause(&mut self, conflict: Conflict<Value>) -> Result<Paused, Error> {
        let is_awaited = conflict.in_turn && self.number == 1;
        if self.number == 0 || is_awaited || self.exhausted() {
            return Ok(Paused::Ready(conflict));
        }
        let wait = self.backoff.next();
        if !self.deadline.allows(wait) {
            return Err(self.park(conflict).await);
        }
        tokio::time::sleep(wait).await;
        Ok(Paused::Fetch(conflict))
    }

    async fn refreshed(
        &mut self,
        mut conflict: Conflict<Value>,
        now: Result<Versioned<T>, Error>,
    ) -> Result<Conflict<Value>, Error> {
        match now {
            Ok(now) => {
                conflict.move_to(to_json(&*now)?)?;
                self.met = Some(conflict.clone());
                Ok(conflict)
            }
            Err(error) => Err(self.end(error).await),
        }
    }

    async fn decide(&mut self, conflict: Conflict<Value>) -> Result<Ruling<T>, Error> {
        let (verdict, exhausted) = (conflict.verdict, self.exhausted());
        let settled = self.policy.is_settled(verdict);
        // A state that only a newer version of this crate can read is for a person.
        let Ok(typed) = conflict.clone().typed::<T>() else {
            return Err(self.park(conflict).await);
        };
        let decision = match &mut self.policy.callback {
            Some(callback) if !settled => {
                let deciding = callback(typed.clone());
                // A callback that outlives the deadline leaves the edit to a person.
                tokio::time::timeout_at(self.deadline.instant(), deciding)
                    .await
                    .unwrap_or(Decision::Park)
            }
            _ => self.policy.default_decision(verdict),
        };
        let remote = Versioned::with(typed.remote, conflict.remote_version, WriteInfo::nothing());
        let step = match decision {
            Decision::TakeRemote => return Ok(ControlFlow::Break(remote)),
            Decision::Abort => return Err(Error::Conflict(Box::new(conflict))),
            Decision::Merge if conflict.is_done() => {
                return Ok(ControlFlow::Break(remote));
            }
            Decision::Send(edited) => {
                // From here on, this is the edit that must not get lost.
                let met = conflict.decided(to_json(&edited)?);
                if exhausted {
                    return Err(self.park(met).await);
                }
                self.met = Some(met);
                (self.is_relative, self.is_decided) = (false, true);
                Step::Write { base: remote, edited, force: None }
            }
            _ if exhausted => return Err(self.park(conflict).await),
            Decision::Reapply if self.is_decided => self.merged(&conflict, remote, None).await?,
            Decision::Reapply => Step::Reapply { base: remote },
            Decision::Force { reason } => self.merged(&conflict, remote, Some(reason)).await?,
            Decision::Merge if verdict == Verdict::Clean => {
                self.merged(&conflict, remote, None).await?
            }
            Decision::Merge | Decision::Park => return Err(self.park(conflict).await),
        };
        Ok(ControlFlow::Continue(step))
    }

    /// The step that writes what the edit attempted on top of the remote state.
    async fn merged(
        &mut self,
        conflict: &Conflict<Value>,
        base: Versioned<T>,
        force: Option<String>,
    ) -> Result<Step<T>, Error> {
        match serde_json::from_value(conflict.merged()) {
            Ok(edited) => Ok(Step::Write { base, edited, force }),
            Err(error) => Err(self.end(Error::Decode(error)).await),
        }
    }

    /// The error that ends the loop. The edit is parked instead if time ran out after a conflict, or
    /// if only the loop has the edit and the error does not hold it.
    async fn end(&mut self, error: Error) -> Error {
        let is_parked = match &error {
            Error::Unavailable(_) => true,
            // It may be applied, and is in the error.
            Error::OutcomeUnknown(_) => false,
            // A parked edit is written without the fence.
            Error::FencedOff { .. } => false,
            _ => self.is_decided,
        };
        match self.met.take() {
            Some(met) if is_parked => {
                tracing::warn!(kind = T::KIND.name(), id = met.resource_id, %error, "not written");
                self.park(met).await
            }
            _ => error,
        }
    }

    async fn park(&mut self, conflict: Conflict<Value>) -> Error {
        // Its turn is over by the time that somebody decides.
        let conflict = Conflict { in_turn: false, ..conflict };
        match self.policy.client.store().park(conflict).await {
            Ok(id) => Error::Unresolved(id),
            Err(error) => error,
        }
    }
}

/// Runs a fetch until the deadline.
async fn in_time<O>(
    deadline: Deadline,
    fetching: impl Future<Output = Result<O, Error>>,
) -> Result<O, Error> {
    tokio::time::timeout_at(deadline.instant(), fetching).await.unwrap_or_else(|_| {
        Err(Error::Unavailable(Box::new(Unavailable {
            why: GaveUp::Deadline,
            cause: "the object could not be fetched in time".to_owned(),
            problem: None,
        })))
    })
}
