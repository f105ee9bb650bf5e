//! Scopes: the workspaces and namespaces that have packages and boosts.
//!
//! A namespace falls back to its workspace.

use super::{Need, Rejection};
use crate::core::{Context, Guarded, Resource, State, Wants, alive};
use ifmatch_types::{Kind, Namespace, Timestamp, Workspace};
use std::fmt;

/// A scope: a workspace or a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeRef {
    /// [`Kind::Workspace`] or [`Kind::Namespace`].
    pub kind: Kind,
    /// The id of the workspace or namespace.
    pub id: String,
}

impl ScopeRef {
    /// A workspace as a scope.
    pub fn workspace(id: impl Into<String>) -> Self {
        Self { kind: Kind::Workspace, id: id.into() }
    }

    /// Reads `workspaces/wsp_…` or `namespaces/nsp_…`.
    pub fn parse(text: &str) -> Option<Self> {
        let (collection, id) = text.split_once('/')?;
        let kinds = [Kind::Workspace, Kind::Namespace];
        let kind = kinds.into_iter().find(|kind| kind.collection() == collection)?;
        Some(Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for ScopeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.collection(), self.id)
    }
}

/// The ids of a scope's assignments and boosts that may still count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Active, suspended and new assignments.
    pub assignments: Vec<String>,
    /// Boosts that may still count, and new ones.
    pub boosts: Vec<String>,
    /// The anchor of its months: the time of its first package or boost ever.
    pub anchor: Option<Timestamp>,
}

impl Guarded for Holdings {
    fn guard(&self) -> i64 {
        0
    }
}

/// The scope and, for a namespace, the workspace that it falls back to.
///
/// Refuses a scope or workspace that does not exist or is deleted.
pub(crate) fn chain(of: &ScopeRef, ctx: &Context<'_>) -> Result<Vec<ScopeRef>, Rejection> {
    if of.kind == Kind::Namespace {
        let namespace = alive::<Namespace>(&of.id, ctx.state)?;
        let workspace = ScopeRef::workspace(namespace.workspace_id.as_str());
        return Ok(vec![of.clone(), workspace]);
    }
    alive::<Workspace>(&of.id, ctx.state)?;
    Ok(vec![of.clone()])
}

/// The workspace that a scope hangs on.
pub(crate) fn workspace_of(of: &str, state: &State) -> Option<String> {
    let scope = ScopeRef::parse(of)?;
    if scope.kind == Kind::Workspace {
        return Some(scope.id);
    }
    let loaded = Namespace::rows(state).find(&scope.id);
    let known = loaded.map(|row| row.record.workspace_id.to_string());
    known.or_else(|| state.owners.get(&(Kind::Namespace, scope.id)).cloned().flatten())
}

/// Requests a scope and, for a namespace, its workspace; returns both once they are locked.
pub(crate) fn want_chain(of: &ScopeRef, wants: &mut Wants<'_, '_, Need>) -> Option<Vec<ScopeRef>> {
    let mut chain = vec![of.clone()];
    if of.kind == Kind::Namespace
        && let Some(workspace) = wants.owner(Kind::Namespace, &of.id)?
    {
        chain.push(ScopeRef::workspace(workspace));
    }
    for scope in &chain {
        wants.object(scope.kind, &scope.id);
    }
    let are_locked = chain.iter().all(|scope| wants.state.is_locked(scope.kind, &scope.id));
    are_locked.then_some(chain)
}

/// Requests the scope of an assignment or boost; returns it and its fallback once both are locked.
///
/// The list is empty for an object that does not exist.
pub(crate) fn want_scope_of(
    kind: Kind,
    id: &str,
    wants: &mut Wants<'_, '_, Need>,
) -> Option<Vec<ScopeRef>> {
    match wants.owner(kind, id)?.as_deref().and_then(ScopeRef::parse) {
        Some(scope) => want_chain(&scope, wants),
        None => Some(Vec::new()),
    }
}

/// Requests the holdings of scopes, read after their row locks; returns whether all are loaded.
pub(crate) fn want_holdings(chain: &[ScopeRef], wants: &mut Wants<'_, '_, Need>) -> bool {
    let mut are_loaded = true;
    for scope in chain {
        let scope = scope.to_string();
        if !wants.state.entitlement().holdings.is_loaded(&scope) {
            wants.push(Need::Holdings(scope));
            are_loaded = false;
        }
    }
    are_loaded
}

/// Changes a scope's holdings.
pub(crate) fn change_holdings(of: &str, ctx: &mut Context<'_>, change: impl FnOnce(&mut Holdings)) {
    let holdings = &mut ctx.state.entitlement_mut().holdings;
    let mut changed = holdings.find(of).cloned().unwrap_or_default();
    change(&mut changed);
    holdings.put(of.to_owned(), changed);
}
