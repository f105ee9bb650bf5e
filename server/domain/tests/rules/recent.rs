//! What is remembered of contended objects explains stale writes as the stored past does.

use crate::{
    book::Book,
    commands::{command, delete, merging, patch, redact},
    random::few,
    world::{World, decide_one},
};
use ifmatch_domain::core::Recent;
use ifmatch_types::{Kind, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use std::mem::take;

/// A write of one of two objects, from a version that is so far behind.
#[derive(Clone, Debug)]
enum Write {
    Merge(usize, i64, u8),
    Refused(usize, i64),
    Delete(usize, i64),
    Redact(usize),
}

fn write() -> impl Strategy<Value = Write> {
    let (object, behind) = (0..2usize, 0i64..12);
    prop_oneof![
        8 => (object.clone(), behind.clone(), 0u8..4).prop_map(|(o, b, k)| Write::Merge(o, b, k)),
        4 => (object.clone(), behind.clone()).prop_map(|(o, b)| Write::Refused(o, b)),
        1 => (object.clone(), 1i64..12).prop_map(|(o, b)| Write::Delete(o, b)),
        1 => object.prop_map(Write::Redact),
    ]
}

/// How a batch is decided: by whom, and whether another process wrote before.
#[derive(Clone, Debug)]
struct Batch {
    writes: Vec<Write>,
    other: Option<usize>,
    is_reconnected: bool,
}

fn batch() -> impl Strategy<Value = Batch> {
    let (other, again) = (prop::option::weighted(0.2, 0..2usize), prop::bool::weighted(0.05));
    (vec(write(), 1..8), other, again).prop_map(|(writes, other, is_reconnected)| Batch {
        writes,
        other,
        is_reconnected,
    })
}

/// Decides a batch with what is remembered. Returns how many versions were.
fn remembering(
    recent: &mut Recent,
    world: &mut World,
    batch: &[ifmatch_domain::Command],
    now: Timestamp,
) -> (Vec<crate::world::Decided>, usize) {
    let mut state = world.load(batch, now);
    let stored = take(&mut state.histories);
    let asked = stored
        .iter()
        .flat_map(|(id, history)| history.asked.iter().map(move |version| (id.clone(), *version)));
    let asked: std::collections::BTreeSet<_> = asked.collect();
    let unknown = recent.recall(asked.clone(), &mut state);
    for (id, _) in &unknown {
        let mut history = stored[id].clone();
        if let Some(before) = state.histories.remove(id) {
            history.merge(before);
        }
        state.histories.insert(id.clone(), history);
    }
    let decided = batch.iter().map(|command| decide_one(&mut state, command, now)).collect();
    world.save(&state);
    recent.keep(&state);
    (decided, asked.len() - unknown.len())
}

fn live(batches: &[Batch]) -> usize {
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let ids = [0, 1].map(|_| book.subscription(&workspace, &plan, json!({"notes": "n"})));
    let (mut recent, mut remembered) = (Recent::default(), 0);
    for Batch { writes, other, is_reconnected } in batches {
        if let Some(other) = other {
            let quantity = book.version(&ids[*other]) % 100 + 2;
            let _ = book.edit(&ids[*other], json!({ "quantity": quantity }));
        }
        if *is_reconnected {
            recent.clear();
        }
        let version = |object: usize, behind: i64| (book.version(&ids[object]) - behind).max(1);
        let actions: Vec<_> = writes
            .iter()
            .map(|write| match write {
                Write::Merge(object, behind, key) => {
                    let body = json!({"metadata": {format!("k{key}"): behind.to_string()}});
                    let (id, version) = (&ids[*object], version(*object, *behind));
                    merging(patch(Kind::Subscription, id, version, body))
                }
                Write::Refused(object, behind) => {
                    let body = json!({"quantity": behind + 1});
                    let (id, version) = (&ids[*object], version(*object, *behind));
                    patch(Kind::Subscription, id, version, body)
                }
                Write::Delete(object, behind) => {
                    delete(Kind::Subscription, &ids[*object], version(*object, *behind))
                }
                Write::Redact(object) => {
                    redact(Kind::Subscription, &ids[*object], version(*object, 0), &["/notes"])
                }
            })
            .collect();
        let commands: Vec<_> =
            actions.into_iter().map(|action| command(book.fresh_seed(), action)).collect();
        let mut world = book.world.clone();
        let expected = world.carry_out(&commands, book.now);
        let (decided, known) = remembering(&mut recent, &mut book.world, &commands, book.now);
        assert_eq!(decided, expected);
        assert_eq!(book.world, world);
        remembered += known;
    }
    remembered
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn a_stale_write_is_decided_as_if_its_past_had_been_read(batches in vec(batch(), 1..16)) {
        live(&batches);
    }
}

#[test]
fn most_of_what_many_writers_need_is_remembered() {
    let merges = |n| (0..6).map(|key| Write::Merge(0, n + i64::from(key), key % 4)).collect();
    let batch = |n: i64| Batch { writes: merges(n % 5), other: None, is_reconnected: false };
    let remembered = live(&(1..20).map(batch).collect::<Vec<_>>());
    assert!(remembered > 50, "{remembered}");
}
