//! Rate limits: requests per second for each key, with a burst of twice the rate.

use crate::harness::{Backend, Database, Server, Settings, block_on, eventually, together};
use serde_json::json;
use std::sync::Arc;

async fn limited(requests_per_second: &str) -> Server {
    let database = Arc::new(Database::create(Backend::Sqlite));
    Server::start_with(database, Settings::args(&["--rate-limit", requests_per_second])).await
}

#[test]
fn more_requests_than_allowed_are_429_and_say_when_to_come_back() {
    block_on(async {
        let server = limited("5").await;
        let agent = server.api().make_key("agent").await;
        let answers = together(40, |_| {
            let agent = agent.clone();
            async move { agent.post("/v1/workspaces", &json!({"name": "x"})).await }
        })
        .await;
        let (allowed, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 201);
        assert!(allowed.len() >= 10, "a burst of twice the rate: {}", allowed.len());
        assert!(!refused.is_empty());
        for answer in &refused {
            let seconds: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
            assert!((1..=10).contains(&seconds), "{seconds}");
            assert!(answer.header("RateLimit").is_some());
            assert!(answer.header("RateLimit-Policy").is_some());
            answer.clone().problem(429, "RATE_LIMITED");
        }
        let other = server.api();
        eventually("the key may come again", async || {
            (agent.get("/v1/plans").await.status == 200).then_some(())
        })
        .await;
        let made = eventually("the admin may come again", async || {
            let page = other.get("/v1/workspaces?limit=200").await;
            (page.status == 200).then_some(page.body)
        })
        .await;
        assert_eq!(
            made["items"].as_array().unwrap().len(),
            allowed.len(),
            "a refused request has no effect"
        );
    });
}

#[test]
fn on_loopback_there_is_no_limit_unless_one_is_set() {
    block_on(async {
        let server = Server::start(Arc::new(Database::create(Backend::Sqlite))).await;
        let statuses = together(16, |_| {
            let api = server.api();
            async move {
                let mut refused = 0;
                for _ in 0..100 {
                    refused += usize::from(api.get("/v1/plans").await.status != 200);
                }
                refused
            }
        })
        .await;
        assert_eq!(statuses, [0; 16]);
    });
}
