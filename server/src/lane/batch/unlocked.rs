//! Batches without locks: what is tried first on PostgreSQL.
//!
//! Many commands depend on one row only: an update, a merge, a preview, a transfer of credits. They
//! are decided from a row that was read without a lock, and saved by one statement that fails if the
//! row has changed since. The batch is then run again with locks. That saves two round trips: to begin
//! and to commit.

use super::{Decided, Ended, Job, Lane, Rows, Run};
use crate::metrics;
use ifmatch_domain::{
    Need, State,
    core::{self, Unlocked},
    needs,
};
use ifmatch_store::{Db, Stamps, StoreError};
use ifmatch_types::Timestamp;
use std::{collections::BTreeSet, iter, time::Instant};

/// Batches that are run with locks after a row was changed by another process meanwhile.
///
/// Another process works on the same objects. Waiting for its locks is cheaper than deciding twice.
const LOCKED_AFTER_A_RACE: u32 = 100;
/// Batches that are run with locks after one needed more than its rows, or repeated a request.
const LOCKED_AFTER_A_NEED: u32 = 8;

/// How many of the next batches are run with locks without trying it otherwise.
#[derive(Debug, Default)]
pub(super) struct Caution(u32);

impl Caution {
    /// Whether the next batch may be tried without locks.
    fn allows(&mut self) -> bool {
        let allows = self.0 == 0;
        self.0 = self.0.saturating_sub(1);
        allows
    }
}

/// A batch that was loaded without locks.
struct Read {
    state: State,
    rows: Rows,
    stamps: Stamps,
    /// Idempotency-Keys that are taken to be new, without having looked.
    keys: BTreeSet<Need>,
}

impl Lane {
    /// Runs a batch without locks. `None` if it must be run with locks; nothing was written then.
    pub(super) fn run_unlocked(&mut self, batch: &[Job], run: &Run<'_>) -> Option<Ended> {
        // A run with locks connects first, if that is needed.
        let can = matches!(run, Run::Together)
            && self.db.as_ref().is_some_and(Db::can_save_unlocked)
            && self.caution.allows();
        if !can {
            return None;
        }
        let started_at = Instant::now();
        let read = match self.read_unlocked(batch) {
            Ok(read) => read?,
            Err(error) => return self.prefer_locks(&error),
        };
        let Read { mut state, rows, stamps, keys } = read;
        let now = Timestamp::now();
        let mut keeps_unguarded = false;
        let mut decide = |job: &Job| {
            let effects = state.effects();
            let decided = self.decide(job, &mut state, now);
            let has_changed = state.effects() > effects;
            keeps_unguarded |= job.command.idempotency.is_some() && decided.is_ok() && !has_changed;
            decided
        };
        let decided: Decided = batch.iter().map(&mut decide).collect();
        // An answer that tells of no change is kept, too. Nothing would guard it: its row may be
        // changed, or even redacted, before the answer is stored.
        if keeps_unguarded && state.is_changed() {
            return None;
        }
        match self.was_used(keys, &state) {
            Ok(false) => {}
            Ok(true) => return None,
            Err(error) => return self.prefer_locks(&error),
        }
        if !state.is_changed() {
            return Some(Ended::Decided(decided));
        }
        let saved = self.connection().and_then(|db| db.save_unlocked(&state, now, stamps));
        match saved {
            Ok(true) => {
                self.note_commit(state, batch.len(), started_at);
                Some(Ended::Decided(decided))
            }
            Ok(false) => {
                self.caution = Caution(LOCKED_AFTER_A_NEED);
                None
            }
            Err(error) if error.is_gone() => {
                Some(Ended::uncommitted(decided, Some(rows), &state, now, error))
            }
            Err(error) => self.prefer_locks(&error),
        }
    }

    /// Loads a batch without locks. `None` if a command depends on more than one row.
    fn read_unlocked(&mut self, batch: &[Job]) -> Result<Option<Read>, StoreError> {
        let mut state = State::under(self.settings, Timestamp::now());
        let mut wanted = wanted_by_each(batch, &state);
        let constants: BTreeSet<Need> =
            wanted.iter().flatten().filter(is_constant).cloned().collect();
        if !constants.is_empty() {
            self.connection()?.peek(constants, &mut state)?;
            wanted = wanted_by_each(batch, &state);
        }
        let Some(rows) = Rows::of(&wanted) else { return Ok(None) };
        let Some(stamps) = self.connection()?.read_unlocked(rows.class, &rows.ids, &mut state)?
        else {
            return Ok(None);
        };
        // No command joins now: it may know of a write that came after this read, and nothing guards
        // an answer that tells of no change.
        //
        let mut keys = BTreeSet::new();
        for _ in 0..3 {
            let wanted = needs(batch.iter().map(|job| &job.command), &state);
            if wanted.is_empty() {
                return Ok(Some(Read { state, rows, stamps, keys }));
            }
            let mut wanted = self.recall(wanted.into_iter().collect(), &mut state);
            for key in wanted.extract_if(.., |need| need.unlocked() == Unlocked::Key) {
                take_as_new(&key, &mut state);
                keys.insert(key);
            }
            if wanted.is_empty() {
                continue;
            }
            if wanted.iter().any(|need| need.unlocked() != Unlocked::Dependent) {
                break;
            }
            self.connection()?.peek(wanted, &mut state)?;
        }
        self.caution = Caution(LOCKED_AFTER_A_NEED);
        Ok(None)
    }

    /// Whether one of these keys was used before that the batch does not save, and so does not take.
    ///
    /// They are looked up after the rows were read. A repeat that was decided without its first answer
    /// has either read a row that is older than its first effect, or finds that answer here.
    fn was_used(&mut self, mut keys: BTreeSet<Need>, state: &State) -> Result<bool, StoreError> {
        keys.retain(|key| !is_used(key, state));
        if keys.is_empty() {
            return Ok(false);
        }
        let mut found = State::under(self.settings, Timestamp::now());
        self.connection()?.peek(keys.iter().cloned(), &mut found)?;
        Ok(keys.iter().any(|key| is_used(key, &found)))
    }

    /// Has this batch and the next ones run with locks.
    fn prefer_locks(&mut self, error: &StoreError) -> Option<Ended> {
        if error.is_transient() {
            metrics::batch_rerun("unlocked");
            let repeats = error.is_repeat();
            self.caution = Caution(if repeats { LOCKED_AFTER_A_NEED } else { LOCKED_AFTER_A_RACE });
        }
        if !error.spares_connection() {
            self.db = None;
        }
        None
    }
}

/// What each command of a batch needs next.
fn wanted_by_each(batch: &[Job], state: &State) -> Vec<Vec<Need>> {
    batch.iter().map(|job| needs(iter::once(&job.command), state)).collect()
}

/// Whether a need is no row of its own: it changes only with the row, or is taken by the save.
fn follows(need: &Need) -> bool {
    matches!(need.unlocked(), Unlocked::Dependent | Unlocked::Key)
}

fn is_constant(need: &&Need) -> bool {
    need.unlocked() == Unlocked::Constant
}

/// Takes an Idempotency-Key as unused.
fn take_as_new(key: &Need, state: &mut State) {
    if let Need::Core(core::Need::Answer(owner, key)) = key {
        state.answers.load((owner.clone(), key.clone()), None);
    }
}

/// Whether there is an answer for an Idempotency-Key.
fn is_used(key: &Need, state: &State) -> bool {
    match key {
        Need::Core(core::Need::Answer(owner, key)) => {
            state.answers.get(&(owner.clone(), key.clone())).is_some()
        }
        _ => false,
    }
}

impl Rows {
    /// The rows that these commands depend on: each on one, all of one class.
    ///
    /// Rows of several classes would have to be saved in the order of their locks.
    fn of(wanted: &[Vec<Need>]) -> Option<Self> {
        let mut rows: Option<Self> = None;
        for needs in wanted {
            let mut others = needs.iter().filter(|need| !follows(need));
            let (Some(row), None) = (others.next(), others.next()) else { return None };
            let (class, id) = row.lock().filter(|_| row.unlocked() == Unlocked::Row)?;
            let rows = rows.get_or_insert_with(|| Self { class, ids: BTreeSet::new() });
            if rows.class != class {
                return None;
            }
            rows.ids.insert(id.to_owned());
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ifmatch_domain::ledger;
    use ifmatch_types::Kind;

    fn account(id: &str) -> Need {
        Need::Ledger(ledger::Need::Account(id.to_owned()))
    }

    fn object(id: &str) -> Need {
        Need::Core(core::Need::Object(Kind::Subscription, id.to_owned()))
    }

    fn answer() -> Need {
        Need::Core(core::Need::Answer("key_1".to_owned(), "k".to_owned()))
    }

    fn ids_of(wanted: &[Vec<Need>]) -> Option<Vec<String>> {
        Rows::of(wanted).map(|rows| rows.ids.into_iter().collect())
    }

    #[test]
    fn commands_with_one_row_each_of_one_class_need_no_locks() {
        let two = [vec![account("b"), answer()], vec![account("a")], vec![account("b")]];
        assert_eq!(ids_of(&two), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(ids_of(&[vec![object("a")]]), Some(vec!["a".to_owned()]));
    }

    #[test]
    fn commands_that_need_more_are_run_with_locks() {
        let clock = Need::Core(core::Need::Clock);
        let balances = Need::Ledger(ledger::Need::Balances("w".to_owned()));
        for wanted in [
            vec![vec![account("a"), account("b")]],
            vec![vec![account("a")], vec![object("a")]],
            vec![vec![account("a"), clock]],
            vec![vec![balances]],
            vec![vec![account("a")], vec![answer()]],
            vec![],
        ] {
            assert_eq!(ids_of(&wanted), None, "{wanted:?}");
        }
    }
}
