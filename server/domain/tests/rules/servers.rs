//! Servers: what the commands of a worker change beside the saga.

use crate::{
    book::Book,
    commands::{delete, top_up},
    invariants::assert_holds,
    random::{a_product, later},
};
use ifmatch_domain::{
    Action, Outcome,
    provisioning::{
        self, ClaimServer, Observation, RecordCall, Remote, ServerRecord, StartCall, Windows,
    },
};
use ifmatch_types::{Kind, PanelCall, ServerStatus as Status};
use serde_json::{Value, json};

const WINDOWS: Windows =
    Windows { timeout_ms: 40_000, settle_ms: 60_000, absent_gap_ms: 30_000, reconcile_ms: 30_000 };

/// A book with a server that was ordered, and the server's id.
fn ordered() -> (Book, String) {
    let mut book = Book::default();
    let workspace = book.workspace();
    book.run(top_up(&workspace, 10)).unwrap();
    let product = book.make(Kind::Product, a_product(3, 0));
    let body =
        json!({"workspace_id": workspace, "product_id": product, "name": "Game", "panel_user": 7});
    let id = book.make(Kind::Server, body);
    (book, id)
}

/// A book with a server that the panel has made.
fn active() -> (Book, String) {
    let (mut book, id) = ordered();
    let ours = ours(&book, &id);
    call(&mut book, &id, Observation::Created(ours));
    assert_eq!(record(&book, &id).server.status, Status::Active);
    (book, id)
}

fn record<'a>(book: &'a Book, id: &str) -> &'a ServerRecord {
    &book.world.servers[id].record
}

/// The server on the panel, as it was ordered.
fn ours(book: &Book, id: &str) -> Remote {
    let ServerRecord { server, spec, .. } = record(book, id);
    Remote {
        id: 4,
        uuid: "uuid-of-ours".to_owned(),
        external_id: Some(server.external_id.clone()),
        user: server.panel_user,
        egg: spec.egg,
        limits: spec.limits.clone(),
        status: None,
        suspended: false,
    }
}

fn run(book: &mut Book, action: provisioning::Action) -> provisioning::Outcome {
    match book.run(Action::Provisioning(action)).unwrap() {
        Outcome::Provisioning(outcome) => outcome,
        other => panic!("an outcome of provisioning was expected: {other:?}"),
    }
}

/// Takes a server. `None` if nothing is due, or only its last claim was ended.
fn claim(book: &mut Book, id: &str) -> Option<PanelCall> {
    let claim = ClaimServer { server_id: id.to_owned(), windows: WINDOWS, jitter_permille: 0 };
    match run(book, provisioning::Action::ClaimServer(claim)) {
        provisioning::Outcome::Claimed(claimed) => claimed?.progress.running_call,
        other => panic!("a claim was expected: {other:?}"),
    }
}

fn start(book: &mut Book, id: &str) -> bool {
    let generation = record(book, id).generation;
    let start = StartCall { server_id: id.to_owned(), generation };
    run(book, provisioning::Action::StartCall(start)) == provisioning::Outcome::Called(true)
}

/// The due call of a server, which told this.
fn call(book: &mut Book, id: &str, observation: Observation) {
    claim(book, id).unwrap();
    assert!(start(book, id));
    let record_call = RecordCall {
        server_id: id.to_owned(),
        workspace_id: record(book, id).server.workspace_id.clone(),
        generation: record(book, id).generation,
        observation,
        detail: None,
        windows: WINDOWS,
        jitter_permille: 0,
    };
    run(book, provisioning::Action::RecordCall(record_call));
    assert_holds(&book.world);
}

fn suspend(book: &mut Book, id: &str, suspended: bool) {
    book.edit(id, json!({"suspended": suspended})).unwrap();
}

#[test]
fn a_claim_that_ran_out_ends_though_its_call_is_not_wanted_any_more() {
    let (mut book, id) = active();
    suspend(&mut book, &id, true);
    assert_eq!(claim(&mut book, &id), Some(PanelCall::Suspend));
    let claimed = record(&book, &id).generation;
    // Its worker dies before the call begins, and the customer changes their mind.
    suspend(&mut book, &id, false);
    let taken_back = record(&book, &id).clone();
    assert_eq!(taken_back.progress.next_call, None);
    assert_eq!(taken_back.due_at(), taken_back.lease_until, "the end of the claim is due");
    let told = book.world.entries.len();
    assert_eq!(claim(&mut book, &id), None, "the claim lasts");
    assert_eq!(record(&book, &id), &taken_back);

    book.now = later(book.now, 1);
    assert_eq!(claim(&mut book, &id), None, "no call is due");
    let now = record(&book, &id);
    assert_eq!((now.lease_until, now.progress.running_call), (None, None));
    assert_eq!(now.due_at(), None, "nothing is left to do");
    assert_eq!((now.server.version, now.generation), (taken_back.server.version, claimed));
    assert_eq!(book.world.entries.len(), told, "nothing has happened to it");
    assert!(!start(&mut book, &id), "a worker that wakes up makes no call");
    // The next order is carried out as any other.
    suspend(&mut book, &id, true);
    assert_eq!(claim(&mut book, &id), Some(PanelCall::Suspend));
    assert_eq!(record(&book, &id).generation, claimed + 1);
    assert_holds(&book.world);
}

#[test]
fn a_row_that_is_not_ours_leaves_what_is_known_of_ours() {
    let (mut book, id) = active();
    let version = book.version(&id);
    book.run(delete(Kind::Server, &id, version)).unwrap();
    call(&mut book, &id, Observation::Done);
    let remote_ids = |book: &Book| book.fields(&id, &["remote_id", "remote_uuid"]);
    let known = json!({"remote_id": 4, "remote_uuid": "uuid-of-ours"});
    assert_eq!(remote_ids(&book), known);
    // Somebody has changed its limits on the panel, or its row is another's.
    let foreign = Remote { id: 5, uuid: "uuid-of-another".to_owned(), user: 8, ..ours(&book, &id) };
    call(&mut book, &id, Observation::Found(foreign.clone()));
    assert_eq!(remote_ids(&book), known);

    let (mut book, id) = ordered();
    call(&mut book, &id, Observation::Created(foreign));
    let nothing = json!({"remote_id": Value::Null, "remote_uuid": Value::Null});
    assert_eq!(book.fields(&id, &["remote_id", "remote_uuid"]), nothing);
}
