//! The names of locks.

use crate::{Error, request::Request};
use ifmatch_types::{LockScope, WorkspaceId, lock::is_lock_name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The name of a lock; it shows as in `X-Lock`: `global//key` or `function/name/key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockName {
    /// The workspace in whose space it is. `None`: the installation's own space, or that of the
    /// API key's workspace.
    pub(crate) workspace_id: Option<WorkspaceId>,
    pub(crate) scope: LockScope,
    pub(crate) function: Option<String>,
    pub(crate) key: String,
}

impl LockName {
    /// Refuses a name that the server refuses, and one that cannot be a part of a path.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str, text: &str| {
            let rule = "1 to 200 characters from A-Z a-z 0-9 - _ : . and not only dots";
            Err(Error::Unsendable(format!("the {what} {text:?} of a lock must have {rule}")))
        };
        if !is_lock_name(&self.key) || matches!(self.key.as_str(), "." | "..") {
            return wrong("key", &self.key);
        }
        match &self.function {
            Some(function) if !is_lock_name(function) => wrong("function", function),
            _ => Ok(()),
        }
    }

    /// The path of the lock, or of something below it.
    pub(crate) fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        [&["locks", self.key.as_str()], below].concat()
    }

    /// Adds what the path does not say to a body.
    pub(crate) fn put(&self, body: &mut Map<String, Value>) {
        for (name, value) in self.members() {
            body.insert(name.to_owned(), value.into());
        }
    }

    /// Adds what the path does not say to a query.
    pub(crate) fn query(&self, request: Request) -> Request {
        self.members()
            .into_iter()
            .fold(request, |request, (name, value)| request.query(name, value))
    }

    fn members(&self) -> Vec<(&'static str, &str)> {
        let mut members = vec![("scope", self.scope.name())];
        members.extend(self.function.as_deref().map(|function| ("function", function)));
        members.extend(self.workspace_id.as_ref().map(|id| ("workspace_id", id.as_str())));
        members
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function.as_deref().unwrap_or_default();
        write!(f, "{}/{function}/{}", self.scope.name(), self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(function: Option<&str>, key: &str) -> LockName {
        let scope = function.map_or(LockScope::Global, |_| LockScope::Function);
        let function = function.map(str::to_owned);
        LockName { workspace_id: None, scope, function, key: key.to_owned() }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let long = "k".repeat(201);
        for key in ["", ".", "..", "a b", "a/b", "ä", "a\n", "a?b", "a%2Fb", &long] {
            let checked = name(None, key).check();
            assert!(matches!(checked, Err(Error::Unsendable(_))), "{key:?}: {checked:?}");
        }
        for function in ["", "a/b", "ä", &long] {
            let checked = name(Some(function), "k").check();
            assert!(matches!(checked, Err(Error::Unsendable(_))), "{function:?}: {checked:?}");
        }
        for key in ["a", "A-z_0:9.", "...", &long[1..]] {
            name(Some(key), key).check().expect("a name");
        }
    }

    #[test]
    fn a_name_shows_as_in_the_header() {
        assert_eq!(name(None, "nightly").to_string(), "global//nightly");
        assert_eq!(name(Some("bill"), "a:b").to_string(), "function/bill/a:b");
    }
}
