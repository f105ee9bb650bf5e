//! Why asking first and recording later overspends, and check-and-record does not.
//!
//! `cargo run --release --example can_then_record -- --limit 100 --workers 32`
//!
//! Workers render images, which costs money, for customers who have paid for so many. For the first
//! customer they ask `can`, render, and record afterwards: while one renders, others are told yes
//! too, and what they rendered is denied when it is done already. For the second customer they call
//! `check_and_record` before they render. Exit code 1 if that renders one image more or less than
//! was paid for.

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
    /// So many images each customer has paid for.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// So many workers render at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..))]
    workers: u16,
}

/// How the workers spend what was paid for.
#[derive(Clone, Copy)]
enum Habit {
    CanThenRecord,
    CheckAndRecord,
}

/// What became of it.
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
        // The example's own count is compared with the server's.
        let meter = billing.usage(&customer.id).entitlement(&feature).await?.meter;
        exact = [tally.rendered, tally.recorded, meter.used] == [limit; 3];
    }
    Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets the workers render until they are told no.
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

/// The habit that overspends: a yes may be old by the time the image is rendered.
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

/// The habit that does not: who is told yes has the unit.
async fn check_and_record(usage: &Metering, feature: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    while usage.check_and_record(feature, 1).await?.is_allowed() {
        tally.recorded += 1;
        render().await;
        tally.rendered += 1;
    }
    Ok(tally)
}

/// What costs the money.
async fn render() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
