//! A conflict: an edit, the changes since its base, and how the two compare.

use crate::{ConflictDiff, Error, edit, reply::version_of};
use ifmatch_types::{By, ConflictChange, Difference, Kind, Timestamp, Verdict, Version, merge};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One path that others changed since the base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RemoteChange {
    /// Where, as a JSON Pointer.
    pub path: String,
    /// The value at the base.
    pub base: Value,
    /// The value now.
    pub current: Value,
    /// The author of its last change, unless the conflict was found without the server's report.
    pub by: Option<By>,
    /// The time of that change.
    pub at: Option<Timestamp>,
}

impl From<ConflictChange> for RemoteChange {
    fn from(change: ConflictChange) -> Self {
        let ConflictChange { path, base, current, at, by, .. } = change;
        Self { path, base, current, by: Some(by), at: Some(at) }
    }
}

/// An edit that was computed from a version that is not the current one.
///
/// `T` is the entity in callbacks. It is [`serde_json::Value`] in errors and in the conflict store,
/// which hold conflicts of every kind; [`typed`](Self::typed) converts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conflict<T> {
    /// The server's name for this conflict, for its logs.
    pub conflict_id: Option<String>,
    /// The kind of the object.
    pub kind: Kind,
    /// The object's id.
    pub resource_id: String,
    /// The object that the edit was computed from.
    pub base: T,
    /// The object as the edit would have it.
    pub local: T,
    /// The object as it is now.
    pub remote: T,
    /// The version of `base`.
    pub base_version: Version,
    /// The version of `remote`.
    pub remote_version: Version,
    /// The changes of others, from `base` to `remote`.
    pub changes: Vec<RemoteChange>,
    /// The changes of the edit, from `base` to `local`.
    pub attempted: Vec<Difference>,
    /// How the two compare.
    pub verdict: Verdict,
    /// The paths that both changed to different values.
    pub overlap: Vec<String>,
    /// The merge groups in which the two changed different parts.
    pub groups_split: Vec<Vec<String>>,
    /// How many times the edit was sent and met a conflict.
    pub attempts: u32,
    /// Whether the edit was computed from the current object, as in an
    /// [`update`](crate::Collection::update). Two equal edits of this kind are two edits, not one.
    #[serde(default)]
    pub is_relative: bool,
    /// Whether the server told it in this caller's turn. The next attempt nearly always succeeds if
    /// it is made at once.
    #[serde(skip)]
    pub(crate) in_turn: bool,
}

impl<T> Conflict<T> {
    /// Whether others changed this path, or something within or around it.
    ///
    /// ```
    /// # fn example(conflict: ifmatch::Conflict<ifmatch::Subscription>) {
    /// if conflict.touches("/metadata") { println!("metadata changed meanwhile"); }
    /// # }
    /// ```
    pub fn touches(&self, path: &str) -> bool {
        self.changes.iter().any(|change| merge::touches(&change.path, path))
    }

    /// The three sides next to each other, one row per path, for a person who decides.
    ///
    /// ```
    /// # fn example(conflict: ifmatch::Conflict<ifmatch::Subscription>) {
    /// let diff = conflict.diff();
    /// println!("{diff}"); // a table
    /// for row in diff.rows().iter().filter(|row| row.clashes) {
    ///     println!("{}: yours {}, theirs {}", row.path, row.local, row.remote);
    /// }
    /// # }
    /// ```
    pub fn diff(&self) -> ConflictDiff {
        ConflictDiff::of(self)
    }

    /// Judges the conflict again from its differences.
    fn judge(&mut self) {
        let changes: Vec<Difference> = self.changes.iter().map(difference).collect();
        let report = merge::judge(self.kind, &self.attempted, &changes);
        // An edit without paths is a deletion, which conflicts with every change.
        let deletion = self.attempted.is_empty();
        self.verdict = if deletion { Verdict::Overlap } else { report.verdict };
        self.overlap = report.overlap;
        self.groups_split = report.groups_split;
    }
}

fn difference(change: &RemoteChange) -> Difference {
    let RemoteChange { path, base, current, .. } = change;
    Difference { path: path.clone(), from: base.clone(), to: current.clone() }
}

impl Conflict<Value> {
    /// The same conflict with the entity's type.
    ///
    /// ```
    /// # fn example(conflict: ifmatch::Conflict<serde_json::Value>) -> Result<(), ifmatch::Error> {
    /// let conflict = conflict.typed::<ifmatch::Subscription>()?;
    /// println!("{} → {}", conflict.base.quantity, conflict.local.quantity);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it is about another kind of object.
    pub fn typed<T: DeserializeOwned>(self) -> Result<Conflict<T>, Error> {
        self.try_map(|side| serde_json::from_value(side).map_err(Error::Decode))
    }

    /// The conflict between an edit and a fetched state.
    pub(crate) fn between(edit: &edit::Edit, remote: Value) -> Result<Self, Error> {
        let mut conflict = Self {
            conflict_id: None,
            kind: edit.kind,
            resource_id: edit.id.clone(),
            base: edit.base.clone(),
            local: edit.local.clone(),
            remote: Value::Null,
            base_version: edit.base_version,
            remote_version: edit.base_version,
            changes: Vec::new(),
            attempted: edit.attempted(),
            verdict: Verdict::Identical,
            overlap: Vec::new(),
            groups_split: Vec::new(),
            attempts: 1,
            is_relative: false,
            in_turn: false,
        };
        conflict.move_to(remote)?;
        Ok(conflict)
    }

    /// The conflict that the server reports about an edit.
    pub(crate) fn reported(
        edit: &edit::Edit,
        report: ifmatch_types::Conflict,
    ) -> Result<Self, Error> {
        let mut conflict = Self::between(edit, report.current)?;
        conflict.conflict_id = Some(report.conflict_id);
        // Without a snapshot the server lists no changes. Keep the ones found here.
        if report.merge.verdict != Verdict::UnknownBase {
            conflict.changes = report.changes.into_iter().map(RemoteChange::from).collect();
        }
        conflict.verdict = report.merge.verdict;
        conflict.overlap = report.merge.overlap;
        conflict.groups_split = report.merge.groups_split;
        Ok(conflict)
    }

    /// Whether nothing is left to do: the object has the edit's values already.
    pub(crate) fn is_done(&self) -> bool {
        self.verdict == Verdict::Identical && !self.is_relative
    }

    /// Replaces the remote side by a newer state and judges again.
    ///
    /// Changes that stay the same keep their author.
    pub(crate) fn move_to(&mut self, remote: Value) -> Result<(), Error> {
        let version = version_of(&remote)?;
        if version == self.remote_version && !self.remote.is_null() {
            return Ok(());
        }
        self.remote = edit::without_unknown_fields(self.kind, remote);
        self.remote_version = version;
        let known = std::mem::take(&mut self.changes);
        self.changes = merge::diff(&self.base, &self.remote)
            .into_iter()
            .map(|Difference { path, from, to }| {
                let same = known.iter().find(|one| one.path == path && one.current == to);
                RemoteChange {
                    by: same.and_then(|change| change.by.clone()),
                    at: same.and_then(|change| change.at),
                    path,
                    base: from,
                    current: to,
                }
            })
            .collect();
        self.judge();
        Ok(())
    }

    /// The same conflict after the decision to write this object: an edit of the remote state.
    pub(crate) fn decided(mut self, local: Value) -> Self {
        self.base = self.remote.clone();
        self.base_version = self.remote_version;
        self.changes.clear();
        self.attempted = merge::diff(&self.base, &local);
        self.local = local;
        self.is_relative = false;
        self.judge();
        self
    }

    /// The remote state with the attempted changes on top.
    ///
    /// [`Decision::Reapply`](crate::Decision::Reapply) writes this, and an editor can start from it.
    ///
    /// ```
    /// # async fn example(parked: ifmatch::Parked) -> Result<(), ifmatch::Error> {
    /// let mut object = parked.conflict.merged();
    /// if let Some(notes) = object.pointer_mut("/notes") {
    ///     *notes = "what both agreed on".into();
    /// }
    /// parked.resolve(ifmatch::Decision::Send(object)).await?;
    /// # Ok(()) }
    /// ```
    pub fn merged(&self) -> Value {
        let mut merged = self.remote.clone();
        merge::apply(&mut merged, &self.attempted);
        merged
    }
}

impl<T> Conflict<T> {
    fn try_map<U>(self, mut side: impl FnMut(T) -> Result<U, Error>) -> Result<Conflict<U>, Error> {
        Ok(Conflict {
            base: side(self.base)?,
            local: side(self.local)?,
            remote: side(self.remote)?,
            conflict_id: self.conflict_id,
            kind: self.kind,
            resource_id: self.resource_id,
            base_version: self.base_version,
            remote_version: self.remote_version,
            changes: self.changes,
            attempted: self.attempted,
            verdict: self.verdict,
            overlap: self.overlap,
            groups_split: self.groups_split,
            attempts: self.attempts,
            is_relative: self.is_relative,
            in_turn: self.in_turn,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn namespace(version: i64, name: &str, metadata: Value) -> Value {
        json!({"id": "nsp_1", "version": version, "workspace_id": "wsp_1", "name": name,
            "metadata": metadata, "created_at": "2026-11-22T01:06:00Z",
            "updated_at": "2026-11-22T01:06:00Z", "updated_by": "a"})
    }

    fn conflict(remote: Value) -> Conflict<Value> {
        let edit = edit::Edit {
            kind: Kind::Namespace,
            id: "nsp_1".into(),
            base: namespace(1, "one", json!({"k": "1"})),
            base_version: 1,
            local: namespace(1, "one", json!({"k": "2"})),
        };
        Conflict::between(&edit, remote).expect("two namespaces")
    }

    #[test]
    fn a_conflict_found_here_is_judged_like_one_found_there() {
        let clean = conflict(namespace(2, "two", json!({"k": "1"})));
        assert_eq!((clean.verdict, clean.remote_version), (Verdict::Clean, 2));
        assert!(clean.touches("/name") && !clean.touches("/metadata"));
        assert_eq!(clean.merged().pointer("/name"), Some(&json!("two")));
        assert_eq!(clean.merged().pointer("/metadata/k"), Some(&json!("2")));

        let overlap = conflict(namespace(2, "one", json!({"k": "3"})));
        assert_eq!(overlap.verdict, Verdict::Overlap);
        assert!(overlap.touches("/metadata"));
        let identical = conflict(namespace(2, "one", json!({"k": "2"})));
        assert_eq!(identical.verdict, Verdict::Identical);
    }

    #[test]
    fn fields_of_a_newer_server_are_not_taken_for_changes() {
        let mut remote = namespace(2, "two", json!({"k": "1"}));
        remote.as_object_mut().expect("an object").insert("added_later".into(), json!(1));
        assert!(!conflict(remote).touches("/added_later"));
    }

    #[test]
    fn moving_on_keeps_the_author_of_what_stayed_the_same() {
        let mut conflict = conflict(namespace(2, "two", json!({"k": "1"})));
        let by: By = serde_json::from_value(
            json!({"actor": "bot", "on_behalf_of": null, "source": "api", "forced": false}),
        )
        .expect("an author");
        conflict.changes.iter_mut().for_each(|change| change.by = Some(by.clone()));
        conflict.move_to(namespace(3, "two", json!({"k": "9"}))).expect("a namespace");
        assert_eq!(conflict.verdict, Verdict::Overlap);
        let author = |path: &str| {
            conflict.changes.iter().find(|change| change.path == path).and_then(|c| c.by.clone())
        };
        assert_eq!((author("/name"), author("/metadata/k")), (Some(by), None));
    }
}
