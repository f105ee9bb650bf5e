//! The lane's steps, on a connection.

use crate::{
    book::Book,
    world::{Decided, decide_one},
};
use ifmatch_domain::{Command, Need, Settings, State, core, needs};
use ifmatch_store::{Db, StoreError};
use ifmatch_types::{PanelKind, SubscriptionId, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;

/// Loads what commands need, in the lane's turns.
pub fn load(db: &mut Db, batch: &[Command]) -> State {
    load_at(db, batch, Book::default().now)
}

/// Like [`load`], with a fixed clock.
fn load_at(db: &mut Db, batch: &[Command], now: Timestamp) -> State {
    let mut state = State::under(Settings { panel: Some(PanelKind::Pterodactyl) }, now);
    loop {
        let mut wanted: BTreeSet<Need> = needs(batch, &state).into_iter().collect();
        if wanted.is_empty() {
            return state;
        }
        let turn = wanted.iter().map(Need::turn).min();
        wanted.retain(|need| Some(need.turn()) == turn);
        if wanted.remove(&Need::Core(core::Need::Clock)) {
            state.clock = Some(now);
        }
        db.load(wanted, &mut state).unwrap();
    }
}

/// Carries out a batch in one commit.
pub fn carry_out(db: &mut Db, batch: &[Command], now: Timestamp) -> Vec<Decided> {
    db.begin().unwrap();
    let mut state = load_at(db, batch, now);
    let decided = batch.iter().map(|command| decide_one(&mut state, command, now)).collect();
    db.save(&state, now).unwrap();
    db.commit().unwrap();
    decided
}

/// Saves what a closure puts into an empty state, in one commit.
pub fn save(db: &mut Db, put: impl FnOnce(&mut State)) -> Result<(), StoreError> {
    let mut state = State::default();
    put(&mut state);
    db.begin()?;
    let saved = db.save(&state, Book::default().now);
    match saved {
        Ok(()) => db.commit(),
        Err(error) => {
            db.rollback()?;
            Err(error)
        }
    }
}

/// Loads needs in a transaction of their own.
pub fn read(db: &mut Db, wanted: Vec<Need>) -> State {
    read_into(State::default(), db, wanted)
}

/// Adds needs to what is loaded, in a transaction of their own.
pub fn read_into(mut state: State, db: &mut Db, wanted: Vec<Need>) -> State {
    db.begin().unwrap();
    db.load(wanted, &mut state).unwrap();
    db.rollback().unwrap();
    state
}

/// A state that holds subscriptions with these ids, whose terms and charges may then be asked for.
pub fn knowing_subscriptions(ids: impl IntoIterator<Item = String>) -> State {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let one = book.subscription(&workspace, &plan, json!({}));
    let mut state = State::default();
    for id in ids {
        let mut row = book.world.subscriptions[&one].clone();
        row.record.subscription.id = SubscriptionId::from_unchecked(id.clone());
        state.billing_mut().subscriptions.load(id, Some(row));
    }
    state
}
