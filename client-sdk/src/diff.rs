//! A conflict as rows for a person: base, yours, theirs, by whom and when.

use crate::Conflict;
use ifmatch_types::{By, Difference, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// One path of a conflict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiffRow {
    /// Where, as a JSON Pointer.
    pub path: String,
    /// The value at the base.
    pub base: Value,
    /// The value of the edit.
    pub local: Value,
    /// The current value.
    pub remote: Value,
    /// Whether both sides changed it, to different values.
    pub clashes: bool,
    /// The author of the other change, if it is known.
    pub by: Option<By>,
    /// The time of the other change.
    pub at: Option<Timestamp>,
}

/// The rows of a conflict in path order; displays as a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ConflictDiff {
    rows: Vec<DiffRow>,
}

impl ConflictDiff {
    pub(crate) fn of<T>(conflict: &Conflict<T>) -> Self {
        let paths: BTreeSet<&str> = conflict
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .chain(conflict.attempted.iter().map(|wanted| wanted.path.as_str()))
            .collect();
        Self { rows: paths.into_iter().map(|path| row(conflict, path)).collect() }
    }

    /// The rows.
    ///
    /// ```
    /// # fn example(conflict: ifmatch::Conflict<ifmatch::Subscription>) {
    /// for row in conflict.diff().rows() {
    ///     println!("{} {} {} {}", row.path, row.base, row.local, row.remote);
    /// }
    /// # }
    /// ```
    pub fn rows(&self) -> &[DiffRow] {
        &self.rows
    }
}

fn row<T>(conflict: &Conflict<T>, path: &str) -> DiffRow {
    let change = conflict.changes.iter().find(|change| change.path == path);
    let wanted: Option<&Difference> = conflict.attempted.iter().find(|wanted| wanted.path == path);
    let base = change
        .map(|change| &change.base)
        .or_else(|| wanted.map(|wanted| &wanted.from))
        .cloned()
        .unwrap_or_default();
    let remote = change.map_or_else(|| base.clone(), |change| change.current.clone());
    let local = wanted.map_or_else(|| base.clone(), |wanted| wanted.to.clone());
    DiffRow {
        path: path.to_owned(),
        clashes: conflict.overlap.iter().any(|clash| clash == path),
        by: change.and_then(|change| change.by.clone()),
        at: change.and_then(|change| change.at),
        base,
        local,
        remote,
    }
}

impl IntoIterator for ConflictDiff {
    type Item = DiffRow;
    type IntoIter = std::vec::IntoIter<DiffRow>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl fmt::Display for ConflictDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "path", "base", "yours", "theirs", "by", "at"].map(str::to_owned);
        let lines: Vec<[String; 7]> =
            std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let mut widths = [0; 7];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let padded: Vec<String> =
                line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn cells(row: &DiffRow) -> [String; 7] {
    let by = row.by.as_ref().map(|by| match &by.on_behalf_of {
        Some(user) => format!("{} for {user}", by.actor),
        None => by.actor.clone(),
    });
    [
        if row.clashes { "!".to_owned() } else { String::new() },
        row.path.clone(),
        short(&row.base),
        short(&row.local),
        short(&row.remote),
        by.unwrap_or_default(),
        row.at.map(|at| at.to_string()).unwrap_or_default(),
    ]
}

/// A value in at most 40 characters.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 {
        return text;
    }
    text.chars().take(39).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_conflict_displays_as_a_table() {
        let conflict: Conflict<Value> = serde_json::from_value(json!({
            "conflict_id": null, "kind": "subscription", "resource_id": "sub_1",
            "base": {}, "local": {}, "remote": {}, "base_version": 3, "remote_version": 5,
            "changes": [
                {"path": "/plan_id", "base": "a", "current": "b", "at": "2026-11-22T01:06:00Z",
                 "by": {"actor": "bot", "on_behalf_of": "ann", "source": "api", "forced": false}},
                {"path": "/quantity", "base": 1, "current": 2, "at": null, "by": null}],
            "attempted": [
                {"path": "/notes", "from": "", "to": "x".repeat(60)},
                {"path": "/quantity", "from": 1, "to": 7}],
            "verdict": "overlap", "overlap": ["/quantity"], "groups_split": [], "attempts": 1
        }))
        .expect("a conflict");
        let yours = format!("\"{}…", "x".repeat(38));
        let pad = " ".repeat(35);
        assert_eq!(
            conflict.diff().to_string(),
            format!(
                "   path       base  yours{pad}  theirs  by           at\n   \
                 /notes     \"\"    {yours}  \"\"\n   \
                 /plan_id   \"a\"   \"a\"{pad}    \"b\"     bot for ann  2026-11-22T01:06:00.000000Z\n\
                 !  /quantity  1     7{pad}      2\n"
            )
        );
    }
}
