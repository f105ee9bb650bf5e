//! The benchmark: Ifmatch, a transaction per request, and the database itself, in one run.
//!
//! Updates and locks are compared with those of etcd and Redis, if Debian's packages `etcd-server`
//! and `redis-server` are installed.
//!
//! `cargo bench --bench load` measures everything and prints medians and their ratios. All numbers
//! of a table come from the same run on the same machine. `-- --quick` takes a few minutes.
//! `-- --growth` instead measures on top of millions of existing rows. It needs 10 GB of
//! disk.

mod baseline;
mod billing;
#[expect(
    dead_code,
    unused_imports,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's code, which does more to a cluster and fails as a test does"
)]
#[path = "../../tests/it/harness/cluster.rs"]
mod cluster;
mod database;
mod http;
mod load;
mod locks;
mod machine;
mod measure;
mod options;
#[path = "../../tests/support/panel/mod.rs"]
mod panel;
mod peers;
mod pgbench;
mod plot;
mod process;
mod provisioning;
mod report;
mod sdk;
mod seed;
mod suite;
mod system;
mod workload;

use database::Place;
use options::Options;
use report::Report;
use std::{env, error::Error, fs, path::Path};
use suite::Suite;

/// Any error; it ends the benchmark with its message.
pub type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args: Vec<String> = env::args().skip(1).collect();
    if let [first, database_url] = args.as_slice()
        && first == "--baseline"
    {
        return baseline::serve(database_url);
    }
    // `cargo test --all-targets` also runs benchmarks, but without this argument.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("to be run by cargo bench --bench load");
        return Ok(());
    }
    args.retain(|arg| arg != "--bench");
    let options = Options::parse(args.into_iter())?;
    let server = process::build()?;
    let backend = options.backend.clone();
    let (growth, publish) = (options.growth, options.publish);
    let machine = machine::describe(&env::temp_dir());
    let mut suite = Suite::new(options, server)?;
    let wanted = |name: &str| backend.as_ref().is_none_or(|backend| backend == name);
    if wanted("postgres") {
        suite.run(Place::postgres()?)?;
    }
    if wanted("sqlite") {
        suite.run(Place::sqlite()?)?;
    }
    let report = Report { machine: &machine, cells: &suite.cells };
    println!("{}", report.table());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = root.join("target/bench");
    fs::create_dir_all(&made)?;
    let name = if growth { "growth.json" } else { "load.json" };
    fs::write(made.join(name), format!("{:#}\n", report.json()))?;
    if growth {
        return Ok(());
    }
    let plot = if publish { root.join("docs/bench.svg") } else { made.join("load.svg") };
    if let Some(dir) = plot.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(plot, plot::draw(&report))?;
    Ok(())
}
