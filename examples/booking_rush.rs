//! Concurrent clients want the same days: exactly as many get them as there is room for.
//!
//! `cargo run --release --example booking_rush -- --capacity 10 --attempts 200 --workers 32`
//!
//! To test a bookable of your own, set `IFMATCH_URL` and `IFMATCH_KEY` and add
//! `--bookable bkb_… --from 2027-03-01 --to 2027-03-03`. Exit code 1 unless the successes equal
//! what was free, nothing else went wrong, and the server's availability agrees.

mod support;

use clap::Parser;
use ifmatch::{
    BookableFields, BookableId, Booking, BookingFields, BookingStatus, Client, Date, RangeMode,
    Timestamp, Versioned,
};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};
use support::Result;
use tokio::task::JoinSet;

/// Concurrent clients want the same days: exactly as many get them as there is room for.
#[derive(Parser)]
struct Args {
    /// The bookable; a new one with `--capacity` if left out.
    #[arg(long)]
    bookable: Option<BookableId>,
    /// The capacity per day of the new bookable.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    capacity: i64,
    /// The first day; tomorrow if left out.
    #[arg(long)]
    from: Option<Date>,
    /// The last day, or the day of departure for a bookable by the night; two days later if left
    /// out.
    #[arg(long)]
    to: Option<Date>,
    /// The number of attempts.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    attempts: u16,
    /// The number of concurrent attempts.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// The quantity of each attempt.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    quantity: i64,
    /// Keep the bookings instead of cancelling them at the end.
    #[arg(long)]
    keep: bool,
}

/// How the attempts ended.
#[derive(Default)]
struct Tally {
    booked: Vec<Versioned<Booking>>,
    conflicts: i64,
    failures: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let server = support::Server::find()?;
    let billing = server.client()?;
    let today = Date::of(Timestamp::now());
    let from = args.from.or_else(|| today.plus_days(1)).ok_or("no day after today")?;
    let to = args.to.or_else(|| from.plus_days(2)).ok_or("no day that late")?;
    let bookable = match &args.bookable {
        Some(id) => billing.bookables().get(id).await?,
        None => {
            let name = "Campsite by the lake".to_owned();
            let fields = BookableFields { name, capacity: args.capacity, ..Default::default() };
            billing.bookables().create(fields).await?
        }
    };
    let fields = BookingFields {
        status: Some(BookingStatus::Confirmed),
        ..BookingFields::new(bookable.id.clone(), from, to, args.quantity)
    };
    // The day of departure is not booked.
    let last = match bookable.range_mode {
        RangeMode::InclusiveDays => to,
        RangeMode::Nights => to.plus_days(-1).ok_or("no day that early")?,
        RangeMode::Unknown(mode) => return Err(format!("it is booked by {mode}").into()),
    };
    let free_before = scarcest(&billing, &bookable.id, from, last).await?;
    let attempts = i64::from(args.attempts);
    let expected = (free_before / args.quantity).min(attempts);
    println!("{} ({}), {from} to {to}", bookable.name, bookable.id);
    println!("{free_before} free on the scarcest day; {attempts} attempts for {}\n", args.quantity);

    let started = Instant::now();
    let tally = rush(&billing, &fields, attempts, args.workers).await?;
    let seconds = started.elapsed().as_secs_f64();
    let booked = i64::try_from(tally.booked.len())?;
    println!("booked       {booked:6}");
    println!("conflicts    {:6}", tally.conflicts);
    println!("failures     {:6}", tally.failures.len());
    println!("in {seconds:.2} s\n");
    for failure in tally.failures.iter().take(3) {
        println!("failure: {failure}");
    }

    let free_after = scarcest(&billing, &bookable.id, from, last).await?;
    println!("free before  {free_before:6}");
    println!("free after   {free_after:6}");
    let exact = booked == expected
        && tally.conflicts == attempts - expected
        && free_after == free_before - booked * args.quantity;
    if !args.keep {
        for booking in &tally.booked {
            let cancel = |b: &mut Booking| b.status = BookingStatus::Cancelled;
            billing.bookings().update(&booking.id, cancel).await?;
        }
        println!("free again   {:6}", scarcest(&billing, &bookable.id, from, last).await?);
    }
    println!("\nVERDICT: {}", if exact { "booked exactly what was free" } else { "WRONG" });
    Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lowest number available on any of the days.
async fn scarcest(billing: &Client, id: &BookableId, from: Date, last: Date) -> Result<i64> {
    let available = billing.bookables().availability(id, from, last).await?;
    Ok(available.days.iter().map(|day| day.available).min().ok_or("no days")?)
}

/// Makes this many attempts, `workers` at a time.
async fn rush(
    billing: &Client,
    fields: &BookingFields,
    attempts: i64,
    workers: u16,
) -> Result<Tally> {
    let left = Arc::new(AtomicI64::new(attempts));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (billing, fields, left) = (billing.clone(), fields.clone(), left.clone());
        running.spawn(async move {
            let mut tally = Tally::default();
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                match billing.bookings().create(fields.clone()).await {
                    Ok(booking) => tally.booked.push(booking),
                    Err(error) if error.availability_conflict().is_some() => tally.conflicts += 1,
                    Err(error) => tally.failures.push(error.to_string()),
                }
            }
            tally
        });
    }
    let mut sum = Tally::default();
    while let Some(tally) = running.join_next().await {
        let tally = tally?;
        sum.booked.extend(tally.booked);
        sum.conflicts += tally.conflicts;
        sum.failures.extend(tally.failures);
    }
    Ok(sum)
}
