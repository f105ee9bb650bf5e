//! Old versions are pruned, and everything that is kept stays as it was.

use crate::{
    book::Book,
    commands::{at, command, create, delete, patch},
    database::{Database, both_databases, execute, texts},
    lane::{carry_out, read},
};
use ifmatch_domain::{Need, Outcome, core};
use ifmatch_store::{Db, PrunedHistory};
use ifmatch_types::{Kind, Timestamp, Version};
use serde_json::{Map, Value, json};

/// Version `n` of each object is made on day `n` of January.
fn day(n: i64) -> Timestamp {
    at(&format!("2027-01-{n:02}T00:00:00Z"))
}

fn run(db: &mut Db, book: &mut Book, now: Timestamp, action: ifmatch_domain::Action) -> Outcome {
    carry_out(db, &[command(book.fresh_seed(), action)], now).remove(0).unwrap()
}

/// An object with a version for each of some days.
fn object(db: &mut Db, book: &mut Book, days: i64, padding: usize) -> (String, Vec<String>) {
    let metadata: Map<String, Value> =
        (0..20).map(|n| (format!("k{n}"), json!("x".repeat(padding)))).collect();
    let body = json!({"name": "n", "metadata": metadata});
    let mut texts = Vec::new();
    let mut id = String::new();
    for n in 1..=days {
        let action = match n {
            1 => create(Kind::Workspace, body.clone()),
            _ => patch(Kind::Workspace, &id, n - 1, json!({"name": format!("n{n}")})),
        };
        match run(db, book, day(n), action) {
            Outcome::Core(core::Outcome::Object(object)) => {
                id.clone_from(&object.id);
                texts.push(object.body.text().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
    (id, texts)
}

fn prune_all(db: &mut Db, before: Timestamp) -> usize {
    let (mut after, mut all) = (0, 0);
    loop {
        let PrunedHistory { reached, versions } = db.prune_history(before, after).unwrap();
        all += versions;
        match reached {
            Some(reached) => after = reached,
            None => return all,
        }
    }
}

fn kept(db: &mut Db, id: &str) -> Vec<Version> {
    let history = db.history(id, None, false, i64::MAX).unwrap();
    history.iter().map(|entry| entry.version).collect()
}

fn versions_go_when_the_next_one_is_old(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (small, small_texts) = object(&mut db, &mut book, 20, 1);
    let (large, large_texts) = object(&mut db, &mut book, 20, 200);
    let (single, _) = object(&mut db, &mut book, 1, 200);
    let (gone, _) = object(&mut db, &mut book, 3, 200);
    run(&mut db, &mut book, day(4), delete(Kind::Workspace, &gone, 3));
    let places = "SELECT max(seq) || '' AS found FROM events";
    let newest = texts(&mut db, places);

    // Version 9 was replaced on day 10, which is old. Version 10 was the current one after that.
    assert_eq!(prune_all(&mut db, at("2027-01-10T00:00:01Z")), 9 + 9 + 3);
    for (id, texts) in [(&small, &small_texts), (&large, &large_texts)] {
        assert_eq!(kept(&mut db, id), (10..=20).collect::<Vec<_>>());
        for version in 1..=20 {
            let found = db.snapshot(id, version).unwrap().map(|(_, state)| state.to_string());
            let text = &texts[usize::try_from(version).unwrap() - 1];
            assert_eq!(found.as_ref(), (version >= 10).then_some(text), "version {version}");
        }
    }
    assert_eq!(kept(&mut db, &single), [1], "the newest version stays");
    assert_eq!(kept(&mut db, &gone), [4], "and so does a deletion");
    assert_eq!(db.verify().unwrap(), []);
    assert_eq!(texts(&mut db, places), newest, "places of events stay");
    assert_eq!(prune_all(&mut db, at("2027-01-10T00:00:01Z")), 0, "nothing twice");

    // A write that names a pruned version learns that its base is unknown.
    let needs = [3, 12].map(|version| Need::Core(core::Need::History(large.clone(), version)));
    let history = read(&mut db, needs.to_vec()).histories.remove(&large).unwrap();
    assert_eq!(history.bases.keys().copied().collect::<Vec<_>>(), [12]);
    assert_eq!(
        (history.bases[&12].text().to_owned(), history.since),
        (large_texts[11].clone(), 10)
    );

    // The chain goes on from the oldest that is kept.
    run(&mut db, &mut book, day(21), patch(Kind::Workspace, &large, 20, json!({"name": "z"})));
    assert_eq!(prune_all(&mut db, at("2027-02-01T00:00:00Z")), 10 + 11);
    assert_eq!((kept(&mut db, &small), kept(&mut db, &large)), (vec![20], vec![21]));
    assert_eq!(db.verify().unwrap(), []);
}

fn many_old_versions_go_bit_by_bit(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    for _ in 0..30 {
        object(&mut db, &mut book, 20, 1);
    }
    let first = db.prune_history(at("2027-01-31T00:00:00Z"), 0).unwrap();
    assert!(first.reached.is_some() && first.versions < 30 * 19, "{first:?}");
    let rest = prune_all(&mut db, at("2027-01-31T00:00:00Z"));
    assert_eq!(first.versions + rest, 30 * 19);
}

fn a_history_whose_first_version_lost_its_state_is_found(database: &Database) {
    let mut db = database.lane();
    let (id, _) = object(&mut db, &mut Book::default(), 4, 200);
    execute(&mut db, "DELETE FROM events WHERE version < 3");
    let broken = db.verify().unwrap();
    assert!(broken.iter().all(|broken| broken.id == id));
    let found: Vec<&str> = broken.iter().map(|broken| broken.invariant).collect();
    let expected = [
        "an object's history has one entry per version, without a gap",
        "the oldest version of an object's history holds its state",
        "an object is what the last entry of its history says",
    ];
    assert_eq!(found, expected);
}

both_databases![
    versions_go_when_the_next_one_is_old,
    many_old_versions_go_bit_by_bit,
    a_history_whose_first_version_lost_its_state_is_found,
];
