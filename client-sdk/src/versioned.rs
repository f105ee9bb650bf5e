//! An object together with the version it is at.

use crate::{Error, Resource};
use ifmatch_types::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;

/// The facts about a write from the headers of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteInfo {
    /// The version a stale write named, if the server merged it.
    pub merged_from: Option<Version>,
    /// Whether anything changed; reads say `true`.
    pub changed: bool,
    /// Paths changed by others that this write replaced.
    pub overwrote: Vec<String>,
    /// Whether the version check was skipped.
    pub forced: bool,
    /// Whether this is the stored answer of an earlier send of the same request.
    pub replayed: bool,
    /// How many conflicts the edit met.
    pub conflicts: u32,
}

impl Default for WriteInfo {
    fn default() -> Self {
        Self {
            merged_from: None,
            changed: true,
            overwrote: Vec::new(),
            forced: false,
            replayed: false,
            conflicts: 0,
        }
    }
}

impl WriteInfo {
    /// The facts about a call that had nothing to write.
    pub(crate) fn nothing() -> Self {
        Self { changed: false, ..Self::default() }
    }
}

/// An object as it was at one version.
///
/// It reads like the object itself, but cannot be changed in place: a write names the version it
/// was computed from, so the original has to stay as it is. Clone the object out of it with
/// [`edited`](Self::edited), or let [`update`](crate::Collection::update) do that.
///
/// ```
/// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
/// println!("{} units at version {}", sub.quantity, sub.version());
/// # }
/// ```
///
/// ```compile_fail
/// # fn example(mut sub: ifmatch::Versioned<ifmatch::Subscription>) {
/// sub.quantity = 7; // there is no `DerefMut`
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<T> {
    entity: T,
    version: Version,
    info: WriteInfo,
}

impl<T> Versioned<T> {
    pub(crate) fn with(entity: T, version: Version, info: WriteInfo) -> Self {
        Self { entity, version, info }
    }

    pub(crate) fn unchanged(self) -> Self {
        Self { info: WriteInfo::nothing(), ..self }
    }

    pub(crate) fn after(mut self, conflicts: u32) -> Self {
        self.info.conflicts = conflicts;
        self
    }

    /// The version the object is at.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// assert_eq!(sub.version(), sub.version);
    /// # }
    /// ```
    pub fn version(&self) -> Version {
        self.version
    }

    /// The object alone.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// let sub: ifmatch::Subscription = sub.into_inner();
    /// # }
    /// ```
    pub fn into_inner(self) -> T {
        self.entity
    }

    /// The facts from the answer's headers about the write that made this version.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// for path in &sub.info().overwrote {
    ///     println!("replaced another change of {path}");
    /// }
    /// # }
    /// ```
    pub fn info(&self) -> &WriteInfo {
        &self.info
    }

    /// The version a stale write named, if the server merged it.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// assert_eq!(sub.merged_from(), None);
    /// # }
    /// ```
    pub fn merged_from(&self) -> Option<Version> {
        self.info.merged_from
    }

    /// Whether the write changed anything.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// if !sub.changed() { println!("it was like that already"); }
    /// # }
    /// ```
    pub fn changed(&self) -> bool {
        self.info.changed
    }

    /// Paths changed by others that this write replaced.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// assert!(sub.overwrote().is_empty());
    /// # }
    /// ```
    pub fn overwrote(&self) -> &[String] {
        &self.info.overwrote
    }

    /// Whether the write skipped the version check.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// assert!(!sub.forced());
    /// # }
    /// ```
    pub fn forced(&self) -> bool {
        self.info.forced
    }

    /// Whether an earlier send of the same request had been applied already.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// if sub.replayed() { println!("the first answer had got lost"); }
    /// # }
    /// ```
    pub fn replayed(&self) -> bool {
        self.info.replayed
    }

    /// How many conflicts the edit met and resolved.
    ///
    /// ```
    /// # fn example(sub: ifmatch::Versioned<ifmatch::Subscription>) {
    /// if sub.conflicts() > 0 { println!("others edit this too"); }
    /// # }
    /// ```
    pub fn conflicts(&self) -> u32 {
        self.info.conflicts
    }
}

impl<T: Clone> Versioned<T> {
    /// A changed copy of the object, to be given to [`save`](crate::Collection::save).
    ///
    /// ```
    /// # async fn example(billing: ifmatch::Client, id: ifmatch::SubscriptionId)
    /// # -> Result<(), ifmatch::Error> {
    /// let subs = billing.subscriptions();
    /// let shown = subs.get(&id).await?;
    /// let edited = shown.edited(|s| s.notes = "called on Monday".into());
    /// subs.save(shown, edited).await?;
    /// # Ok(()) }
    /// ```
    pub fn edited(&self, edit: impl FnOnce(&mut T)) -> T {
        let mut copy = self.entity.clone();
        edit(&mut copy);
        copy
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entity
    }
}

impl<T> AsRef<T> for Versioned<T> {
    fn as_ref(&self) -> &T {
        &self.entity
    }
}

impl<T: Resource> From<T> for Versioned<T> {
    /// Wraps an object from elsewhere, such as a session. It carries its version.
    fn from(entity: T) -> Self {
        let version = entity.version();
        Self::with(entity, version, WriteInfo::default())
    }
}

impl<T: Serialize> Serialize for Versioned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entity.serialize(serializer)
    }
}

impl<'de, T: Resource> Deserialize<'de> for Versioned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// An object as JSON, for comparing and sending.
pub(crate) fn to_json(object: &impl Serialize) -> Result<serde_json::Value, Error> {
    serde_json::to_value(object).map_err(Error::Encode)
}
