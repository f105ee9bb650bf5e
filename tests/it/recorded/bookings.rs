//! Clients that book, hold, confirm and cancel days of one room.

use super::{
    capacity::{Call, End, Listed, Outcome, Recorded, check},
    client::{Client, Sent},
    operation::assert_none,
    stage::{Disturbances, Stage},
};
use crate::harness::{Api, day, id};
use serde_json::{Value, json};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

pub const CLIENTS: usize = 5;
const OPERATIONS: usize = 40;
const CAPACITY: i64 = 3;
/// The number of days that are booked.
const DAYS: u32 = 6;
/// Days from today to the first one. The date may change during the race.
const AHEAD: i64 = 10;
const TTL: Duration = Duration::from_millis(250);

pub async fn race(mut stage: Stage, disturbances: Disturbances) {
    let api = stage.server().api();
    let ttl_ms = i64::try_from(TTL.as_millis()).expect("a short time");
    let room = api.make_bookable(json!({"capacity": CAPACITY, "hold_ttl_ms": ttl_ms})).await;
    let dates: Arc<[String]> = (0..i64::from(DAYS)).map(|n| day(AHEAD + n)).collect();
    let (room, for_clients) = (id(&room).to_owned(), Arc::clone(&dates));
    let history: Vec<Recorded> = stage
        .play(OPERATIONS, disturbances, |client| {
            use_room(client, room.clone(), Arc::clone(&for_clients))
        })
        .await;
    // Waits until all remaining holds have expired.
    tokio::time::sleep(TTL).await;
    let end = end(&stage.server().api(), &room, &dates).await;
    assert_none("the room", check(&history, &end));
    let api = stage.server().api();
    for (place, date) in (0..DAYS).zip(dates.iter()) {
        let left = CAPACITY - end.counted[&place];
        assert_eq!(fill(&api, &room, date).await, left, "{date}: free places can be booked");
    }
}

async fn use_room(mut client: Client, room: String, dates: Arc<[String]>) -> Vec<Recorded> {
    let mut mine: Vec<(String, i64, bool)> = Vec::new();
    let mut done = Vec::new();
    for _ in 0..OPERATIONS {
        if !mine.is_empty() && client.random.u8(..100) < 45 {
            let (booking, quantity, is_hold) = mine.swap_remove(client.random.usize(..mine.len()));
            let confirms = is_hold && client.random.bool();
            done.push(end_one(&mut client, booking, quantity, confirms).await);
            continue;
        }
        let operation = book(&mut client, &room, &dates).await;
        if let (Call::Take { quantity, ttl, .. }, Outcome::Done { id, .. }) =
            (&operation.call, &operation.outcome)
        {
            mine.push((id.clone(), *quantity, ttl.is_some()));
        }
        done.push(operation);
    }
    done
}

async fn book(client: &mut Client, room: &str, dates: &[String]) -> Recorded {
    let token = client.token();
    let first = client.random.u32(..DAYS);
    let places = first..(first + client.random.u32(1..=3)).min(DAYS);
    let quantity = client.random.i64(1..=2);
    let confirm = client.random.bool();
    let date = |place: u32| &dates[usize::try_from(place).expect("a small number")];
    let body = json!({"bookable_id": room, "quantity": quantity, "confirm": confirm,
        "start_date": date(places.start), "end_date": date(places.end - 1), "notes": token});
    let sent = client.send("POST", Some(&token), |api| api.post("/v1/bookings", &body)).await;
    let outcome = outcome(&sent);
    let ttl = (!confirm).then(|| u64::try_from(TTL.as_nanos()).expect("a short time"));
    Recorded::of(client, &sent, Call::Take { token, places, quantity, ttl }, outcome)
}

async fn end_one(client: &mut Client, id: String, quantity: i64, confirms: bool) -> Recorded {
    let token = client.token();
    let status = if confirms { "confirmed" } else { "cancelled" };
    let body = json!({"version": 1, "status": status});
    let path = format!("/v1/bookings/{id}");
    let sent = client.send("PATCH", Some(&token), |api| api.patch(&path, &body)).await;
    let outcome = match outcome(&sent) {
        // A hold cannot be confirmed or cancelled only if it is over.
        Outcome::Denied => Outcome::Over,
        other => other,
    };
    let call = match confirms {
        true => Call::Keep { id, quantity },
        false => Call::GiveBack { id, quantity },
    };
    Recorded::of(client, &sent, call, outcome)
}

fn outcome(sent: &Sent) -> Outcome {
    let Some(answer) = sent.answer.clone() else { return Outcome::Maybe };
    match answer.status {
        200 | 201 => Outcome::Done { id: id(&answer.body).to_owned(), level: None },
        // An earlier send may still be running, and may find room where this one did not.
        _ if sent.was_repeated => Outcome::Maybe,
        _ => match answer.body["code"].as_str() {
            Some("AVAILABILITY_CONFLICT") => Outcome::Denied,
            Some("HOLD_EXPIRED" | "CONFLICT_VERSION_MISMATCH" | "INVALID_STATE_TRANSITION") => {
                Outcome::Over
            }
            _ => panic!("an unexpected answer: {answer:?}"),
        },
    }
}

/// Books a day until it is full. Returns the number of bookings made.
async fn fill(api: &Api, room: &str, date: &str) -> i64 {
    let body = json!({"bookable_id": room, "start_date": date, "end_date": date,
        "quantity": 1, "confirm": true});
    for filled in 0..=CAPACITY {
        let answer = api.post("/v1/bookings", &body).await;
        if answer.status != 201 {
            answer.problem(409, "AVAILABILITY_CONFLICT");
            return filled;
        }
    }
    CAPACITY + 1
}

/// The server's final state.
async fn end(api: &Api, room: &str, dates: &[String]) -> End {
    let place = |date: &Value| {
        let at = dates.iter().position(|known| date == known).expect("one of the days");
        u32::try_from(at).expect("a small number")
    };
    let bookings = api.list(&format!("/v1/bookings?bookable_id={room}")).await;
    let listed = bookings.iter().map(|booking| {
        let places: Range<u32> = place(&booking["start_date"])..place(&booking["end_date"]) + 1;
        let token = booking["notes"].as_str().map(str::to_owned);
        // Every hold has expired, whether or not it is stored as expired.
        let quantity = match booking["status"].as_str() {
            Some("confirmed") => booking["quantity"].as_i64().expect("a number"),
            _ => 0,
        };
        (id(booking).to_owned(), Listed { token, places, quantity })
    });
    let (first, last) = (&dates[0], &dates[dates.len() - 1]);
    let path = format!("/v1/bookables/{room}/availability?from={first}&to={last}");
    let free = api.get(&path).await.ok(200);
    let days = free["days"].as_array().expect("days are a list");
    let counted =
        days.iter().map(|day| (place(&day["date"]), day["reserved"].as_i64().expect("a number")));
    let counted: BTreeMap<u32, i64> = counted.collect();
    End { capacity: CAPACITY, lists_holds: true, listed: listed.collect(), counted }
}
