//! Waits for conditions and runs work concurrently. Nothing here sleeps for a fixed time.

use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Polls `condition` until it returns a value, for at most 30 seconds.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
    }
}

/// Runs `work(0) … work(count - 1)` concurrently and returns their results in that order.
pub async fn together<T, F>(count: usize, mut work: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(work(n))).collect();
    let mut answers = Vec::with_capacity(count);
    for task in tasks {
        answers.push(task.await.expect("no concurrent task panics"));
    }
    answers
}
