//! What to measure, from the command line.

use crate::Failure;
use std::{env, num::ParseIntError, str::FromStr};

const USAGE: &str = "cargo bench --bench load -- [--quick] [--only sqlite|postgres] [--system NAME] \
     [--workload NAME,…] [--clients 1,8,64,256] [--runs N] [--seconds N] [--rows N] [--growth] \
     [--records 0,1000000,…] [--publish]";

/// Which cells are measured, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs of every system. The median is reported.
    pub runs: usize,
    /// Seconds per cell. One more is spent on warming up.
    pub seconds: u64,
    /// Numbers of concurrent connections, one cell each.
    pub clients: Vec<usize>,
    /// The number of subscriptions.
    pub rows: usize,
    /// Only this backend.
    pub backend: Option<String>,
    /// Only this system, for example to compare a server with an older version of it.
    pub system: Option<String>,
    /// Only these workloads.
    pub workloads: Option<Vec<String>>,
    /// Measure 64 clients on top of many existing rows instead.
    pub growth: bool,
    /// The numbers of existing rows, in ascending order; `None` for those of each workload.
    pub records: Option<Vec<u64>>,
    /// Write the plot to `docs/`.
    pub publish: bool,
}

impl Options {
    /// Reads the arguments, without cargo's own `--bench`.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            runs: 3,
            seconds: 5,
            clients: vec![1, 8, 64, 256],
            rows: 100_000,
            backend: None,
            system: None,
            workloads: None,
            growth: false,
            records: None,
            publish: false,
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value; {USAGE}"));
            match arg.as_str() {
                "--quick" => {
                    options.runs = 1;
                    options.seconds = 2;
                    options.clients = vec![1, 8, 64];
                }
                "--runs" => options.runs = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--rows" => options.rows = value()?.parse()?,
                "--clients" => options.clients = list(&value()?)?,
                "--growth" => options.growth = true,
                "--records" => options.records = Some(list(&value()?)?),
                "--only" => options.backend = Some(value()?),
                "--system" => options.system = Some(value()?),
                "--workload" => {
                    options.workloads = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--publish" => options.publish = true,
                _ => return Err(format!("{arg} is not an option; {USAGE}").into()),
            }
        }
        if options.growth {
            options.clients = vec![64];
        }
        if options.runs == 0 || options.seconds == 0 || options.clients.contains(&0) {
            return Err("runs, seconds and clients begin at 1".into());
        }
        Ok(options)
    }

    /// The path of a server built elsewhere: `IFMATCH_BENCH_SERVER`.
    pub fn server_binary() -> Option<String> {
        env::var("IFMATCH_BENCH_SERVER").ok()
    }
}

/// Parses a comma-separated list of numbers.
fn list<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<Vec<T>, Failure> {
    Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
}
