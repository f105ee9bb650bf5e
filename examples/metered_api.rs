//! A metered HTTP API: every call costs its customer a unit, and the limit is exact.
//!
//! `cargo run --release --example metered_api -- --limit 500 --calls 2000 --workers 32`
//!
//! The API is a small service that charges through the client before it answers. Workers call it
//! more often than their customer has paid for. Exit code 1 unless exactly the limit was served,
//! all other calls were turned away, and the billing server's count agrees.

#[path = "support/metered.rs"]
mod metered;
mod support;

use actix_web::{
    App, HttpResponse, HttpServer, get,
    http::header::RETRY_AFTER,
    web::{Data, Path},
};
use clap::Parser;
use futures::TryStreamExt;
use ifmatch::{Client, Timestamp, Usage, UsageRecord, WorkspaceId};
use serde_json::json;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use support::Result;
use tokio::task::JoinSet;

/// A metered HTTP API: every call costs its customer a unit, and the limit is exact.
#[derive(Parser)]
struct Args {
    /// The number of calls the customer has paid for.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// The number of calls to make.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..))]
    calls: u16,
    /// The number of concurrent workers.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

/// The state of the API.
struct Api {
    billing: Client,
    /// The feature that a call is counted as.
    feature: String,
}

/// The metered endpoint. A real one finds its customer by an API key, not by the path.
#[get("/customers/{workspace}/quote")]
async fn quote(api: Data<Api>, workspace: Path<WorkspaceId>) -> HttpResponse {
    let usage = api.billing.usage(&*workspace);
    let charge = usage.check_and_record(&api.feature, 1).metadata("endpoint", "quote");
    match charge.await {
        Ok(Usage::Allowed { remaining, .. }) => {
            HttpResponse::Ok().json(json!({"quote": "No write is ever lost.", "left": remaining}))
        }
        Ok(Usage::Denied { resets_at, .. }) => {
            let mut answer = HttpResponse::TooManyRequests();
            if let Some(seconds) = resets_at.map(seconds_until) {
                answer.insert_header((RETRY_AFTER, seconds));
            }
            answer.json(json!({"error": "the limit is reached", "resets_at": resets_at}))
        }
        // Not charged, or the outcome is unknown. In both cases the call is not served.
        Err(error) => HttpResponse::ServiceUnavailable().json(json!({"error": error.to_string()})),
    }
}

fn seconds_until(instant: Timestamp) -> i64 {
    instant.to_jiff().duration_since(jiff::Timestamp::now()).as_secs().max(1)
}

/// How the calls were answered.
#[derive(Default)]
struct Answers {
    served: i64,
    turned_away: i64,
    failed: i64,
}

#[actix_web::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let (limit, calls) = (i64::from(args.limit), i64::from(args.calls));
    let server = support::Server::find()?;
    let billing = server.client()?;
    let feature = metered::make_feature(&billing, "api.calls").await?;
    let customer = metered::make_customer(&billing, "Acme", &feature, limit).await?;

    let api = Data::new(Api { billing, feature: feature.clone() });
    let service = HttpServer::new(move || App::new().app_data(api.clone()).service(quote))
        .workers(2)
        .disable_signals()
        .bind(("127.0.0.1", 0))?;
    let address = service.addrs().first().copied().ok_or("the service has no address")?;
    let service = service.run();
    let stopping = service.handle();
    let serving = actix_web::rt::spawn(service);
    let url = format!("http://{address}/customers/{}/quote", customer.id);
    println!("{} workers make {calls} calls to {url}", args.workers);
    println!("{limit} are paid for\n");

    let answers = hammer(&url, calls, args.workers).await?;
    stopping.stop(true).await;
    serving.await??;

    // A new client, because some of the service's connections ended with its threads.
    let billing = server.client()?;
    let usage = billing.usage(&customer);
    let counted = usage.entitlement(&feature).await?.meter.used;
    let records: Vec<UsageRecord> = usage.records().limit(200).stream().try_collect().await?;
    let recorded: i64 = records.iter().map(|record| record.quantity).sum();
    println!("served       {:6}", answers.served);
    println!("turned away  {:6}", answers.turned_away);
    println!("failed       {:6}", answers.failed);
    println!("counted      {counted:6}  by the billing server");
    println!("recorded     {recorded:6}  one by one");

    let served = limit.min(calls);
    let exact =
        [answers.served, counted, recorded] == [served; 3] && answers.turned_away == calls - served;
    println!("\nVERDICT: {}", if exact { "exactly what was paid for" } else { "WRONG" });
    Ok(if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes this many calls, `workers` at a time.
async fn hammer(url: &str, calls: i64, workers: u16) -> Result<Answers> {
    let client = reqwest::Client::new();
    let left = Arc::new(AtomicI64::new(calls));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (client, url, left) = (client.clone(), url.to_owned(), left.clone());
        running.spawn(async move {
            let mut answers = Answers::default();
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                match client.get(&url).send().await?.status().as_u16() {
                    200 => answers.served += 1,
                    429 => answers.turned_away += 1,
                    _ => answers.failed += 1,
                }
            }
            Result::Ok(answers)
        });
    }
    let mut sum = Answers::default();
    while let Some(answers) = running.join_next().await {
        let answers = answers??;
        sum.served += answers.served;
        sum.turned_away += answers.turned_away;
        sum.failed += answers.failed;
    }
    Ok(sum)
}
