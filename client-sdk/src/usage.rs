//! Answers of a quota. A denial is a value, not an error.

use crate::{Error, Settled, reply::Reply};
use ifmatch_types::{
    Code, HoldAnswer, Meter, Problem, RecordId, Recorded, RecordedBatch, Timestamp,
};
use serde::Deserialize;

/// Why usage was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// Too few units are left.
    LimitExceeded,
    /// Nothing grants the feature.
    NotIncluded,
}

/// A denial by a quota: nothing was recorded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Denial {
    /// The reason.
    pub reason: DenialReason,
    /// The feature's code.
    pub feature: String,
    /// The requested units. For a batch: its units of this counter, up to the refused item.
    pub requested: i64,
    /// The limit in this window; 0 if nothing grants the feature.
    pub limit: i64,
    /// Units used in this window.
    pub used: i64,
    /// Further units that holds set aside.
    pub held: i64,
    /// Units left, which are too few.
    pub remaining: i64,
    /// When units come back; `None`: never by themselves.
    pub resets_at: Option<Timestamp>,
    /// The scope of the counter: `workspaces/wsp_…` or `namespaces/nsp_…`.
    pub charged_scope: String,
}

impl Denial {
    /// The denial that a problem is, if it is one.
    pub(crate) fn of(problem: &Problem) -> Option<Self> {
        let reason = match problem.code {
            Code::EntitlementLimitExceeded => DenialReason::LimitExceeded,
            Code::FeatureNotIncluded => DenialReason::NotIncluded,
            _ => return None,
        };
        let part = |name| problem.extensions.get(name);
        let number = |name| part(name).and_then(serde_json::Value::as_i64).unwrap_or_default();
        let text = |name| part(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        Some(Self {
            reason,
            feature: text("feature").to_owned(),
            requested: number("requested"),
            limit: number("limit"),
            used: number("used"),
            held: number("held"),
            remaining: number("remaining"),
            resets_at: part("resets_at").and_then(|at| Timestamp::deserialize(at).ok()),
            charged_scope: text("charged_scope").to_owned(),
        })
    }
}

/// An answer of a quota, if it is not another error.
pub(crate) enum Judged {
    Allowed(Reply),
    /// With the index of the item in a batch.
    Denied(usize, Denial),
}

/// Separates a denial from other errors.
pub(crate) fn judge(answer: Result<Reply, Error>) -> Result<Judged, Error> {
    match answer {
        Ok(reply) => Ok(Judged::Allowed(reply)),
        Err(error) => match error.problem().and_then(Denial::of) {
            Some(denial) => Ok(Judged::Denied(error.failed_index().unwrap_or_default(), denial)),
            None => Err(error),
        },
    }
}

/// The answer to a check: the units are recorded, or they are denied.
///
/// ```
/// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
/// # -> Result<(), ifmatch::Error> {
/// use ifmatch::Usage;
///
/// match billing.usage(&workspace).check_and_record("api.calls", 1).await? {
///     Usage::Allowed { remaining: Some(left), .. } => println!("{left} calls left"),
///     Usage::Allowed { .. } => println!("as many as you like"),
///     Usage::Denied { resets_at, .. } => println!("no more until {resets_at:?}"),
/// }
/// # Ok(()) }
/// ```
#[must_use = "whether the usage was allowed is in here"]
#[derive(Clone, Debug, PartialEq)]
pub enum Usage {
    /// There was room, and the units are recorded.
    #[non_exhaustive]
    Allowed {
        /// The record, for [`reverse`](crate::Metering::reverse).
        id: RecordId,
        /// The recorded units.
        quantity: i64,
        /// Units used in this window, these included.
        used: i64,
        /// Further units that holds set aside.
        held: i64,
        /// The limit in this window; `None`: no limit.
        limit: Option<i64>,
        /// Units left; `None`: no limit.
        remaining: Option<i64>,
        /// When units come back; `None`: never by themselves.
        resets_at: Option<Timestamp>,
        /// The scope of the counter: `workspaces/wsp_…` or `namespaces/nsp_…`.
        charged_scope: String,
        /// Whether an earlier send of the same request had recorded them already.
        replayed: bool,
    },
    /// There was no room. Nothing is recorded.
    #[non_exhaustive]
    Denied {
        /// The reason.
        reason: DenialReason,
        /// The requested units.
        requested: i64,
        /// The limit in this window; 0 if nothing grants the feature.
        limit: i64,
        /// Units used in this window.
        used: i64,
        /// Further units that holds set aside.
        held: i64,
        /// Units left, which are too few.
        remaining: i64,
        /// When units come back; `None`: never by themselves.
        resets_at: Option<Timestamp>,
        /// The scope of the counter: `workspaces/wsp_…` or `namespaces/nsp_…`.
        charged_scope: String,
    },
}

impl Usage {
    pub(crate) fn read(answer: Result<Reply, Error>) -> Result<Self, Error> {
        let reply = match judge(answer)? {
            Judged::Allowed(reply) => reply,
            Judged::Denied(_, denial) => return Ok(denial.into()),
        };
        let replayed = reply.info.replayed;
        if reply.body.get("record_id").is_none() {
            let Recorded { id, quantity, meter, .. } = reply.decode()?;
            return Ok(Self::allowed(id, quantity, meter, replayed));
        }
        // A hold that was settled.
        let HoldAnswer { hold, meter } = reply.decode()?;
        let quantity = hold.settled_quantity.unwrap_or_default();
        Ok(Self::allowed(hold.record_id.unwrap_or_default(), quantity, meter, replayed))
    }

    fn allowed(id: RecordId, quantity: i64, meter: Meter, replayed: bool) -> Self {
        let Meter { used, held, limit, remaining, resets_at, charged_scope, .. } = meter;
        Self::Allowed {
            id,
            quantity,
            used,
            held,
            limit,
            remaining,
            resets_at,
            charged_scope,
            replayed,
        }
    }

    /// Whether the units are recorded.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// if billing.usage(&workspace).check_and_record("api.calls", 1).await?.is_allowed() {
    ///     println!("here you are");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl From<Denial> for Usage {
    fn from(denial: Denial) -> Self {
        let Denial { reason, requested, limit, used, held, remaining, resets_at, .. } = denial;
        let charged_scope = denial.charged_scope;
        Self::Denied { reason, requested, limit, used, held, remaining, resets_at, charged_scope }
    }
}

/// The answer to several checks: all of them are recorded, or none.
#[must_use = "whether the usage was allowed is in here"]
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// There was room for all of it; one record each, in order.
    Allowed(Vec<Recorded>),
    /// There was no room for one of them. Nothing is recorded.
    #[non_exhaustive]
    Denied {
        /// The index of the denied item, from 0.
        index: usize,
        /// The reason.
        denial: Denial,
    },
}

impl Batch {
    pub(crate) fn read(answer: Result<Reply, Error>) -> Result<Self, Error> {
        Ok(match judge(answer)? {
            Judged::Allowed(reply) => Self::Allowed(reply.decode::<RecordedBatch>()?.items),
            Judged::Denied(index, denial) => Self::Denied { index, denial },
        })
    }
}

// Reads usage from the answer of a resumed request.
impl Settled {
    /// The answer, if the request was a check or the settling of a hold.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, unknown: ifmatch::OutcomeUnknown)
    /// # -> Result<(), ifmatch::Error> {
    /// let usage = billing.resume(unknown).await?.usage()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it was another request.
    pub fn usage(self) -> Result<Usage, Error> {
        Usage::read(self.into_answer())
    }

    /// The answer, if the request was a batch of checks.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, unknown: ifmatch::OutcomeUnknown)
    /// # -> Result<(), ifmatch::Error> {
    /// let batch = billing.resume(unknown).await?.batch()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it was another request.
    pub fn batch(self) -> Result<Batch, Error> {
        Batch::read(self.into_answer())
    }
}
