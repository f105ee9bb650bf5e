//! In-memory tables that track loaded rows and changes, and can roll changes back.

use foldhash::{HashMap, HashMapExt};
use std::{borrow::Borrow, collections::hash_map::Entry as MapEntry, fmt::Debug, hash::Hash};

/// A row whose save is refused if the stored row has changed since it was loaded.
pub trait Guarded {
    /// A number that differs in every state of the row, such as its version.
    fn guard(&self) -> i64;
}

/// A part of a batch's state that can be rolled back.
pub trait Reversible {
    /// A point to roll back to: the number of changes so far.
    fn checkpoint(&self) -> usize;
    /// Undoes all changes since the checkpoint.
    fn rollback(&mut self, checkpoint: usize);
    /// Whether there are any changes.
    fn is_changed(&self) -> bool;
}

/// An append-only list.
impl<T> Reversible for Vec<T> {
    fn checkpoint(&self) -> usize {
        self.len()
    }

    fn rollback(&mut self, checkpoint: usize) {
        self.truncate(checkpoint);
    }

    fn is_changed(&self) -> bool {
        !self.is_empty()
    }
}

/// Rows by key, in their loaded and their current state.
///
/// Every change can be rolled back to a [`checkpoint`](Self::checkpoint), so a rejected command
/// leaves no trace.
///
/// The hash is fast but does not resist crafted keys. That is safe, because a batch has few keys
/// and is short-lived.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: HashMap<K, Entry<V>>,
    undo: Vec<(K, Undo<V>)>,
}

#[derive(Debug)]
struct Entry<V> {
    /// The loaded row, set at the first change. `Some(None)` means that the row did not exist.
    original: Option<Option<V>>,
    current: Option<V>,
}

#[derive(Debug)]
enum Undo<V> {
    /// Undoes the first change: restores the loaded row.
    Restore,
    /// Undoes a later change: restores this state.
    Replace(Option<V>),
}

/// A row to save.
#[derive(Debug)]
pub struct Change<'a, V> {
    /// The new state of the row.
    pub row: &'a V,
    /// The loaded row; `None` for a new row.
    pub original: Option<&'a V>,
    /// The guard of the loaded row; `None` for a new row.
    pub guard: Option<i64>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), undo: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash + Debug, V: Guarded> Table<K, V> {
    /// Records the row that the database has for this key.
    ///
    /// A row that is read again replaces the earlier one, because it may now be read under a row
    /// lock. A row that this batch has changed is not replaced.
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

    /// The current row.
    ///
    /// Panics if the key was not loaded: a command may only read what it requested as a need.
    pub fn get<Q: Hash + Eq + ?Sized + Debug>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key);
        assert!(entry.is_some(), "a row is decided on only after it was loaded: {key:?}");
        entry.and_then(|entry| entry.current.as_ref())
    }

    /// The current row if it was loaded. For rows that are found as members of a set.
    pub fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)?.current.as_ref()
    }

    /// The loaded row, without the changes of this batch.
    pub fn original<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key)?;
        entry.original.as_ref().unwrap_or(&entry.current).as_ref()
    }

    /// Sets a row. A key that was not loaded becomes a new row.
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

    /// The rows to save, in no particular order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_, V>> {
        self.entries.values().filter_map(|entry| {
            let original = entry.original.as_ref()?;
            let row = entry.current.as_ref()?;
            let original = original.as_ref();
            Some(Change { row, original, guard: original.map(Guarded::guard) })
        })
    }

    /// The rows that this batch creates, with their keys.
    pub fn new_rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let was_absent = entry.original.as_ref()?.is_none();
            let row = entry.current.as_ref()?;
            was_absent.then_some((key, row))
        })
    }

    /// All current rows.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.entries.values().filter_map(|entry| entry.current.as_ref())
    }
}

impl<K: Clone + Eq + Hash + Debug, V: Guarded> Reversible for Table<K, V> {
    fn checkpoint(&self) -> usize {
        self.undo.len()
    }

    fn rollback(&mut self, checkpoint: usize) {
        while self.undo.len() > checkpoint {
            let Some((key, undo)) = self.undo.pop() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.current = match undo {
                Undo::Restore => entry.original.take().flatten(),
                Undo::Replace(before) => before,
            };
        }
    }

    fn is_changed(&self) -> bool {
        !self.undo.is_empty()
    }
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
