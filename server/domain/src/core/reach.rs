//! Scoped keys: what a key of one workspace sees and may change.
//!
//! Such a key sees its workspace and what hangs on it, and reads the catalogue. For such a key, all
//! other objects do not exist. Each kind says which workspace an object hangs on
//! ([`Resource::workspace_id`]) and what a scoped key may do with it ([`Resource::SCOPED_WRITES`]);
//! the functions here judge it inside the decision, on the loaded rows.

use super::{context::Context, rejection::Rejection, resource::Resource};
use ifmatch_types::Kind;
use serde_json::{Map, Value};

/// What an object hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HangsOn {
    /// It belongs to the catalogue, which every key may read.
    Catalogue,
    /// The workspace with this id.
    Workspace(String),
    /// No workspace, or the object does not exist. Scoped keys do not see it.
    Nothing,
}

/// The writes of a kind's objects that a scoped key may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopedWrites {
    /// Whether it may create them.
    pub create: bool,
    /// Whether it may change them.
    pub update: bool,
    /// Whether it may delete them.
    pub delete: bool,
}

impl ScopedWrites {
    /// None.
    pub const NONE: Self = Self { create: false, update: false, delete: false };
    /// All of them.
    pub const ALL: Self = Self { create: true, update: true, delete: true };
}

/// Refuses what only a key without a workspace may do.
pub(crate) fn allow(is_for_scoped_keys: bool, ctx: &Context<'_>) -> Result<(), Rejection> {
    if is_for_scoped_keys || ctx.meta.actor.workspace_id.is_none() {
        Ok(())
    } else {
        Err(Rejection::NeedsUnscopedKey)
    }
}

/// Refuses an object that the caller's key does not see, as if it did not exist.
pub(crate) fn see(kind: Kind, id: &str, ctx: &Context<'_>) -> Result<(), Rejection> {
    let Some(own) = &ctx.meta.actor.workspace_id else { return Ok(()) };
    match ctx.state.hangs_on(kind, id) {
        HangsOn::Catalogue => Ok(()),
        HangsOn::Workspace(workspace) if workspace == own.as_str() => Ok(()),
        HangsOn::Workspace(_) | HangsOn::Nothing => Err(Rejection::not_found(kind, id)),
    }
}

/// Judges a create: whether the key may create this kind, and sees the objects that the body names.
pub(crate) fn create<R: Resource>(
    body: &Map<String, Value>,
    ctx: &Context<'_>,
) -> Result<(), Rejection> {
    allow(R::SCOPED_WRITES.create, ctx)?;
    see_named::<R>(body, ctx)
}

/// Refuses a new object that does not hang on the key's workspace.
pub(crate) fn created<R: Resource>(record: &R, ctx: &Context<'_>) -> Result<(), Rejection> {
    let Some(own) = &ctx.meta.actor.workspace_id else { return Ok(()) };
    allow(record.workspace_id(ctx.state).as_deref() == Some(own.as_str()), ctx)
}

/// Judges a change: whether the key may change this kind, and sees the object and those that the
/// body names.
pub(crate) fn update<R: Resource>(
    id: &str,
    body: &Map<String, Value>,
    ctx: &Context<'_>,
) -> Result<(), Rejection> {
    allow(R::SCOPED_WRITES.update, ctx)?;
    see(R::KIND, id, ctx)?;
    see_named::<R>(body, ctx)
}

/// Judges a deletion: whether the key may delete this kind, and sees the object.
pub(crate) fn delete<R: Resource>(id: &str, ctx: &Context<'_>) -> Result<(), Rejection> {
    allow(R::SCOPED_WRITES.delete, ctx)?;
    see(R::KIND, id, ctx)
}

/// Refuses a body that names an object that the key does not see.
fn see_named<R: Resource>(body: &Map<String, Value>, ctx: &Context<'_>) -> Result<(), Rejection> {
    if ctx.meta.actor.workspace_id.is_none() {
        return Ok(());
    }
    let named =
        R::NAMED.iter().filter_map(|(field, kind)| Some((*kind, body.get(*field)?.as_str()?)));
    // A well-formed id of another type is told as such by the rules.
    named
        .filter(|(kind, id)| Kind::of_id(id) == Some(*kind))
        .try_for_each(|(kind, id)| see(kind, id, ctx))
}
