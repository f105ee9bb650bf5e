//! Clients that use, hold and give back units of two features with limits.

use super::{
    capacity::{Call, End, Listed, Outcome, Recorded, check, forget},
    client::{Client, Sent},
    linear::{Counted, Counter, beginning, is_linearizable},
    operation::assert_none,
    stage::{Disturbances, Stage},
};
use crate::harness::{Answer, Api};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub const CLIENTS: usize = 6;
const OPERATIONS: usize = 45;
const LIMIT: i64 = 25;
/// Maximum number of operations in the search for an order.
const LINEAR_MAX: usize = 60;
/// The TTL of holds. Some expire before their client returns to them.
const TTL: Duration = Duration::from_millis(250);
const ONLY_PLACE: std::ops::Range<u32> = 0..1;

/// Units of one feature that a scope may use.
struct Pool {
    scope: String,
    feature: String,
    /// Whether clients hold units of it too.
    holds: bool,
}

pub async fn race(mut stage: Stage, disturbances: Disturbances) {
    let api = stage.server().api();
    let mut pools = Vec::new();
    for holds in [false, true] {
        let (scope, feature) = api.make_entitled(LIMIT).await;
        pools.push(Pool { scope, feature, holds });
    }
    let pools: Arc<[Pool]> = pools.into();
    let played =
        stage.play(OPERATIONS, disturbances, |client| use_units(client, Arc::clone(&pools))).await;
    // Waits until all remaining holds have expired.
    tokio::time::sleep(TTL).await;
    let api = stage.server().api();
    let mut histories: BTreeMap<usize, Vec<Recorded>> = BTreeMap::new();
    for (pool, operation) in played {
        histories.entry(pool).or_default().push(operation);
    }
    for (at, pool) in pools.iter().enumerate() {
        let history = histories.remove(&at).unwrap_or_default();
        let end = end(&api, pool).await;
        assert_none(&pool.feature, check(&history, &end));
        let left = LIMIT - end.counted[&0];
        assert_eq!(fill(&api, pool).await, left, "{}: free units can be used", pool.feature);
        if !pool.holds {
            let steps = steps(history);
            assert!(is_linearizable(&steps), "{}: no order explains {steps:#?}", pool.feature);
        }
    }
}

/// A take of this client that it has not given back.
struct Mine {
    pool: usize,
    id: String,
    quantity: i64,
    is_hold: bool,
}

async fn use_units(mut client: Client, pools: Arc<[Pool]>) -> Vec<(usize, Recorded)> {
    let mut mine: Vec<Mine> = Vec::new();
    let mut done = Vec::new();
    for _ in 0..OPERATIONS {
        if !mine.is_empty() && client.random.u8(..100) < 45 {
            let taken = mine.swap_remove(client.random.usize(..mine.len()));
            let operation = end_one(&mut client, &pools[taken.pool], &taken).await;
            done.push((taken.pool, operation));
            continue;
        }
        let at = client.random.usize(..pools.len());
        let is_hold = pools[at].holds && client.random.bool();
        let quantity = client.random.i64(1..=4);
        let operation = take(&mut client, &pools[at], quantity, is_hold).await;
        if let Outcome::Done { id, .. } = &operation.outcome {
            mine.push(Mine { pool: at, id: id.clone(), quantity, is_hold });
        }
        done.push((at, operation));
    }
    done
}

async fn take(client: &mut Client, pool: &Pool, quantity: i64, is_hold: bool) -> Recorded {
    let token = client.token();
    let Pool { scope, feature, .. } = pool;
    let (path, body) = if is_hold {
        let ttl_ms = i64::try_from(TTL.as_millis()).expect("a short time");
        let body = json!({"feature": feature, "quantity": quantity, "ttl_ms": ttl_ms});
        (format!("/v1/{scope}/usage/holds"), body)
    } else {
        let metadata = json!({"token": token});
        let body = json!({"feature": feature, "quantity": quantity, "metadata": metadata});
        (format!("/v1/{scope}/usage"), body)
    };
    let sent = client.send("POST", Some(&token), |api| api.post(&path, &body)).await;
    let outcome = outcome(&sent, "id");
    let ttl = is_hold.then(|| u64::try_from(TTL.as_nanos()).expect("a short time"));
    let call = Call::Take { token, places: ONLY_PLACE, quantity, ttl };
    Recorded::of(client, &sent, call, outcome)
}

/// Settles or releases a hold, or reverses part of a record.
async fn end_one(client: &mut Client, pool: &Pool, taken: &Mine) -> Recorded {
    let token = client.token();
    let Mine { id, quantity, is_hold, .. } = taken;
    let usage = format!("/v1/{}/usage", pool.scope);
    let some = client.random.i64(1..=*quantity);
    if *is_hold && client.random.u8(..100) < 40 {
        let path = format!("{usage}/holds/{id}/release");
        let sent = client.send("POST", Some(&token), |api| api.post(&path, &json!({}))).await;
        let call = Call::GiveBack { id: id.clone(), quantity: *quantity };
        let outcome = outcome(&sent, "id");
        return Recorded::of(client, &sent, call, outcome);
    }
    let (path, call, id_name) = if *is_hold {
        let call = Call::Keep { id: id.clone(), quantity: some };
        (format!("{usage}/holds/{id}/settle"), call, "record_id")
    } else {
        let call = Call::GiveBack { id: id.clone(), quantity: some };
        (format!("{usage}/{id}/reversals"), call, "id")
    };
    let body = json!({"quantity": some});
    let sent = client.send("POST", Some(&token), |api| api.post(&path, &body)).await;
    let outcome = outcome(&sent, id_name);
    Recorded::of(client, &sent, call, outcome)
}

fn outcome(sent: &Sent, id_name: &str) -> Outcome {
    let Some(answer) = sent.answer.clone() else { return Outcome::Maybe };
    match answer.status {
        200 | 201 => {
            let count = |name: &str| answer.body[name].as_i64().expect("a meter counts");
            let level = Some(count("used") + count("held"));
            let id = answer.body[id_name].as_str().expect("an id").to_owned();
            Outcome::Done { id, level }
        }
        // An earlier send may still be running, and may find room where this one did not.
        _ if sent.was_repeated => Outcome::Maybe,
        403 => {
            answer.exceeded();
            Outcome::Denied
        }
        _ => {
            answer.problem(409, "HOLD_NOT_ACTIVE");
            Outcome::Over
        }
    }
}

/// The server's final state.
async fn end(api: &Api, pool: &Pool) -> End {
    let number = |value: &Value| value.as_i64().expect("a number");
    let records = api.list(&format!("/v1/{}/usage", pool.scope)).await;
    let listed = records.iter().map(|record| {
        let listed = Listed {
            token: record["metadata"]["token"].as_str().map(str::to_owned),
            places: ONLY_PLACE,
            quantity: number(&record["quantity"]) - number(&record["reversed"]),
        };
        (record["id"].as_str().expect("an id").to_owned(), listed)
    });
    let (used, held) = api.counted(&pool.scope, &pool.feature).await;
    let counted = BTreeMap::from([(0, used + held)]);
    End { capacity: LIMIT, lists_holds: false, listed: listed.collect(), counted }
}

/// Uses units until none are left. Returns their number.
async fn fill(api: &Api, pool: &Pool) -> i64 {
    for filled in 0..=LIMIT {
        let answer: Answer = api.spend(&pool.scope, &pool.feature, 1).await;
        if answer.status != 201 {
            answer.exceeded();
            return filled;
        }
    }
    LIMIT + 1
}

/// The first operations of a history without holds, as steps of a counter.
fn steps(history: Vec<Recorded>) -> Vec<(u64, u64, Counter)> {
    let step = |operation: Recorded| {
        let ended = match operation.outcome {
            Outcome::Done { level, .. } => Counted::Used(level.expect("a meter counts")),
            Outcome::Denied | Outcome::Over => Counted::Denied,
            Outcome::Maybe => Counted::Unknown,
        };
        let step = match operation.call {
            Call::Take { quantity, .. } => Counter::Record { quantity, limit: LIMIT, ended },
            Call::Keep { quantity, .. } | Call::GiveBack { quantity, .. } => {
                Counter::Reverse { quantity, ended }
            }
        };
        (operation.invoked_at, operation.returned_at, step)
    };
    beginning(history, LINEAR_MAX, forget).into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_send_of_a_denied_repeat_may_be_applied_after_the_denial() {
        let operation = |invoked_at, returned_at, call, outcome| Recorded {
            client: 0,
            invoked_at,
            returned_at,
            call,
            outcome,
        };
        let take =
            |quantity| Call::Take { token: String::new(), places: ONLY_PLACE, quantity, ttl: None };
        let done = |level| Outcome::Done { id: String::new(), level: Some(level) };
        let history = vec![
            operation(0, 1, take(LIMIT), done(LIMIT)),
            operation(2, 5, take(1), Outcome::Maybe),
            operation(6, 7, Call::GiveBack { id: String::new(), quantity: 1 }, done(LIMIT - 1)),
            operation(8, 9, take(1), Outcome::Denied),
        ];
        assert!(!is_linearizable(&steps(history.clone())), "it did not end with the denial");
        let open = history.into_iter().map(Recorded::without_end_if_unknown);
        assert!(is_linearizable(&steps(open.collect())));
    }
}
