//! Boosts: grants to a scope on top of its packages.

use crate::{
    Call, Client, Delete, Error, List, Scope,
    edit::Edit,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
    versioned::to_json,
};
use ifmatch_types::{Boost, BoostAnswer, BoostId, Kind, NewBoost};

/// The boosts of a workspace or a namespace.
///
/// ```
/// # async fn example(
/// #     billing: ifmatch::Client, workspace: ifmatch::Versioned<ifmatch::Workspace>,
/// # ) -> Result<(), ifmatch::Error> {
/// for boost in billing.boosts(&workspace).list().await?.items {
///     println!("{} {:?} of {}", boost.kind.name(), boost.amount, boost.feature);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Boosts {
    client: Client,
    scope: Scope,
}

impl Client {
    /// The boosts of a workspace or a namespace.
    ///
    /// ```
    /// # fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId) {
    /// let boosts: ifmatch::Boosts = billing.boosts(&workspace);
    /// # }
    /// ```
    pub fn boosts(&self, scope: impl Into<Scope>) -> Boosts {
        Boosts { client: self.clone(), scope: scope.into() }
    }
}

impl Boosts {
    /// Gives the scope a boost.
    ///
    /// With an `external_addon_id` it is given only once, even if the call is repeated.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// use ifmatch::{BoostDuration, BoostKind, NewBoost};
    ///
    /// let answer = billing
    ///     .boosts(&workspace)
    ///     .grant(NewBoost {
    ///         feature: "api.calls".into(),
    ///         kind: BoostKind::AddLimit,
    ///         amount: Some(10_000),
    ///         duration: BoostDuration::Consumable,
    ///         expires_at: None,
    ///         priority: 100,
    ///         source: Some("shop".into()),
    ///         external_addon_id: Some("order-4711".into()),
    ///     })
    ///     .await?;
    /// if !answer.effective { println!("it waits for a package that grants the feature"); }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `DUPLICATE_ADDON` if the add-on id belongs to a boost with other
    /// content, or with the wrong fields.
    pub fn grant(&self, boost: NewBoost) -> Call<BoostAnswer> {
        Call::post(&self.client, &self.scope.path(&["boosts"]), &boost, Reply::decode)
    }

    /// The boosts, expired ones included.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let page = billing.boosts(&workspace).list().await?;
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List<Boost> {
        List::new(&self.client, &self.scope.path(&["boosts"]))
    }

    /// The boost with this id.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::BoostId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let boost = billing.boosts(&workspace).get(&id).await?;
    /// println!("{} burnt", boost.consumed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is none.
    pub async fn get(&self, id: &BoostId) -> Result<Boost, Error> {
        let request = Request::new(Verb::Get, &self.scope.path(&["boosts", id.as_str()]));
        self.client.call(request, Deadline::after(self.client.deadline())).await?.decode()
    }

    /// Revokes a boost: it counts no more. What it burnt stays burnt.
    ///
    /// Each unit that a consumable burns is a new version. If it burnt some since it was read, the
    /// call is a conflict: read it again and decide with what is left.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::BoostId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let boosts = billing.boosts(&workspace);
    /// let boost = boosts.get(&id).await?;
    /// boosts.revoke(&boost).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Collection::delete`](crate::Collection::delete).
    pub fn revoke(&self, boost: &Boost) -> Delete {
        let target = to_json(boost).map(|base| Edit {
            kind: Kind::Boost,
            id: boost.id.to_string(),
            base_version: boost.version,
            local: base.clone(),
            base,
        });
        Delete::of_edit(&self.client, target)
    }
}
