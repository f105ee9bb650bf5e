//! Named locks outside the lane: sweeping old rows, finding free ones, the secret of tokens.

use crate::{
    database::{Database, both_databases},
    lane::save,
};
use ifmatch_domain::lock::{LockEnd, LockName, LockRecord};
use ifmatch_store::Db;
use ifmatch_types::{LockScope, Timestamp};

both_databases![
    only_locks_that_were_free_for_long_are_swept,
    many_locks_are_swept_slice_by_slice,
    a_lock_is_free_unless_it_is_held_or_cools_down,
    all_servers_get_the_secret_that_the_first_one_made,
];

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

/// A lock whose grant has the number 1 and expires at this instant.
fn lock(key: &str, expires_at: i64) -> LockRecord {
    let name = LockName::new(None, LockScope::Global, None, key).unwrap();
    LockRecord {
        id: name.id(),
        name,
        version: 1,
        fence: 1,
        owner_digest: "digest".to_owned(),
        label: None,
        acquired_at: at(0),
        expires_at: at(expires_at),
        ttl_ms: 1,
        ended: None,
        previous_digest: None,
        previous_end: None,
        cooldown_until: None,
        changed_by: key.to_owned(),
    }
}

fn store(db: &mut Db, locks: Vec<LockRecord>) {
    save(db, |state| {
        for lock in locks {
            state.lock_mut().locks.put(lock.id.clone(), lock);
        }
    })
    .unwrap();
}

fn is_there(db: &mut Db, key: &str) -> bool {
    db.lock(&format!("/global//{key}")).unwrap().0.is_some()
}

fn only_locks_that_were_free_for_long_are_swept(database: &Database) {
    let mut db = database.lane();
    let before = 1_000;
    store(
        &mut db,
        vec![
            lock("old", 999),
            LockRecord { ended: Some(LockEnd::Released), ..lock("released", 999) },
            // Released long ago, but it would have expired later.
            LockRecord { ended: Some(LockEnd::Released), ..lock("young", 1_000) },
            // The clock was ahead at its last grant.
            LockRecord { fence: 1_000, ..lock("ahead", 999) },
            LockRecord { cooldown_until: Some(at(1_000)), ..lock("cooling", 999) },
            LockRecord { cooldown_until: Some(at(999)), ..lock("cooled", 999) },
        ],
    );
    let swept = db.sweep_locks(at(before), "").unwrap();
    assert_eq!((swept.locks, swept.reached), (3, None));
    for (key, stays) in [
        ("old", false),
        ("released", false),
        ("cooled", false),
        ("young", true),
        ("ahead", true),
        ("cooling", true),
    ] {
        assert_eq!(is_there(&mut db, key), stays, "{key}");
    }
}

fn many_locks_are_swept_slice_by_slice(database: &Database) {
    let mut db = database.lane();
    store(&mut db, (0..2_500).map(|number| lock(&format!("k{number:04}"), 999)).collect());
    let (mut place, mut swept, mut slices) = (String::new(), 0, 0);
    loop {
        let slice = db.sweep_locks(at(1_000), &place).unwrap();
        (swept, slices) = (swept + slice.locks, slices + 1);
        let Some(reached) = slice.reached else { break };
        place = reached;
    }
    assert_eq!((swept, slices), (2_500, 3));
}

fn a_lock_is_free_unless_it_is_held_or_cools_down(database: &Database) {
    let mut db = database.lane();
    let future = db.clock().unwrap().as_micros() + 60_000_000;
    store(
        &mut db,
        vec![
            lock("held", future),
            lock("expired", 999),
            LockRecord { ended: Some(LockEnd::Released), ..lock("released", future) },
            LockRecord {
                ended: Some(LockEnd::Forced),
                cooldown_until: Some(at(future)),
                ..lock("cooling", future)
            },
        ],
    );
    let ids = ["cooling", "expired", "held", "never", "released"];
    let ids: Vec<String> = ids.into_iter().map(|key| format!("/global//{key}")).collect();
    let free = db.free_locks(&ids).unwrap();
    assert_eq!(free, ["/global//expired", "/global//never", "/global//released"]);
}

fn all_servers_get_the_secret_that_the_first_one_made(database: &Database) {
    let (mut one, mut two) = (database.lane(), database.lane());
    assert_eq!(one.lock_secret("first").unwrap(), "first");
    assert_eq!(two.lock_secret("second").unwrap(), "first");
}
