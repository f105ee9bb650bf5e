//! A nightly job under a lock: a worker that was paused too long cannot do the job a second time.
//!
//! `cargo run --release --example fenced_job` (`-- --unfenced` shows what the fence prevents)
//!
//! Two processes do the same job, one after the other. Ada gets the lock, begins, and is paused
//! (SIGSTOP) until her lock expires, as a machine that sleeps or a process that swaps. Bob gets the
//! lock and does the job. Then Ada wakes up and goes on. Exit code 1 unless the job was done once,
//! or twice without the fence.

mod support;

use clap::Parser;
use ifmatch::{Client, Error, Fence, SubscriptionId, Ttl};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use support::Result;

/// What the job adds to the subscription.
const SEATS: i64 = 10;
/// What a worker says before it goes on with the job.
const HALFWAY: &str = "is halfway through the job";

/// A nightly job under a lock, and a worker that is paused too long.
#[derive(Parser)]
struct Args {
    /// How long the lock is held unless it is renewed, in milliseconds.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(300..))]
    ttl_ms: u16,
    /// Write without the fence: the job is done twice.
    #[arg(long)]
    unfenced: bool,
    /// Be the worker with this name.
    #[arg(long, hide = true, requires_all = ["key", "subscription"])]
    worker: Option<String>,
    /// The key of the lock.
    #[arg(long, hide = true)]
    key: Option<String>,
    /// The subscription that the job is about.
    #[arg(long, hide = true)]
    subscription: Option<SubscriptionId>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match (&args.worker, &args.key, &args.subscription) {
        (Some(name), Some(key), Some(id)) => work(&args, name, key, id).await,
        _ => direct(&args).await,
    }
}

/// The story: who is started, paused and woken up when.
async fn direct(args: &Args) -> Result<ExitCode> {
    let server = support::Server::find()?;
    let billing = server.client()?;
    let plan = support::make_plan(&billing, "Team", 4900).await?;
    let sub = support::subscribe(&billing, "Acme", &plan).await?;
    let stage =
        Stage { began_at: Instant::now(), key: support::unique("nightly"), id: sub.id.clone() };

    let mut ada = stage.start(&server, args, "ada")?;
    stage.listen(&mut ada, Some(HALFWAY))?;
    kill_process(Pid::from_child(&ada.process), Signal::STOP)?;
    stage.tell("ada", "is paused");
    let mut bob = stage.start(&server, args, "bob")?;
    bob.go_on()?;
    stage.listen(&mut bob, None)?;
    stage.tell("ada", "wakes up");
    kill_process(Pid::from_child(&ada.process), Signal::CONT)?;
    ada.go_on()?;
    stage.listen(&mut ada, None)?;
    let succeeded = ada.process.wait()?.success() && bob.process.wait()?.success();

    let now = billing.subscriptions().get(&sub.id).await?;
    let times = (now.quantity - sub.quantity) / SEATS;
    println!(
        "\n{} seats before, {} after: the job was done {times} time(s)",
        sub.quantity, now.quantity
    );
    let (expected, verdict) = match args.unfenced {
        false => (1, "the worker that was paused wrote nothing"),
        true => (2, "without the fence, the job was done twice"),
    };
    let is_right = succeeded && times == expected;
    println!("VERDICT: {}", if is_right { verdict } else { "WRONG" });
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One worker: gets the lock, does the job, says what happens.
async fn work(args: &Args, name: &str, key: &str, id: &SubscriptionId) -> Result<ExitCode> {
    let billing = support::Server::of_environment()?.client()?;
    let ttl = Ttl::millis(args.ttl_ms.into());
    let waiting = billing.locks().acquire(key, ttl).wait(Duration::from_secs(60)).label(name);
    let lock = waiting.await?;
    println!("has the lock, fence {}", lock.fence().number());
    println!("{HALFWAY}");
    // On another thread, so that the lock is renewed meanwhile.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;

    if args.unfenced {
        // Looks at no guard either: a pause may come right after the look.
        billing.subscriptions().update(id, |s| s.quantity += SEATS).await?;
        println!("wrote without a fence");
        return Ok(ExitCode::SUCCESS);
    }
    if lock.is_held() {
        add_seats(&billing, id, &lock).await?;
        println!("added {SEATS} seats");
        lock.release().await?;
        println!("released the lock");
        return Ok(ExitCode::SUCCESS);
    }
    println!("its guard knows that the lock is lost: {}", lock.lost().await);
    tell_refusal("its guard", add_seats(&billing, id, &lock).await);
    // A part of the program without a guard, or one that was paused between its look and its write.
    let fence: Fence = serde_json::from_str(&serde_json::to_string(&lock.fence())?)?;
    tell_refusal("the server", add_seats(&billing, id, fence).await);
    Ok(ExitCode::SUCCESS)
}

async fn add_seats(
    billing: &Client,
    id: &SubscriptionId,
    lock: impl Into<Fence>,
) -> std::result::Result<(), Error> {
    let update = billing.subscriptions().update(id, |s| s.quantity += SEATS).fenced_by(lock);
    update.await.map(drop)
}

fn tell_refusal(by: &str, written: std::result::Result<(), Error>) {
    match written {
        Err(error) if error.is_fenced_off() => println!("is refused by {by}: {error}"),
        Err(error) => println!("failed: {error}"),
        Ok(()) => println!("wrote, although {by} should have refused it"),
    }
}

/// What all workers share.
struct Stage {
    began_at: Instant,
    key: String,
    id: SubscriptionId,
}

/// A worker's process.
struct Worker {
    name: &'static str,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stage {
    fn start(&self, server: &support::Server, args: &Args, name: &'static str) -> Result<Worker> {
        let mut command = Command::new(env::current_exe()?);
        command
            .envs(server.environment())
            .args(["--worker", name, "--key", &self.key, "--subscription", self.id.as_ref()])
            .args(["--ttl-ms", &args.ttl_ms.to_string()])
            .args(args.unfenced.then_some("--unfenced"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no stdout")?).lines();
        Ok(Worker { name, process, lines })
    }

    /// Prints what a worker says, up to this line or its end.
    fn listen(&self, worker: &mut Worker, until: Option<&str>) -> Result<()> {
        for line in worker.lines.by_ref() {
            let line = line?;
            self.tell(worker.name, &line);
            if until == Some(&line) {
                return Ok(());
            }
        }
        match until {
            Some(_) => Err("the worker ended early".into()),
            None => Ok(()),
        }
    }

    fn tell(&self, name: &str, line: &str) {
        println!("{:6} ms  {name}  {line}", self.began_at.elapsed().as_millis());
    }
}

impl Worker {
    fn go_on(&mut self) -> Result<()> {
        Ok(self.process.stdin.as_mut().ok_or("no stdin")?.write_all(b"\n")?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Also ends one that is paused. It fails if the worker has ended, which is the usual case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
