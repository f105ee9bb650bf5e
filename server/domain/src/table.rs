//! Tables in memory that remember what was loaded, what changed, and how to take it back.

use foldhash::{HashMap, HashMapExt};
use ifmatch_types::{Deleted, Timestamp, Version};
use std::{borrow::Borrow, collections::hash_map::Entry as MapEntry, fmt::Debug, hash::Hash};

/// What guards a row against a write that was computed from an older state of it.
pub trait Guarded {
    /// A number that is different in every state of the row: its version or its counter.
    fn guard(&self) -> i64;
}

/// Rows by key, as loaded and as decided.
///
/// Hashed fast and not against floods: a batch has few keys, and lives for a moment.
///
/// Every change can be rolled back to a [`checkpoint`](Self::checkpoint), which is how a rejected
/// command leaves no trace.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: HashMap<K, Entry<V>>,
    undo: Vec<(K, Undo<V>)>,
}

#[derive(Debug)]
struct Entry<V> {
    /// The row as loaded, kept once it was changed; `None` inside: it did not exist.
    original: Option<Option<V>>,
    current: Option<V>,
}

#[derive(Debug)]
enum Undo<V> {
    /// The first change: put the loaded row back.
    Restore,
    /// A later change: put this state back.
    Replace(Option<V>),
}

/// A row to save.
#[derive(Debug)]
pub struct Change<'a, V> {
    /// The row as it should be.
    pub row: &'a V,
    /// The row as it was loaded; `None`: it is new.
    pub original: Option<&'a V>,
    /// The guard it was loaded with; `None`: it is new.
    pub guard: Option<i64>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), undo: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash + Debug, V: Guarded> Table<K, V> {
    /// Records what the database has under this key. A row that is read again takes the place of
    /// what was read before, unless it was changed since: it may be read under a lock now.
    pub fn load(&mut self, key: K, row: Option<V>) {
        match self.entries.entry(key) {
            MapEntry::Vacant(entry) => {
                entry.insert(Entry { original: None, current: row });
            }
            MapEntry::Occupied(mut entry) if row.is_some() && entry.get().original.is_none() => {
                entry.get_mut().current = row;
            }
            MapEntry::Occupied(_) => {}
        }
    }

    /// Whether this key was loaded.
    pub fn is_loaded<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// The row as it is now. The key must have been loaded: what is not in a command's needs, it
    /// cannot see.
    pub fn get<Q: Hash + Eq + ?Sized + Debug>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key);
        assert!(entry.is_some(), "a row is decided on only after it was loaded: {key:?}");
        entry.and_then(|entry| entry.current.as_ref())
    }

    /// The row as it is now, if it was loaded: for rows that come as members of a set.
    pub fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)?.current.as_ref()
    }

    /// The row as it was loaded, before this batch changed it.
    pub fn original<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key)?;
        entry.original.as_ref().unwrap_or(&entry.current).as_ref()
    }

    /// Sets a row. A key that was never loaded is a new row.
    pub fn put(&mut self, key: K, row: V) {
        let entry = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| Entry { original: None, current: None });
        let before = entry.current.replace(row);
        let undo = if entry.original.is_none() {
            entry.original = Some(before);
            Undo::Restore
        } else {
            Undo::Replace(before)
        };
        self.undo.push((key, undo));
    }

    /// A point to roll back to.
    pub fn checkpoint(&self) -> usize {
        self.undo.len()
    }

    /// Takes back every change since the checkpoint.
    pub fn rollback(&mut self, checkpoint: usize) {
        while self.undo.len() > checkpoint {
            let Some((key, undo)) = self.undo.pop() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.current = match undo {
                Undo::Restore => entry.original.take().flatten(),
                Undo::Replace(before) => before,
            };
        }
    }

    /// The rows to save, in no particular order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_, V>> {
        self.entries.values().filter_map(|entry| {
            let original = entry.original.as_ref()?;
            let row = entry.current.as_ref()?;
            let original = original.as_ref();
            Some(Change { row, original, guard: original.map(Guarded::guard) })
        })
    }

    /// Whether any row changed.
    pub fn is_changed(&self) -> bool {
        !self.undo.is_empty()
    }

    /// The rows that did not exist when this batch began, with their keys.
    pub fn new_rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let was_absent = entry.original.as_ref()?.is_none();
            let row = entry.current.as_ref()?;
            was_absent.then_some((key, row))
        })
    }

    /// Every row there is now.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.entries.values().filter_map(|entry| entry.current.as_ref())
    }
}

/// A versioned object as it is stored: deleted ones stay, as tombstones.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<R> {
    /// The object; of a deleted one, its last state with the version of the deletion.
    pub record: R,
    /// When and by whom it was deleted.
    pub deleted: Option<(Timestamp, String)>,
}

/// The versioned objects of one kind, by id.
pub type Rows<R> = Table<String, Row<R>>;

impl<R: crate::Resource> Guarded for Row<R> {
    fn guard(&self) -> i64 {
        self.record.version()
    }
}

impl<R: crate::Resource> Row<R> {
    /// The tombstone, if the object was deleted.
    pub fn tombstone(&self) -> Option<Deleted> {
        let (deleted_at, deleted_by) = self.deleted.as_ref()?;
        Some(Deleted {
            id: self.record.id().to_owned(),
            deleted_at: *deleted_at,
            deleted_by: deleted_by.clone(),
            last_version: last_living(self.record.version()),
        })
    }
}

/// The version before the deletion's own.
fn last_living(version_of_deletion: Version) -> Version {
    version_of_deletion.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Counter(i64);

    impl Guarded for Counter {
        fn guard(&self) -> i64 {
            self.0
        }
    }

    #[test]
    fn a_rollback_restores_what_was_there_and_forgets_what_was_not() {
        let mut table = Table::<String, Counter>::default();
        table.load("a".into(), Some(Counter(1)));
        table.put("a".into(), Counter(2));
        let checkpoint = table.checkpoint();
        table.put("a".into(), Counter(3));
        table.put("b".into(), Counter(9));
        table.rollback(checkpoint);
        assert_eq!(table.get("a"), Some(&Counter(2)));
        assert_eq!(table.changes().count(), 1);
        table.rollback(0);
        assert_eq!(table.get("a"), Some(&Counter(1)));
        assert_eq!(table.changes().count(), 0);
    }

    #[test]
    fn what_is_read_again_counts_until_it_is_changed() {
        let mut table = Table::<String, Counter>::default();
        table.load("a".into(), Some(Counter(1)));
        table.load("a".into(), Some(Counter(2)));
        table.load("a".into(), None);
        assert_eq!(table.get("a"), Some(&Counter(2)), "read under a lock");
        table.put("a".into(), Counter(3));
        table.load("a".into(), Some(Counter(2)));
        assert_eq!(table.get("a"), Some(&Counter(3)));
    }

    #[test]
    fn the_guard_is_what_was_loaded_however_often_the_row_changed() {
        let mut table = Table::<String, Counter>::default();
        table.load("a".into(), Some(Counter(1)));
        table.put("a".into(), Counter(2));
        table.put("a".into(), Counter(3));
        table.put("new".into(), Counter(1));
        let mut changes: Vec<_> = table.changes().map(|c| (c.row.0, c.guard)).collect();
        changes.sort_unstable();
        assert_eq!(changes, [(1, None), (3, Some(1))]);
    }
}
