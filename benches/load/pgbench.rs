//! pgbench: the same statements without HTTP and without a program around them.

use crate::{
    Failure,
    database::Place,
    load::{WARM_UP, Workload},
    measure::Measure,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Gives the subscriptions of a copied database ids that a script can compute, of the same length.
pub fn prepare(place: &Place, name: &str) {
    place.postgres_execute(
        name,
        "CREATE TABLE ids AS SELECT id AS old, \
         'sub_' || lpad((row_number() OVER (ORDER BY id))::text, 32, '0') AS new FROM subscriptions; \
         UPDATE subscriptions SET id = new FROM ids WHERE id = old; \
         UPDATE events SET resource_id = new FROM ids WHERE resource_id = old; \
         DROP TABLE ids",
    );
    place.postgres_execute(name, "VACUUM (FULL, ANALYZE, FREEZE) subscriptions");
    place.postgres_execute(name, "VACUUM (FULL, ANALYZE, FREEZE) events");
}

/// One cell. The object's state in the event has the width that Ifmatch writes.
pub fn run(
    place: &Place,
    name: &str,
    workload: Workload,
    clients: usize,
    seconds: u64,
    rows: usize,
    state_width: usize,
) -> Result<Measure, Failure> {
    let dir = place.dir().join("pgbench");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir)?;
    let file = dir.join("script.sql");
    fs::write(&file, script(workload, rows, state_width)?)?;
    pgbench(place, name, &file, &dir, clients, WARM_UP.as_secs(), false)?;
    let said = pgbench(place, name, &file, &dir, clients, seconds, true)?;
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split(' ').next()).ok_or("pgbench says no tps")?;
    let mut latencies_us = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.to_string_lossy().contains("latency.") {
            let log = fs::read_to_string(&path)?;
            let times = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok());
            latencies_us.extend(times);
        }
    }
    Ok(Measure::new(rate.parse()?, latencies_us, 0))
}

fn script(workload: Workload, rows: usize, state_width: usize) -> Result<String, Failure> {
    let choose = match workload {
        Workload::Update => format!("\\set place random(1, {rows})\n"),
        Workload::HotRefetch => "\\set place 1\n".to_owned(),
        _ => return Err("pgbench has no such workload".into()),
    };
    let id = "'sub_' || lpad((:place)::text, 32, '0')";
    let changes = r#"[{"path","/quantity","from",123,"to",124}]"#;
    let state = "x".repeat(state_width);
    // The version is read back, because a script cannot remember one for every row.
    Ok(format!(
        "{choose}\\set quantity random(1, 1000)\nBEGIN;\n\
         UPDATE subscriptions SET version = version + 1, quantity = :quantity, \
         updated_at = updated_at + 1, updated_by = 'admin' \
         WHERE id = {id} AND version >= 1 AND deleted_at IS NULL RETURNING version \\gset\n\
         INSERT INTO events (resource_id, version, resource_type, kind, at, actor, source, forced, \
         request_id, changes, state) VALUES ({id}, :version, 'subscription', 'updated', \
         1795000000000000, 'admin', 'api', false, '0193f0c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f', \
         '{changes}', '{state}');\nCOMMIT;\n"
    ))
}

fn pgbench(
    place: &Place,
    name: &str,
    script: &Path,
    dir: &Path,
    clients: usize,
    seconds: u64,
    logging: bool,
) -> Result<String, Failure> {
    let threads = clients.min(std::thread::available_parallelism().map_or(2, usize::from));
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol=prepared", "--file"]).arg(script);
    command.arg(format!("--client={clients}")).arg(format!("--jobs={threads}"));
    command.arg(format!("--time={seconds}")).current_dir(dir).stdin(Stdio::null());
    if logging {
        command.args(["--log", "--log-prefix=latency"]);
    }
    let output = command.arg(place.url(name)).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("pgbench: {}", String::from_utf8_lossy(&output.stderr)).into())
}
