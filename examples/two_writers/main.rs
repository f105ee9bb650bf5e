//! Two kinds of writers change the same subscriptions, and every edit is accounted for.
//!
//! `cargo run --release --example two_writers -- --seconds 5 --subscriptions 3 --writers 4`
//!
//! Support agents edit notes and metadata while billing jobs change status and plan. The client
//! resolves what it can; the other conflicts wait for a person. The end compares the server's
//! history with the acknowledged edits. Exit code 1 if an edit is missing, doubled or unknown to
//! its writer.

mod ledger;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod verdict;
mod writer;

use clap::Parser;
use ifmatch::{DiffRow, Parked, SubscriptionId};
use ledger::Ledger;
use std::{process::ExitCode, sync::Arc, time::Duration};
use support::Result;
use table::Table;
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use writer::{Job, Writer};

/// Two kinds of writers change the same subscriptions, and every edit is accounted for.
#[derive(Parser)]
struct Args {
    /// How long they write, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The number of subscriptions.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    subscriptions: u16,
    /// The number of writers of each kind.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    writers: u16,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let server = support::Server::find()?;
    let admin = server.client()?;
    let basic = support::make_plan(&admin, "Basic", 1900).await?;
    let pro = support::make_plan(&admin, "Pro", 4900).await?;
    let mut subscriptions: Vec<SubscriptionId> = Vec::new();
    for number in 1..=args.subscriptions {
        let customer = format!("Customer {number}");
        subscriptions.push(support::subscribe(&admin, &customer, &basic).await?.id.clone());
    }

    // Each kind of writer has its own key, so that the history shows who did what.
    let ledger = Arc::new(Ledger::default());
    let start = Arc::new(Barrier::new(usize::from(args.writers) * Job::ALL.len()));
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let mut clients = Vec::new();
    let mut writers = JoinSet::new();
    for job in Job::ALL {
        let key = support::make_agent_key(&admin, job.key_name()).await?;
        let client = server.builder(&key).conflicts_max(1_000_000).build()?;
        for number in 1..=args.writers {
            let writer = Writer {
                job,
                name: format!("{}-{number}", job.name()),
                client: client.clone(),
                plans: [basic.id.clone(), pro.id.clone()],
                ledger: ledger.clone(),
            };
            writers.spawn(writer.work(subscriptions.clone(), start.clone(), until));
        }
        clients.push(client);
    }
    println!(
        "{} support agents and {} billing jobs write to {} subscriptions for {} s\n",
        args.writers, args.writers, args.subscriptions, args.seconds
    );

    let mut table = Table::new();
    let mut ticks = interval(table.pause());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = writers.join_next() => match ended {
                Some(writer) => writer??,
                None => break,
            },
            _ = ticks.tick() => table.draw(&ledger)?,
        }
    }
    table.finish(&ledger)?;

    let mut open: Vec<Parked> = Vec::new();
    for (job, client) in Job::ALL.into_iter().zip(&clients) {
        let parked = client.conflicts().list();
        print_conflicts(job, &parked);
        open.extend(parked);
    }
    let verdict = verdict::of(&admin, &subscriptions, &ledger, &open).await?;
    println!("{verdict}");
    Ok(if verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints some conflicts of this kind of writer with the other, as a person would see them.
fn print_conflicts(job: Job, parked: &[Parked]) {
    println!("{} edits of {} wait for a person\n", parked.len(), job.key_name());
    let by_others = |row: &DiffRow| row.by.as_ref().is_some_and(|by| by.actor != job.key_name());
    let with_others = |parked: &&Parked| {
        parked.conflict.diff().rows().iter().any(|row| row.clashes && by_others(row))
    };
    for parked in parked.iter().filter(with_others).take(2) {
        support::show(&parked.conflict);
        println!();
    }
}
