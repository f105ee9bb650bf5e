//! Waiting for a condition, and doing things at the same time. Nothing here waits for the clock.

use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Asks `condition` again and again until it answers something, at most for 30 seconds.
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

/// Runs `work(0) … work(count - 1)` at the same time and collects what they answer, in that order.
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
