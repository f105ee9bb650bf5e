//! What a request asks for beside its action: claims about an object's version, and a fence.

use super::{
    commit::Found, conflict, context::Context, rejection::Rejection, resource::Resource,
    versioned::living,
};
use ifmatch_types::{Conflict, Kind, Verdict, Version};

/// The conditions of a command. They are checked inside its own commit, after its kept answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// A claim about the object in the request's path.
    pub claim: Option<Claim>,
    /// A fence that the command must hold.
    pub fence: Option<Fence>,
}

/// A claim about the version of one object (RFC 9110 §13.1).
///
/// Writes that name the version they were computed from check that themselves; it is no claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The collection.
    pub kind: Kind,
    /// The object's id.
    pub id: String,
    /// `If-Match`: the object is at one of these versions.
    pub matches: Option<Tags>,
    /// `If-None-Match`: the object is at none of these versions.
    pub excludes: Option<Tags>,
}

/// The versions that a header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any version.
    Any,
    /// These versions. Tags that this server never issued are left out.
    Versions(Vec<Version>),
}

impl Tags {
    /// Whether this version is named.
    pub fn has(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }

    /// The latest named version.
    pub fn latest(&self) -> Option<Version> {
        match self {
            Self::Any => None,
            Self::Versions(versions) => versions.iter().copied().max(),
        }
    }
}

/// A lock's grant that the command must hold: `X-Lock`, `X-Lock-Fence` and `X-Lock-Workspace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The workspace in whose space the lock is. `None`: the installation's own space.
    pub workspace_id: Option<String>,
    /// The lock, as `<scope>/<function>/<key>`.
    pub lock: String,
    /// The number of the grant.
    pub number: i64,
}

/// Checks a claim about an object.
pub(crate) fn check_claim<R: Resource>(
    claim: &Claim,
    ctx: &mut Context<'_>,
) -> Result<(), Rejection> {
    let found = living::<R>(&claim.id, ctx)?;
    if let Some(tags) = &claim.matches
        && !tags.has(found.version())
    {
        let conflict = unedited(&found, tags.latest(), ctx);
        return Err(Rejection::Conflict(Box::new(conflict)));
    }
    if claim.excludes.as_ref().is_some_and(|tags| tags.has(found.version())) {
        // No version was named that the request was computed from.
        let conflict = unedited(&found, None, ctx);
        return Err(Rejection::Excluded(Box::new(conflict)));
    }
    Ok(())
}

/// The conflict of a request that edits no path of the object itself.
fn unedited<R: Resource>(
    found: &Found<R>,
    named: Option<Version>,
    ctx: &mut Context<'_>,
) -> Conflict {
    let base = named.and_then(|named| ctx.state.snapshot::<R>(found.record.id(), named));
    let mut conflict = conflict::explain(found, named, base.as_ref(), &[], ctx);
    if conflict.merge.verdict == Verdict::Identical {
        // `identical` would say that the request has been fulfilled.
        conflict.merge.verdict = Verdict::Clean;
    }
    conflict
}
