//! Methods of servers only: a wait for the panel, the end of a server, its timeline, and decisions
//! of admins.

use crate::{Call, Collection, Delete, List, Versioned, reply::Reply};
use ifmatch_types::{Kind, NewResolution, Server, ServerEntry, ServerFields, ServerId, Version};
use std::time::Duration;

impl Collection<Server> {
    /// Orders a server, and waits until it is made; at most 45 seconds.
    ///
    /// Returns the server as it is by then. Its status is `active` if it was made in time and
    /// `failed` if the panel refused it. In any other status the server goes on by itself: `get` it
    /// again later, or follow its events. A wait of zero returns at once, as
    /// [`create`](Self::create) does.
    ///
    /// A repeated send does not wait anew, and orders no second server.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, small: ifmatch::ProductId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// use ifmatch::{Code, ServerFields, ServerStatus};
    /// use std::time::Duration;
    ///
    /// let fields = ServerFields::new(workspace, small, "Survival", 7);
    /// match billing.servers().create_and_wait(fields, Duration::from_secs(20)).await {
    ///     Ok(server) if server.status == ServerStatus::Active => println!("{} is up", server.id),
    ///     Ok(server) => println!("{} is {}", server.id, server.status.name()),
    ///     Err(error) => match error.code() {
    ///         Some(Code::InsufficientCredits) => println!("top up first"),
    ///         Some(Code::ServerLimitReached) => println!("no more of this product"),
    ///         _ => return Err(error),
    ///     },
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) with `INSUFFICIENT_CREDITS`,
    /// `SERVER_LIMIT_REACHED` or `PRODUCT_UNAVAILABLE`, and with `PANEL_NOT_CONFIGURED` if the
    /// installation has no panel: nothing was ordered.
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if no answer came;
    /// [`resume`](crate::Client::resume) settles it without a wait.
    pub fn create_and_wait(&self, fields: ServerFields, wait: Duration) -> Call<Versioned<Server>> {
        self.create(fields).waiting(wait)
    }

    /// Deletes an active server on its panel, if its version is still current.
    ///
    /// Returns the server in `deprovisioning`. It is `deleted` once the panel has deleted it, and
    /// stays readable. Its credits are not given back.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ServerId)
    /// # -> Result<(), ifmatch::Error> {
    /// let servers = billing.servers();
    /// let server = servers.get(&id).await?;
    /// let server = servers.deprovision(&id, server.version()).await?;
    /// println!("{}", server.status.name()); // deprovisioning
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`](crate::Error::Conflict) if it is at another version; its `base` and
    /// `local` are `null`. [`Error::Refused`](crate::Error::Refused) with
    /// `INVALID_STATE_TRANSITION` if it is not active.
    pub fn deprovision(&self, id: &ServerId, version: Version) -> Delete<Versioned<Server>> {
        Delete::answering::<Server>(self.client(), id, version, Reply::versioned)
    }

    /// What happened to a server, oldest first: each claim, call of the panel, and verdict.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ServerId)
    /// # -> Result<(), ifmatch::Error> {
    /// for entry in billing.servers().timeline(&id).await?.items {
    ///     println!("{} {} {:?}", entry.at, entry.step.name(), entry.observation);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn timeline(&self, id: &ServerId) -> List<ServerEntry> {
        List::new(self.client(), &[Kind::Server.collection(), id.as_str(), "timeline"])
    }

    /// Decides about a server in `pending_reconciliation`; needs the role `admin`.
    ///
    /// Look at the panel first. A server that is adopted becomes active and is charged. One that
    /// failed gets its credits back; if it appears on the panel later, it is deleted there. The
    /// reason is on record, 1–500 characters.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::ServerId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::NewResolution;
    ///
    /// let servers = billing.servers();
    /// let server = servers.get(&id).await?;
    /// let seen = NewResolution::adopt(412, "it runs on node 3");
    /// let server = servers.resolve(&id, server.version(), seen).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) with `INVALID_STATE_TRANSITION` if the server is
    /// in another status, or if it is at another version
    /// ([`is_conflict`](crate::Error::is_conflict)): look again, for the panel may have told
    /// meanwhile. [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if no answer came.
    pub fn resolve(
        &self,
        id: &ServerId,
        version: Version,
        resolution: NewResolution,
    ) -> Call<Versioned<Server>> {
        let segments = [Kind::Server.collection(), id.as_str(), "resolve"];
        Call::post(self.client(), &segments, &resolution, Reply::versioned).with(|body| {
            body.insert("version".to_owned(), version.into());
        })
    }
}
