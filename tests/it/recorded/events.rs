//! The event stream, followed during the run and read again at the end.

use super::operation::Violations;
use crate::harness::{Api, id};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub seq: i64,
    pub resource: String,
    pub version: i64,
}

/// The errors in what a follower saw, given the whole stream.
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
            found.push(format!("{event:?} was skipped by the follower"));
        }
    }
    if followed.len() != whole.len() {
        found.push(format!("{} were followed, there are {}", followed.len(), whole.len()));
    }
    found
}

/// Maximum wait for the last event. A transaction that stays open delays the events after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reader that follows the stream from its beginning while it grows.
pub struct Follower {
    last: Arc<OnceLock<String>>,
    following: JoinHandle<Vec<Event>>,
}

impl Follower {
    pub fn start(api: Api) -> Self {
        let last = Arc::new(OnceLock::new());
        let following = tokio::spawn(read(api, Arc::clone(&last)));
        Self { last, following }
    }

    /// Stops after a final object is created. Returns the followed events and the whole stream,
    /// read anew up to that object.
    pub async fn stop(self, api: &Api) -> (Vec<Event>, Vec<Event>) {
        let made = id(&api.make_workspace(json!({"name": "the last"})).await).to_owned();
        self.last.set(made).expect("it is stopped once");
        let both = async { (self.following.await, read(api.clone(), self.last).await) };
        let (followed, whole) = timeout(PATIENCE, both).await.expect("the last event comes");
        (followed.expect("the follower does not fail"), whole)
    }
}

/// Reads the stream from its beginning to the first event of the last object.
async fn read(api: Api, last: Arc<OnceLock<String>>) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    while seen.last().is_none_or(|event| last.get() != Some(&event.resource)) {
        match page(&api, seen.last()).await {
            Some(page) => seen.extend(page),
            None => sleep(Duration::from_millis(10)).await,
        }
    }
    seen
}

/// The events after `after`; `None` if there is no answer.
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
        assert_says(&check(&skipped, &whole), "skipped by the follower");
        assert_says(&check(&skipped, &skipped), "follows version 1");
        let turned = [event(4, 1), event(1, 2)];
        assert_says(&check(&turned, &turned), "comes after");
        assert_says(&check(&whole, &whole[..2]), "3 were followed, there are 2");
    }
}
