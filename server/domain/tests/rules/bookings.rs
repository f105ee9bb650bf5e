//! Bookings: each step's effect on the days, and agreement with a slow, simple reference.

use crate::{
    book::{Book, with},
    commands::{at, command, create, delete, forcing, merging, patch, previewing, put},
    invariants::assert_holds,
    random::few,
    world::{Decided, variant_name},
};
use ifmatch_domain::{
    Action, Outcome, Rejection,
    booking::{self, BookingDay, BookingPhase, ExpireBookings, NoRoom},
    core::{self, Operation},
    decide,
};
use ifmatch_types::{BookingStatus as Status, Date, Kind, Source, Timestamp};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// 2027-01-01, the date on which every book begins.
const TODAY: &str = "2027-01-01";
const HOUR_US: i64 = 3_600_000_000;

fn room(book: &mut Book, changed: Value) -> String {
    book.make(Kind::Bookable, with(json!({"name": "Room", "capacity": 2}), changed))
}

fn days(room: &str, start: u8, end: u8, changed: Value) -> Value {
    let day = |day: u8| format!("2027-01-{day:02}");
    let usual = json!({"bookable_id": room, "start_date": day(start), "end_date": day(end),
        "quantity": 1});
    with(usual, changed)
}

fn held(book: &mut Book, room: &str, start: u8, end: u8) -> String {
    book.make(Kind::Booking, days(room, start, end, json!({})))
}

fn confirmed(book: &mut Book, room: &str, start: u8, end: u8) -> String {
    book.make(Kind::Booking, days(room, start, end, json!({"status": "confirmed"})))
}

/// The reserved counts of the first `count` days of January.
fn reserved(book: &Book, room: &str, count: u8) -> Vec<i64> {
    let day = |day: u8| format!("2027-01-{day:02}").parse().unwrap();
    let on = |date: Date| book.world.booking_days.get(&BookingDay::key(room, date));
    (1..=count).map(|n| on(day(n)).map_or(0, |day| day.reserved)).collect()
}

/// Moves a booking to a status through the statuses before it.
fn bring(book: &mut Book, id: &str, status: &str) {
    let steps: &[&str] = match status {
        "confirmed" => &["confirmed"],
        "in_use" => &["confirmed", "in_use"],
        "completed" => &["confirmed", "in_use", "completed"],
        "no_show" => &["confirmed", "no_show"],
        "cancelled" => &["cancelled"],
        "expired" => {
            let before = book.now;
            let bookable_id = book.field(id, "bookable_id").as_str().unwrap().to_owned();
            book.now = hours_after(before, 1);
            book.run(Action::Booking(booking::Action::ExpireBookings(ExpireBookings {
                bookable_id,
            })))
            .unwrap();
            book.now = before;
            &[]
        }
        _ => &[],
    };
    for step in steps {
        book.edit(id, json!({"status": step})).unwrap();
    }
    assert_eq!(book.field(id, "status"), status);
}

fn hours_after(instant: Timestamp, hours: i64) -> Timestamp {
    Timestamp::from_micros(instant.as_micros() + hours * HOUR_US).unwrap()
}

fn no_room(decided: Decided) -> NoRoom {
    match decided {
        Err(Rejection::Booking(booking::Rejection::NoRoom(no_room))) => *no_room,
        other => panic!("there was room: {other:?}"),
    }
}

fn wrong_field(rejection: Rejection) -> String {
    match rejection {
        Rejection::Core(core::Rejection::Invalid(errors)) => errors[0].path.clone(),
        other => panic!("a field was expected to be wrong: {other:?}"),
    }
}

/// Every pair of statuses: whether the transition is allowed, and what days 1 to 4 keep.
#[test]
fn each_transition_has_its_effect_on_the_days() {
    const ALL: [&str; 7] =
        ["held", "confirmed", "in_use", "completed", "cancelled", "no_show", "expired"];
    let kept = [1, 1, 1, 1];
    let followers: BTreeMap<(&str, &str), [i64; 4]> = BTreeMap::from([
        (("held", "confirmed"), kept),
        (("held", "cancelled"), [0; 4]),
        (("confirmed", "in_use"), kept),
        (("confirmed", "cancelled"), [0; 4]),
        // Today is the second day: the days up to today stay taken.
        (("confirmed", "no_show"), [1, 1, 0, 0]),
        (("in_use", "completed"), [1, 1, 0, 0]),
        (("expired", "confirmed"), kept),
    ]);
    for from in ALL {
        for to in ALL {
            let mut book = Book::default();
            let room = room(&mut book, json!({"hold_ttl_ms": 1_800_000}));
            let id = held(&mut book, &room, 1, 4);
            bring(&mut book, &id, from);
            let before = reserved(&book, &room, 4);
            // An expired booking is confirmed on day 1, because past days cannot be taken anew.
            if from != "held" && from != "expired" {
                book.now = at("2027-01-02T12:00:00Z");
            }
            let decided = book.edit(&id, json!({"status": to}));
            match followers.get(&(from, to)) {
                _ if from == to => {
                    decided.unwrap();
                    assert_eq!(reserved(&book, &room, 4), before, "{from} → {to}");
                }
                Some(expected) => {
                    decided.unwrap();
                    assert_eq!(reserved(&book, &room, 4), expected, "{from} → {to}");
                    assert_eq!(book.field(&id, "status"), to);
                }
                None => {
                    let is_refused = matches!(&decided, Err(Rejection::Core(core::Rejection::InvalidTransition { from: named, .. })) if *named == from);
                    assert!(is_refused, "{from} → {to}: {decided:?}");
                    assert_eq!(reserved(&book, &room, 4), before, "{from} → {to}");
                }
            }
            assert_holds(&book.world);
        }
    }
}

#[test]
fn nights_give_back_the_night_of_today_and_a_show_before_the_start_gives_back_all() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"range_mode": "nights"}));
    let id = confirmed(&mut book, &room, 1, 4);
    assert_eq!(reserved(&book, &room, 4), [1, 1, 1, 0]);
    let later = confirmed(&mut book, &room, 3, 4);
    book.edit(&later, json!({"status": "no_show"})).unwrap();
    assert_eq!(reserved(&book, &room, 4), [1, 1, 1, 0]);
    book.edit(&id, json!({"status": "in_use"})).unwrap();
    // A new range mode does not affect existing bookings.
    let mode = json!({"range_mode": "inclusive_days"});
    book.edit(&room, mode).unwrap();
    book.now = at("2027-01-02T12:00:00Z");
    book.edit(&id, json!({"status": "completed"})).unwrap();
    assert_eq!(reserved(&book, &room, 4), [1, 0, 0, 0]);
    assert_holds(&book.world);
}

#[test]
fn a_status_sets_its_instants() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"hold_ttl_ms": 60_000, "capacity": 9}));
    let of = ["hold_expires_at", "confirmed_at", "cancelled_at", "ended_at"];
    let (now, soon) = ("2027-01-01T00:00:00.000000Z", "2027-01-01T00:01:00.000000Z");
    for (status, expected) in [
        ("held", [json!(soon), json!(null), json!(null), json!(null)]),
        ("confirmed", [json!(null), json!(now), json!(null), json!(null)]),
        ("in_use", [json!(null), json!(now), json!(null), json!(null)]),
        ("completed", [json!(null), json!(now), json!(null), json!(now)]),
        ("no_show", [json!(null), json!(now), json!(null), json!(now)]),
        ("cancelled", [json!(soon), json!(null), json!(now), json!(now)]),
    ] {
        let id = held(&mut book, &room, 1, 1);
        bring(&mut book, &id, status);
        let found: Vec<Value> = of.iter().map(|field| book.field(&id, field)).collect();
        assert_eq!(found, expected, "{status}");
    }
}

#[test]
fn a_full_day_refuses_with_everybody_elses_use_of_exactly_the_days() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"hold_ttl_ms": 60_000}));
    let other = confirmed(&mut book, &room, 2, 3);
    confirmed(&mut book, &room, 3, 4);
    let body = days(&room, 1, 4, json!({"user_id": "ann"}));
    let refused = no_room(book.run(create(Kind::Booking, body)));
    let date = |text: &str| text.parse::<Date>().unwrap();
    let usage = |rows: &[(&str, i64)]| -> BTreeMap<Date, i64> {
        rows.iter().map(|(day, n)| (date(day), *n)).collect()
    };
    let expected = NoRoom {
        phase: BookingPhase::Create,
        bookable_id: room.clone(),
        start_date: date("2027-01-01"),
        end_date: date("2027-01-04"),
        user_id: Some("ann".to_owned()),
        requested: 1,
        capacity: 2,
        usage: usage(&[("2027-01-01", 0), ("2027-01-02", 1), ("2027-01-03", 2), ("2027-01-04", 1)]),
        first_conflict_date: date("2027-01-03"),
        hold_ttl_ms: 60_000,
    };
    assert_eq!(refused, expected);
    // A booking's own days do not count as used by others.
    let longer = json!({"end_date": "2027-01-04", "quantity": 2});
    let refused = no_room(book.edit(&other, longer));
    assert_eq!(refused.usage, usage(&[("2027-01-02", 0), ("2027-01-03", 1), ("2027-01-04", 1)]));
    assert_eq!((refused.phase, refused.requested), (BookingPhase::Change, 2));
    assert_eq!(refused.first_conflict_date, date("2027-01-03"));
    let most = days(&room, 9, 9, json!({"quantity": 3}));
    assert_eq!(no_room(book.run(create(Kind::Booking, most))).requested, 3);
    assert_holds(&book.world);
}

#[test]
fn a_change_takes_the_new_days_and_gives_back_the_old_ones_or_neither() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"capacity": 1}));
    let id = held(&mut book, &room, 1, 3);
    let other = confirmed(&mut book, &room, 6, 6);
    book.edit(&id, json!({"start_date": "2027-01-02", "end_date": "2027-01-04"})).unwrap();
    assert_eq!(reserved(&book, &room, 7), [0, 1, 1, 1, 0, 1, 0]);
    no_room(book.edit(&id, json!({"end_date": "2027-01-06", "notes": "longer"})));
    assert_eq!(reserved(&book, &room, 7), [0, 1, 1, 1, 0, 1, 0]);
    assert_eq!((book.version(&id), book.field(&id, "notes")), (2, json!("")));
    // A change of the notes needs no room and takes no days, in any status.
    for (id, status) in [(&id, "held"), (&other, "cancelled")] {
        if status == "cancelled" {
            book.edit(id, json!({"status": status})).unwrap();
        }
        book.edit(id, json!({"notes": "n", "metadata": {"k": "v"}})).unwrap();
    }
    assert_eq!(reserved(&book, &room, 7), [0, 1, 1, 1, 0, 0, 0]);
    let body = days(&room, 2, 4, json!({"notes": "put"}));
    book.run(put(Kind::Booking, &id, 3, body)).unwrap();
    bring(&mut book, &id, "in_use");
    book.edit(&id, json!({"end_date": "2027-01-05"})).unwrap();
    assert_eq!(reserved(&book, &room, 7), [0, 1, 1, 1, 1, 0, 0]);
    assert_holds(&book.world);
}

/// Changes of days in each status: the fields that are refused, and the statuses allowed next.
#[test]
fn a_booking_that_is_over_keeps_its_days_and_one_that_has_begun_its_beginning() {
    let all = json!({"start_date": "2027-01-02", "end_date": "2027-01-05", "quantity": 2});
    let three = ["start_date", "end_date", "quantity"];
    for (from, to, changed, fields, allowed) in [
        ("expired", None, all.clone(), &three[..], &["confirmed"][..]),
        ("expired", None, json!({"quantity": 2}), &["quantity"], &["confirmed"]),
        ("cancelled", None, json!({"quantity": 2}), &["quantity"], &[]),
        ("completed", None, json!({"end_date": "2027-01-05"}), &["end_date"], &[]),
        ("no_show", None, all.clone(), &three, &[]),
        ("in_use", None, all.clone(), &["start_date"], &["completed"]),
        ("in_use", Some("completed"), all.clone(), &three, &[]),
        ("held", Some("cancelled"), all.clone(), &three, &["confirmed"]),
        ("confirmed", Some("no_show"), all.clone(), &three, &["in_use", "cancelled"]),
        ("confirmed", Some("in_use"), all.clone(), &[], &[]),
        ("held", None, all.clone(), &[], &[]),
    ] {
        let mut book = Book::default();
        let room = room(&mut book, json!({"hold_ttl_ms": 1_800_000}));
        let id = held(&mut book, &room, 1, 4);
        bring(&mut book, &id, from);
        let body = with(changed, to.map_or(json!({}), |to| json!({"status": to})));
        let context = format!("{from} with {body}");
        let decided = book.edit(&id, body);
        if fields.is_empty() {
            decided.unwrap_or_else(|rejection| panic!("{context}: {rejection:?}"));
        } else {
            let (to, allowed, fields) = (to.unwrap_or(from), allowed.to_vec(), fields.to_vec());
            let expected =
                Rejection::Core(core::Rejection::FixedByStatus { from, to, allowed, fields });
            assert_eq!(decided, Err(expected), "{context}");
        }
        assert_holds(&book.world);
    }
}

/// A wrong range is reported before a stale version is.
#[test]
fn a_wrong_range_is_told_before_a_stale_version() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"max_days": 5}));
    let id = held(&mut book, &room, 2, 4);
    let range = |start: &str, end: &str| json!({"start_date": start, "end_date": end});
    book.edit(&id, range("2027-01-05", "2027-01-06")).unwrap();
    let never = 9;
    for (version, body, expected) in [
        (never, range("2027-01-03", "2027-01-02"), Some("/end_date")),
        (never, range("2027-01-03", "2028-01-05"), Some("/end_date")),
        (never, range("2027-01-03", "2027-01-04"), None),
        (1, range("2027-01-03", "2027-01-02"), Some("/end_date")),
        (1, range("2027-01-03", "2027-01-08"), Some("/end_date")),
        (1, range("2026-12-31", "2027-01-02"), Some("/start_date")),
        (1, json!({"end_date": "2027-01-01"}), Some("/end_date")),
        // Correct for the days of version 1, whatever the current days are.
        (1, json!({"end_date": "2027-01-03"}), None),
        (1, json!({"notes": "n"}), None),
    ] {
        let context = format!("{body} at {version}");
        let replaced = with(days(&room, 2, 4, json!({"notes": "n"})), body.clone());
        for action in
            [patch(Kind::Booking, &id, version, body), put(Kind::Booking, &id, version, replaced)]
        {
            match (book.refused(action), expected) {
                (Rejection::Core(core::Rejection::Conflict(_)), None) => {}
                (Rejection::Core(core::Rejection::Invalid(errors)), Some(path)) => {
                    assert_eq!(errors[0].path, path, "{context}");
                }
                (refused, _) => panic!("{context}: {refused:?}"),
            }
        }
    }
}

#[test]
fn two_changes_of_one_transaction_see_each_other() {
    let mut book = Book::default();
    let room = room(&mut book, json!({}));
    let id = held(&mut book, &room, 20, 22);
    let step = |version, body| match patch(Kind::Booking, &id, version, body) {
        Action::Core(core::Action::Update(update)) => Operation::Update(update),
        other => panic!("{other:?}"),
    };
    // The second change also covers days that neither operation names.
    let operations = vec![
        step(1, json!({"start_date": "2027-01-01", "end_date": "2027-01-02"})),
        step(2, json!({"end_date": "2027-01-08"})),
    ];
    book.run(Action::Core(core::Action::Transact(operations))).unwrap();
    assert_eq!(reserved(&book, &room, 9), [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    assert_holds(&book.world);
}

#[test]
fn a_merge_combines_dates_of_two_versions_only_if_nobody_else_moved_it() {
    let mut book = Book::default();
    let room = room(&mut book, json!({}));
    let id = held(&mut book, &room, 10, 12);
    book.edit(&id, json!({"notes": "theirs"})).unwrap();
    let later = json!({"end_date": "2027-01-14"});
    book.run(merging(patch(Kind::Booking, &id, 1, later.clone()))).unwrap();
    assert_eq!(reserved(&book, &room, 15)[9..], [1, 1, 1, 1, 1, 0]);
    let refused = book.refused(merging(patch(Kind::Booking, &id, 1, json!({"quantity": 2}))));
    assert!(matches!(refused, Rejection::Core(core::Rejection::Conflict(_))), "{refused:?}");
    assert_holds(&book.world);
}

#[test]
fn a_hold_that_is_over_blocks_nobody_swept_or_not() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"capacity": 1, "hold_ttl_ms": 3_600_000}));
    let hold = held(&mut book, &room, 1, 2);
    no_room(book.run(create(Kind::Booking, days(&room, 2, 3, json!({})))));
    book.now = hours_after(book.now, 1);
    let second = held(&mut book, &room, 2, 3);
    assert_eq!(book.field(&hold, "status"), "expired");
    assert_eq!(reserved(&book, &room, 3), [0, 1, 1]);
    let last = book.world.history(&hold).last().unwrap().entry.clone();
    assert_eq!((last.by.actor.as_str(), last.by.source), ("expiry", Source::Worker));
    // An expired hold that nothing has ended yet already reads as expired.
    book.now = hours_after(book.now, 1);
    let bookable_id = room.clone();
    let expire = Action::Booking(booking::Action::ExpireBookings(ExpireBookings { bookable_id }));
    assert_eq!(
        book.run(expire.clone()),
        Ok(Outcome::Booking(booking::Outcome::Expired { more: false }))
    );
    assert_eq!(book.field(&second, "status"), "expired");
    let version = book.version(&second);
    book.run(expire).unwrap();
    assert_eq!(book.version(&second), version, "once");
    assert_eq!(reserved(&book, &room, 3), [0, 0, 0]);
    book.run(Action::Booking(booking::Action::ExpireBookings(ExpireBookings {
        bookable_id: "bkb_none".into(),
    })))
    .unwrap();
    assert_holds(&book.world);
}

/// After an outage many holds may be over. One commit ends a slice; none of them counts.
#[test]
fn a_backlog_of_holds_is_ended_slice_by_slice_and_blocks_nobody() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"capacity": 3, "hold_ttl_ms": 3_600_000}));
    let holds = [1, 2, 1].map(|start| held(&mut book, &room, start, 2));
    let ended = |book: &Book| holds.clone().map(|id| book.field(&id, "status") == "expired");
    book.now = hours_after(book.now, 1);
    no_room(book.run(create(Kind::Booking, days(&room, 2, 2, json!({"quantity": 4})))));
    let two = days(&room, 1, 2, json!({"quantity": 2, "status": "confirmed"}));
    let tried = command(book.fresh_seed(), create(Kind::Booking, two.clone()));
    let mut state = book.world.load(std::slice::from_ref(&tried), book.now);
    decide(&mut state, &tried, book.now).unwrap();
    assert_eq!(state.booking().fullest_days(), [(2, 3)], "expired holds take no room");
    book.make(Kind::Booking, two);
    assert_eq!(ended(&book), [true, false, false], "one per commit in these tests");
    assert_eq!(reserved(&book, &room, 2), [3, 4], "including the two that are not ended yet");
    let full = no_room(book.run(create(Kind::Booking, days(&room, 1, 2, json!({"quantity": 2})))));
    assert_eq!(full.usage.into_values().collect::<Vec<_>>(), [2, 2], "callers do not see them");
    // The confirmed one takes its days anew, and only once.
    book.edit(&holds[2], json!({"status": "confirmed"})).unwrap();
    no_room(book.run(create(Kind::Booking, days(&room, 2, 2, json!({})))));
    let lowered = patch(Kind::Bookable, &room, book.version(&room), json!({"capacity": 2}));
    let rejection = book.refused(lowered);
    assert!(matches!(
        rejection,
        Rejection::Booking(booking::Rejection::CapacityBelowReserved { reserved: 3, .. })
    ));
    let mut slices = 0;
    loop {
        let expire = ExpireBookings { bookable_id: room.clone() };
        slices += 1;
        if book.run(Action::Booking(booking::Action::ExpireBookings(expire)))
            == Ok(Outcome::Booking(booking::Outcome::Expired { more: false }))
        {
            break;
        }
    }
    assert_eq!(slices, 1, "its own end was left for the last commit");
    assert_eq!(ended(&book), [true, true, false]);
    assert_eq!(reserved(&book, &room, 2), [3, 3]);
    assert_holds(&book.world);
}

#[test]
fn confirming_after_the_hold_is_a_new_acquisition() {
    for is_swept in [false, true] {
        let mut book = Book::default();
        let room = room(&mut book, json!({"capacity": 1, "hold_ttl_ms": 3_600_000}));
        let first = held(&mut book, &room, 1, 2);
        book.now = hours_after(book.now, 1);
        if is_swept {
            bring(&mut book, &first, "expired");
        }
        // Its own days are free again for it.
        book.edit(&first, json!({"status": "confirmed"})).unwrap();
        assert_eq!(reserved(&book, &room, 2), [1, 1]);
        assert_eq!(book.field(&first, "ended_at"), json!(null));
        book.edit(&first, json!({"status": "cancelled"})).unwrap();

        let second = held(&mut book, &room, 1, 2);
        book.now = hours_after(book.now, 1);
        if is_swept {
            bring(&mut book, &second, "expired");
            confirmed(&mut book, &room, 2, 2);
        } else {
            // The current capacity counts, not the one at the time of the hold.
            let closed = forcing(patch(Kind::Bookable, &room, 1, json!({"capacity": 0})));
            book.run(closed).unwrap();
            let over = book.version(&second);
            assert_eq!(over, 2, "lowering the capacity ends expired holds");
        }
        let refused = no_room(book.edit(&second, json!({"status": "confirmed"})));
        assert_eq!(refused.phase, BookingPhase::Confirm);
        let cancelled = book.edit(&second, json!({"status": "cancelled"}));
        assert!(matches!(
            cancelled,
            Err(Rejection::Core(core::Rejection::InvalidTransition { from: "expired", .. }))
        ));
        assert_holds(&book.world);
    }
}

/// The hold's days and the day of confirmation. The result equals that of a fresh booking.
#[test]
fn a_hold_that_is_over_is_not_confirmed_for_days_that_are_past() {
    for (start, end, today, path) in [
        (1, 2, 1, None),
        (1, 2, 2, Some("/start_date")),
        (2, 4, 3, Some("/start_date")),
        (2, 4, 9, Some("/start_date")),
    ] {
        for is_swept in [false, true] {
            let mut book = Book::default();
            let room = room(&mut book, json!({"hold_ttl_ms": 3_600_000}));
            let id = held(&mut book, &room, start, end);
            book.now = at(&format!("2027-01-{today:02}T02:00:00Z"));
            if is_swept {
                let expire = ExpireBookings { bookable_id: room.clone() };
                book.run(Action::Booking(booking::Action::ExpireBookings(expire))).unwrap();
            }
            let confirmed = book.edit(&id, json!({"status": "confirmed"}));
            let fresh = book.run(create(Kind::Booking, days(&room, start, end, json!({}))));
            match path {
                None => assert!(confirmed.is_ok() && fresh.is_ok()),
                Some(path) => {
                    let Err(Rejection::Core(core::Rejection::Invalid(errors))) = &confirmed else {
                        panic!("{today}: {confirmed:?}");
                    };
                    assert_eq!(errors[0].path, path);
                    assert_eq!(confirmed, fresh, "same as a fresh booking");
                    // It can still be moved to later days.
                    let later = days(&room, 10, 11, json!({"status": "confirmed"}));
                    let later = with(later, json!({"bookable_id": room}));
                    book.edit(&id, later).unwrap();
                }
            }
            assert_holds(&book.world);
        }
    }
}

#[test]
fn capacity_goes_below_what_is_reserved_only_by_force_and_the_excess_drains() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"capacity": 5}));
    let many = book.make(Kind::Booking, days(&room, 2, 3, json!({"quantity": 4})));
    let one = confirmed(&mut book, &room, 3, 3);
    let expected = Rejection::Booking(booking::Rejection::CapacityBelowReserved {
        capacity: 3,
        reserved: 5,
        first_conflict_date: "2027-01-02".parse().unwrap(),
    });
    assert_eq!(book.edit(&room, json!({"capacity": 3})), Err(expected));
    book.edit(&room, json!({"name": "Other"})).unwrap();
    let lower = |version| patch(Kind::Bookable, &room, version, json!({"capacity": 3}));
    book.run(previewing(forcing(lower(2)))).unwrap();
    assert_eq!(book.world.audits, [], "a preview leaves no trace");
    book.run(forcing(lower(2))).unwrap();
    let audit = book.world.audits[0].clone();
    assert_eq!(
        (audit.audit_type.as_str(), audit.reason.as_deref()),
        ("capacity_override", Some("chargeback"))
    );
    assert_eq!(audit.changes[0].path, "/capacity");
    assert_eq!(reserved(&book, &room, 4), [0, 4, 5, 0], "existing bookings stay");
    // A change that needs no more room is never refused. One that does sees the new capacity.
    book.edit(&room, json!({"notes": 1})).unwrap_err();
    book.edit(&room, json!({"name": "Still below"})).unwrap();
    book.edit(&many, json!({"quantity": 3})).unwrap();
    book.edit(&many, json!({"status": "confirmed"})).unwrap();
    no_room(book.edit(&one, json!({"end_date": "2027-01-04", "quantity": 2})));
    book.edit(&one, json!({"end_date": "2027-01-04"})).unwrap();
    no_room(book.run(create(Kind::Booking, days(&room, 2, 2, json!({})))));
    book.edit(&many, json!({"status": "cancelled"})).unwrap();
    book.edit(&room, json!({"capacity": 1})).unwrap();
    // Bookings that are over do not count.
    book.now = at("2027-01-05T00:00:00Z");
    book.edit(&room, json!({"capacity": 0})).unwrap();
    assert_eq!(book.world.audits.len(), 1);
    assert_holds(&book.world);
}

#[test]
fn an_archived_bookable_keeps_its_bookings_and_takes_no_more() {
    let mut book = Book::default();
    let room = room(&mut book, json!({}));
    let id = held(&mut book, &room, 1, 3);
    book.edit(&room, json!({"status": "archived"})).unwrap();
    let unavailable = Rejection::Booking(booking::Rejection::BookableUnavailable {
        bookable_id: room.clone(),
        status: "archived",
    });
    let body = days(&room, 5, 5, json!({}));
    assert_eq!(book.refused(create(Kind::Booking, body)), unavailable);
    assert_eq!(book.edit(&id, json!({"end_date": "2027-01-04"})), Err(unavailable));
    book.edit(&id, json!({"end_date": "2027-01-02"})).unwrap();
    bring(&mut book, &id, "completed");
    assert_holds(&book.world);
}

#[test]
fn what_was_booked_once_is_not_deleted_and_only_what_is_over_can_be() {
    let mut book = Book::default();
    let room = room(&mut book, json!({}));
    let free = book.make(Kind::Bookable, json!({"name": "Free", "capacity": 1}));
    book.run(delete(Kind::Bookable, &free, 1)).unwrap();
    for status in ["held", "confirmed", "in_use"] {
        let id = held(&mut book, &room, 1, 1);
        bring(&mut book, &id, status);
        let refused = book.refused(delete(Kind::Booking, &id, book.version(&id)));
        assert!(matches!(
            refused,
            Rejection::Core(core::Rejection::InvalidTransition { to: "deleted", .. })
        ));
        let end = match status {
            "in_use" => "completed",
            _ => "cancelled",
        };
        book.edit(&id, json!({"status": end})).unwrap();
        book.run(delete(Kind::Booking, &id, book.version(&id))).unwrap();
    }
    let refused = book.refused(delete(Kind::Bookable, &room, 1));
    assert_eq!(refused, Rejection::Booking(booking::Rejection::BookableInUse));
    assert_eq!(reserved(&book, &room, 1), [1], "a day that was used stays used");
    assert_holds(&book.world);
}

#[test]
fn a_hold_that_is_over_is_deleted_swept_or_not_and_gives_its_days_back() {
    for is_swept in [false, true] {
        let mut book = Book::default();
        let room = room(&mut book, json!({"hold_ttl_ms": 3_600_000}));
        // A second expired hold, so that `id` may be left for a later commit.
        let _ = held(&mut book, &room, 1, 2);
        let id = held(&mut book, &room, 1, 2);
        book.refused(delete(Kind::Booking, &id, 1));
        book.now = hours_after(book.now, 1);
        let expire = Action::Booking(booking::Action::ExpireBookings(ExpireBookings {
            bookable_id: room.clone(),
        }));
        if is_swept {
            book.run(expire.clone()).unwrap();
            book.run(expire.clone()).unwrap();
        }
        let version = book.version(&id);
        let deleted = match book.run(delete(Kind::Booking, &id, version)).unwrap() {
            Outcome::Core(core::Outcome::Deleted { deleted, forced: false }) => deleted,
            other => panic!("a tombstone was expected: {other:?}"),
        };
        assert_eq!((deleted.last_version, deleted.deleted_by.as_str()), (2, "alice"));
        let by: Vec<_> = book.world.history(&id).map(|event| &event.entry.by.actor).collect();
        assert_eq!(by, ["alice", "expiry", "alice"]);
        book.run(expire).unwrap();
        assert_eq!(reserved(&book, &room, 2), [0, 0]);
        assert_holds(&book.world);
    }
}

#[test]
fn wrong_fields_are_named() {
    let mut book = Book::at("2027-01-02T23:59:59Z");
    let room = room(&mut book, json!({"min_days": 2, "max_days": 4, "horizon_days": 20}));
    let gone = book.make(Kind::Bookable, json!({"name": "Gone", "capacity": 1}));
    book.run(delete(Kind::Bookable, &gone, 1)).unwrap();
    let id = book.make(Kind::Booking, days(&room, 2, 5, json!({"user_id": "ann"})));
    for (start, end, changed, path) in [
        (1, 3, json!({}), "/start_date"),
        (5, 4, json!({}), "/end_date"),
        (5, 5, json!({}), "/end_date"),
        (5, 9, json!({}), "/end_date"),
        (22, 23, json!({}), "/end_date"),
        (5, 6, json!({"start_date": "2027-02-29"}), "/start_date"),
        (5, 6, json!({"start_date": "2027-1-5"}), "/start_date"),
        (5, 6, json!({"end_date": "9999-12-31"}), "/end_date"),
        (5, 6, json!({"end_date": 7}), "/end_date"),
        (5, 6, json!({"end_date": null}), "/end_date"),
        (5, 6, json!({"end_date": "2028-01-07"}), "/end_date"),
        (5, 6, json!({"quantity": null}), "/quantity"),
        (5, 6, json!({"quantity": 0}), "/quantity"),
        (5, 6, json!({"quantity": -1}), "/quantity"),
        (5, 6, json!({"quantity": 1.5}), "/quantity"),
        (5, 6, json!({"quantity": 1_000_000_001_i64}), "/quantity"),
        (5, 6, json!({"user_id": "x".repeat(201)}), "/user_id"),
        (5, 6, json!({"notes": "x".repeat(10_001)}), "/notes"),
        (5, 6, json!({"status": "in_use"}), "/status"),
        (5, 6, json!({"status": "gone"}), "/status"),
        (5, 6, json!({"bookable_id": gone}), "/bookable_id"),
        (5, 6, json!({"bookable_id": "bkb_00000000000000000000000000000000"}), "/bookable_id"),
        (5, 6, json!({"confirmed_at": TODAY}), "/confirmed_at"),
    ] {
        let body = days(&room, start, end, changed.clone());
        assert_eq!(wrong_field(book.refused(create(Kind::Booking, body))), path, "{changed}");
    }
    let mut unsaid = days(&room, 5, 6, json!({}));
    unsaid.as_object_mut().unwrap().remove("quantity");
    for action in [create(Kind::Booking, unsaid.clone()), put(Kind::Booking, &id, 1, unsaid)] {
        assert_eq!(wrong_field(book.refused(action)), "/quantity");
    }
    let other = json!({"bookable_id": id});
    let body = days(&room, 5, 6, other);
    let refused = book.refused(create(Kind::Booking, body));
    assert!(matches!(
        refused,
        Rejection::Core(core::Rejection::WrongIdType { expected_prefix: "bkb_", .. })
    ));
    for (changed, path) in [
        (json!({"bookable_id": gone}), "/bookable_id"),
        (json!({"quantity": null}), "/quantity"),
        (json!({"user_id": "bob"}), "/user_id"),
        (json!({"user_id": null}), "/user_id"),
        (json!({"start_date": "2027-01-01"}), "/start_date"),
    ] {
        assert_eq!(wrong_field(book.edit(&id, changed.clone()).unwrap_err()), path, "{changed}");
    }
    // A start that was valid stays valid when it is in the past.
    book.edit(&id, json!({"status": "confirmed"})).unwrap();
    book.now = at("2027-01-04T00:00:00Z");
    book.edit(&id, json!({"end_date": "2027-01-04"})).unwrap();
    assert_eq!(
        wrong_field(book.edit(&id, json!({"end_date": "2027-01-03"})).unwrap_err()),
        "/end_date"
    );
    for (changed, path) in [
        (json!({"capacity": -1}), "/capacity"),
        (json!({"capacity": 1_000_001}), "/capacity"),
        (json!({"min_days": 0}), "/min_days"),
        (json!({"min_days": 5}), "/min_days"),
        (json!({"max_days": 367}), "/max_days"),
        (json!({"hold_ttl_ms": 0}), "/hold_ttl_ms"),
        (json!({"hold_ttl_ms": 2_592_000_001_i64}), "/hold_ttl_ms"),
        (json!({"horizon_days": 3_651}), "/horizon_days"),
        (json!({"time_zone": ""}), "/time_zone"),
        (json!({"time_zone": "Europe/Nowhere"}), "/time_zone"),
        (json!({"time_zone": "europe/berlin"}), "/time_zone"),
        (json!({"time_zone": "CEST"}), "/time_zone"),
        (json!({"time_zone": "+02:00"}), "/time_zone"),
        (json!({"time_zone": "Etc/Unknown"}), "/time_zone"),
        (json!({"time_zone": "../Europe/Berlin"}), "/time_zone"),
        (json!({"name": ""}), "/name"),
    ] {
        assert_eq!(wrong_field(book.edit(&room, changed.clone()).unwrap_err()), path, "{changed}");
    }
    assert_holds(&book.world);
}

/// Today is judged where the bookable is, with the changes of its clocks.
#[test]
fn a_booking_starts_today_in_the_time_zone_of_its_bookable_or_later() {
    for (zone, now, today) in [
        ("UTC", "2027-01-10T23:59:59Z", 10),
        ("Asia/Tokyo", "2027-01-10T14:59:59Z", 10),
        ("Asia/Tokyo", "2027-01-10T15:00:00Z", 11),
        ("Pacific/Kiritimati", "2027-01-10T10:00:00Z", 11),
        ("America/Los_Angeles", "2027-01-11T07:59:59Z", 10),
        ("America/Los_Angeles", "2027-01-11T08:00:00Z", 11),
        ("Asia/Kathmandu", "2027-01-10T18:15:00Z", 11),
    ] {
        let mut book = Book::at(now);
        let room = room(&mut book, json!({"time_zone": zone, "capacity": 9}));
        let late = create(Kind::Booking, days(&room, today - 1, today + 1, json!({})));
        assert_eq!(wrong_field(book.refused(late)), "/start_date", "{zone} {now}");
        let id = held(&mut book, &room, today, today + 1);
        let earlier = format!("2027-01-{:02}", today - 1);
        let moved = book.edit(&id, json!({"start_date": earlier}));
        assert_eq!(wrong_field(moved.unwrap_err()), "/start_date", "{zone} {now}");
        // An early return gives back the days after today there.
        book.edit(&id, json!({"status": "confirmed"})).unwrap();
        book.edit(&id, json!({"status": "in_use"})).unwrap();
        book.edit(&id, json!({"status": "completed"})).unwrap();
        let until = book.world.bookings[&id].record.taken_until.to_string();
        assert_eq!(until, format!("2027-01-{:02}", today + 1), "{zone} {now}");
        // Days before today there do not keep the capacity up.
        book.edit(&room, json!({"time_zone": "UTC"})).unwrap();
        assert_holds(&book.world);
    }
    // Clocks go forward in Berlin on 28 March 2027: its midnight is an hour earlier in UTC.
    for (now, is_refused) in [("2027-03-28T22:00:00Z", true), ("2027-03-28T21:59:59Z", false)] {
        let mut book = Book::at(now);
        let room = room(&mut book, json!({"time_zone": "Europe/Berlin"}));
        let body = json!({"bookable_id": room, "start_date": "2027-03-28", "quantity": 1,
            "end_date": "2027-03-30"});
        assert_eq!(book.run(create(Kind::Booking, body)).is_err(), is_refused, "{now}");
    }
}

#[test]
fn a_capacity_is_kept_up_by_days_from_today_on_where_the_bookable_is() {
    for (zone, is_refused) in [("UTC", false), ("America/Los_Angeles", true)] {
        let mut book = Book::at("2027-01-10T12:00:00Z");
        let room = room(&mut book, json!({"time_zone": zone, "hold_ttl_ms": 864_000_000}));
        held(&mut book, &room, 10, 10);
        book.now = at("2027-01-11T01:00:00Z");
        let lowered = book.edit(&room, json!({"capacity": 0}));
        assert_eq!(lowered.is_err(), is_refused, "{zone}");
    }
}

#[test]
fn commands_of_one_batch_share_the_last_room() {
    let mut book = Book::default();
    let room = room(&mut book, json!({"capacity": 3, "hold_ttl_ms": 3_600_000}));
    held(&mut book, &room, 1, 3);
    book.now = hours_after(book.now, 2);
    let batch: Vec<_> = (0..8)
        .map(|n: u8| {
            let body = days(&room, 1 + n % 2, 3, json!({}));
            command(book.fresh_seed(), create(Kind::Booking, body))
        })
        .collect();
    let mut apart = book.world.clone();
    let decided = book.world.carry_out(&batch, book.now);
    assert_eq!(decided.iter().filter(|decided| decided.is_ok()).count(), 3);
    for (command, decided) in batch.iter().zip(&decided) {
        let alone = apart.carry_out(std::slice::from_ref(command), book.now).remove(0);
        assert_eq!(alone, *decided);
    }
    assert_eq!(apart, book.world);
    assert_holds(&book.world);
}

/// A booking in the reference.
#[derive(Clone, Debug)]
struct Simple {
    id: String,
    start: Date,
    end: Date,
    quantity: i64,
    status: Status,
    hold_ends: Timestamp,
    /// The last day that counts, for a booking that is completed or a no-show.
    last: Option<Date>,
}

/// All bookings in a list. Every question is answered by going through the list.
struct Reference {
    capacity: i64,
    bookings: Vec<Simple>,
}

impl Simple {
    fn status_at(&self, now: Timestamp) -> Status {
        if self.status == Status::Held && self.hold_ends <= now {
            Status::Expired
        } else {
            self.status
        }
    }

    fn takes(&self, day: Date, now: Timestamp) -> i64 {
        let counts = (self.start..=self.end).contains(&day)
            && match self.status_at(now) {
                Status::Held | Status::Confirmed | Status::InUse => true,
                Status::Completed | Status::NoShow => self.last.is_some_and(|last| day <= last),
                Status::Expired | Status::Cancelled => false,
                Status::Unknown(name) => panic!("no rule enters {name}"),
            };
        if counts { self.quantity } else { 0 }
    }
}

impl Reference {
    fn reserved(&self, day: Date, now: Timestamp, but: Option<usize>) -> i64 {
        let others = self.bookings.iter().enumerate().filter(|(place, _)| Some(*place) != but);
        others.map(|(_, booking)| booking.takes(day, now)).sum()
    }

    /// Whether a booking fits, in place of the one at `place` if given.
    fn fits(&self, wanted: &Simple, place: Option<usize>, now: Timestamp) -> bool {
        let mut days = wanted.start.days_before(wanted.end.plus_days(1).unwrap());
        days.all(|day| {
            let had = place.map_or(0, |place| self.bookings[place].takes(day, now));
            let takes = wanted.takes(day, now);
            takes <= had || self.reserved(day, now, place) + takes <= self.capacity
        })
    }
}

/// The expected result of a step: accepted, or the start of the rejection's name.
type Expected = Result<(), &'static str>;

/// Carries out one random step on both and compares the results.
fn step(book: &mut Book, reference: &mut Reference, room: &str, raw: [u8; 4]) -> bool {
    let [op, a, b, c] = raw;
    let (now, today) = (book.now, Date::of(book.now));
    let on = |days: u8| today.plus_days(i64::from(days)).unwrap();
    let place = usize::from(a) % reference.bookings.len().max(1);
    let target = reference.bookings.get(place).cloned();
    let (expected, decided): (Expected, Decided) = match (op % 16, target) {
        (0..=3, _) => {
            let mut wanted = Simple {
                id: String::new(),
                start: on(a % 6),
                end: on(a % 6 + b % 4),
                quantity: i64::from(c % 3) + 1,
                status: if b >= 128 { Status::Confirmed } else { Status::Held },
                hold_ends: hours_after(now, 20),
                last: None,
            };
            let body = json!({"bookable_id": room, "start_date": wanted.start, "end_date": wanted.end,
                "quantity": wanted.quantity, "status": wanted.status.name()});
            let fits = reference.fits(&wanted, None, now);
            let decided = book.run(create(Kind::Booking, body));
            if let Ok(Outcome::Core(core::Outcome::Object(made))) = &decided {
                wanted.id.clone_from(&made.id);
                reference.bookings.push(wanted);
            }
            (if fits { Ok(()) } else { Err("NoRoom") }, decided)
        }
        (4..=8, Some(target)) => {
            let to = Status::ALL[usize::from(b) % Status::ALL.len()];
            let from = target.status_at(now);
            use Status::{Cancelled, Completed, Confirmed, Expired, Held, InUse, NoShow};
            let follows = matches!(
                (from, to),
                (Held, Confirmed | Cancelled)
                    | (Confirmed, InUse | NoShow | Cancelled)
                    | (InUse, Completed)
                    | (Expired, Confirmed)
            );
            let mut after = Simple { status: to, ..target.clone() };
            if matches!(to, Completed | NoShow) {
                after.last = Some(today);
            }
            let expected = if book.field(&target.id, "status") == to.name() {
                Ok(())
            } else if !follows {
                Err("InvalidTransition")
            } else if from == Expired && target.start < today {
                Err("Invalid")
            } else if !reference.fits(&after, Some(place), now) {
                Err("NoRoom")
            } else {
                reference.bookings[place] = after;
                Ok(())
            };
            (expected, book.edit(&target.id, json!({"status": to.name()})))
        }
        (9..=11, Some(target)) => {
            let moved = Simple {
                start: if op % 2 == 0 { on(b % 6) } else { target.start },
                end: on(b % 6 + c % 4),
                quantity: if c % 3 == 0 { i64::from(c % 5) + 1 } else { target.quantity },
                ..target.clone()
            };
            let status = target.status_at(now);
            let is_same = (moved.start, moved.end, moved.quantity)
                == (target.start, target.end, target.quantity);
            let goes_on = matches!(status, Status::Held | Status::Confirmed | Status::InUse);
            let expected = if is_same {
                Ok(())
            } else if moved.end < moved.start {
                Err("Invalid")
            } else if !goes_on || (status == Status::InUse && moved.start != target.start) {
                Err("FixedByStatus")
            } else if !reference.fits(&moved, Some(place), now) {
                Err("NoRoom")
            } else {
                reference.bookings[place] = moved.clone();
                Ok(())
            };
            let body = json!({"start_date": moved.start, "end_date": moved.end,
                "quantity": moved.quantity});
            (expected, book.edit(&target.id, body))
        }
        (12, _) => {
            book.now = hours_after(now, i64::from(a) % 30);
            return true;
        }
        (13, _) => {
            let capacity = i64::from(a % 7);
            let lowered = capacity < reference.capacity
                && (0..400)
                    .any(|n| reference.reserved(today.plus_days(n).unwrap(), now, None) > capacity);
            let is_forced = b % 3 == 0;
            let mut change =
                patch(Kind::Bookable, room, book.version(room), json!({"capacity": capacity}));
            if is_forced {
                change = forcing(change);
            }
            let expected =
                if lowered && !is_forced { Err("CapacityBelowReserved") } else { Ok(()) };
            if expected.is_ok() {
                reference.capacity = capacity;
            }
            (expected, book.run(change))
        }
        (14, _) => {
            let bookable_id = room.to_owned();
            (
                Ok(()),
                book.run(Action::Booking(booking::Action::ExpireBookings(ExpireBookings {
                    bookable_id,
                }))),
            )
        }
        (_, Some(target)) => (Ok(()), book.edit(&target.id, json!({"notes": format!("{c}")}))),
        (_, None) => return true,
    };
    let named = decided.as_ref().map(|_| ()).map_err(variant_name);
    match (&expected, &named) {
        (Ok(()), Ok(())) => {}
        (Err(expected), Err(named)) => assert_eq!(named, expected),
        _ => panic!("{raw:?}: {expected:?} was expected, not {named:?}"),
    }
    expected.is_ok()
}

/// Compares every day. Expired holds are subtracted from the book first.
fn assert_same(book: &Book, reference: &Reference) {
    let mut ours: BTreeMap<Date, i64> =
        book.world.booking_days.values().map(|day| (day.day, day.reserved)).collect();
    for row in book.world.bookings.values() {
        let (record, booking) = (&row.record, &row.record.booking);
        let is_over = booking.hold_expires_at <= Some(book.now);
        if booking.status == Status::Held && is_over {
            for day in booking.start_date.days_before(record.taken_until) {
                *ours.entry(day).or_default() -= booking.quantity;
            }
        }
    }
    for (day, reserved) in ours {
        assert_eq!(reserved, reference.reserved(day, book.now, None), "{day}");
    }
}

fn walk(raws: Vec<[u8; 4]>) -> (usize, usize) {
    let mut book = Book::default();
    let ttl = 20 * 3_600_000_i64;
    let room = room(&mut book, json!({"capacity": 4, "hold_ttl_ms": ttl}));
    let mut reference = Reference { capacity: 4, bookings: Vec::new() };
    let mut accepted = 0;
    let count = raws.len();
    for raw in raws {
        accepted += usize::from(step(&mut book, &mut reference, &room, raw));
        assert_same(&book, &reference);
    }
    assert_holds(&book.world);
    (accepted, count)
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn days_are_what_a_list_of_bookings_says(raws in vec(any::<[u8; 4]>(), 1..60)) {
        walk(raws);
    }
}

/// A walk with only refusals, or with none, would prove little.
#[test]
fn the_random_steps_are_accepted_and_refused() {
    let mut runner = TestRunner::deterministic();
    let raws = vec(any::<[u8; 4]>(), 800).new_tree(&mut runner).unwrap().current();
    let (accepted, count) = walk(raws);
    assert!(accepted > count / 4 && accepted < count * 19 / 20, "{accepted} of {count}");
}
