//! One collection of the API: everything that can be done with its objects.

use crate::{
    Call, Client, Deletable, Delete, Error, List, Resource, Update, Versioned,
    pace::Deadline,
    reply::Reply,
    request::{Request, Verb},
    scope::{Scope, path_of},
};
use ifmatch_types::{HistoryEntry, Version};
use std::{borrow::Borrow, marker::PhantomData, sync::Arc};

/// The objects of one kind; cheap to make and to clone.
///
/// ```
/// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
/// # -> Result<(), ifmatch::Error> {
/// let subs: ifmatch::Collection<ifmatch::Subscription> = billing.subscriptions();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Collection<T> {
    client: Client,
    /// The scope that the objects belong to, if any.
    scope: Option<Arc<str>>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Resource> Collection<T> {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), scope: None, kind: PhantomData }
    }

    pub(crate) fn of_scope(client: &Client, scope: &Scope) -> Self {
        Self { scope: Some(scope.to_string().into()), ..Self::new(client) }
    }

    /// The path of the collection, or of something below it.
    fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        path_of(T::KIND, self.scope.as_deref(), below)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The object with this id.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// let plan = billing.plans().get(&id).await?;
    /// println!("{} is at version {}", plan.name, plan.version());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) is true if there is none, or it was deleted.
    pub async fn get(&self, id: &T::Id) -> Result<Versioned<T>, Error> {
        self.get_until(id, Deadline::after(self.client.deadline())).await
    }

    /// The object with this id, if there is one.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// if let Some(plan) = billing.plans().get_opt(&id).await? {
    ///     println!("{}", plan.name);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The cause, if the server does not answer.
    pub async fn get_opt(&self, id: &T::Id) -> Result<Option<Versioned<T>>, Error> {
        match self.get(id).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects, page by page or as a stream.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let page = billing
    ///     .subscriptions()
    ///     .list()
    ///     .filter("workspace_id", &workspace)
    ///     .sort("-created_at")
    ///     .limit(20)
    ///     .await?;
    /// println!("{} of them, more: {}", page.items.len(), page.next_cursor.is_some());
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List<Versioned<T>> {
        List::new(&self.client, &self.path(&[]))
    }

    /// Creates an object.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client) -> Result<(), ifmatch::Error> {
    /// use ifmatch::WorkspaceFields;
    ///
    /// let workspace = billing
    ///     .workspaces()
    ///     .create(WorkspaceFields { name: "Acme".into(), ..Default::default() })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the wrong fields, or with the object that has the unique key;
    /// [`Error::OutcomeUnknown`] if no answer came.
    pub fn create(&self, fields: T::Fields) -> Call<Versioned<T>> {
        Call::post(&self.client, &self.path(&[]), &fields, Reply::versioned)
    }

    /// Fetches an object, edits it, and sends the edit; on a conflict, edits it again.
    ///
    /// The closure is run on a fresh object for every attempt, so write it as what shall happen
    /// (`quantity += 5`) rather than what shall be. Only the paths it changed are sent. If it
    /// changes nothing, nothing is sent and the object is returned as it was fetched.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let sub = billing.subscriptions().update(&id, |s| s.quantity += 5).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unresolved`] when the attempts were used up and the edit was parked;
    /// [`Error::OutcomeUnknown`] if no answer came; [`Error::Refused`] if a rule is against it.
    pub fn update<'a>(&self, id: &T::Id, edit: impl FnMut(&mut T) + Send + 'a) -> Update<'a, T> {
        Update::of_closure(self, id, edit)
    }

    /// Saves an object that was edited for a while, such as a form.
    ///
    /// The difference between `base` and `edited` is what shall be. If others changed other paths
    /// meanwhile, it is put on top of theirs; if they changed them to the same, that is a success;
    /// if they clash, a callback decides or the edit is parked. Both may be given by reference, so
    /// that the form is still at hand if a rule refuses it.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let subs = billing.subscriptions();
    /// let base = subs.get(&id).await?;
    /// // … a person fills in a form …
    /// let edited = base.edited(|s| s.notes = "prefers e-mail".into());
    /// let saved = subs.save(base, edited).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unresolved`] when the edit was parked; [`Error::OutcomeUnknown`] if no answer
    /// came; [`Error::Refused`] if a rule is against it.
    pub fn save<'a>(
        &self,
        base: impl Borrow<Versioned<T>>,
        edited: impl Borrow<T>,
    ) -> Update<'a, T> {
        Update::of_edited(self, base.borrow().clone(), edited.borrow().clone())
    }

    /// The history of an object, even a deleted one: who changed what and when.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// for entry in billing.plans().history(&id).await?.items {
    ///     println!("{} {} {:?}", entry.version, entry.by.actor, entry.kind);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn history(&self, id: &T::Id) -> List<HistoryEntry> {
        List::new(&self.client, &self.path(&[id.as_ref(), "history"]))
    }

    /// The object as it was at this version.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// let before = billing.plans().version(&id, 3).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if there never was such a version, or with the code `VERSION_PRUNED` if
    /// its snapshot was pruned.
    pub async fn version(&self, id: &T::Id, version: Version) -> Result<Versioned<T>, Error> {
        let version = version.to_string();
        let deadline = Deadline::after(self.client.deadline());
        self.read(&[id.as_ref(), "versions", &version], deadline).await
    }

    pub(crate) async fn get_until(
        &self,
        id: &T::Id,
        deadline: Deadline,
    ) -> Result<Versioned<T>, Error> {
        self.read(&[id.as_ref()], deadline).await
    }

    async fn read(&self, below: &[&str], deadline: Deadline) -> Result<Versioned<T>, Error> {
        self.client.call(Request::new(Verb::Get, &self.path(below)), deadline).await?.versioned()
    }
}

impl<T: Deletable> Collection<T> {
    /// Deletes an object if its version is still current.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// let plan = billing.plans().get(&id).await?;
    /// let tombstone = billing.plans().delete(&plan).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it has changed. Check whether to delete it all the same.
    pub fn delete(&self, object: &Versioned<T>) -> Delete {
        Delete::of_object(&self.client, object)
    }

    /// Deletes the object with this id if it is at this version.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::PlanId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.plans().delete_at(&id, 7).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it is at another one; its `base` and `local` are `null`.
    pub fn delete_at(&self, id: &T::Id, version: Version) -> Delete {
        Delete::at::<T>(&self.client, id, version)
    }
}
