//! Versioned objects: how they are loaded and locked, and what belongs to them.

use super::{
    db::Db,
    error::StoreError,
    list::Field,
    record::{Record, records},
    select::{Each, Lock, load_all, select_by, select_locked},
    sql::{Cell, Sql},
};
use crate::{schema::StoredRow, systems::stored_kind};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    State,
    core::{LockClass, Resource, Row, Use},
};
use ifmatch_types::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of users that are loaded of one object.
///
/// An object with more users counts as used, whatever the batch does with them.
const USERS_MAX: &str = " LIMIT 1000";

/// A kind of versioned object, as the store knows it.
pub(crate) trait StoredObject: Resource {
    /// The fields that its list can be filtered by.
    const FILTERS: &'static [Field];
    /// The fields that its list can be sorted by; the first is the default.
    const SORTS: &'static [Field];
    /// The column with the id of its owner, which never changes. `None` if it has no owner.
    const OWNER: Option<&'static str> = None;
    /// The column with the id of the workspace that it hangs on. `None` for the catalogue, and for
    /// what belongs to the scope that its path names.
    const WORKSPACE: Option<&'static str> = None;
    /// A query for the ids of the object and of each row that refers to it, in parts.
    ///
    /// The object's id is bound after each part.
    const USERS: &'static [&'static str] = &[];
    /// Whether so many commands refer to such objects that a change of one could wait for ever.
    const HAS_TURNSTILE: bool = false;
}

/// The row type of a kind of object.
pub(crate) type RowOf<R> = <Row<R> as Record>::Row;

/// Objects to load, by class and kind.
#[derive(Default)]
pub(crate) struct WantedObjects(BTreeMap<LockClass, BTreeMap<Kind, BTreeMap<String, Lock>>>);

impl WantedObjects {
    /// Adds an object. If it is both referred to and changed, it is locked once, for the change.
    pub(crate) fn add(&mut self, kind: Kind, id: String, lock: Lock) {
        let of_class = self.0.entry(LockClass::of(kind)).or_default();
        let wanted = of_class.entry(kind).or_default().entry(id).or_insert(lock);
        *wanted = lock.max(*wanted);
    }

    /// Loads those of one class, one statement per kind. Without `is_locking`, it locks nothing.
    pub(crate) fn load(
        &mut self,
        class: LockClass,
        db: &mut Db,
        is_locking: bool,
        state: &mut State,
    ) -> Result<(), StoreError> {
        for (kind, mut ids) in self.0.remove(&class).unwrap_or_default() {
            if !is_locking {
                ids.values_mut().for_each(|lock| *lock = Lock::None);
            }
            stored_kind!(kind, R => load_objects::<R>(db, ids, state)?);
        }
        Ok(())
    }
}

fn load_objects<R: StoredObject>(
    db: &mut Db,
    ids: BTreeMap<String, Lock>,
    state: &mut State,
) -> Result<(), StoreError>
where
    Row<R>: Record,
{
    // SQLite has one lock for everything, so that nothing is only shared.
    let has_row_locks = !db.is_sqlite();
    let rows = select_locked(db, ids.clone(), R::HAS_TURNSTILE)?;
    put_objects::<R>(rows, ids, has_row_locks, state)
}

/// Puts objects into the state that were read with these locks. The others are known to be absent.
pub(crate) fn put_objects<R: StoredObject>(
    rows: Vec<RowOf<R>>,
    ids: BTreeMap<String, Lock>,
    has_row_locks: bool,
    state: &mut State,
) -> Result<(), StoreError>
where
    Row<R>: Record,
{
    for row in records::<Row<R>>(rows)? {
        R::rows_mut(state).load(row.record.id().to_owned(), Some(row));
    }
    for (id, lock) in ids {
        match lock {
            Lock::Share if has_row_locks => state.share(R::KIND, id.clone()),
            Lock::None | Lock::Share | Lock::Update => state.unshare(R::KIND, &id),
        }
        R::rows_mut(state).load(id, None);
    }
    Ok(())
}

/// Loads the owners of objects. An owner never changes, so no lock is needed.
pub(crate) fn load_owners(
    db: &mut Db,
    wanted: BTreeSet<(Kind, String)>,
    state: &mut State,
) -> Result<(), StoreError> {
    for (kind, ids) in by_kind(wanted) {
        for id in &ids {
            state.owners.insert((kind, id.clone()), None);
        }
        let owned = stored_kind!(kind, R => owners_of::<R>(db, ids)?);
        for (id, owner) in owned {
            state.owners.insert((kind, id), Some(owner));
        }
    }
    Ok(())
}

pub(crate) fn owners_of<R: StoredObject>(
    db: &mut Db,
    ids: Vec<String>,
) -> Result<Vec<(String, String)>, StoreError>
where
    Row<R>: Record,
{
    let Some(owner) = R::OWNER else { return Ok(Vec::new()) };
    let text = format!("SELECT id, {owner} FROM {} WHERE id = ", RowOf::<R>::TABLE);
    let each = Each { texts: &[&text], tail: "" };
    let keys = ids.into_iter().map(|id| vec![Cell::Text(id)]);
    Ok(load_all!(db, each.of(db.is_sqlite(), keys), (Text, Text)))
}

/// Loads the users of objects: the rows that refer to them, up to [`USERS_MAX`].
pub(crate) fn load_users(
    db: &mut Db,
    wanted: BTreeSet<(Kind, String)>,
    state: &mut State,
) -> Result<(), StoreError> {
    for (kind, ids) in by_kind(wanted) {
        let texts = stored_kind!(kind, R => R::USERS);
        let mut users: BTreeMap<String, BTreeSet<String>> =
            ids.iter().map(|id| (id.clone(), BTreeSet::new())).collect();
        let each = Each { texts, tail: USERS_MAX };
        let keys = ids.into_iter().map(|id| vec![Cell::Text(id); texts.len()]);
        let queries: Vec<Sql> =
            if texts.is_empty() { Vec::new() } else { each.of(db.is_sqlite(), keys) };
        let found: Vec<(String, String)> = load_all!(db, queries, (Text, Text));
        for (id, user) in found {
            users.entry(id).or_default().insert(user);
        }
        for (id, users) in users {
            state.in_use.load(id, Some(Use(users)));
        }
    }
    Ok(())
}

fn by_kind(wanted: BTreeSet<(Kind, String)>) -> BTreeMap<Kind, Vec<String>> {
    let mut by_kind: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for (kind, id) in wanted {
        by_kind.entry(kind).or_default().push(id);
    }
    by_kind
}

/// The objects of one kind with these ids, without locks.
pub(crate) fn find_objects<R: StoredObject>(
    db: &mut Db,
    ids: Vec<String>,
) -> Result<Vec<Row<R>>, StoreError>
where
    Row<R>: Record,
{
    records(select_by(db, "id", ids, Lock::None)?)
}
