//! Many workers spend one account of credits, to exactly zero.
//!
//! `cargo run --release --example credits -- --credits 1000 --workers 32`
//!
//! Each worker reserves the highest price of a job, does it, and charges what it cost. Some jobs
//! fail, so their credits come back. Exit code 1 unless the workers charged exactly what was paid
//! for, the account is empty, and its transfers add up to the same.

mod support;

use clap::Parser;
use futures::TryStreamExt;
use ifmatch::{Client, CreditAccount, ReserveOutcome, Transfer, TransferKind, WorkspaceFields};
use std::{process::ExitCode, time::Duration};
use support::Result;
use tokio::{task::JoinSet, time::sleep};

/// The highest price of a job.
const PRICE_MAX: i64 = 5;

/// Many workers spend one account of credits, to exactly zero.
#[derive(Parser)]
struct Args {
    /// The number of credits that the customer has bought.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    credits: u16,
    /// The number of concurrent workers.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

/// What the workers did.
#[derive(Default)]
struct Work {
    done: i64,
    failed: i64,
    /// How often too few credits were available.
    refused: i64,
    charged: i64,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let bought = i64::from(args.credits);
    let server = support::Server::find()?;
    let billing = server.client()?;
    let workspace = WorkspaceFields { name: "Acme".to_owned(), ..Default::default() };
    let workspace = billing.workspaces().create(workspace).await?;
    let account = billing.credits(&workspace.id);
    account.top_up(bought, "order 4711").await?;
    println!("{bought} credits are bought, and {} workers spend them\n", args.workers);

    let work = spend(&billing, &account, args.workers).await?;

    let left = account.get().await?;
    let transfers: Vec<Transfer> = account.transfers().limit(200).stream().try_collect().await?;
    println!("jobs done      {:6}", work.done);
    println!("jobs failed    {:6}", work.failed);
    println!("refused        {:6}", work.refused);
    println!("charged        {:6}  by the workers' count\n", work.charged);
    let kinds =
        [TransferKind::Topup, TransferKind::Reserve, TransferKind::Post, TransferKind::Void];
    for kind in kinds {
        let of_kind = || transfers.iter().filter(|transfer| transfer.kind == kind);
        let sum: i64 = of_kind().map(|transfer| transfer.amount).sum();
        println!("{:8} {:6}  {sum:6} credits", kind.name(), of_kind().count());
    }
    println!("\navailable {}, reserved {}", left.available, left.reserved);

    let posts = transfers.iter().filter(|transfer| transfer.kind == TransferKind::Post);
    let posted: i64 = posts.map(|transfer| transfer.amount).sum();
    let is_exact =
        [work.charged, posted] == [bought; 2] && (left.available, left.reserved) == (0, 0);
    println!("VERDICT: {}", if is_exact { "exactly what was paid for" } else { "WRONG" });
    Ok(if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets workers spend the account until nothing is left.
async fn spend(billing: &Client, account: &CreditAccount, workers: u16) -> Result<Work> {
    let mut running = JoinSet::new();
    for number in 0..workers {
        running.spawn(work(billing.clone(), account.clone(), u64::from(number)));
    }
    let mut sum = Work::default();
    while let Some(work) = running.join_next().await {
        let work = work??;
        sum.done += work.done;
        sum.failed += work.failed;
        sum.refused += work.refused;
        sum.charged += work.charged;
    }
    Ok(sum)
}

/// One worker: it does jobs while there are credits for them.
async fn work(billing: Client, account: CreditAccount, seed: u64) -> Result<Work> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut work = Work::default();
    let mut price_max = PRICE_MAX;
    loop {
        match account.reserve(price_max).reference(format!("job of worker {seed}")).await? {
            ReserveOutcome::Reserved(reserved) => {
                let reservation = billing.reservation(&reserved.id);
                // The job itself: it takes a moment, fails now and then, and has its own price.
                sleep(Duration::from_millis(random.u64(0..3))).await;
                if random.u8(0..6) == 0 {
                    reservation.void().await?;
                    work.failed += 1;
                } else {
                    let price = random.i64(1..=reserved.amount);
                    work.charged += reservation.post_part(price).await?.amount;
                    work.done += 1;
                }
            }
            ReserveOutcome::Insufficient { .. } => {
                work.refused += 1;
                let now = account.get().await?;
                if (now.available, now.reserved) == (0, 0) {
                    return Ok(work);
                }
                // Others may give some back. What is left is enough for a cheaper job.
                price_max = now.available.clamp(1, PRICE_MAX);
                sleep(Duration::from_millis(2)).await;
            }
        }
    }
}
