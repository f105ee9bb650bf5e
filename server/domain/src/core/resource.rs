//! The parts that each kind of versioned object defines itself; the rest is shared.

use super::{
    context::Context,
    fields::Errors,
    precondition::{DeleteObject, UpdateObject},
    reach::{HangsOn, ScopedWrites},
    redaction::Redactable,
    rejection::Rejection,
    row::{Objects, Row, Rows},
    state::State,
    table::Guarded,
    wants::Wants,
};
use ifmatch_types::{Deleted, Kind, Timestamp, Version};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A kind of versioned object: its fields and its rules.
///
/// `versioned.rs` implements versions, conflicts, merges, force, history and tombstones for all
/// kinds.
pub trait Resource: Clone + Sized + 'static {
    /// The object as the API shows it.
    type Entity: Serialize;
    /// The fields that a client may set.
    type Fields: Serialize + DeserializeOwned;
    /// The `Need` type of its system.
    type Need;
    /// The `Rejection` type of its system.
    type Rejection: From<Rejection>;

    /// The kind.
    const KIND: Kind;
    /// The names of the fields that a client may set.
    const FIELDS: &'static [&'static str];
    /// Fields that cannot change after creation.
    const SET_ONCE: &'static [&'static str];
    /// Fields that keep their value if a replace omits them.
    const KEPT_IF_ABSENT: &'static [&'static str];

    /// The names of the fields that can be redacted: free texts, and `metadata` by its keys.
    const REDACTABLE: &'static [&'static str] = &[];

    /// Members that the server computes in the items of a settable list.
    const COMPUTED: &'static [(&'static str, &'static str)] = &[];

    /// Fields that refer to other objects, with the kinds of those objects.
    const REFERENCES: &'static [(&'static str, Kind)] = &[];

    /// All fields that name other objects, with the kinds of those objects.
    const NAMED: &'static [(&'static str, Kind)] = Self::REFERENCES;
    /// Whether every key may read the objects of this kind.
    const IN_CATALOGUE: bool = false;
    /// The writes that a scoped key may ask for.
    const SCOPED_WRITES: ScopedWrites = ScopedWrites::NONE;
    /// Whether what a create or a deletion of it begins goes on after their answer.
    const GOES_ON: bool = false;
    /// Whether a new object that names no workspace gets that of a scoped key.
    const GETS_OWN_WORKSPACE: bool = false;

    /// The rows of this kind.
    fn rows(state: &State) -> &Rows<Self>;
    /// The rows of this kind, mutable.
    fn rows_mut(state: &mut State) -> &mut Rows<Self>;

    /// The object as the API shows it.
    fn entity(&self) -> &Self::Entity;
    /// The object's id.
    fn id(&self) -> &str;
    /// The object's version.
    fn version(&self) -> Version;
    /// The workspace that the object hangs on. `None`: no scoped key sees it, unless it is in the
    /// catalogue.
    fn workspace_id(&self, _: &State) -> Option<String> {
        None
    }
    /// Sets the version, and when and by whom it was made.
    fn stamp(&mut self, version: Version, at: Timestamp, by: &str);

    /// The fields that can be redacted, in the order of [`REDACTABLE`](Self::REDACTABLE).
    fn redactable(&mut self) -> Vec<Redactable<'_>> {
        Vec::new()
    }

    /// Checks each field on its own and normalizes it.
    fn check(fields: &mut Self::Fields, errors: &mut Errors);
    /// Checks fields that depend on each other, if the state that the change was computed from is
    /// known. It runs before the version check, so an invalid field is reported before a conflict.
    fn check_change(
        &self,
        _fields: &Self::Fields,
        _base: &Value,
        _: &Context<'_>,
    ) -> Result<(), Self::Rejection> {
        Ok(())
    }
    /// Creates an object at version 1.
    fn create(
        fields: Self::Fields,
        id: String,
        ctx: &mut Context<'_>,
    ) -> Result<Self, Self::Rejection>;
    /// Returns the object with these fields, or the rejection of the rule that forbids them.
    fn change(&self, fields: Self::Fields, ctx: &mut Context<'_>) -> Result<Self, Self::Rejection>;
    /// Checks whether the object may be deleted. It may also end dependent things, each as its own
    /// change.
    fn delete(&self, ctx: &mut Context<'_>) -> Result<(), Self::Rejection>;
    /// The object after its deletion was accepted, if it lives on until something else has ended it.
    fn retired(&self, _: &mut Context<'_>) -> Option<Self> {
        None
    }
    /// What a write is told about an object that is over and can still be read.
    fn gone(&self) -> Option<Deleted> {
        None
    }
    /// Finds the living object that already has this unique key.
    fn existing(_fields: &Self::Fields, _state: &State) -> Option<Self> {
        None
    }

    /// Requests one object to change. Requests first what must be locked before it.
    fn want<'c>(id: &str, wants: &mut Wants<'_, 'c, Self::Need>) {
        wants.object(Self::KIND, id);
    }
    /// Requests one object that is only read.
    fn want_to_see<'c>(id: &str, wants: &mut Wants<'_, 'c, Self::Need>) {
        wants.reference(Self::KIND, id);
    }
    /// Requests what [`create`](Self::create) reads beside [`REFERENCES`](Self::REFERENCES).
    fn want_for_create<'c>(_body: &'c Map<String, Value>, _wants: &mut Wants<'_, 'c, Self::Need>) {}
    /// Requests what [`change`](Self::change) reads beside the object, its history and
    /// [`REFERENCES`](Self::REFERENCES).
    fn want_for_change<'c>(_update: &'c UpdateObject, _wants: &mut Wants<'_, 'c, Self::Need>) {}
    /// Requests what [`delete`](Self::delete) reads beside the object and its history.
    fn want_for_delete<'c>(_delete: &'c DeleteObject, _wants: &mut Wants<'_, 'c, Self::Need>) {}
    /// The existing object that a new one is added to. Commands about the same object are decided
    /// in the same lane.
    fn anchor(_body: &Map<String, Value>) -> Option<&str> {
        None
    }
}

impl<R: Resource> Guarded for Row<R> {
    fn guard(&self) -> i64 {
        self.record.version()
    }
}

impl<R: Resource> Objects for Rows<R> {
    fn is_loaded(&self, id: &str) -> bool {
        self.is_loaded(id)
    }

    fn loaded_version(&self, id: &str) -> Option<Version> {
        self.original(id).map(|row| row.record.version())
    }

    fn hangs_on(&self, id: &str, state: &State) -> HangsOn {
        if R::IN_CATALOGUE {
            return HangsOn::Catalogue;
        }
        let workspace = self.find(id).and_then(|row| row.record.workspace_id(state));
        workspace.map_or(HangsOn::Nothing, HangsOn::Workspace)
    }
}

impl<R: Resource> Row<R> {
    /// The tombstone, if the object was deleted.
    pub fn tombstone(&self) -> Option<Deleted> {
        let deleted = self.deleted.as_ref()?;
        Some(Deleted {
            id: self.record.id().to_owned(),
            deleted_at: deleted.at,
            deleted_by: deleted.by.clone(),
            last_version: deleted.last_living(self.record.version()),
        })
    }
}

/// Implements the parts of [`Resource`] that are the same for all entities with the usual fields.
macro_rules! usual_parts {
    ($rows:ident, |$record:ident| $entity:expr) => {
        type Need = super::Need;
        type Rejection = super::Rejection;

        fn rows(state: &crate::core::State) -> &crate::core::Rows<Self> {
            &state.system::<super::State>().$rows
        }
        fn rows_mut(state: &mut crate::core::State) -> &mut crate::core::Rows<Self> {
            &mut state.system_mut::<super::State>().$rows
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
