//! Requests whose answer got lost, and how to settle them later.

use crate::{
    Denial, Error, GaveUp, Versioned, WriteInfo, client::Client, edit::Edit, pace::Deadline,
    reply::Reply, request::Request, send::Sending,
};
use ifmatch_types::{Problem, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, time::Duration};

/// The server keeps idempotency keys for at least this long.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A request that was sent and whose outcome is unknown.
///
/// It keeps the exact bytes and the idempotency key, so that [`Client::resume`] can send it again
/// without doing anything twice. It is serializable and holds no credentials: write it to disk if
/// the process may end before it is settled.
///
/// ```
/// # async fn example(billing: ifmatch::Client, unknown: ifmatch::OutcomeUnknown)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let saved = serde_json::to_string(&unknown)?;
/// // after a restart
/// let unknown: ifmatch::OutcomeUnknown = serde_json::from_str(&saved)?;
/// let sub: ifmatch::Versioned<ifmatch::Subscription> =
///     billing.resume(unknown).await?.versioned()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutcomeUnknown {
    request: Request,
    edit: Option<Edit>,
    since: Timestamp,
    why: GaveUp,
    cause: String,
}

impl OutcomeUnknown {
    pub(crate) fn new(request: Request, why: GaveUp, cause: String) -> Self {
        Self { request, edit: None, since: Timestamp::now(), why, cause }
    }

    pub(crate) fn of_edit(mut self, edit: &Edit) -> Self {
        self.edit = Some(edit.clone());
        self
    }

    /// The key that the request was and will be sent with.
    ///
    /// ```
    /// # fn example(unknown: ifmatch::OutcomeUnknown) {
    /// println!("look for {}", unknown.idempotency_key());
    /// # }
    /// ```
    pub fn idempotency_key(&self) -> &str {
        self.request.idempotency_key.as_deref().unwrap_or_default()
    }

    /// The body that was and will be sent, without the owner token of a lock.
    ///
    /// ```
    /// # fn example(unknown: ifmatch::OutcomeUnknown) {
    /// println!("{}", unknown.body());
    /// # }
    /// ```
    pub fn body(&self) -> &str {
        self.request.body_text().unwrap_or_default()
    }

    /// Why there were no more sends.
    ///
    /// ```
    /// # fn example(unknown: ifmatch::OutcomeUnknown) {
    /// println!("{}", unknown.why());
    /// # }
    /// ```
    pub fn why(&self) -> GaveUp {
        self.why
    }

    #[cfg(test)]
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    fn is_expired(&self) -> bool {
        let age = Timestamp::now().to_jiff().duration_since(self.since.to_jiff());
        Duration::try_from(age).is_ok_and(|age| age >= KEY_LIFETIME)
    }
}

impl fmt::Display for OutcomeUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, path) = (self.request.method(), self.request.path());
        write!(
            f,
            "it is unknown whether {method} {path} was applied: {} ({})",
            self.why, self.cause
        )
    }
}

/// The answer to a request whose outcome was unknown.
///
/// Denied usage is a value here, too: read it with [`usage`](Self::usage), [`batch`](Self::batch)
/// or [`hold`](Self::hold).
#[derive(Clone)]
pub struct Settled {
    pub(crate) client: Client,
    answer: Result<Reply, Box<Problem>>,
    info: WriteInfo,
}

impl fmt::Debug for Settled {
    /// The answer itself is left out, because it may be a new API key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let denied = self.answer.as_ref().err();
        f.debug_struct("Settled")
            .field("info", &self.info)
            .field("denied", &denied)
            .finish_non_exhaustive()
    }
}

impl Settled {
    /// The object, if the request created or edited one.
    ///
    /// ```
    /// # fn example(settled: ifmatch::Settled) -> Result<(), ifmatch::Error> {
    /// let plan: ifmatch::Versioned<ifmatch::Plan> = settled.versioned()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it is not a `T`.
    pub fn versioned<T: DeserializeOwned>(self) -> Result<Versioned<T>, Error> {
        self.into_answer()?.versioned()
    }

    /// Any other answer: a payment, a tombstone, a billing run, a transaction's results.
    ///
    /// ```
    /// # fn example(settled: ifmatch::Settled) -> Result<(), ifmatch::Error> {
    /// let payment: ifmatch::Payment = settled.decode()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it is not a `T`, [`Error::Refused`] if it was denied.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.into_answer()?.decode()
    }

    /// The facts from the answer's headers. `replayed` says that the lost send had been applied.
    ///
    /// ```
    /// # fn example(settled: ifmatch::Settled) {
    /// if settled.info().replayed { println!("it had been applied all along"); }
    /// # }
    /// ```
    pub fn info(&self) -> &WriteInfo {
        &self.info
    }

    /// The server's answer. A denial is a refusal again.
    pub(crate) fn into_answer(self) -> Result<Reply, Error> {
        self.answer.map_err(Error::Refused)
    }
}

impl Client {
    /// Settles a request whose outcome is unknown, by sending the same bytes with the same key.
    ///
    /// If an earlier send was applied, this returns its stored answer. If none was, it is applied
    /// now.
    ///
    /// It takes a client with the API key that the request was sent with: the server keeps answers
    /// by key. With another one only an edit or a deletion of a named version can be settled, by what
    /// the object's history says.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::{Error, Subscription};
    ///
    /// if let Err(Error::OutcomeUnknown(unknown)) =
    ///     billing.subscriptions().update(&id, |s| s.quantity += 5).await
    /// {
    ///     let sub = billing.resume(*unknown).await?.versioned::<Subscription>()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] with the edit if it was not applied and the object has moved on since:
    /// then it is safe to make the edit again. [`Error::OutcomeUnknown`] if it still cannot be
    /// told or was sent with another API key, [`Error::OutcomeExpired`] 24 hours after it was lost.
    pub async fn resume(&self, unknown: OutcomeUnknown) -> Result<Settled, Error> {
        if unknown.is_expired() {
            return Err(Error::OutcomeExpired(Box::new(unknown)));
        }
        let names_version = unknown.edit.is_some() && !unknown.request.is_forced();
        if !self.is_sender_of(&unknown.request) && !names_version {
            let why = GaveUp::OtherKey;
            return Err(Error::OutcomeUnknown(Box::new(OutcomeUnknown { why, ..unknown })));
        }
        tracing::info!(path = unknown.request.path(), "settling an unknown outcome");
        let mut sending = Sending::new(unknown.request, Deadline::after(self.deadline()));
        sending.in_doubt = true;
        let settled = match &unknown.edit {
            Some(edit) => self.send_edit(&mut sending, edit).await,
            None => match self.send(&mut sending).await {
                Ok(reply) => Ok(reply),
                Err(error) => Err(sending.settle(error)),
            },
        };
        let (answer, info) = match settled {
            Ok(reply) => {
                let info = reply.info.clone();
                (Ok(reply), info)
            }
            Err(Error::Refused(problem)) if Denial::of(&problem).is_some() => {
                (Err(problem), WriteInfo::nothing())
            }
            // The clock of the key's lifetime started with the first send, not with this one.
            Err(Error::OutcomeUnknown(mut again)) => {
                again.since = unknown.since;
                return Err(Error::OutcomeUnknown(again));
            }
            Err(error) => return Err(error),
        };
        Ok(Settled { client: self.clone(), answer, info })
    }
}
