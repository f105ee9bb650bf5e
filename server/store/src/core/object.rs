//! Versioned objects: how they are loaded with their locks, and what belongs to them.

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
use ifmatch_domain::{Resource, Row, State, Use, lock_place};
use ifmatch_types::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// An object with more users than this counts as used, whatever the batch does with them.
const USERS_MAX: &str = " LIMIT 1000";

/// A kind of versioned object, as the store knows it.
pub(crate) trait StoredObject: Resource {
    /// The fields that its list can be filtered by.
    const FILTERS: &'static [Field];
    /// The fields that its list can be sorted by; the first is the default.
    const SORTS: &'static [Field];
    /// The column of the object that it belongs to for ever, if there is one.
    const OWNER: Option<&'static str> = None;
    /// A query of `id of the object, id of what refers to it`; the object's id comes after each text.
    const USERS: &'static [&'static str] = &[];
    /// Whether so many commands refer to such objects that a change of one could wait for ever.
    const HAS_TURNSTILE: bool = false;
}

/// The row of a kind of object.
pub(crate) type RowOf<R> = <Row<R> as Record>::Row;

/// Objects to load, in the order in which all writers lock them.
#[derive(Default)]
pub(crate) struct WantedObjects(BTreeMap<(u8, Kind), BTreeMap<String, Lock>>);

impl WantedObjects {
    /// Adds an object. One that is both referred to and changed is locked once, as changed.
    pub(crate) fn add(&mut self, kind: Kind, id: String, lock: Lock) {
        let of_kind = self.0.entry((lock_place(kind), kind)).or_default();
        let wanted = of_kind.entry(id).or_insert(lock);
        *wanted = lock.max(*wanted);
    }

    /// Loads all of them, one statement per kind. A look that decides nothing locks nothing.
    pub(crate) fn load(
        self,
        db: &mut Db,
        is_locking: bool,
        state: &mut State,
    ) -> Result<(), StoreError> {
        for ((_, kind), mut ids) in self.0 {
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
    let rows = select_locked(db, ids.clone(), R::HAS_TURNSTILE)?;
    for row in records::<Row<R>>(rows)? {
        R::rows_mut(state).load(row.record.id().to_owned(), Some(row));
    }
    for (id, lock) in ids {
        match lock {
            Lock::Share => state.references.insert((R::KIND, id.clone())),
            Lock::None | Lock::Update => state.references.remove(&(R::KIND, id.clone())),
        };
        // What was not found is known to be absent.
        R::rows_mut(state).load(id, None);
    }
    Ok(())
}

/// Loads what objects belong to. Fields that are set once need no lock to be relied on.
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

fn owners_of<R: StoredObject>(
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

/// Loads what refers to objects; of very many users, some.
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
