//! Methods of assignments only: a package is given to a scope and taken away again.

use crate::{Call, Client, Collection, Scope, Update, Versioned};
use ifmatch_types::{Assignment, AssignmentId, AssignmentStatus, NewAssignment, Timestamp};

impl Client {
    /// The packages that a workspace or a namespace has.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::Versioned<ifmatch::Workspace>,
    /// # ) -> Result<(), ifmatch::Error> {
    /// for assignment in billing.assignments(&workspace).list().await?.items {
    ///     println!("{} is {}", assignment.package, assignment.status.name());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn assignments(&self, scope: impl Into<Scope>) -> Collection<Assignment> {
        Collection::of_scope(self, &scope.into())
    }
}

impl Collection<Assignment> {
    /// Gives the scope the package with this code.
    ///
    /// A base package takes the place of the one before, in one commit.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, until: ifmatch::Timestamp,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let assignment = billing
    ///     .assignments(&workspace)
    ///     .assign("pro")
    ///     .external_service_id("order-4711")
    ///     .expires_at(until)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if there is no such package or it is archived, or
    /// the external service id belongs to an assignment with other content.
    pub fn assign(&self, package: &str) -> Call<Versioned<Assignment>> {
        let package = package.to_owned();
        self.create(NewAssignment { package, external_service_id: None, expires_at: None })
    }

    /// Suspends it: the package grants nothing until it is resumed.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::AssignmentId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.assignments(&workspace).suspend(&id).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); refused if it was cancelled or has expired.
    pub fn suspend(&self, id: &AssignmentId) -> Update<'static, Assignment> {
        self.update(id, |assignment| assignment.status = AssignmentStatus::Suspended)
    }

    /// Ends a suspension.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::AssignmentId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.assignments(&workspace).reactivate(&id).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); refused with `BASE_PACKAGE_CONFLICT` if another base package
    /// has taken its place.
    pub fn reactivate(&self, id: &AssignmentId) -> Update<'static, Assignment> {
        self.update(id, |assignment| assignment.status = AssignmentStatus::Active)
    }

    /// Cancels it now. It cannot be reactivated.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::AssignmentId,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.assignments(&workspace).cancel(&id).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn cancel(&self, id: &AssignmentId) -> Update<'static, Assignment> {
        self.update(id, |assignment| assignment.status = AssignmentStatus::Cancelled)
    }

    /// Cancels it at an instant in the future. It grants until then.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, id: ifmatch::AssignmentId,
    /// #     at: ifmatch::Timestamp,
    /// # ) -> Result<(), ifmatch::Error> {
    /// let assignments = billing.assignments(&workspace);
    /// assignments.cancel_at(&id, at).await?;
    /// assignments.update(&id, |a| a.cancel_at = None).await?; // or not, after all
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn cancel_at(&self, id: &AssignmentId, at: Timestamp) -> Update<'static, Assignment> {
        self.update(id, move |assignment| assignment.cancel_at = Some(at))
    }
}

/// Options of [`Collection::assign`].
impl Call<Versioned<Assignment>> {
    /// The caller's own name for the assignment, unique for ever. A repeat gets the first one.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, workspace: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// billing.assignments(&workspace).assign("pro").external_service_id("order-4711").await?;
    /// # Ok(()) }
    /// ```
    pub fn external_service_id(self, id: impl Into<String>) -> Self {
        self.with(|body| {
            body.insert("external_service_id".to_owned(), id.into().into());
        })
    }

    /// When it ends, in the future; by default never.
    ///
    /// ```
    /// # async fn example(
    /// #     billing: ifmatch::Client, workspace: ifmatch::WorkspaceId, at: ifmatch::Timestamp,
    /// # ) -> Result<(), ifmatch::Error> {
    /// billing.assignments(&workspace).assign("trial").expires_at(at).await?;
    /// # Ok(()) }
    /// ```
    pub fn expires_at(self, at: Timestamp) -> Self {
        self.with(|body| {
            body.insert("expires_at".to_owned(), at.to_string().into());
        })
    }
}
