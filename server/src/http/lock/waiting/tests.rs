//! Turns, places and shares.

use super::*;
use futures::FutureExt;
use ifmatch_domain::lock::LockName;
use ifmatch_types::LockScope;

fn key(name: &str) -> ApiKeyId {
    ApiKeyId::from_unchecked(name)
}

fn has_turn(place: &Place) -> bool {
    place.turn().now_or_never().is_some()
}

#[test]
fn the_first_waiter_has_the_turn_and_passes_it_on_when_it_leaves() {
    let room = Arc::new(WaitingRoom::default());
    let enter = || room.enter("/global//a", &key("k"), None).unwrap();
    let (first, second, third) = (enter(), enter(), enter());
    assert!(has_turn(&first) && !has_turn(&second) && !has_turn(&third));
    room.wake("/global//a");
    assert!(has_turn(&first) && !has_turn(&second));
    drop(second);
    assert!(!has_turn(&third), "the first is still there");
    drop(first);
    assert!(has_turn(&third));
    assert_eq!((room.waiters(), room.waiters_of("/global//a")), (1, 1));
    drop(third);
    assert_eq!((room.waiters(), room.lock().queues.len()), (0, 0));
    assert!(room.lock().by_key.is_empty(), "a key that stopped takes no memory");
}

#[test]
fn a_release_between_two_tries_is_not_missed() {
    let room = Arc::new(WaitingRoom::default());
    let place = room.enter("/global//a", &key("k"), None).unwrap();
    assert!(has_turn(&place));
    room.wake("/global//a");
    assert!(has_turn(&place), "the wake came before the wait");
    assert!(!has_turn(&place));
}

#[test]
fn another_send_of_a_granted_request_has_its_turn_at_once() {
    let room = Arc::new(WaitingRoom::default());
    let idempotency = |text: &str| IdempotencyKey {
        owner: key("k"),
        key: text.to_owned(),
        fingerprint: String::new(),
    };
    let enter = |text| room.enter("/global//a", &key("k"), Some(&idempotency(text))).unwrap();
    let (first, other, again) = (enter("one"), enter("two"), enter("one"));
    assert!(first.is_first() && !again.is_first());
    first.note_granted(Duration::from_secs(60), first.wakes());
    assert!(has_turn(&again) && !has_turn(&other));
    assert!(!again.must_wait() && other.must_wait());
    let keyless = room.enter("/global//a", &key("k"), None).unwrap();
    keyless.note_granted(Duration::from_secs(60), keyless.wakes());
    assert!(!has_turn(&keyless) && !has_turn(&again));
}

#[test]
fn the_next_waiter_knows_how_long_the_one_before_holds_the_lock() {
    let room = Arc::new(WaitingRoom::default());
    let enter = || room.enter("/global//a", &key("k"), None).unwrap();
    let (first, second) = (enter(), enter());
    first.note_granted(Duration::from_secs(60), first.wakes());
    assert_eq!(second.holder_ends_at(), None, "only the first waits for that");
    drop(first);
    assert!(has_turn(&second) && second.holder_ends_at().is_some());
    room.wake("/global//a");
    assert!(has_turn(&second));
    assert_eq!(second.holder_ends_at(), None, "it may be free");
}

#[test]
fn a_release_during_a_try_is_not_forgotten_by_what_the_try_found() {
    let room = Arc::new(WaitingRoom::default());
    let enter = || room.enter("/global//a", &key("k"), None).unwrap();
    let (first, second) = (enter(), enter());
    assert!(has_turn(&first));
    let wakes = first.wakes();
    room.wake("/global//a");
    let name = LockName::new(None, LockScope::Global, None, "a").unwrap();
    first.note_held(&name.held_by_unknown(), Duration::from_secs(60), wakes);
    assert!(has_turn(&first) && !first.must_wait(), "it tries again at once");
    let wakes = first.wakes();
    room.wake("/global//a");
    first.note_granted(Duration::from_secs(60), wakes);
    drop(first);
    assert!(has_turn(&second) && !second.must_wait(), "the grant was taken away at once");
}

#[test]
fn ten_thousand_waiters_have_their_turns_in_order_and_leave_nothing_behind() {
    let room = Arc::new(WaitingRoom::default());
    let enter = |lock: &str| room.enter(lock, &key("k"), None).unwrap();
    let places: Vec<Place> = (0..10_000).map(|_| enter("/global//a")).collect();
    assert_eq!((room.waiters_of("/global//a"), room.awaited().len()), (10_000, 1));
    for place in places {
        assert!(place.is_first() && has_turn(&place) && !has_turn(&place));
    }
    let mut places: Vec<Place> = (0..10_000).map(|n| enter(&format!("/global//{n}"))).collect();
    assert!(places.iter().all(has_turn), "each is the first of its lock");
    assert_eq!((room.waiters(), room.awaited().len()), (10_000, 10_000));
    fastrand::Rng::with_seed(1).shuffle(&mut places);
    drop(places);
    let waiting = room.lock();
    assert_eq!((waiting.waiters, waiting.queues.len(), waiting.by_key.len()), (0, 0, 0));
}

#[test]
fn a_key_has_a_share_of_the_places() {
    let room = Arc::new(WaitingRoom::default());
    let mut places = Vec::new();
    while let Some(place) = room.enter("/global//a", &key("greedy"), None) {
        places.push(place);
    }
    assert_eq!(places.len(), WAITERS_MAX_PER_KEY);
    places.push(room.enter("/global//a", &key("other"), None).unwrap());
    places.remove(0);
    assert!(room.enter("/global//b", &key("greedy"), None).is_some());
}

#[test]
fn all_waiters_end_when_the_server_stops() {
    let room = Arc::new(WaitingRoom::default());
    let enter = || room.enter("/global//a", &key("k"), None).unwrap();
    let (_first, second) = (enter(), enter());
    room.close();
    assert!(has_turn(&second) && second.is_closed());
    assert!(has_turn(&enter()), "a later waiter does not wait");
}
