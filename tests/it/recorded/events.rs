//! The stream of events, followed while everything happens, and as it is in the end.

use super::operation::Violations;
use crate::harness::Api;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub seq: i64,
    pub resource: String,
    pub version: i64,
}

/// What is wrong with what a reader saw, given the whole stream.
pub fn check(followed: &[Event], whole: &[Event]) -> Violations {
    let mut found = Violations::new();
    for (name, events) in [("followed", followed), ("whole", whole)] {
        for pair in events.windows(2) {
            if pair[1].seq <= pair[0].seq {
                found.push(format!("{name}: {:?} comes after {:?}", pair[1], pair[0]));
            }
        }
        let mut latest: BTreeMap<&str, i64> = BTreeMap::new();
        for event in events {
            let latest = latest.entry(&event.resource).or_default();
            if event.version != *latest + 1 {
                found.push(format!("{name}: {event:?} follows version {latest}"));
            }
            *latest = event.version;
        }
    }
    let seen: BTreeMap<i64, &Event> = followed.iter().map(|event| (event.seq, event)).collect();
    for event in whole {
        if seen.get(&event.seq) != Some(&event) {
            found.push(format!("{event:?} was skipped by who followed"));
        }
    }
    if followed.len() != whole.len() {
        found.push(format!("{} were followed, there are {}", followed.len(), whole.len()));
    }
    found
}

/// Somebody who reads the stream from its beginning while it grows.
pub struct Follower {
    is_over: Arc<AtomicBool>,
    following: JoinHandle<Vec<Event>>,
}

impl Follower {
    pub fn start(api: Api) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let following = tokio::spawn(async move {
            let mut seen: Vec<Event> = Vec::new();
            loop {
                let finishing = over.load(Ordering::SeqCst);
                match page(&api, seen.last()).await {
                    Some(page) if page.is_empty() && finishing => return seen,
                    Some(page) => seen.extend(page),
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Self { is_over, following }
    }

    /// Everything it saw, up to the end.
    pub async fn stop(self) -> Vec<Event> {
        self.is_over.store(true, Ordering::SeqCst);
        self.following.await.expect("who reads the stream goes on")
    }
}

/// The whole stream.
pub async fn read(api: &Api) -> Vec<Event> {
    let mut whole = Vec::new();
    loop {
        let page = page(api, whole.last()).await.expect("the server is there");
        if page.is_empty() {
            return whole;
        }
        whole.extend(page);
    }
}

/// What comes after an event; nothing at all if there is no answer.
async fn page(api: &Api, after: Option<&Event>) -> Option<Vec<Event>> {
    let after = after.map_or(0, |event| event.seq);
    let answer = api.get(&format!("/v1/events?after={after}&wait_ms=50")).send().await.ok()?;
    if answer.status == 503 {
        return None;
    }
    let body = answer.ok(200);
    let event = |item: &serde_json::Value| Event {
        seq: item["seq"].as_i64().expect("a place"),
        resource: item["resource"]["id"].as_str().expect("an object").to_owned(),
        version: item["version"].as_i64().expect("a version"),
    };
    Some(body["items"].as_array().expect("a list").iter().map(event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::operation::assert_says;

    fn event(seq: i64, version: i64) -> Event {
        Event { seq, resource: "wsp_1".to_owned(), version }
    }

    #[test]
    fn a_stream_without_gap_is_right() {
        let whole = [event(1, 1), event(4, 2), event(5, 3)];
        assert_eq!(check(&whole, &whole), Violations::new());
    }

    #[test]
    fn what_is_skipped_missing_or_out_of_order_is_found() {
        let whole = [event(1, 1), event(4, 2), event(5, 3)];
        let skipped = [event(1, 1), event(5, 3)];
        assert_says(&check(&skipped, &whole), "skipped by who followed");
        assert_says(&check(&skipped, &skipped), "follows version 1");
        let turned = [event(4, 1), event(1, 2)];
        assert_says(&check(&turned, &turned), "comes after");
        assert_says(&check(&whole, &whole[..2]), "3 were followed, there are 2");
    }
}
