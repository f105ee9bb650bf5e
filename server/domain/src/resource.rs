//! What a versioned collection has to say about itself; everything else is shared.

use crate::{Force, Meta, Rejection, Rows, fields::Errors, id::Ids, state::State};
use ifmatch_types::{Kind, Timestamp, Version};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A kind of versioned object: its fields, and the rules of its life.
///
/// The engine in `versioned.rs` does versions, conflicts, merges, force, history and tombstones for
/// all of them.
pub trait Resource: Clone + Sized + 'static {
    /// The object as the API shows it.
    type Entity: Serialize;
    /// What a client may set.
    type Fields: Serialize + DeserializeOwned;

    /// The kind.
    const KIND: Kind;
    /// The names of the fields that a client may set.
    const FIELDS: &'static [&'static str];
    /// Fields that cannot change after creation.
    const SET_ONCE: &'static [&'static str];
    /// Fields that a replace may leave out without changing them.
    const KEPT_IF_ABSENT: &'static [&'static str];

    /// The rows of this kind.
    fn rows(state: &State) -> &Rows<Self>;
    /// The rows of this kind, to change.
    fn rows_mut(state: &mut State) -> &mut Rows<Self>;

    /// The object as the API shows it.
    fn entity(&self) -> &Self::Entity;
    /// Its id.
    fn id(&self) -> &str;
    /// Its version.
    fn version(&self) -> Version;
    /// Makes this the state of a new version.
    fn stamp(&mut self, version: Version, at: Timestamp, by: &str);

    /// Checks each field by itself and puts it into its normal form.
    fn check(fields: &mut Self::Fields, errors: &mut Errors);
    /// Checks what a change makes of fields that belong together, if the state it was computed from
    /// is known: the field that is wrong is told before a version that is stale.
    fn check_change(
        &self,
        _fields: &Self::Fields,
        _base: &Value,
        _scope: &Scope<'_>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
    /// Makes a new object; its version is 1.
    fn create(fields: Self::Fields, id: String, scope: &mut Scope<'_>) -> Result<Self, Rejection>;
    /// The object with these fields, or the rule that forbids it.
    fn change(&self, fields: Self::Fields, scope: &mut Scope<'_>) -> Result<Self, Rejection>;
    /// Whether the object may be deleted. What ends with it may end here, as a change of its own.
    fn delete(&self, scope: &mut Scope<'_>) -> Result<(), Rejection>;
    /// A living object that already has this one's unique key.
    fn existing(_fields: &Self::Fields, _state: &State) -> Option<Self> {
        None
    }
}

/// What a rule may see and change while it decides.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The rows of this batch.
    pub state: &'a mut State,
    /// The instant of the decision.
    pub now: Timestamp,
    /// Fresh ids.
    pub(crate) ids: Ids,
    /// Who asks.
    pub meta: &'a Meta,
    /// The admin's wish to skip the version check, if this is a forced write. One rule heeds it.
    pub(crate) force: Option<Force>,
}

/// Implements the parts of [`Resource`] that are the same for every entity with the usual fields.
macro_rules! usual_parts {
    ($rows:ident, |$record:ident| $entity:expr) => {
        fn rows(state: &crate::State) -> &crate::Rows<Self> {
            &state.$rows
        }
        fn rows_mut(state: &mut crate::State) -> &mut crate::Rows<Self> {
            &mut state.$rows
        }
        fn entity(&self) -> &Self::Entity {
            let $record = self;
            &$entity
        }
        fn id(&self) -> &str {
            self.entity().id.as_str()
        }
        fn version(&self) -> ifmatch_types::Version {
            self.entity().version
        }
        fn stamp(
            &mut self,
            version: ifmatch_types::Version,
            at: ifmatch_types::Timestamp,
            by: &str,
        ) {
            let $record = self;
            let entity: &mut Self::Entity = &mut $entity;
            entity.version = version;
            entity.updated_at = at;
            by.clone_into(&mut entity.updated_by);
        }
    };
}
pub(crate) use usual_parts;
