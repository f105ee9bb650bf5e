//! Where and when a benchmark ran.

use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// The environment that the numbers depend on, as JSON.
pub fn describe(dir: &Path) -> Value {
    let cpu = first_value("/proc/cpuinfo", "model name");
    let memory_kb = first_value("/proc/meminfo", "MemTotal");
    let memory_kb: u64 =
        memory_kb.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": cpu,
        "memory_mib": memory_kb / 1_024,
        "kernel": kernel.trim(),
        "filesystem": filesystem(dir),
        "load_before": fs::read_to_string("/proc/loadavg").unwrap_or_default()
            .split(' ').next().unwrap_or_default(),
        "commit": commit(),
        "postgres": said("pg_config", &["--version"]),
        "at": jiff::Timestamp::now().to_string(),
    })
}

/// The measured commit, and whether there are uncommitted changes.
fn commit() -> String {
    let head = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    if changed { format!("{head} and uncommitted changes") } else { head }
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

fn first_value(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().filter_map(|line| line.split_once(':'));
    let mut found = found.filter(|(key, _)| key.trim() == name);
    found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// The file system of a directory: the type of the longest mount point above it.
fn filesystem(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(point).then_some((point.len(), kind))
    });
    above.max().map(|(_, kind)| kind.to_owned()).unwrap_or_default()
}
