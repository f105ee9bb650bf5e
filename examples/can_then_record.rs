//! Why asking first and recording later overspends, and check-and-record does not.
//!
//! `cargo run --release --example can_then_record -- --limit 100 --workers 32`
//!
//! Workers render images, at a cost, for two customers who have paid for a fixed number. For the
//! first they ask `can`, render, and then record. Others are told yes in the meantime, and some
//! images are denied after they were rendered. For the second they call `check_and_record` before
//! they render. Exit code 1 if that renders one more or less than was paid for.

#[path = "support/metered.rs"]
mod metered;
mod support;

use clap::Parser;
use ifmatch::{Client, Metering, WorkspaceId};
use std::{process::ExitCode, time::Duration};
use support::Result;
use tokio::task::JoinSet;

/// Why asking first and recording later overspends, and check-and-record does not.
#[derive(Parser)]
struct Args {
    /// The number of images each customer has paid for.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// The number of concurrent workers.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..))]
    workers: u16,
}

/// How the workers use the images that were paid for.
#[derive(Clone, Copy)]
enum Habit {
    CanThenRecord,
    CheckAndRecord,
}

/// The number of images, by outcome.
#[derive(Default)]
struct Tally {
    rendered: i64,
    recorded: i64,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let limit = i64::from(args.limit);
    let server = support::Server::find()?;
    let billing = server.client()?;
    let feature = metered::make_feature(&billing, "images").await?;
    println!("{} workers, {limit} images paid for\n", args.workers);

    println!("                    rendered  recorded");
    let mut exact = false;
    for (habit, name) in
        [(Habit::CanThenRecord, "can, then record"), (Habit::CheckAndRecord, "check and record")]
    {
        let customer = metered::make_customer(&billing, name, &feature, limit).await?;
        let tally = spend(&billing, &customer.id, &feature, habit, args.workers).await?;
        let verdict = match tally.rendered - limit {
            0 => "exactly what was paid for".to_owned(),
            more if more > 0 => format!("{more} rendered for nothing"),
            less => format!("{} left over", -less),
        };
        println!("  {name}  {:8}  {:8}  {verdict}", tally.rendered, tally.recorded);
        // Compares the example's own count with the server's.
        let meter = billing.usage(&customer.id).entitlement(&feature).await?.meter;
        exact = [tally.rendered, tally.recorded, meter.used] == [limit; 3];
    }
    Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets the workers render until they are denied.
async fn spend(
    billing: &Client,
    customer: &WorkspaceId,
    feature: &str,
    habit: Habit,
    workers: u16,
) -> Result<Tally> {
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (usage, feature) = (billing.usage(customer), feature.to_owned());
        running.spawn(async move {
            match habit {
                Habit::CanThenRecord => can_then_record(&usage, &feature).await,
                Habit::CheckAndRecord => check_and_record(&usage, &feature).await,
            }
        });
    }
    let mut sum = Tally::default();
    while let Some(tally) = running.join_next().await {
        let tally = tally??;
        sum.rendered += tally.rendered;
        sum.recorded += tally.recorded;
    }
    Ok(sum)
}

/// The pattern that overspends: the yes may be outdated when the image is rendered.
async fn can_then_record(usage: &Metering, feature: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    while usage.can(feature).await? {
        render().await;
        tally.rendered += 1;
        if usage.check_and_record(feature, 1).await?.is_allowed() {
            tally.recorded += 1;
        }
    }
    Ok(tally)
}

/// The pattern that does not: an allowed call has the unit.
async fn check_and_record(usage: &Metering, feature: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    while usage.check_and_record(feature, 1).await?.is_allowed() {
        tally.recorded += 1;
        render().await;
        tally.rendered += 1;
    }
    Ok(tally)
}

/// The work that costs money.
async fn render() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
