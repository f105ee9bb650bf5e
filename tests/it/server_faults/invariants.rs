//! What holds for every server, whatever was retried, duplicated, lost or killed.

use crate::{
    harness::{
        Api, Server, eventually, id,
        panel::{Call, On, Panel, Trouble},
    },
    servers::{Shop, timeline, verify},
};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// The credits of each shop's workspace at first.
pub const CREDITS: i64 = 10_000;
/// The price of a server.
pub const PRICE: i64 = 3;
/// The statuses that no server keeps once the panel is healthy.
const RESTLESS: [&str; 3] = ["provisioning", "pending_reconciliation", "deprovisioning"];
/// The longest time in which no server comes to rest.
const REST_MAX: Duration = Duration::from_secs(28);

/// Waits until every server is at rest, and asserts that nobody was charged without a server and
/// nobody has one without a charge. Returns all servers.
///
/// The panel must be healthy, and every server of the database one of these shops'.
pub async fn assert_all_is_right(server: &Server, panel: &Panel, shops: &[Shop]) -> Vec<Value> {
    let api = server.api();
    come_to_rest(&api, panel).await;
    let all = api.list("/v1/servers").await;
    let calls = panel.calls_of(On::Create);
    let refused = certainly_refused(&calls);
    let reservations = reservations(&api, shops).await;
    for now in &all {
        let (id, status) = (id(now), now["status"].as_str().unwrap());
        let what = format!("{status} {id}");
        let reservation = now["reservation_id"].as_str().unwrap();
        let expected = if became_active(now) { "posted" } else { "voided" };
        assert_eq!(reservations[reservation], expected, "{what}");
        assert_eq!(panel.server(id).is_some(), status == "active", "{what}");
        assert!(panel.rows_made_of(id) <= 1, "{what} was made twice");
        let repeatable = refused.get(id).copied().unwrap_or_default();
        assert!(panel.creates_of(id) <= 1 + repeatable, "the create of {what} was sent again");
    }
    let active = all.iter().filter(|now| now["status"] == "active").count();
    assert_eq!(panel.servers().len(), active, "each row of the panel is an active server's");
    for shop in shops {
        let theirs = all.iter().filter(|now| now["workspace_id"] == shop.workspace);
        let bought = i64::try_from(theirs.filter(|now| became_active(now)).count()).unwrap();
        assert_eq!(shop.credits(&api).await, (CREDITS - PRICE * bought, 0));
    }
    verify(server).await;
    all
}

/// An active server never becomes failed, and only an active one is deleted.
fn became_active(now: &Value) -> bool {
    now["status"] == "active" || now["status"] == "deleted"
}

/// The status of each reservation.
async fn reservations(api: &Api, shops: &[Shop]) -> HashMap<String, Value> {
    let mut all = HashMap::new();
    for shop in shops {
        let path = format!("/v1/workspaces/{}/credits/reservations", shop.workspace);
        let theirs = api.list(&path).await;
        all.extend(theirs.iter().map(|one| (id(one).to_owned(), one["status"].clone())));
    }
    all
}

/// How many creates of each server were refused in a way that allows to send it again.
fn certainly_refused(calls: &[Call]) -> HashMap<&str, usize> {
    let mut refused = HashMap::new();
    for call in calls {
        let is_refused = matches!(
            call.trouble,
            Some(Trouble::Unauthorized | Trouble::Forbidden | Trouble::Throttle { .. })
        );
        if let Some(external_id) = call.external_id.as_deref().filter(|_| is_refused) {
            *refused.entry(external_id).or_default() += 1;
        }
    }
    refused
}

/// Waits until nothing is left to do for any server but to watch it.
async fn come_to_rest(api: &Api, panel: &Panel) {
    let mut fewest = (usize::MAX, Instant::now());
    eventually_in_the_end("no server is on its way", async || {
        let mut left = Vec::new();
        for status in RESTLESS {
            left.extend(api.list(&format!("/v1/servers?status={status}")).await);
        }
        expect_progress(api, &mut fewest, &left).await
    })
    .await;
    fewest = (usize::MAX, Instant::now());
    eventually_in_the_end("every server is as the panel has it", async || {
        let mut left = api.list("/v1/servers").await;
        left.retain(|now| match now["status"].as_str() {
            Some("active") => now["suspended"] != now["suspended_on_panel"],
            // One that appeared after its failure is deleted.
            Some("failed") => panel.server(id(now)).is_some() || !now["remote_id"].is_null(),
            _ => false,
        });
        expect_progress(api, &mut fewest, &left).await
    })
    .await;
}

/// Waits as long as there is progress: each wait has the deadline of [`eventually`].
async fn eventually_in_the_end(what: &str, mut progress: impl AsyncFnMut() -> Option<bool>) {
    while !eventually(what, &mut progress).await {}
}

/// Whether no server is left; `None` if none has come to rest since.
async fn expect_progress(api: &Api, fewest: &mut (usize, Instant), left: &[Value]) -> Option<bool> {
    if left.len() < fewest.0 {
        *fewest = (left.len(), Instant::now());
        return Some(left.is_empty());
    }
    if fewest.1.elapsed() > REST_MAX {
        let stuck = &left[0];
        panic!("{} servers are stuck: {stuck} {:#?}", left.len(), timeline(api, stuck).await);
    }
    None
}
