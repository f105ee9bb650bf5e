//! Named locks: grants, their owners and fences, and writes that hold one.

use crate::{
    book::Book,
    commands::{command, create, key},
    world::{Decided, variant_name},
};
use ifmatch_domain::{
    Action, Command, Outcome, Rejection,
    core::{self, Fence, Guard, KeptAnswer},
    lock::{
        self, AcquireLock, ExtendLock, ForceReleaseLock, LockName, LockRecord, OwnerSecret,
        ReleaseLock, ReleaseUnclaimed, RenewLock,
    },
};
use ifmatch_types::{Kind, LockForceRelease, LockScope, NewLock, Timestamp, WorkspaceId};
use proptest::prelude::*;
use serde_json::json;

const TTL_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

fn name(lock: &str) -> LockName {
    LockName::new(None, LockScope::Global, None, lock).unwrap()
}

pub fn acquire_as(salt: &str, name: LockName, ttl_ms: i64) -> Action {
    acquire_with("a secret", salt, name, ttl_ms)
}

fn acquire_with(secret: &str, salt: &str, name: LockName, ttl_ms: i64) -> Action {
    let new = NewLock { label: Some(format!("by {salt}")), ..NewLock::new(ttl_ms) };
    let secret = OwnerSecret::new(secret.as_bytes());
    let acquire = AcquireLock::new(name, &new, secret, salt.to_owned()).unwrap();
    Action::Lock(lock::Action::AcquireLock(acquire))
}

pub fn release(owner: &str) -> Action {
    let release = ReleaseLock::new(name("a"), owner.to_owned()).unwrap();
    Action::Lock(lock::Action::ReleaseLock(release))
}

fn renew(owner: &str) -> Action {
    Action::Lock(lock::Action::RenewLock(RenewLock::new(name("a"), owner.to_owned()).unwrap()))
}

fn extend(owner: &str, additional_ms: i64) -> Action {
    let extend = ExtendLock::new(name("a"), owner.to_owned(), additional_ms).unwrap();
    Action::Lock(lock::Action::ExtendLock(extend))
}

pub fn force(cooldown_ms: i64) -> Action {
    let force = LockForceRelease {
        reason: "stuck".to_owned(),
        cooldown_ms,
        scope: LockScope::Global,
        function: None,
        workspace_id: None,
    };
    let force = ForceReleaseLock::new(name("a"), &force).unwrap();
    Action::Lock(lock::Action::ForceReleaseLock(force))
}

/// A grant: its owner token, fence and end.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    owner: String,
    fence: i64,
    expires_at: Timestamp,
}

#[track_caller]
fn granted(decided: Decided) -> Grant {
    match decided.unwrap() {
        Outcome::Lock(lock::Outcome::Acquired { lock, owner, .. }) => Grant {
            owner: owner.expose().to_owned(),
            fence: lock.fence,
            expires_at: lock.expires_at,
        },
        other => panic!("a grant was expected: {other:?}"),
    }
}

#[track_caller]
fn end(decided: Decided) -> Timestamp {
    match decided.unwrap() {
        Outcome::Lock(lock::Outcome::Renewed { lock, .. }) => lock.expires_at,
        other => panic!("a renewal was expected: {other:?}"),
    }
}

#[track_caller]
fn refused(decided: Decided) -> String {
    variant_name(&decided.unwrap_err())
}

fn ms(now: Timestamp, ms: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + ms * 1_000).unwrap()
}

#[test]
fn a_held_lock_is_refused_and_a_refusal_changes_nothing() {
    let mut book = Book::default();
    let one = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    assert_eq!(one.expires_at, ms(book.now, TTL_MS));
    assert!(one.fence >= book.now.as_micros(), "a fence is at least the clock");
    let Err(Rejection::Lock(lock::Rejection::Held { held, after_ms })) =
        book.run(acquire_as("two", name("a"), TTL_MS))
    else {
        panic!("it is held")
    };
    assert_eq!(held.label.as_deref(), Some("by one"));
    assert_eq!(held.expires_at, Some(one.expires_at));
    assert_eq!(after_ms, TTL_MS + 1);
    // Other locks are free: another key, a function's, a workspace's.
    let function = LockName::new(None, LockScope::Function, Some("f".into()), "a").unwrap();
    let workspace = WorkspaceId::from_unchecked(book.workspace());
    let own = LockName::new(Some(workspace), LockScope::Global, None, "a").unwrap();
    for other in [name("b"), function, own] {
        granted(book.run(acquire_as("two", other, TTL_MS)));
    }
    assert_eq!(book.world.locks.len(), 4);
}

#[test]
fn an_expired_grant_cannot_be_revived_and_the_fence_grows() {
    let mut book = Book::default();
    let one = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    book.now = ms(book.now, TTL_MS - 1);
    book.run(renew(&one.owner)).unwrap();
    book.now = ms(book.now, TTL_MS);
    for action in [renew(&one.owner), extend(&one.owner, 1), release(&one.owner)] {
        assert_eq!(refused(book.run(action)), "Lost", "at the very instant of its end");
    }
    assert_eq!(refused(book.run(force(0))), "NotFound");
    let two = granted(book.run(acquire_as("two", name("a"), TTL_MS)));
    assert!(two.fence > one.fence && two.owner != one.owner);
    assert_eq!(refused(book.run(release(&one.owner))), "Lost", "it knows that it was its own");
    assert_eq!(refused(book.run(release("own_other"))), "OwnershipMismatch");
    book.run(release(&two.owner)).unwrap();
    assert_eq!(refused(book.run(release(&two.owner))), "NotFound");
    assert_eq!(refused(book.run(release("own_other"))), "NotFound");
    assert_eq!(refused(book.run(release(&one.owner))), "Lost");
    granted(book.run(acquire_as("three", name("a"), TTL_MS)));
    assert_eq!(refused(book.run(release(&two.owner))), "OwnershipMismatch", "it released itself");
    assert_eq!(refused(book.run(release(&one.owner))), "OwnershipMismatch", "long ago");
}

#[test]
fn a_fence_grows_although_the_clock_goes_back_or_the_row_is_gone() {
    let mut book = Book::default();
    let one = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    book.run(release(&one.owner)).unwrap();
    book.now = ms(book.now, -DAY_MS);
    let two = granted(book.run(acquire_as("two", name("a"), TTL_MS)));
    assert_eq!(two.fence, one.fence + 1, "the clock went back");
    book.run(release(&two.owner)).unwrap();
    book.now = ms(book.now, 8 * DAY_MS);
    book.world.locks.clear();
    let three = granted(book.run(acquire_as("three", name("a"), TTL_MS)));
    assert!(three.fence > two.fence, "the row was swept, or the backup is older");
}

#[test]
fn a_renewal_never_shortens_and_nothing_is_held_for_more_than_a_day() {
    let mut book = Book::default();
    let grant = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    let extended = end(book.run(extend(&grant.owner, 60_000)));
    assert_eq!(extended, ms(book.now, TTL_MS + 60_000));
    assert_eq!(end(book.run(renew(&grant.owner))), extended, "renewed for less than is left");
    book.now = ms(book.now, 65_000);
    assert_eq!(end(book.run(renew(&grant.owner))), ms(book.now, TTL_MS));
    assert_eq!(refused(book.run(extend(&grant.owner, DAY_MS))), "TtlExceedsMaximum");
    assert_eq!(refused(book.run(extend(&grant.owner, i64::MAX / 2_000))), "TtlExceedsMaximum");
    let end = end(book.run(extend(&grant.owner, DAY_MS - TTL_MS)));
    assert_eq!(end, ms(book.now, DAY_MS));
    assert_eq!(refused(book.run(extend("own_other", DAY_MS))), "OwnershipMismatch");
    // Less than a millisecond is too much, too.
    book.now = Timestamp::from_micros(book.now.as_micros() + 500).unwrap();
    assert_eq!(refused(book.run(extend(&grant.owner, 1))), "TtlExceedsMaximum");
}

#[test]
fn a_forced_release_raises_the_fence_cools_down_and_is_on_record() {
    let mut book = Book::default();
    let one = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    assert_eq!(refused(book.run(release("own_other"))), "OwnershipMismatch");
    book.run(force(5_000)).unwrap();
    let record = book.world.audits.last().unwrap().clone();
    assert_eq!(
        (record.audit_type.as_str(), record.reason.as_deref()),
        ("force_release", Some("stuck"))
    );
    let resource = record.resource.unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.id.as_str()), ("lock", "/global//a"));
    let paths: Vec<_> = record.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["/locked", "/label", "/fence", "/expires_at", "/cooldown_until"]);
    assert!(book.world.locks["/global//a"].fence > one.fence);
    for action in [renew(&one.owner), release(&one.owner)] {
        assert_eq!(refused(book.run(action)), "Lost");
    }
    let Err(Rejection::Lock(lock::Rejection::Held { held, after_ms })) =
        book.run(acquire_as("two", name("a"), TTL_MS))
    else {
        panic!("it cools down")
    };
    assert_eq!((held.label, held.expires_at), (None, None), "nobody holds it");
    assert_eq!(held.cooldown_until, Some(ms(book.now, 5_000)));
    assert_eq!(after_ms, 5_001);
    book.now = ms(book.now, 5_000);
    granted(book.run(acquire_as("two", name("a"), TTL_MS)));
}

#[test]
fn wrong_fields_are_named() {
    let errors = |result: Result<AcquireLock, core::Rejection>| match result.map(|_| ()) {
        Err(core::Rejection::Invalid(errors)) => errors.into_iter().map(|e| e.path).collect(),
        other => vec![format!("{other:?}")],
    };
    let new = |new: NewLock| {
        errors(AcquireLock::new(name("a"), &new, OwnerSecret::new(b"s"), String::new()))
    };
    for ttl_ms in [0, -1, DAY_MS + 1, i64::MIN, i64::MAX] {
        assert_eq!(new(NewLock::new(ttl_ms)), ["/ttl_ms"], "{ttl_ms}");
    }
    for wait_ms in [-1, 45_001] {
        assert_eq!(new(NewLock { wait_ms, ..NewLock::new(1) }), ["/wait_ms"], "{wait_ms}");
    }
    for label in ["two\nlines", &"l".repeat(201)] {
        let label = Some(label.to_owned());
        assert_eq!(new(NewLock { label, ..NewLock::new(1) }), ["/label"]);
    }
    assert!(ExtendLock::new(name("a"), "own".into(), 0).is_err());
    assert!(ReleaseLock::new(name("a"), String::new()).is_err());
}

#[test]
fn a_lock_is_made_only_in_the_space_of_a_living_workspace() {
    let mut book = Book::default();
    let workspace = book.workspace();
    let of = |id: &str| {
        let id = WorkspaceId::from_unchecked(id);
        LockName::new(Some(id), LockScope::Global, None, "a").unwrap()
    };
    let missing = of("wsp_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f");
    assert_eq!(refused(book.run(acquire_as("one", missing, TTL_MS))), "NotFound");
    granted(book.run(acquire_as("one", of(&workspace), TTL_MS)));
    let gone = book.workspace();
    book.run(crate::commands::delete(Kind::Workspace, &gone, 1)).unwrap();
    assert_eq!(refused(book.run(acquire_as("one", of(&gone), TTL_MS))), "Deleted");
}

#[test]
fn a_scoped_key_is_in_its_own_space_only() {
    let mut book = Book::default();
    let (own, foreign) = (book.workspace(), book.workspace());
    let mut run = |of: Option<&str>| {
        let of = of.map(WorkspaceId::from_unchecked);
        let name = LockName::new(of, LockScope::Global, None, "a").unwrap();
        let mut scoped = command(book.fresh_seed(), acquire_as("one", name, TTL_MS));
        scoped.meta.actor.workspace_id = Some(WorkspaceId::from_unchecked(own.as_str()));
        book.world.carry_out(&[scoped], book.now).remove(0)
    };
    granted(run(Some(&own)));
    assert_eq!(refused(run(Some(&foreign))), "NotFound");
    assert_eq!(refused(run(None)), "NeedsUnscopedKey");
}

pub fn kept() -> KeptAnswer {
    KeptAnswer {
        fingerprint: "print".to_owned(),
        status: 201,
        headers: Vec::new(),
        body: "{}".to_owned(),
    }
}

/// Sends the request that acquired the lock again.
fn repeat_with(secret: &str, book: &mut Book) -> Decided {
    let action = acquire_with(secret, "salt", name("a"), TTL_MS);
    let again =
        Command { idempotency: Some(key("k", "print")), ..command(book.fresh_seed(), action) };
    book.world.carry_out(&[again], book.now).remove(0)
}

fn repeat(book: &mut Book) -> Decided {
    repeat_with("a secret", book)
}

/// A book in which a request with an Idempotency-Key has acquired the lock.
fn with_kept_grant() -> (Book, LockRecord) {
    let mut book = Book::default();
    granted(book.run(acquire_as("salt", name("a"), TTL_MS)));
    let answers = &mut book.world.answers;
    answers.insert(("key_alice".to_owned(), "k".to_owned()), kept());
    let lock = book.world.locks["/global//a"].clone();
    (book, lock)
}

pub fn release_unclaimed(granted: &LockRecord) -> Action {
    Action::Lock(lock::Action::ReleaseUnclaimed(ReleaseUnclaimed::new(granted)))
}

#[test]
fn a_grant_whose_caller_is_gone_is_released() {
    let (mut book, lock) = with_kept_grant();
    book.run(release_unclaimed(&lock)).unwrap();
    assert_eq!(refused(repeat(&mut book)), "Lost", "the caller came back too late");
    granted(book.run(acquire_as("two", name("a"), TTL_MS)));
    assert_eq!(refused(book.run(release_unclaimed(&lock))), "NotFound", "it is another grant");
}

#[test]
fn a_grant_that_a_repeat_got_is_not_released() {
    let (mut book, lock) = with_kept_grant();
    let again = granted(repeat(&mut book));
    assert_eq!(refused(book.run(release_unclaimed(&lock))), "NotFound");
    book.run(renew(&again.owner)).unwrap();
}

#[test]
fn a_repeat_under_another_secret_learns_that_it_has_no_grant() {
    let (mut book, _) = with_kept_grant();
    assert_eq!(refused(repeat_with("another secret", &mut book)), "Lost");
    granted(repeat(&mut book));
}

#[test]
fn a_repeat_gets_the_same_grant_as_it_is_now_or_learns_that_it_ended() {
    let mut book = Book::default();
    let first = granted(book.run(acquire_as("salt", name("a"), TTL_MS)));
    let answers = &mut book.world.answers;
    answers.insert(("key_alice".to_owned(), "k".to_owned()), kept());
    assert_eq!(granted(repeat(&mut book)), first);
    book.now = ms(book.now, 5_000);
    let renewed = end(book.run(renew(&first.owner)));
    let again = granted(repeat(&mut book));
    assert_eq!((again.owner, again.expires_at), (first.owner.clone(), renewed));
    book.run(release(&first.owner)).unwrap();
    assert_eq!(refused(repeat(&mut book)), "Lost", "it was released");
    granted(book.run(acquire_as("other", name("a"), TTL_MS)));
    assert_eq!(refused(repeat(&mut book)), "Lost", "another grant is no answer");
}

#[track_caller]
fn fenced(
    book: &mut Book,
    workspace: Option<&str>,
    number: i64,
    scoped_to: Option<&str>,
) -> Decided {
    let fence =
        Fence { workspace_id: workspace.map(str::to_owned), lock: "global//a".to_owned(), number };
    let action = create(Kind::Workspace, json!({"name": "Fenced"}));
    let mut fenced = command(book.fresh_seed(), action);
    fenced.guard = Guard { claim: None, fence: Some(fence) };
    fenced.meta.actor.workspace_id = scoped_to.map(WorkspaceId::from_unchecked);
    let before = book.world.clone();
    let decided = book.world.carry_out(&[fenced], book.now).remove(0);
    if let Err(rejection) = &decided {
        book.world.assert_untouched(&before, rejection);
    }
    decided
}

#[test]
fn a_write_commits_only_with_the_fence_of_the_current_grant() {
    let mut book = Book::default();
    assert_eq!(refused(fenced(&mut book, None, 7, None)), "StaleFence", "there is no such lock");
    let one = granted(book.run(acquire_as("one", name("a"), TTL_MS)));
    fenced(&mut book, None, one.fence, None).unwrap();
    for wrong in [one.fence - 1, one.fence + 1, 0] {
        assert_eq!(refused(fenced(&mut book, None, wrong, None)), "StaleFence");
    }
    let workspace = book.workspace();
    let elsewhere = fenced(&mut book, Some(&workspace), one.fence, None);
    assert_eq!(refused(elsewhere), "StaleFence", "another space has other locks");
    book.now = ms(book.now, TTL_MS);
    assert_eq!(refused(fenced(&mut book, None, one.fence, None)), "StaleFence", "it expired");
    let two = granted(book.run(acquire_as("two", name("a"), TTL_MS)));
    assert_eq!(refused(fenced(&mut book, None, one.fence, None)), "StaleFence");
    fenced(&mut book, None, two.fence, None).unwrap();
    book.run(force(0)).unwrap();
    let raised = book.world.locks["/global//a"].fence;
    for stale in [two.fence, raised] {
        assert_eq!(refused(fenced(&mut book, None, stale, None)), "StaleFence", "it was forced");
    }
    let three = granted(book.run(acquire_as("three", name("a"), TTL_MS)));
    let foreign = fenced(&mut book, None, three.fence, Some(&workspace));
    assert_eq!(refused(foreign), "StaleFence", "a scoped key has no lock of the installation");
    book.run(release(&three.owner)).unwrap();
    assert_eq!(refused(fenced(&mut book, None, three.fence, None)), "StaleFence", "released");
}

/// One step of a random history of one lock.
#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Release(usize),
    Renew(usize),
    Extend(usize, i64),
    Force(i64),
    Write(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let grant = 0..4usize;
    prop_oneof![
        3 => Just(Step::Acquire),
        2 => grant.clone().prop_map(Step::Release),
        2 => grant.clone().prop_map(Step::Renew),
        1 => (grant.clone(), 1..20_000i64).prop_map(|(grant, ms)| Step::Extend(grant, ms)),
        1 => prop_oneof![Just(0), 1..9_000i64].prop_map(Step::Force),
        3 => grant.prop_map(Step::Write),
        3 => prop_oneof![0..12_000i64, Just(TTL_MS)].prop_map(Step::Wait),
    ]
}

proptest! {
    /// A slow model: the grants in their order, each with its end.
    #[test]
    fn at_most_one_grant_holds_the_lock_and_only_its_fence_writes(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut book = Book::default();
        // The newest grant first; `None` as end means that it was taken away or released.
        let mut grants: Vec<(Grant, Option<Timestamp>)> = Vec::new();
        let mut cooldown = book.now;
        for (number, step) in steps.into_iter().enumerate() {
            let now = book.now;
            let holder = grants.first().filter(|(_, end)| end.is_some_and(|end| now < end));
            let holder = holder.map(|(grant, _)| grant.clone());
            let owner = |grants: &[(Grant, Option<Timestamp>)], at: usize| {
                grants.get(at).map_or("own_nobody".to_owned(), |(grant, _)| grant.owner.clone())
            };
            let is_holder = |at: usize| at == 0 && holder.is_some();
            match step {
                Step::Acquire => {
                    let decided = book.run(acquire_as(&number.to_string(), name("a"), TTL_MS));
                    prop_assert_eq!(decided.is_ok(), holder.is_none() && cooldown <= now);
                    if decided.is_ok() {
                        let grant = granted(decided);
                        prop_assert!(grants.iter().all(|(old, _)| old.fence < grant.fence));
                        let end = Some(grant.expires_at);
                        grants.insert(0, (grant, end));
                    }
                }
                Step::Release(at) => {
                    let decided = book.run(release(&owner(&grants, at)));
                    prop_assert_eq!(decided.is_ok(), is_holder(at));
                    if is_holder(at) {
                        grants[0].1 = None;
                    }
                }
                Step::Renew(at) => {
                    let decided = book.run(renew(&owner(&grants, at)));
                    prop_assert_eq!(decided.is_ok(), is_holder(at));
                    if is_holder(at) {
                        grants[0].1 = grants[0].1.max(Some(ms(now, TTL_MS)));
                    }
                }
                Step::Extend(at, more) => {
                    let decided = book.run(extend(&owner(&grants, at), more));
                    prop_assert_eq!(decided.is_ok(), is_holder(at));
                    if is_holder(at) {
                        grants[0].1 = grants[0].1.map(|end| ms(end, more));
                    }
                }
                Step::Force(cooldown_ms) => {
                    let decided = book.run(force(cooldown_ms));
                    prop_assert_eq!(decided.is_ok(), holder.is_some());
                    if decided.is_ok() {
                        grants[0].1 = None;
                        cooldown = ms(now, cooldown_ms);
                    }
                }
                Step::Write(at) => {
                    let fence = grants.get(at).map_or(1, |(grant, _)| grant.fence);
                    let decided = fenced(&mut book, None, fence, None);
                    prop_assert_eq!(decided.is_ok(), is_holder(at));
                }
                Step::Wait(wait) => book.now = ms(now, wait),
            }
        }
    }
}

#[test]
fn commands_of_one_batch_see_each_other() {
    let mut book = Book::default();
    let salts = ["one", "two", "three"];
    let batch: Vec<Command> = salts
        .iter()
        .map(|salt| command(book.fresh_seed(), acquire_as(salt, name("a"), TTL_MS)))
        .collect();
    let mut decided = book.world.carry_out(&batch, book.now);
    let first = granted(decided.remove(0));
    assert!(decided.into_iter().all(|other| refused(other) == "Held"));
    let batch = [
        command(book.fresh_seed(), release(&first.owner)),
        command(book.fresh_seed(), acquire_as("four", name("a"), TTL_MS)),
    ];
    let mut decided = book.world.carry_out(&batch, book.now);
    let second = granted(decided.remove(1));
    assert_eq!(second.fence, first.fence + 1, "in one instant");
}
