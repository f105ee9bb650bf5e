//! Differences between two states of an object, and whether two edits can be merged.
//!
//! Objects are compared as JSON, path by path (JSON Pointer, RFC 6901): nested objects are
//! descended into, a list is one path, and the bookkeeping fields in [`IGNORED`] never count.

use crate::{Kind, pointer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Top-level fields that change with every write and say nothing about its intent.
pub const IGNORED: [&str; 3] = ["version", "updated_at", "updated_by"];

/// One path at which two states differ; an absent value reads as `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// A JSON Pointer such as `/metadata/team`.
    pub path: String,
    /// The value before.
    pub from: Value,
    /// The value after.
    pub to: Value,
}

names! {
    /// How a write that was computed from an old version relates to what happened since.
    Verdict {
        /// It touches other paths than the changes since, so it can be merged.
        Clean = "clean",
        /// The object already has every requested value.
        Identical = "identical",
        /// Both changed the same path, to different values.
        Overlap = "overlap",
        /// Both changed one merge group, at different paths.
        GroupOverlap = "group_overlap",
        /// It names no version, or one that never existed or whose snapshot was pruned.
        UnknownBase = "unknown_base",
    }
}

/// The verdict on a stale write, with its grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MergeReport {
    /// Whether it can be merged.
    pub verdict: Verdict,
    /// The paths that both sides changed to different values.
    pub overlap: Vec<String>,
    /// The merge groups in which the sides changed different parts.
    pub groups_split: Vec<Vec<String>>,
    /// The merged object, if the verdict is `clean` and the rules allow it.
    pub preview: Option<Value>,
}

impl MergeReport {
    /// The report on a write whose base is unknown.
    pub fn unknown_base() -> Self {
        Self {
            verdict: Verdict::UnknownBase,
            overlap: Vec::new(),
            groups_split: Vec::new(),
            preview: None,
        }
    }
}

/// The paths at which `after` differs from `before`, in path order.
///
/// Both should be JSON objects. The fields in [`IGNORED`] are left out at the top level.
pub fn diff(before: &Value, after: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        if before != after {
            differences.push(Difference {
                path: String::new(),
                from: before.clone(),
                to: after.clone(),
            });
        }
        return differences;
    };
    descend(&mut String::new(), before, after, &mut differences);
    differences
}

fn descend(
    path: &mut String,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    differences: &mut Vec<Difference>,
) {
    // Two states of one object mostly have the same keys in the same order, so no lookup is needed.
    if before.keys().eq(after.keys()) {
        for ((key, from), to) in before.iter().zip(after.values()) {
            compare(path, key, Some(from), Some(to), differences);
        }
        return;
    }
    let removed_keys = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(removed_keys) {
        compare(path, key, before.get(key), after.get(key), differences);
    }
}

fn compare(
    path: &mut String,
    key: &str,
    from: Option<&Value>,
    to: Option<&Value>,
    differences: &mut Vec<Difference>,
) {
    if from == to || (path.is_empty() && IGNORED.contains(&key)) {
        return;
    }
    let parent_len = path.len();
    pointer::push(path, key);
    match (from, to) {
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            descend(path, from, to, differences);
        }
        _ if from.unwrap_or(&Value::Null) == to.unwrap_or(&Value::Null) => {}
        _ => differences.push(Difference {
            path: path.clone(),
            from: from.cloned().unwrap_or_default(),
            to: to.cloned().unwrap_or_default(),
        }),
    }
    path.truncate(parent_len);
}

/// Writes the `to` of every difference into `target`. `null` removes a key below the top level.
///
/// A merge does this with the paths that a stale write wanted to change. Fields that the form
/// only echoed are not among them and keep their current value.
pub fn apply(target: &mut Value, differences: &[Difference]) {
    for Difference { path, to, .. } in differences {
        set(target, &pointer::keys(path).collect::<Vec<_>>(), to);
    }
}

fn set(target: &mut Value, segments: &[String], value: &Value) {
    let Some((key, rest)) = segments.split_first() else {
        *target = value.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(object) = target {
        set_member(object, key, rest, value);
    }
}

fn set_member(object: &mut Map<String, Value>, key: &str, rest: &[String], value: &Value) {
    if rest.is_empty() {
        object.insert(key.to_owned(), value.clone());
        return;
    }
    let child = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
    match (child, rest) {
        (Value::Object(child), [last]) if value.is_null() => {
            child.remove(last);
        }
        (child, rest) => set(child, rest, value),
    }
}

/// The merge patch (RFC 7396) that makes these differences.
pub fn merge_patch_of(differences: &[Difference]) -> Value {
    let mut patch = Value::Object(Map::new());
    for Difference { path, to, .. } in differences {
        let mut at = &mut patch;
        for key in pointer::keys(path) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let object = at.as_object_mut().expect("it was just made an object");
            at = object.entry(key).or_insert(Value::Null);
        }
        *at = to.clone();
    }
    patch
}

/// Judges a stale write by its `attempted` differences and the `changes` since its base.
///
/// The preview is left empty: it takes the server's rules to make it.
pub fn judge(kind: Kind, attempted: &[Difference], changes: &[Difference]) -> MergeReport {
    let wanted_elsewhere: Vec<&Difference> =
        attempted.iter().filter(|wanted| !already_so(wanted, changes)).collect();
    let overlap: Vec<String> = wanted_elsewhere
        .iter()
        .filter(|wanted| changes.iter().any(|change| touches(&wanted.path, &change.path)))
        .map(|wanted| wanted.path.clone())
        .collect();
    let wanted = |group: &[&str]| {
        let is_in = |path: &str| group.iter().any(|member| touches(member, path));
        wanted_elsewhere.iter().any(|wanted| is_in(&wanted.path))
    };
    let changed = |group: &[&str]| {
        let is_in = |path: &str| group.iter().any(|member| touches(member, path));
        changes.iter().any(|change| is_in(&change.path))
    };
    let owned = |group: &[&str]| group.iter().map(|member| (*member).to_owned()).collect();
    let mut groups_split: Vec<Vec<String>> = kind
        .merge_groups()
        .iter()
        .filter(|group| wanted(group) && changed(group))
        .map(|group| owned(group))
        .collect();
    let frozen = kind.frozen_by_status();
    if wanted(&["/status"]) && changed(frozen) {
        groups_split.push(owned(&[&["/status"], frozen].concat()));
    }
    let verdict = if wanted_elsewhere.is_empty() {
        Verdict::Identical
    } else if !overlap.is_empty() {
        Verdict::Overlap
    } else if !groups_split.is_empty() {
        Verdict::GroupOverlap
    } else {
        Verdict::Clean
    };
    MergeReport { verdict, overlap, groups_split, preview: None }
}

/// Whether the current state has the wanted value: a change since the base set it, or the base had
/// it and nothing changed it.
fn already_so(wanted: &Difference, changes: &[Difference]) -> bool {
    let had_it = wanted.from == wanted.to;
    changes.iter().any(|change| change.path == wanted.path && change.to == wanted.to)
        || (had_it && !changes.iter().any(|change| touches(&change.path, &wanted.path)))
}

/// Whether two JSON Pointers are the same, or one lies within the other.
pub fn touches(one: &str, other: &str) -> bool {
    let within = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(differences: &[Difference]) -> Vec<&str> {
        differences.iter().map(|difference| difference.path.as_str()).collect()
    }

    #[test]
    fn bookkeeping_is_ignored_metadata_is_descended_lists_are_whole() {
        let before = json!({"version": 1, "updated_at": "a", "lines": [1, 2], "email": null,
            "metadata": {"a/b": "1", "gone": "x"}});
        let after = json!({"version": 2, "updated_at": "b", "lines": [1, 3],
            "metadata": {"a/b": "2", "new": "y"}});
        assert_eq!(
            paths(&diff(&before, &after)),
            ["/lines", "/metadata/a~1b", "/metadata/new", "/metadata/gone"]
        );
    }

    #[test]
    fn what_diff_finds_apply_makes() {
        let before = json!({"a": 1, "metadata": {"k": "1", "gone": "x"}});
        let after = json!({"a": null, "b": [1], "metadata": {"k": "2"}});
        let mut target = before.clone();
        apply(&mut target, &diff(&before, &after));
        assert_eq!(target, after);
    }

    #[test]
    fn a_merge_patch_says_the_same_as_its_differences() {
        let before = json!({"a": 1, "metadata": {"k": "1", "gone": "x"}});
        let after = json!({"a": 2, "metadata": {"k": "1"}});
        let patch = merge_patch_of(&diff(&before, &after));
        assert_eq!(patch, json!({"a": 2, "metadata": {"gone": null}}));
    }

    #[test]
    fn verdicts() {
        let difference =
            |path: &str, to: Value| Difference { path: path.to_owned(), from: Value::Null, to };
        let verdict = |attempted: &[Difference], changes: &[Difference]| {
            judge(Kind::Subscription, attempted, changes).verdict
        };
        let notes = [difference("/notes", json!("mine"))];
        let quantity = [difference("/quantity", json!(6))];
        let canceled = [difference("/status", json!("canceled"))];
        let undo = [difference("/cancel_at_period_end", json!(false))];
        assert_eq!(verdict(&notes, &quantity), Verdict::Clean);
        assert_eq!(verdict(&notes, &notes), Verdict::Identical);
        assert_eq!(verdict(&notes, &[difference("/notes", json!("theirs"))]), Verdict::Overlap);
        assert_eq!(verdict(&undo, &canceled), Verdict::GroupOverlap);
        assert_eq!(
            verdict(&[difference("/metadata/k", json!("1"))], &[difference("/metadata", json!(1))]),
            Verdict::Overlap
        );
        let removal = [difference("/metadata/b", Value::Null)];
        assert_eq!(verdict(&removal, &[difference("/metadata/b", json!("x"))]), Verdict::Overlap);
        assert_eq!(verdict(&removal, &quantity), Verdict::Identical);
    }
}
