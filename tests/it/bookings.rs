//! Bookings: no day is overbooked, under concurrent callers and expiring holds.

use crate::harness::{
    Answer, Api, Server, both_databases, day, eventually, id, postgres_only, together, unique,
    version, with,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

both_databases![
    today_is_judged_in_the_time_zone_of_the_bookable,
    a_booking_goes_from_its_hold_to_its_end,
    a_full_day_is_told_day_by_day,
    of_many_attempts_at_once_exactly_the_capacity_is_admitted,
    a_hold_that_is_over_blocks_nobody,
    a_hold_that_is_over_is_ended_by_itself,
    confirming_after_the_hold_takes_the_days_again_or_not_at_all,
    a_change_takes_the_new_days_or_leaves_everything,
    capacity_goes_below_what_is_reserved_by_force_only_and_on_record,
    what_is_free_is_told_day_by_day,
    a_refused_booking_is_one_line_in_the_log_and_counted,
    wrong_fields_are_named,
    a_booked_thing_cannot_be_deleted_nor_a_booking_that_goes_on,
    an_archived_bookable_takes_no_more,
    a_transaction_books_all_or_nothing,
    a_booking_by_the_sdk_is_a_booking,
];
postgres_only![attempts_on_two_servers_at_once_admit_exactly_the_capacity];

fn path(booking: &Value) -> String {
    format!("/v1/bookings/{}", id(booking))
}

fn days(bookable: &Value, start: i64, end: i64, members: Value) -> Value {
    let usual = json!({"bookable_id": id(bookable), "start_date": day(start), "end_date": day(end),
        "quantity": 1});
    with(usual, &members)
}

async fn book(api: &Api, bookable: &Value, start: i64, end: i64, members: Value) -> Answer {
    api.post("/v1/bookings", &days(bookable, start, end, members)).await
}

/// The reserved counts per day from `from` on, as availability reports them.
async fn reserved(api: &Api, bookable: &Value, from: i64, to: i64) -> Vec<i64> {
    let path = format!("/v1/bookables/{}/availability", id(bookable));
    let free = api.get(&format!("{path}?from={}&to={}", day(from), day(to))).await.ok(200);
    let days = free["days"].as_array().expect("days").iter();
    days.map(|day| day["reserved"].as_i64().unwrap()).collect()
}

async fn a_booking_goes_from_its_hold_to_its_end(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({})).await;
    let defaults = json!({"range_mode": "inclusive_days", "min_days": 1, "max_days": 366,
        "hold_ttl_ms": 900_000, "horizon_days": 3650, "status": "active", "metadata": {},
        "time_zone": "UTC"});
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&room[field], value, "bookable.{field}");
    }
    let held = book(&api, &room, 0, 2, json!({"user_id": "ann"})).await.ok(201);
    assert_eq!((&held["status"], &held["quantity"]), (&json!("held"), &json!(1)));
    assert!(held["hold_expires_at"].as_str() > held["created_at"].as_str(), "{held}");
    for absent in ["confirmed_at", "cancelled_at", "ended_at"] {
        assert!(held[absent].is_null(), "{held}");
    }
    let confirmed = api.change("bookings", &held, json!({"status": "confirmed"})).await;
    assert!(confirmed["confirmed_at"].is_string() && confirmed["hold_expires_at"].is_null());
    let skipped = json!({"version": 2, "status": "completed"});
    let refused = api.patch(&path(&held), &skipped).await;
    let refused = refused.problem(409, "INVALID_STATE_TRANSITION");
    assert_eq!(refused["allowed"], json!(["in_use", "no_show", "cancelled"]));
    api.change("bookings", &held, json!({"status": "in_use"})).await;
    assert_eq!(reserved(&api, &room, 0, 3).await, [1, 1, 1, 0]);
    let done = api.change("bookings", &held, json!({"status": "completed"})).await;
    assert!(done["ended_at"].is_string(), "{done}");
    assert_eq!(reserved(&api, &room, 0, 3).await, [1, 0, 0, 0], "the rest was given back");
    assert_eq!(api.history(&path(&held)).await.len(), 4);
    let at_once = book(&api, &room, 5, 5, json!({"confirm": true})).await.ok(201);
    assert_eq!(at_once["status"], "confirmed");
    assert_eq!(book(&api, &room, 5, 5, json!({"confirm": false})).await.ok(201)["status"], "held");
    for (filter, count) in [
        (format!("bookable_id={}", id(&room)), 3),
        ("status=confirmed".to_owned(), 1),
        ("user_id=ann".to_owned(), 1),
        (format!("start_date={}", day(5)), 2),
        (format!("end_date={}", day(2)), 1),
    ] {
        let found = api.list(&format!("/v1/bookings?{filter}&sort=-start_date")).await;
        assert_eq!(found.len(), count, "{filter}: {found:?}");
    }
    api.get("/v1/bookings?start_date=soon").await.invalid("?start_date");
}

async fn a_full_day_is_told_day_by_day(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"hold_ttl_ms": 120_000})).await;
    book(&api, &room, 11, 12, json!({})).await.ok(201);
    book(&api, &room, 12, 13, json!({})).await.ok(201);
    let refused = book(&api, &room, 10, 13, json!({"user_id": "ann"})).await;
    let mut refused = refused.problem(409, "AVAILABILITY_CONFLICT");
    let usage =
        Map::from_iter([(10, 0), (11, 1), (12, 2), (13, 1)].map(|(n, used)| (day(n), json!(used))));
    assert_eq!(refused["retry"], json!({"action": "none", "after_ms": 120_000}));
    let members = refused.as_object_mut().unwrap();
    for member in ["type", "title", "status", "detail", "code", "request_id", "retry"] {
        members.remove(member).expect("every problem has this member");
    }
    let expected = json!({"bookable_id": id(&room), "start_date": day(10), "end_date": day(13),
        "requested": 1, "capacity": 2, "usage": usage, "first_conflict_date": day(12)});
    assert_eq!(refused, expected);
    let more = book(&api, &room, 20, 20, json!({"quantity": 3})).await;
    assert_eq!(more.problem(409, "AVAILABILITY_CONFLICT")["requested"], 3);
    assert_eq!(reserved(&api, &room, 10, 13).await, [0, 1, 2, 1], "nothing was taken");
}

/// Races bookings around one scarce day and checks the outcome of each.
async fn rush(apis: &[Api]) {
    let capacity = 5;
    let room = apis[0].make_bookable(json!({"capacity": capacity})).await;
    let answers = together(32, |n| {
        let (api, room) = (apis[n % apis.len()].clone(), room.clone());
        let (back, on) = (i64::try_from(n % 3).unwrap(), i64::try_from(n % 2).unwrap());
        async move {
            let members = json!({"confirm": n % 2 == 0, "user_id": format!("user-{n}")});
            book(&api, &room, 20 - back, 20 + on, members).await
        }
    })
    .await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), capacity, "exactly the capacity");
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        let refused = refused.clone().problem(409, "AVAILABILITY_CONFLICT");
        assert_eq!(refused["usage"][day(20)], capacity, "{refused}");
    }
    let all = reserved(&apis[0], &room, 18, 21).await;
    assert_eq!(all[2], 5, "{all:?}");
    let ids: BTreeSet<&str> = made.iter().map(|answer| id(&answer.body)).collect();
    for booking in &ids {
        let path = format!("/v1/bookings/{booking}");
        let cancel = json!({"version": 1, "status": "cancelled"});
        apis[0].patch(&path, &cancel).await.ok(200);
    }
    assert_eq!(reserved(&apis[0], &room, 18, 21).await, [0; 4], "everything was given back");
}

async fn of_many_attempts_at_once_exactly_the_capacity_is_admitted(server: Server) {
    rush(&[server.api()]).await;
}

async fn attempts_on_two_servers_at_once_admit_exactly_the_capacity(server: Server) {
    let second = server.sibling().await;
    for _ in 0..5 {
        rush(&[server.api(), second.api()]).await;
    }
}

async fn a_hold_that_is_over_blocks_nobody(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"capacity": 1, "hold_ttl_ms": 1})).await;
    let mut last = book(&api, &room, 1, 3, json!({})).await.ok(201);
    // Far more repetitions than sweeps run in that time.
    for _ in 0..30 {
        let next = eventually("the hold is over", async || {
            let answer = book(&api, &room, 1, 3, json!({})).await;
            (answer.status == 201).then_some(answer.body)
        })
        .await;
        let before = api.read("bookings", &last).await;
        assert_eq!(before["status"], "expired", "{before}");
        last = next;
    }
    let entry = api.history(&path(&last)).await;
    assert_eq!(entry[0]["kind"], "created");
}

async fn a_hold_that_is_over_is_ended_by_itself(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"hold_ttl_ms": 50})).await;
    let held = book(&api, &room, 1, 2, json!({})).await.ok(201);
    let expired = eventually("the hold is ended", async || {
        let now = api.read("bookings", &held).await;
        (now["status"] == "expired").then_some(now)
    })
    .await;
    assert!(expired["ended_at"].is_string(), "{expired}");
    let history = api.history(&path(&held)).await;
    assert_eq!(history.len(), 2);
    let by = json!({"actor": "expiry", "key_id": null, "on_behalf_of": null, "source": "worker",
        "forced": false});
    assert_eq!(history[1]["by"], by);
    assert_eq!(reserved(&api, &room, 1, 2).await, [0, 0]);
}

async fn confirming_after_the_hold_takes_the_days_again_or_not_at_all(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"capacity": 1, "hold_ttl_ms": 1})).await;
    let first = book(&api, &room, 1, 2, json!({})).await.ok(201);
    // A sweep may end the hold in between, which makes a version of its own.
    let confirmed = eventually("it is confirmed", async || {
        let now = api.read("bookings", &first).await;
        let confirm = json!({"version": version(&now), "status": "confirmed"});
        let answer = api.patch(&path(&first), &confirm).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert!(confirmed["ended_at"].is_null(), "{confirmed}");
    assert_eq!(reserved(&api, &room, 1, 2).await, [1, 1]);
    let second = book(&api, &room, 4, 5, json!({})).await.ok(201);
    let taken = eventually("the hold is over", async || {
        let answer = book(&api, &room, 5, 5, json!({"confirm": true})).await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    let now = api.read("bookings", &second).await;
    let confirm = json!({"version": version(&now), "status": "confirmed"});
    let refused = api.patch(&path(&second), &confirm).await.problem(409, "HOLD_EXPIRED");
    assert_eq!(refused["usage"], Value::from_iter([(day(4), 0), (day(5), 1)]));
    assert_eq!(refused["first_conflict_date"], day(5));
    let other_days = json!({"version": version(&now), "end_date": day(6)});
    let fixed = api.patch(&path(&second), &other_days).await;
    let fixed = fixed.problem(409, "INVALID_STATE_TRANSITION");
    let expected = json!({"from": "expired", "to": "expired", "allowed": ["confirmed"],
        "fields": ["end_date"], "detail": "end_date cannot change while the status is expired; \
        possible instead: confirmed"});
    assert_eq!(with(fixed.clone(), &expected), fixed);
    api.change("bookings", &taken, json!({"status": "cancelled"})).await;
    api.patch(&path(&second), &confirm).await.ok(200);
    assert_eq!(reserved(&api, &room, 4, 5).await, [1, 1]);
}

async fn a_change_takes_the_new_days_or_leaves_everything(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"capacity": 1})).await;
    let first = book(&api, &room, 1, 3, json!({})).await.ok(201);
    book(&api, &room, 6, 6, json!({})).await.ok(201);
    let longer = json!({"version": 1, "end_date": day(6), "notes": "longer"});
    let refused = api.patch(&path(&first), &longer).await;
    let refused = refused.problem(409, "AVAILABILITY_CONFLICT");
    assert_eq!(
        refused["usage"][day(2)],
        0,
        "its own days do not count as used by others: {refused}"
    );
    assert_eq!(api.read("bookings", &first).await, first);
    api.change("bookings", &first, json!({"start_date": day(3), "end_date": day(5)})).await;
    assert_eq!(reserved(&api, &room, 1, 6).await, [0, 0, 1, 1, 1, 1]);
    api.change("bookings", &first, json!({"notes": "n", "metadata": {"k": "v"}})).await;
    api.change("bookings", &first, json!({"status": "cancelled"})).await;
    assert_eq!(reserved(&api, &room, 1, 6).await, [0, 0, 0, 0, 0, 1]);
    let again = json!({"version": 4, "quantity": 2});
    let refused = api.patch(&path(&first), &again).await.problem(409, "INVALID_STATE_TRANSITION");
    let expected = json!({"from": "cancelled", "to": "cancelled", "allowed": [],
        "fields": ["quantity"]});
    assert_eq!(with(refused.clone(), &expected), refused);
}

async fn capacity_goes_below_what_is_reserved_by_force_only_and_on_record(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"capacity": 3})).await;
    let held = book(&api, &room, 2, 3, json!({"quantity": 3})).await.ok(201);
    let room_path = format!("/v1/bookables/{}", id(&room));
    let lower = json!({"version": 1, "capacity": 1});
    let refused = api.patch(&room_path, &lower).await.problem(409, "CAPACITY_BELOW_RESERVED");
    assert_eq!((&refused["capacity"], &refused["reserved"]), (&json!(1), &json!(3)));
    assert_eq!(refused["first_conflict_date"], day(2));
    assert!(api.audit("capacity_override", id(&room)).await.is_empty());
    let forced = api.patch(&format!("{room_path}?force=true"), &lower);
    let answer = forced.header("X-Force-Reason", "burst pipe").await.ok(200);
    assert_eq!(answer["capacity"], 1);
    let records = api.audit("capacity_override", id(&room)).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["reason"], "burst pipe");
    assert_eq!(records[0]["changes"], json!([{"path": "/capacity", "from": 3, "to": 1}]));
    book(&api, &room, 3, 3, json!({})).await.problem(409, "AVAILABILITY_CONFLICT");
    assert_eq!(reserved(&api, &room, 2, 3).await, [3, 3], "existing bookings stay");
    api.change("bookings", &held, json!({"quantity": 2})).await;
    api.change("bookings", &held, json!({"status": "cancelled"})).await;
    book(&api, &room, 3, 3, json!({})).await.ok(201);
}

async fn what_is_free_is_told_day_by_day(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"range_mode": "nights", "hold_ttl_ms": 1})).await;
    book(&api, &room, 1, 3, json!({"confirm": true})).await.ok(201);
    let path = format!("/v1/bookables/{}/availability", id(&room));
    let free = api.get(&format!("{path}?from={}&to={}", day(1), day(3))).await.ok(200);
    assert!(free["as_of"].is_string(), "{free}");
    let on = |n, reserved: i64| {
        json!({"date": day(n), "capacity": 2, "reserved": reserved,
        "available": 2 - reserved})
    };
    assert_eq!(free["days"], json!([on(1, 1), on(2, 1), on(3, 0)]));
    // An expired hold is not reserved, even before it is ended.
    book(&api, &room, 2, 3, json!({})).await.ok(201);
    eventually("the hold is over", async || {
        (reserved(&api, &room, 1, 3).await == [1, 1, 0]).then_some(())
    })
    .await;
    for (query, parameter) in [
        (format!("from={}", day(1)), "?to"),
        (format!("to={}", day(1)), "?from"),
        (format!("from={}&to={}", day(2), day(1)), "?to"),
        (format!("from={}&to={}", day(0), day(366)), "?to"),
        (format!("from=2027-02-29&to={}", day(1)), "?from"),
        (format!("from={}&to={}&day=1", day(0), day(1)), "?day"),
    ] {
        api.get(&format!("{path}?{query}")).await.invalid(parameter);
    }
    let year = api.get(&format!("{path}?from={}&to={}", day(0), day(365))).await.ok(200);
    assert_eq!(year["days"].as_array().unwrap().len(), 366);
    let nothing = "/v1/bookables/bkb_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f/availability";
    let query = format!("from={}&to={}", day(0), day(1));
    api.get(&format!("{nothing}?{query}")).await.problem(404, "NOT_FOUND");
    let free = api.make_bookable(json!({})).await;
    api.delete(&format!("/v1/bookables/{}", id(&free))).if_match(1).await.ok(200);
    let gone = format!("/v1/bookables/{}/availability?{query}", id(&free));
    api.get(&gone).await.problem(410, "DELETED");
}

/// The log lines about bookings that were refused for lack of capacity.
fn warnings(server: &Server) -> Vec<Value> {
    let lines = server.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == "booking.capacity_exceeded").collect()
}

async fn a_refused_booking_is_one_line_in_the_log_and_counted(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"capacity": 1})).await;
    let first = book(&api, &room, 1, 1, json!({})).await.ok(201);
    book(&api, &room, 2, 2, json!({})).await.ok(201);
    let body = days(&room, 1, 2, json!({"user_id": "ann", "quantity": 1}));
    let refused = api.post("/v1/bookings", &body).header("X-Request-Id", "the-request").await;
    refused.problem(409, "AVAILABILITY_CONFLICT");
    let longer = json!({"version": 1, "end_date": day(2)});
    api.patch(&path(&first), &longer).await.problem(409, "AVAILABILITY_CONFLICT");
    let operation = json!({"op": "create", "type": "booking", "body": body});
    let transaction = api.post("/v1/transactions", &json!({"operations": [operation]})).await;
    let refused = transaction.problem(409, "AVAILABILITY_CONFLICT");
    assert_eq!(refused["failed_index"], 0, "{refused}");
    let found = eventually("three lines are written", async || {
        let found = warnings(&server);
        (found.len() >= 3).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 3, "{found:?}");
    let warning = &found[0];
    assert_eq!((&warning["level"], &warning["message"]), (&json!("WARN"), &warning["event"]));
    let expected = json!({"bookable_id": id(&room), "start_date": day(1), "end_date": day(2),
        "user_id": "ann", "requested": 1, "capacity": 1, "phase": "create",
        "request_id": "the-request"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&warning[name], value, "{name} in {warning}");
    }
    assert_eq!(warning["usage"], Value::from_iter([(day(1), 1), (day(2), 1)]));
    assert_eq!(found[1]["phase"], "change");
    assert_eq!(found[1].get("user_id"), Some(&Value::Null), "no user was named: {}", found[1]);
    assert_eq!(found[2]["user_id"], "ann");
    let metrics = api.get("/metrics").await.is(200).text;
    for sample in [
        "ifmatch_booking_conflicts_total{phase=\"create\"} 2",
        "ifmatch_booking_conflicts_total{phase=\"change\"} 1",
        "ifmatch_booking_occupancy_ratio_count 2",
    ] {
        assert!(metrics.contains(sample), "{sample} in {metrics}");
    }
}

async fn wrong_fields_are_named(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({"max_days": 5, "horizon_days": 30, "min_days": 2})).await;
    let mut cases = vec![
        (days(&room, -1, 1, json!({})), "/start_date"),
        (days(&room, 3, 1, json!({})), "/end_date"),
        (days(&room, 3, 3, json!({})), "/end_date"),
        (days(&room, 3, 9, json!({})), "/end_date"),
        (days(&room, 30, 31, json!({})), "/end_date"),
        (days(&room, 1, 2, json!({"start_date": "2027-02-30"})), "/start_date"),
        (days(&room, 1, 2, json!({"end_date": "2027-2-3"})), "/end_date"),
        (days(&room, 1, 2, json!({"end_date": "9999-12-31"})), "/end_date"),
        (days(&room, 1, 2, json!({"bookable_id": "bkb_none"})), "/bookable_id"),
        (days(&room, 1, 2, json!({"status": "in_use"})), "/status"),
        (days(&room, 1, 2, json!({"confirm": "yes"})), "/confirm"),
        (days(&room, 1, 2, json!({"confirm": true, "status": "held"})), "/confirm"),
        (days(&room, 1, 2, json!({"hold_expires_at": null})), "/hold_expires_at"),
        (days(&room, 1, 2, json!({"user_id": "x".repeat(201)})), "/user_id"),
        (json!({"bookable_id": id(&room), "end_date": day(1), "quantity": 1}), "/start_date"),
        (days(&room, 1, 2, json!({"quantity": null})), "/quantity"),
    ];
    let mut unsaid = days(&room, 1, 2, json!({}));
    unsaid.as_object_mut().unwrap().remove("quantity");
    cases.push((unsaid.clone(), "/quantity"));
    for quantity in [json!(0), json!(-1), json!(1.5), json!(1e30), json!("1"), json!(2_000_000_000)]
    {
        cases.push((days(&room, 1, 2, json!({"quantity": quantity})), "/quantity"));
    }
    for (body, field) in cases {
        api.post("/v1/bookings", &body).await.invalid(field);
    }
    assert!(api.list("/v1/bookings").await.is_empty());
    let booking = book(&api, &room, 1, 2, json!({})).await.ok(201);
    // The range is checked before the version, which is wrong here too.
    for (start, end) in [(3, 2), (3, 400)] {
        let change = json!({"version": 9, "start_date": day(start), "end_date": day(end)});
        api.patch(&path(&booking), &change).await.invalid("/end_date");
    }
    for (change, field) in [
        (json!({"version": 1, "bookable_id": "bkb_other"}), "/bookable_id"),
        (json!({"version": 1, "user_id": "bob"}), "/user_id"),
        (json!({"version": 1, "confirm": true}), "/confirm"),
        (json!({"version": 1, "start_date": day(-1)}), "/start_date"),
        (json!({"version": 1, "quantity": null}), "/quantity"),
    ] {
        api.patch(&path(&booking), &change).await.invalid(field);
    }
    api.put(&path(&booking), &unsaid).if_match(1).await.invalid("/quantity");
    assert_eq!(api.read("bookings", &booking).await, booking);
    for (change, field) in [
        (json!({"version": 1, "capacity": 1_000_001}), "/capacity"),
        (json!({"version": 1, "min_days": 6}), "/min_days"),
        (json!({"version": 1, "max_days": 367}), "/max_days"),
        (json!({"version": 1, "hold_ttl_ms": 0}), "/hold_ttl_ms"),
        (json!({"version": 1, "range_mode": "weeks"}), "/range_mode"),
    ] {
        api.patch(&format!("/v1/bookables/{}", id(&room)), &change).await.invalid(field);
    }
}

async fn a_booked_thing_cannot_be_deleted_nor_a_booking_that_goes_on(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({})).await;
    let booking = book(&api, &room, 1, 2, json!({})).await.ok(201);
    let refused = api.delete(&path(&booking)).if_match(1).await;
    assert_eq!(refused.problem(409, "INVALID_STATE_TRANSITION")["to"], "deleted");
    api.change("bookings", &booking, json!({"status": "cancelled"})).await;
    api.delete(&path(&booking)).if_match(2).await.ok(200);
    let room_path = format!("/v1/bookables/{}", id(&room));
    api.delete(&room_path).if_match(1).await.problem(409, "BOOKABLE_IN_USE");
}

async fn an_archived_bookable_takes_no_more(server: Server) {
    let api = server.api();
    let room = api.make_bookable(json!({})).await;
    let booking = book(&api, &room, 1, 2, json!({})).await.ok(201);
    api.change("bookables", &room, json!({"status": "archived"})).await;
    book(&api, &room, 1, 2, json!({})).await.problem(409, "BOOKABLE_UNAVAILABLE");
    let longer = json!({"version": 1, "end_date": day(3)});
    api.patch(&path(&booking), &longer).await.problem(409, "BOOKABLE_UNAVAILABLE");
    api.change("bookings", &booking, json!({"status": "confirmed"})).await;
}

async fn a_transaction_books_all_or_nothing(server: Server) {
    let api = server.api();
    let (one, two) = (api.make_bookable(json!({})).await, api.make_bookable(json!({})).await);
    let create = |room: &Value, quantity: i64| {
        let body = days(room, 1, 2, json!({"confirm": true, "quantity": quantity}));
        json!({"op": "create", "type": "booking", "body": body})
    };
    let refused = api
        .post("/v1/transactions", &json!({"operations": [create(&one, 1), create(&two, 3)]}))
        .await;
    assert_eq!(refused.problem(409, "AVAILABILITY_CONFLICT")["failed_index"], 1);
    assert_eq!(reserved(&api, &one, 1, 2).await, [0, 0]);
    let made = api
        .post("/v1/transactions", &json!({"operations": [create(&one, 1), create(&two, 2)]}))
        .await
        .ok(200);
    assert_eq!(made["results"][1]["body"]["status"], "confirmed", "{made}");
    assert_eq!(reserved(&api, &two, 1, 2).await, [2, 2]);
    // Both bookables in one transaction, in either order: no deadlock.
    let answers = together(16, |n| {
        let (api, rooms) = (api.clone(), [one.clone(), two.clone()]);
        let operations: Vec<Value> = (0..2)
            .map(|k| {
                let body = days(&rooms[(n + k) % 2], 10, 11, json!({}));
                json!({"op": "create", "type": "booking", "body": body})
            })
            .collect();
        async move { api.post("/v1/transactions", &json!({"operations": operations})).await.status }
    })
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 2, "{answers:?}");
}

async fn a_booking_by_the_sdk_is_a_booking(server: Server) {
    let billing = ifmatch::Client::builder(server.url()).key(server.api().key()).build().unwrap();
    let fields = ifmatch::BookableFields {
        name: "Room".into(),
        capacity: 1,
        ..ifmatch::BookableFields::default()
    };
    let room = billing.bookables().create(fields).await.unwrap();
    let (start, end) = (day(1).parse().unwrap(), day(2).parse().unwrap());
    let fields = ifmatch::BookingFields::new(room.id.clone(), start, end, 1);
    let held = billing.bookings().create(fields.clone()).await.unwrap();
    let confirm = |booking: &mut ifmatch::Booking| {
        booking.status = ifmatch::BookingStatus::Confirmed;
    };
    let confirmed = billing.bookings().update(&held.id, confirm).await.unwrap();
    assert_eq!(confirmed.status, ifmatch::BookingStatus::Confirmed);
    let refused = billing.bookings().create(fields).await.unwrap_err();
    assert_eq!(refused.code(), Some(ifmatch::Code::AvailabilityConflict));
    assert!(!refused.is_conflict() && !refused.is_retryable(), "it is an answer: {refused}");
}

/// At any instant it is tomorrow on Kiritimati (UTC+14) when it is still today on Niue (UTC-11).
async fn today_is_judged_in_the_time_zone_of_the_bookable(server: Server) {
    let api = server.api();
    let date_in = |zone: &str, days: i64| {
        // A fixed offset, so that the test does not depend on the machine's time zones.
        let hours = if zone == "Pacific/Kiritimati" { 14 } else { -11 };
        let there = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours + 24 * days);
        there.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
    };
    for zone in ["Pacific/Kiritimati", "Pacific/Niue"] {
        let room = api.make_bookable(json!({"time_zone": zone})).await;
        assert_eq!(room["time_zone"], zone);
        let book = |day: String| {
            json!({"bookable_id": id(&room), "start_date": day, "end_date": date_in(zone, 2),
                "quantity": 1})
        };
        let body = book(date_in(zone, -1));
        let late = api.post("/v1/bookings", &body).key(&unique("late")).await;
        let late = late.problem(422, "VALIDATION_FAILED");
        assert_eq!(late["errors"][0]["path"], "/start_date");
        assert!(late["errors"][0]["message"].as_str().unwrap().contains(zone), "{late}");
        let body = book(date_in(zone, 0));
        api.post("/v1/bookings", &body).key(&unique("today")).await.ok(201);
        let path = format!("/v1/bookables/{}", id(&room));
        let wish = json!({"version": 1, "time_zone": "Mars/Olympus"});
        let refused = api.patch(&path, &wish).await.problem(422, "VALIDATION_FAILED");
        assert_eq!(refused["errors"][0]["path"], "/time_zone");
        let moved = api.patch(&path, &json!({"version": 1, "time_zone": "Europe/Berlin"}));
        assert_eq!(moved.await.ok(200)["time_zone"], "Europe/Berlin");
    }
}
