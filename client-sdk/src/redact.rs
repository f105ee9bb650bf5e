//! Redactions, for admins: values that a person asked to be forgotten.

use crate::{Call, Collection, Redactable, Versioned, reply::Reply};
use ifmatch_types::{NewRedaction, Version};

impl<T: Redactable> Collection<T> {
    /// Redacts values of an object, wherever the server stores them; needs the role `admin`.
    ///
    /// The values at these paths are replaced in the object, in all its versions, its history and
    /// its events, in audit records, kept answers and the entitlement log: by
    /// [`REDACTED`](crate::REDACTED), or by `null` where a field may be missing. The paths are the
    /// object's free texts, such as `/name`, `/email` or `/notes`, and keys of its metadata. The
    /// reason is kept for ever, so it must not repeat the values.
    ///
    /// A deleted object can be redacted as well, at its newest version or the last living one.
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::WorkspaceId)
    /// # -> Result<(), ifmatch::Error> {
    /// let workspace = billing.workspaces().get(&id).await?;
    /// let redacted = billing
    ///     .workspaces()
    ///     .redact(&id, workspace.version(), ["/name", "/email", "/metadata/phone"], "ticket 81")
    ///     .await?;
    /// assert_eq!(redacted.name, ifmatch::REDACTED);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) if a path cannot be redacted, or if the object is
    /// at another version ([`is_conflict`](crate::Error::is_conflict)): look whether others wrote
    /// such a value elsewhere meanwhile. [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if
    /// no answer came.
    pub fn redact(
        &self,
        id: &T::Id,
        version: Version,
        paths: impl IntoIterator<Item = impl Into<String>>,
        reason: impl Into<String>,
    ) -> Call<Versioned<T>> {
        let redaction = NewRedaction {
            paths: paths.into_iter().map(Into::into).collect(),
            reason: reason.into(),
            version: Some(version),
        };
        let segments = [T::KIND.collection(), id.as_ref(), "redact"];
        Call::post(self.client(), &segments, &redaction, Reply::versioned)
    }
}
