//! The owner of packages, boosts and usage: a workspace or one of its namespaces.

use crate::{Resource, Versioned};
use ifmatch_types::{Kind, Namespace, NamespaceId, Workspace, WorkspaceId};
use std::fmt;

/// A workspace or a namespace; it shows as `workspaces/wsp_…` or `namespaces/nsp_…`.
///
/// Methods that need a scope take a workspace, a namespace, or the id of either.
///
/// ```
/// # fn example(billing: ifmatch::Client, workspace: ifmatch::Versioned<ifmatch::Workspace>) {
/// use ifmatch::Scope;
///
/// let usage = billing.usage(&workspace);
/// let usage = billing.usage(&workspace.id);
/// println!("{}", Scope::from(&workspace));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A workspace, with those of its namespaces that have no grants of their own.
    Workspace(WorkspaceId),
    /// A namespace.
    Namespace(NamespaceId),
}

impl Scope {
    /// The path of something below the scope.
    pub(crate) fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        let scope = match self {
            Self::Workspace(id) => [Kind::Workspace.collection(), id.as_str()],
            Self::Namespace(id) => [Kind::Namespace.collection(), id.as_str()],
        };
        [&scope, below].concat()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path(&[]).join("/"))
    }
}

/// The path of something below a scope in its text form. Its id is always one segment.
pub(crate) fn path_below<'a>(scope: &'a str, below: &[&'a str]) -> Vec<&'a str> {
    let mut path: Vec<&str> = scope.splitn(2, '/').collect();
    path.extend(below);
    path
}

/// The path of objects of a kind. Objects of a scope lie below it.
pub(crate) fn path_of<'a>(kind: Kind, scope: Option<&'a str>, below: &[&'a str]) -> Vec<&'a str> {
    let path = match kind {
        Kind::Assignment => [&[Kind::Package.collection()], below].concat(),
        kind => [&[kind.collection()], below].concat(),
    };
    match scope {
        Some(scope) => path_below(scope, &path),
        None => path,
    }
}

macro_rules! scopes {
    ($($kind:ident, $id:ident;)*) => {
        $(
            impl From<$id> for Scope {
                fn from(id: $id) -> Self {
                    Self::$kind(id)
                }
            }

            impl From<&$id> for Scope {
                fn from(id: &$id) -> Self {
                    Self::$kind(id.clone())
                }
            }

            impl From<&$kind> for Scope {
                fn from(object: &$kind) -> Self {
                    Self::$kind(object.id().clone())
                }
            }

            impl From<&Versioned<$kind>> for Scope {
                fn from(object: &Versioned<$kind>) -> Self {
                    Self::$kind(object.id().clone())
                }
            }
        )*
    };
}

scopes! {
    Workspace, WorkspaceId;
    Namespace, NamespaceId;
}

impl From<&Scope> for Scope {
    fn from(scope: &Scope) -> Self {
        scope.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_lies_below_its_scope() {
        let scope = Scope::from(WorkspaceId::from_unchecked("wsp_1"));
        assert_eq!(scope.to_string(), "workspaces/wsp_1");
        assert_eq!(scope.path(&["usage"]), ["workspaces", "wsp_1", "usage"]);
        let path = path_of(Kind::Assignment, Some("namespaces/nsp_1"), &["asg_1"]);
        assert_eq!(path, ["namespaces", "nsp_1", "packages", "asg_1"]);
        assert_eq!(path_of(Kind::Plan, None, &["pln_1"]), ["plans", "pln_1"]);
        let odd = Scope::from(NamespaceId::from_unchecked("a/b")).to_string();
        assert_eq!(path_of(Kind::Boost, Some(&odd), &[]), ["namespaces", "a/b", "boosts"]);
    }
}
