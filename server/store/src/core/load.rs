//! One round of loading: first the locked rows, in the order of `LockClass`, then the rest.

use super::{
    answers::{self, AnswerKey},
    db::Db,
    error::StoreError,
    history,
    lookup::{Lookups, Place},
    object::{WantedObjects, load_owners, load_users},
    select::Lock,
};
use crate::systems::Systems;
use ifmatch_domain::{
    Need, State,
    core::{LockClass, Need as CoreNeed},
};
use ifmatch_types::{Kind, Timestamp, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of expired rows that a commit ends, per counter or bookable.
///
/// The whole lane waits for that commit, and after an outage there may be very many of them.
pub(crate) const ENDED_AT_ONCE: i64 = 500;

/// The needs of one system in one round of loading.
///
/// Its needs are collected by its own `add`. Then each step below is called once, in this order.
pub(crate) trait System {
    /// Loads and locks its rows of one class that are not versioned objects.
    ///
    /// Called for each class that this round locks, in their order.
    fn lock(
        &mut self,
        _class: LockClass,
        _db: &mut Db,
        _lock: Lock,
        _state: &mut State,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether its lookups depend on the clock.
    fn needs_clock(&self) -> bool {
        false
    }

    /// Adds lookups of rows that most batches need. Those of all systems take one round trip.
    fn ask(&mut self, _lookups: &mut Lookups, _state: &mut State) {}

    /// Puts the rows that were found into the state.
    fn put(
        &mut self,
        _db: &mut Db,
        _lookups: &mut Lookups,
        _state: &mut State,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Loads rows that few batches need.
    fn load(&mut self, _db: &mut Db, _state: &mut State) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The needs of one round, by kind. Each set is sorted.
#[derive(Default)]
struct Wanted {
    classes: BTreeSet<LockClass>,
    objects: WantedObjects,
    answers: BTreeSet<AnswerKey>,
    histories: BTreeMap<String, BTreeSet<Version>>,
    in_use: BTreeSet<(Kind, String)>,
    owners: BTreeSet<(Kind, String)>,
    clock: bool,
    systems: Systems,
}

impl Wanted {
    fn sort(needs: impl IntoIterator<Item = Need>) -> Self {
        let mut wanted = Self::default();
        for need in needs {
            wanted.classes.extend(need.lock().map(|(class, _)| class));
            let Some(need) = wanted.systems.add(need) else { continue };
            match need {
                CoreNeed::Answer(scope, key) => {
                    wanted.answers.insert((scope, key));
                }
                CoreNeed::Object(kind, id) => wanted.objects.add(kind, id, Lock::Update),
                CoreNeed::Reference(kind, id) => wanted.objects.add(kind, id, Lock::Share),
                CoreNeed::History(id, version) => {
                    wanted.histories.entry(id).or_default().insert(version);
                }
                CoreNeed::InUse(kind, id) => {
                    wanted.in_use.insert((kind, id));
                }
                CoreNeed::Owner(kind, id) => {
                    wanted.owners.insert((kind, id));
                }
                CoreNeed::Clock => wanted.clock = true,
            }
        }
        wanted
    }
}

impl Db {
    /// Loads needs into a batch's state inside its transaction, and locks the rows that it may
    /// change.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn load(
        &mut self,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.load_with(Lock::Update, needs, state)
    }

    /// Loads needs as [`load`](Self::load) does, but locks nothing. For reads that decide nothing.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn peek(
        &mut self,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.load_with(Lock::None, needs, state)
    }

    fn load_with(
        &mut self,
        lock: Lock,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let mut wanted = Wanted::sort(needs);
        for class in wanted.classes {
            wanted.objects.load(class, self, lock != Lock::None, state)?;
            for system in wanted.systems.all() {
                system.lock(class, self, lock, state)?;
            }
        }
        history::load(self, wanted.histories, state)?;
        load_users(self, wanted.in_use, state)?;
        load_owners(self, wanted.owners, state)?;
        look_up(self, wanted.answers, wanted.clock, &mut wanted.systems, state)?;
        for system in wanted.systems.all() {
            system.load(self, state)?;
        }
        Ok(())
    }
}

/// Loads rows that are not locked and that most batches need, in one round trip.
fn look_up(
    db: &mut Db,
    answers: BTreeSet<AnswerKey>,
    clock: bool,
    systems: &mut Systems,
    state: &mut State,
) -> Result<(), StoreError> {
    // Lookups of expired rows must use the same clock as the rest of the batch.
    let needs_clock = clock || systems.all().any(|system| system.needs_clock());
    let needs_clock = needs_clock && state.clock.is_none();
    if needs_clock && db.is_sqlite() {
        state.clock = Some(Timestamp::now());
    }
    let mut lookups = Lookups::new(db, state.clock);
    let asked_answers = answers::ask(&answers, &mut lookups);
    let asked_clock = (needs_clock && !db.is_sqlite()).then(|| lookups.clock());
    for system in systems.all() {
        system.ask(&mut lookups, state);
    }
    lookups.run(db)?;
    let found = lookups.take(asked_answers, db)?;
    answers::put(db, found, answers, state)?;
    if let Some(place) = asked_clock {
        state.clock = Some(clock_of(&mut lookups, place)?);
    }
    for system in systems.all() {
        system.put(db, &mut lookups, state)?;
    }
    Ok(())
}

fn clock_of(lookups: &mut Lookups, place: Place) -> Result<Timestamp, StoreError> {
    let read = lookups.take_number(place)?;
    let known = read.and_then(Timestamp::from_micros);
    known
        .ok_or_else(|| StoreError::Unforeseen(format!("the database's clock says {read:?}").into()))
}
