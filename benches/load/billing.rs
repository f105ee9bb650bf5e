//! A billing run: one request, and an invoice for every seeded subscription.

use crate::{Failure, http::Connection, load::Target, measure::Measure, process::KEY};
use serde_json::Value;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use tokio::runtime::Builder;

/// Bills all subscriptions. The rate is in invoices a second, the times are those of the whole run.
///
/// A run that ends early is followed by another one.
pub fn measure_run(target: &Arc<Target>) -> Result<Measure, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let made = runtime.block_on(bill_all(target))?;
    let elapsed = started.elapsed();
    target.written.fetch_add(made, Ordering::Relaxed);
    if made != u64::try_from(target.subscriptions())? {
        return Err(format!("{made} invoices for {} subscriptions", target.subscriptions()).into());
    }
    let rate = f64::from(u32::try_from(made)?) / elapsed.as_secs_f64();
    Ok(Measure::new(rate, vec![u64::try_from(elapsed.as_micros())?], 0))
}

/// Returns the number of invoices.
async fn bill_all(target: &Target) -> Result<u64, Failure> {
    let mut connection = Connection::open(target.address(0)?, KEY).await?;
    let mut made = 0u64;
    loop {
        let answer = connection.post("/v1/billing-runs", "{}").await?;
        let text = answer.text();
        if !(200..300).contains(&answer.status) {
            return Err(format!("a billing run: {text}").into());
        }
        let run: Value = serde_json::from_slice(answer.body)?;
        let count = |name: &str| run.get(name).and_then(Value::as_u64);
        made = made.saturating_add(count("made").ok_or("the number of invoices")?);
        if count("failed") != Some(0) {
            return Err(format!("a billing run: {text}").into());
        }
        // Older servers have no such field. They bill everything that is due, or fail.
        if count("remaining").unwrap_or(0) == 0 {
            return Ok(made);
        }
    }
}
