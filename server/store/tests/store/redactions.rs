//! A redaction leaves none of the values in any row, and everything else as it was.

use crate::{
    book::Book,
    commands::{at, command, create, delete, forcing, members, patch, redact},
    database::{Backend, Database, both_databases, execute, texts},
    lane::{carry_out, save},
};
use ifmatch_domain::{
    Action, Outcome,
    core::{self, KeptAnswer, ObjectAnswer},
    entitlement::{self, AssignPackage, CheckAndRecord, ScopeRef},
};
use ifmatch_store::{AuditQuery, Db, EventsQuery, schema::TABLES};
use ifmatch_types::{Event, Kind, REDACTED, Version};
use serde_json::{Map, Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// A part of every value that must not be left.
const CANARY: &str = "canary";

fn only(db: &mut Db, book: &mut Book, action: Action) -> ObjectAnswer {
    match carry_out(db, &[command(book.fresh_seed(), action)], book.now).remove(0).unwrap() {
        Outcome::Core(core::Outcome::Object(object)) => object,
        other => panic!("{other:?}"),
    }
}

fn run(db: &mut Db, book: &mut Book, action: Action) {
    carry_out(db, &[command(book.fresh_seed(), action)], book.now).remove(0).unwrap();
}

/// A workspace with this many versions and the canary in most of them. A large one stores few
/// states.
fn workspace(db: &mut Db, book: &mut Book, versions: Version, is_large: bool) -> String {
    let keys = if is_large { 40 } else { 1 };
    let mut metadata: Map<String, Value> =
        (0..keys).map(|n| (format!("k{n}"), json!("x".repeat(60)))).collect();
    metadata.insert("a/b".to_owned(), json!(format!("{CANARY} 0")));
    let body =
        json!({"name": CANARY, "email": format!("{CANARY}@b.example"), "metadata": metadata});
    let id = only(db, book, create(Kind::Workspace, body)).id;
    for version in 1..versions {
        let change = match version % 5 {
            0 => json!({"metadata": {"a/b": null}}),
            1 => json!({"metadata": {"a/b": format!("{CANARY} {version}")}}),
            2 => json!({"email": null}),
            3 => json!({"email": format!("{CANARY}{version}@b.example"), "metadata": {"k0": "y"}}),
            _ => json!({"name": format!("{CANARY} {version}"), "metadata": {"k0": "z"}}),
        };
        only(db, book, patch(Kind::Workspace, &id, version, change));
    }
    id
}

fn ask(id: &str, version: Version) -> Action {
    redact(Kind::Workspace, id, version, &["/name", "/email", "/metadata/a~1b"])
}

/// Every row of every table as text.
fn dump(db: &mut Db) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        let column = |name: &str| match db.is_sqlite() {
            true => format!("coalesce(\"{name}\", '')"),
            false => format!("coalesce(\"{name}\"::text, '')"),
        };
        let columns: Vec<String> = table.columns.iter().map(|(name, _)| column(name)).collect();
        let (table, columns) = (table.name, columns.join(" || ' ' || "));
        rows.extend(texts(db, &format!("SELECT '{table} ' || {columns} AS found FROM {table}")));
    }
    rows
}

#[track_caller]
fn assert_forgotten(db: &mut Db) {
    let left: Vec<String> = dump(db).into_iter().filter(|row| row.contains(CANARY)).collect();
    assert_eq!(left, [""; 0]);
}

/// Rewrites everything that is to be rewritten, each slice by a new process. Returns the slices.
fn finish(database: &Database) -> usize {
    let mut slices = 0;
    while let Some(id) = database.lane().unfinished_redactions(None).unwrap().first() {
        database.lane().redact_slice(id).unwrap();
        slices += 1;
        assert_eq!(database.lane().verify().unwrap(), [], "after {slices} slices");
        assert!(slices < 1_000, "it ends");
    }
    slices
}

fn events(db: &mut Db, id: &str) -> Vec<Event> {
    let query = EventsQuery { until: i64::MAX, limit: i64::MAX, ..EventsQuery::default() };
    let events = db.events(&query).unwrap().events;
    events.into_iter().filter(|event| event.resource.id == id).collect()
}

/// A value with every text that has the canary replaced, and an e-mail address removed.
fn expected(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains(CANARY) && text.contains('@') => Value::Null,
        Value::String(text) if text.contains(CANARY) => json!(REDACTED),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), expected(value))).collect()
        }
        Value::Array(items) => items.iter().map(expected).collect(),
        other => other.clone(),
    }
}

fn everything_but_the_values_stays_as_it_was(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    for is_large in [false, true] {
        let id = workspace(&mut db, &mut book, 450, is_large);
        let before = events(&mut db, &id);
        let answer = only(&mut db, &mut book, ask(&id, 450));
        assert_eq!(answer.version, 451);
        let slices = finish(database);
        assert!(slices > 5, "the history takes several slices: {slices}");
        assert_forgotten(&mut db);
        let mut after = events(&mut db, &id);
        assert_eq!(after.pop().unwrap().entry.version, 451);
        assert_eq!(after.len(), before.len());
        for (before, after) in before.iter().zip(&after) {
            let (mut before, after) = (expected(&json!(before)), json!(after));
            if before["kind"] == "created" {
                // A creation lists what it set. No address was set, as it is told now.
                let changes = before["changes"].as_array_mut().unwrap();
                changes.retain(|change| change["to"] != Value::Null);
            }
            assert_eq!(after, before, "the same place, the same paths");
            let version = after["version"].as_i64().unwrap();
            let (_, state) = db.snapshot(&id, version).unwrap().unwrap();
            assert_eq!(state, after["state"], "version {version}");
        }
    }
    assert_eq!(finish(database), 0);
}

fn answers_audits_and_logs_are_rewritten(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 3, false);
    run(&mut db, &mut book, create(Kind::Package, json!({"code": "base", "is_base": true})));
    let scope = ScopeRef::workspace(id.clone());
    let body = members(json!({"package": "base"}));
    let assign = AssignPackage { scope: scope.clone(), body };
    run(&mut db, &mut book, Action::Entitlement(entitlement::Action::AssignPackage(assign)));
    only(&mut db, &mut book, forcing(patch(Kind::Workspace, &id, 1, json!({"name": "canary f"}))));
    let state = json!({"id": id, "version": 3, "name": CANARY, "metadata": {"a/b": CANARY}});
    let answer = |body: &Value| KeptAnswer {
        fingerprint: "print".into(),
        status: 200,
        headers: vec![],
        body: body.to_string(),
    };
    let transaction = json!({"results": [{"type": "workspace", "id": id, "version": 3,
        "body": state, "changed": true}]});
    save(&mut db, |batch| {
        for n in 0..2_500 {
            let mut put = |key: String, body| batch.answers.put(("key_a".to_owned(), key), body);
            put(format!("other {n}").replace(' ', "_"), answer(&json!({"id": "wsp_x"})));
            if n % 500 == 0 {
                put(format!("state_{n}"), answer(&state));
                put(format!("transaction_{n}"), answer(&transaction));
            }
        }
    })
    .unwrap();
    let line = format!(
        "UPDATE entitlement_log SET details = '{{\"metadata\":{{\"a/b\":\"{CANARY}\",\"k\":\"kept\"}}}}'"
    );
    execute(&mut db, &line);
    only(&mut db, &mut book, ask(&id, 4));
    finish(database);
    assert_forgotten(&mut db);
    assert_eq!(
        texts(&mut db, "SELECT details AS found FROM entitlement_log"),
        [format!("{{\"metadata\":{{\"a/b\":\"{REDACTED}\",\"k\":\"kept\"}}}}")]
    );
    let kept = db.answer("key_a", "transaction_500").unwrap().unwrap();
    assert_eq!(kept.body, transaction.to_string().replace(CANARY, REDACTED));
    let audits = db.audits(&AuditQuery { limit: 10, ..AuditQuery::default() }).unwrap();
    let forced = audits.iter().find(|audit| audit.audit_type == "forced_write").unwrap();
    let change = json!([{"path": "/name", "from": REDACTED, "to": REDACTED}]);
    assert_eq!(json!(forced.changes), change);
}

fn usage_of_a_scope_loses_the_same_keys(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 1, false);
    let feature = json!({"code": "api", "type": "limit", "releasable": true});
    run(&mut db, &mut book, create(Kind::Feature, feature));
    let grants = json!([{"feature": "api", "grant": "limit", "limit": 10}]);
    let package = json!({"code": "base", "is_base": true, "grants": grants});
    run(&mut db, &mut book, create(Kind::Package, package));
    let scope = ScopeRef::workspace(id.clone());
    let body = members(json!({"package": "base"}));
    let assign = AssignPackage { scope: scope.clone(), body };
    run(&mut db, &mut book, Action::Entitlement(entitlement::Action::AssignPackage(assign)));
    let record = |book: &mut Book, db: &mut Db, value: &str| {
        let item =
            json!({"feature": "api", "quantity": 1, "metadata": {"a/b": value, "k": "kept"}});
        let record =
            CheckAndRecord { scope: scope.clone(), items: vec![members(item)], is_batch: false };
        run(db, book, Action::Entitlement(entitlement::Action::CheckAndRecord(record)));
    };
    record(&mut book, &mut db, CANARY);
    record(&mut book, &mut db, CANARY);
    only(&mut db, &mut book, ask(&id, 1));
    book.now = at("2027-01-01T00:00:01Z");
    record(&mut book, &mut db, "later");
    finish(database);
    assert_forgotten(&mut db);
    let found = texts(&mut db, "SELECT metadata AS found FROM usage_records ORDER BY id");
    let metadata = |value: &str| format!("{{\"a/b\":\"{value}\",\"k\":\"kept\"}}");
    assert_eq!(found, [metadata(REDACTED), metadata(REDACTED), metadata("later")]);
}

fn what_is_written_before_the_past_is_rewritten_stays(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 2, false);
    only(&mut db, &mut book, ask(&id, 2));
    let forced = forcing(patch(Kind::Workspace, &id, 1, json!({"name": "Bea"})));
    only(&mut db, &mut book, forced);
    only(&mut db, &mut book, patch(Kind::Workspace, &id, 4, json!({"name": "Cleo"})));
    finish(database);
    assert_forgotten(&mut db);
    let names: Vec<Value> =
        events(&mut db, &id).iter().map(|event| event.state["name"].clone()).collect();
    assert_eq!(names, [REDACTED, REDACTED, REDACTED, "Bea", "Cleo"]);
    let audits = db.audits(&AuditQuery { limit: 10, ..AuditQuery::default() }).unwrap();
    let forced = audits.iter().find(|audit| audit.audit_type == "forced_write").unwrap();
    let change = json!([{"path": "/name", "from": REDACTED, "to": "Bea"}]);
    assert_eq!(json!(forced.changes), change, "a force after the redaction");
}

fn a_deleted_object_is_redacted(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 40, true);
    run(&mut db, &mut book, delete(Kind::Workspace, &id, 40));
    let answer = only(&mut db, &mut book, ask(&id, 41));
    assert_eq!(answer.version, 42);
    finish(database);
    assert_forgotten(&mut db);
    let (_, found) = db.find(Kind::Workspace, vec![id.clone()]).unwrap().remove(0);
    let ifmatch_store::Found::Deleted(deleted) = found else { panic!("{found:?}") };
    assert_eq!(deleted.last_version, 40);
    let last = events(&mut db, &id).pop().unwrap();
    assert_eq!((last.event_type.as_str(), last.entry.version), ("workspace.deleted", 42));
    // Another one, from the new version.
    let again = redact(Kind::Workspace, &id, 42, &["/metadata/k0"]);
    assert_eq!(only(&mut db, &mut book, again).version, 43);
    finish(database);
    assert_eq!(db.verify().unwrap(), []);
}

fn pruning_in_between_brings_nothing_back(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 300, true);
    only(&mut db, &mut book, ask(&id, 300));
    let redaction = db.unfinished_redactions(Some(&id)).unwrap().remove(0);
    assert!(db.redact_slice(&redaction).unwrap());
    // Versions are old when their successor is. All are, but for the last.
    let pruned = db.prune_history(at("2028-01-01T00:00:00Z"), 0).unwrap();
    assert!(pruned.versions > 0);
    finish(database);
    assert_forgotten(&mut db);
}

both_databases![
    everything_but_the_values_stays_as_it_was,
    answers_audits_and_logs_are_rewritten,
    usage_of_a_scope_loses_the_same_keys,
    what_is_written_before_the_past_is_rewritten_stays,
    a_deleted_object_is_redacted,
    pruning_in_between_brings_nothing_back,
];

type Work = dyn Fn(&mut Db) + Send + Sync;

/// Both rewrite events from what they read of other events.
#[test]
fn a_redaction_and_pruning_wait_for_each_other() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    let mut book = Book::default();
    let id = workspace(&mut db, &mut book, 3, true);
    only(&mut db, &mut book, ask(&id, 3));
    let redaction = db.unfinished_redactions(None).unwrap().remove(0);
    let works: [Box<Work>; 2] = [
        Box::new(move |db| assert!(db.redact_slice(&redaction).unwrap())),
        Box::new(|db| assert!(db.prune_history(at("2028-01-01T00:00:00Z"), 0).is_ok())),
    ];
    for work in &works {
        let mut holder = database.lane();
        holder.begin().unwrap();
        execute(&mut holder, "UPDATE event_log SET oldest = oldest");
        let mut other = database.lane();
        thread::scope(|scope| {
            let working = scope.spawn(|| work(&mut other));
            let deadline = Instant::now() + Duration::from_secs(30);
            let waiting = "SELECT count(*) || '' AS found FROM pg_locks WHERE NOT granted";
            while texts(&mut db, waiting) == ["0"] {
                assert!(!working.is_finished() && Instant::now() < deadline, "it waits");
                thread::yield_now();
            }
            holder.commit().unwrap();
            working.join().unwrap();
        });
    }
}
