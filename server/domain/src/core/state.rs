//! The state of a batch: loaded rows, changes to save, and how to roll them back.

use super::{
    command::IdempotencyKey,
    journal::{Audit, History, NewEvent},
    outcome::KeptAnswer,
    reach::HangsOn,
    redaction::Redaction,
    row::Objects,
    table::{Guarded, Reversible, Table},
};
use foldhash::{HashMap, HashSet};
use ifmatch_types::{Kind, Timestamp, Version};
use std::{
    any::{Any, TypeId},
    collections::BTreeSet,
    fmt::Debug,
};

/// The loaded rows and pending changes of a batch, with each system's tables.
#[derive(Debug)]
pub struct State {
    /// Kept answers, by API key and Idempotency-Key.
    pub answers: Table<(String, String), KeptAnswer>,
    /// The objects that referred to an object when it was loaded.
    pub in_use: Table<String, Use>,
    /// New events, in order.
    pub events: Vec<NewEvent>,
    /// New audit records, in order.
    pub audits: Vec<Audit>,
    /// New redactions, in order. The past of their objects is yet to be rewritten.
    pub redactions: Vec<Redaction>,
    /// The object that each object belongs to, through a field that never changes.
    pub owners: HashMap<(Kind, String), Option<String>>,
    /// History, loaded for writes that name an old version.
    pub histories: HashMap<String, History>,
    /// When loading began. Whatever was due by then is loaded for the commands that need it.
    pub opened_at: Option<Timestamp>,
    /// The time that deadlines are compared with, if a command of this batch requested it.
    pub clock: Option<Timestamp>,
    /// Whether two loaded rows are hardly true at one time. The batch is loaded once more.
    ///
    /// A row that is missing cannot be locked. Another process may have made it, together with a row
    /// that was loaded later.
    pub is_torn: bool,
    /// Objects that are locked only as references.
    shared: HashMap<Kind, HashSet<String>>,
    systems: Vec<(TypeId, Box<dyn Tables>)>,
}

/// The tables of one system. The `tables!` macro implements it, so every table that a rule may
/// change can be rolled back.
pub trait Tables: Any + Debug + Send {
    /// Visits every table that a rule may change.
    fn each(&self, visit: &mut dyn FnMut(&dyn Reversible));
    /// Visits every table that a rule may change, mutably and in the same order.
    fn each_mut(&mut self, visit: &mut dyn FnMut(&mut dyn Reversible));
    /// The objects of a kind, if the kind belongs to this system.
    fn objects(&self, kind: Kind) -> Option<&dyn Objects>;
}

/// The object that has a unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHolder {
    /// The object's id.
    pub id: String,
}

impl Guarded for CodeHolder {
    fn guard(&self) -> i64 {
        0
    }
}

/// The ids of the objects that refer to an object in the database. If many do, only some are
/// loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use(pub BTreeSet<String>);

impl Guarded for Use {
    fn guard(&self) -> i64 {
        0
    }
}

/// A point to roll back to: the number of changes that each table had.
#[derive(Debug)]
pub(crate) struct Checkpoint(Vec<usize>);

impl State {
    /// Creates an empty state with the tables of these systems.
    pub(crate) fn with(systems: Vec<Box<dyn Tables>>) -> Self {
        let typed = |tables: Box<dyn Tables>| {
            let of: &dyn Any = &*tables;
            (of.type_id(), tables)
        };
        Self {
            answers: Table::default(),
            in_use: Table::default(),
            events: Vec::new(),
            audits: Vec::new(),
            redactions: Vec::new(),
            owners: HashMap::default(),
            histories: HashMap::default(),
            opened_at: None,
            clock: None,
            is_torn: false,
            shared: HashMap::default(),
            systems: systems.into_iter().map(typed).collect(),
        }
    }

    /// The tables of a system.
    pub(crate) fn system<S: Tables>(&self) -> &S {
        let of = TypeId::of::<S>();
        let found = self.systems.iter().find(|(id, _)| *id == of);
        let tables = found.and_then(|(_, tables)| {
            let tables: &dyn Any = &**tables;
            tables.downcast_ref()
        });
        tables.expect("every system's tables are in `systems.rs`")
    }

    /// The tables of a system, mutable.
    pub(crate) fn system_mut<S: Tables>(&mut self) -> &mut S {
        let of = TypeId::of::<S>();
        let found = self.systems.iter_mut().find(|(id, _)| *id == of);
        let tables = found.and_then(|(_, tables)| {
            let tables: &mut dyn Any = &mut **tables;
            tables.downcast_mut()
        });
        tables.expect("every system's tables are in `systems.rs`")
    }

    /// Visits every table that a rule may change.
    fn each(&self, visit: &mut dyn FnMut(&dyn Reversible)) {
        visit(&self.answers);
        visit(&self.in_use);
        visit(&self.events);
        visit(&self.audits);
        visit(&self.redactions);
        for (_, tables) in &self.systems {
            tables.each(visit);
        }
    }

    /// Visits every table that a rule may change, mutably and in the order of [`each`](Self::each).
    fn each_mut(&mut self, visit: &mut dyn FnMut(&mut dyn Reversible)) {
        visit(&mut self.answers);
        visit(&mut self.in_use);
        visit(&mut self.events);
        visit(&mut self.audits);
        visit(&mut self.redactions);
        for (_, tables) in &mut self.systems {
            tables.each_mut(visit);
        }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let mut points = Vec::with_capacity(48);
        self.each(&mut |table| points.push(table.checkpoint()));
        Checkpoint(points)
    }

    pub(crate) fn rollback(&mut self, checkpoint: &Checkpoint) {
        let mut points = checkpoint.0.iter().copied();
        self.each_mut(&mut |table| {
            table.rollback(points.next().expect("a checkpoint has a point for each table"));
        });
    }

    /// Runs `attempt` and rolls the state back if it fails or panics.
    ///
    /// A panic continues after the rollback, so the caller can handle it.
    pub fn attempt<T, E>(
        &mut self,
        attempt: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let checkpoint = self.checkpoint();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(&mut *self)));
        match outcome {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(refused)) => {
                self.rollback(&checkpoint);
                Err(refused)
            }
            Err(panic) => {
                self.rollback(&checkpoint);
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// Stores the kept answer of an accepted command.
    pub fn remember(&mut self, key: &IdempotencyKey, answer: KeptAnswer) {
        self.answers.put((key.owner.as_str().to_owned(), key.key.clone()), answer);
    }

    /// Whether there is anything to save.
    pub fn is_changed(&self) -> bool {
        let mut is_changed = false;
        self.each(&mut |table| is_changed |= table.is_changed());
        is_changed
    }

    /// The number of changes so far, apart from kept answers.
    pub fn effects(&self) -> usize {
        let mut changes = self.events.checkpoint();
        for (_, tables) in &self.systems {
            tables.each(&mut |table| changes = changes.saturating_add(table.checkpoint()));
        }
        changes
    }

    /// The kept answers that this batch adds, by API key and Idempotency-Key.
    pub fn new_answers(&self) -> impl Iterator<Item = (&(String, String), &KeptAnswer)> {
        self.answers.new_rows()
    }

    /// The kept answer for this key, whatever the fingerprint of its request.
    pub(crate) fn recall(&self, key: &IdempotencyKey) -> Option<KeptAnswer> {
        let kept = self.answers.get(&(key.owner.as_str().to_owned(), key.key.clone()))?;
        let mut answer = kept.clone();
        // What this batch redacts is rewritten after its commit.
        for redaction in &self.redactions {
            if let Ok(mut body) = serde_json::from_str(&answer.body)
                && redaction.redact_within(&mut body)
            {
                answer.body = body.to_string();
            }
        }
        Some(answer)
    }

    fn objects(&self, kind: Kind) -> Option<&dyn Objects> {
        self.systems.iter().find_map(|(_, tables)| tables.objects(kind))
    }

    /// Whether the database was already asked for the object; it need not exist.
    pub fn is_object_loaded(&self, kind: Kind, id: &str) -> bool {
        // A kind that belongs to no system has no objects to load.
        self.objects(kind).is_none_or(|objects| objects.is_loaded(id))
    }

    /// The version at which the object was loaded.
    pub(crate) fn loaded_version(&self, kind: Kind, id: &str) -> Option<Version> {
        self.objects(kind)?.loaded_version(id)
    }

    /// What an object hangs on.
    pub(crate) fn hangs_on(&self, kind: Kind, id: &str) -> HangsOn {
        self.objects(kind).map_or(HangsOn::Nothing, |objects| objects.hangs_on(id, self))
    }

    /// Records that an object is locked only as a reference.
    pub fn share(&mut self, kind: Kind, id: String) {
        self.shared.entry(kind).or_default().insert(id);
    }

    /// Records that an object is no longer locked only as a reference.
    pub fn unshare(&mut self, kind: Kind, id: &str) {
        if let Some(ids) = self.shared.get_mut(&kind) {
            ids.remove(id);
        }
    }

    /// Whether an object is locked only as a reference.
    ///
    /// Changing it needs an exclusive row lock. Do not upgrade the existing lock: two writers that
    /// both upgrade would deadlock.
    pub fn is_shared(&self, kind: Kind, id: &str) -> bool {
        self.shared.get(&kind).is_some_and(|ids| ids.contains(id))
    }

    /// Whether the object was loaded and locked exclusively. It need not exist.
    pub(crate) fn is_locked(&self, kind: Kind, id: &str) -> bool {
        self.is_object_loaded(kind, id) && !self.is_shared(kind, id)
    }

    /// Whether an object that is not loaded refers to this one.
    ///
    /// Loaded referrers do not count here: this batch may have deleted or moved them, so their rows
    /// must be checked.
    pub(crate) fn is_used_elsewhere(&self, id: &str) -> bool {
        // The id's own kind must be used; under another kind, the object may be loaded as absent.
        let is_loaded =
            |user: &String| Kind::of_id(user).is_some_and(|kind| self.is_object_loaded(kind, user));
        self.in_use.get(id).is_some_and(|users| !users.0.iter().all(is_loaded))
    }
}
