//! SDK clients on one object: what an application gets.

use crate::{
    Failure,
    load::{Tally, Target, Window},
    process::KEY,
    workload::Workload,
};
use ifmatch::{SubscriptionId, Version};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// A client that retries until the edit is applied, because every edit is counted.
pub fn client(target: &Target) -> Result<ifmatch::Client, Failure> {
    let builder = ifmatch::Client::builder(format!("http://{}", target.address(0)?)).key(KEY);
    let builder = builder.attempts_max(u32::MAX).deadline(Duration::from_secs(120));
    Ok(builder.build()?)
}

/// Edits until the window closes.
pub async fn run(
    client: ifmatch::Client,
    target: Arc<Target>,
    window: Window,
) -> Result<Tally, Failure> {
    let id: SubscriptionId = target.hot_id(Workload::HotSdk)?.parse()?;
    let mut tally = Tally::default();
    while !window.is_over() {
        let started = Instant::now();
        let mut attempts = 0u64;
        let edited = client.subscriptions().update(&id, |subscription| {
            attempts = attempts.saturating_add(1);
            subscription.quantity = 1 + subscription.quantity % 1_000_000;
        });
        let _: Version = edited.await?.version;
        target.written.fetch_add(1, Ordering::Relaxed);
        tally.conflicts = tally.conflicts.saturating_add(attempts.saturating_sub(1));
        tally.record(&window, started);
    }
    Ok(tally)
}
