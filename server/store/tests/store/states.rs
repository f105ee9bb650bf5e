//! Large objects store their changes; every old version is still what it was.

use crate::{
    book::Book,
    commands::{command, create, delete, patch},
    database::{Database, both_databases, execute, texts},
    lane::{carry_out, read},
};
use ifmatch_domain::{Need, Outcome, core};
use ifmatch_store::{Db, EventsQuery};
use ifmatch_types::{ChangeKind, Kind};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};

/// One random edit: which field, and with what.
type Edit = (u8, u8, u16);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    vec((0u8..8, 0u8..40, any::<u16>()), 90)
}

/// A body of more than a kilobyte.
fn large(kind: Kind, workspace: &str) -> Value {
    let metadata: Map<String, Value> = (0..30)
        .map(|n| (format!("k{n:02}"), json!(format!("{n} {}", "é\"/~".repeat(12)))))
        .collect();
    match kind {
        Kind::Workspace => json!({"name": "w", "email": "a@b.example", "metadata": metadata}),
        Kind::Plan => json!({"code": "p", "name": "p", "currency": "USD", "amount": 5,
            "interval": "month", "metadata": metadata}),
        Kind::Invoice => json!({"workspace_id": workspace, "currency": "USD",
            "lines": [{"description": "one", "quantity": 1, "unit_amount": 2}],
            "metadata": metadata}),
        _ => json!({"name": "b", "capacity": 5, "metadata": metadata}),
    }
}

fn edit(kind: Kind, (field, key, value): Edit) -> Value {
    let text = || Value::from(format!("{value} ü"));
    let name = if kind == Kind::Invoice { "notes" } else { "name" };
    match (field, kind) {
        (0..=2, _) => json!({"metadata": {format!("k{key:02}"): text()}}),
        (3, _) => json!({"metadata": {format!("k{key:02}"): null}}),
        (4, _) => json!({"metadata": {format!("a/{}~", key % 8): text(), "b": text()}}),
        (5, Kind::Workspace) => json!({"email": null}),
        (5, Kind::Invoice) => json!({"lines": [{"description": format!("d{value}"),
            "quantity": key + 1, "unit_amount": 1}], "due_at": null}),
        (6, Kind::Workspace) => json!({"email": format!("x{value}@b.example")}),
        (6, Kind::Invoice) => json!({"due_at": "2027-05-01T00:00:00Z"}),
        _ => json!({name: text()}),
    }
}

fn only(
    db: &mut Db,
    book: &Book,
    seed: u128,
    action: ifmatch_domain::Action,
) -> core::ObjectAnswer {
    match carry_out(db, &[command(seed, action)], book.now).remove(0).unwrap() {
        Outcome::Core(core::Outcome::Object(object)) => object,
        other => panic!("{other:?}"),
    }
}

/// Edits an object and asserts that each version is read as it was written.
fn walk(db: &mut Db, book: &mut Book, kind: Kind, workspace: &str, edits: Vec<Edit>) {
    let seed = book.fresh_seed();
    let made = only(db, book, seed, create(kind, large(kind, workspace)));
    let mut texts = vec![made.body.text().to_owned()];
    for one in edits {
        let at = i64::try_from(texts.len()).unwrap();
        let seed = book.fresh_seed();
        let next = only(db, book, seed, patch(kind, &made.id, at, edit(kind, one)));
        if next.version > at {
            texts.push(next.body.text().to_owned());
        }
    }
    assert!(texts.len() > 65, "some versions are far from a full state");
    for (before, text) in texts.iter().enumerate() {
        let version = i64::try_from(before).unwrap() + 1;
        let (_, state) = db.snapshot(&made.id, version).unwrap().unwrap();
        assert_eq!(&state.to_string(), text, "{kind} at version {version}");
    }
    let named = |version| Need::Core(core::Need::History(made.id.clone(), version));
    let all = (1..=i64::try_from(texts.len()).unwrap()).map(named).collect();
    let history = read(db, all).histories.remove(&made.id).unwrap();
    for (version, base) in history.bases {
        assert_eq!(base.to_string(), texts[usize::try_from(version).unwrap() - 1]);
    }
    let query = EventsQuery { until: i64::MAX, limit: i64::MAX, ..EventsQuery::default() };
    let events = db.events(&query).unwrap();
    let states: Vec<String> = events
        .events
        .iter()
        .filter(|event| event.resource.id == made.id)
        .map(|event| event.state.to_string())
        .collect();
    assert_eq!(states, texts, "the event stream shows each state");
}

fn every_version_is_what_was_stored(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let seed = book.fresh_seed();
    let workspace = only(&mut db, &book, seed, create(Kind::Workspace, json!({"name": "one"})));
    let mut runner = TestRunner::deterministic();
    for kind in [Kind::Workspace, Kind::Plan, Kind::Invoice, Kind::Bookable] {
        let edits = edits().new_tree(&mut runner).unwrap().current();
        walk(&mut db, &mut book, kind, &workspace.id, edits);
    }
    assert_eq!(db.verify().unwrap(), []);
    let empty = "SELECT count(*) || '' AS found FROM events WHERE state = ''";
    let empty: i64 = texts(&mut db, empty)[0].parse().unwrap();
    assert!(empty > 200, "most changes store no state: {empty}");
}

fn a_deleted_object_keeps_its_versions(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let mut seed = || book.fresh_seed();
    let (one, two, three) = (seed(), seed(), seed());
    let book = Book::default();
    let made = only(&mut db, &book, one, create(Kind::Plan, large(Kind::Plan, "")));
    let next = only(&mut db, &book, two, patch(Kind::Plan, &made.id, 1, json!({"name": "n"})));
    carry_out(&mut db, &[command(three, delete(Kind::Plan, &made.id, 2))], book.now);
    for (version, kind) in [(2, ChangeKind::Updated), (3, ChangeKind::Deleted)] {
        let (found, state) = db.snapshot(&made.id, version).unwrap().unwrap();
        assert_eq!((found, state.to_string().as_str()), (kind, next.body.text()));
    }
}

fn a_missing_link_is_told_and_nothing_is_made_up(database: &Database) {
    let mut db = database.lane();
    let book = Book::default();
    let made = only(&mut db, &book, 1 << 32, create(Kind::Plan, large(Kind::Plan, "")));
    for version in 1..=3 {
        let change = json!({"name": format!("n{version}")});
        let seed = u128::try_from(version + 1).unwrap() << 32;
        only(&mut db, &book, seed, patch(Kind::Plan, &made.id, version, change));
    }
    execute(&mut db, "DELETE FROM events WHERE version = 3");
    assert!(db.snapshot(&made.id, 2).unwrap().is_some());
    let error = db.snapshot(&made.id, 4).unwrap_err();
    assert!(error.to_string().contains("does not follow"), "{error}");
}

both_databases![
    every_version_is_what_was_stored,
    a_deleted_object_keeps_its_versions,
    a_missing_link_is_told_and_nothing_is_made_up,
];
