//! pgbench: the same statements without HTTP and without an application.

use crate::{
    Failure,
    database::Place,
    load::WARM_UP,
    measure::Measure,
    seed::{ACCOUNTS, LIMIT, Seeded},
    system::System,
    workload::Workload,
};
use jiff::civil::Date;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Gives a copied database's subscriptions ids that a script can compute, of equal length.
pub fn prepare(place: &Place, name: &str) -> Result<(), Failure> {
    place.execute(
        name,
        "CREATE TABLE ids AS SELECT id AS old, \
         'sub_' || lpad((row_number() OVER (ORDER BY id))::text, 32, '0') AS new FROM subscriptions; \
         UPDATE subscriptions SET id = new FROM ids WHERE id = old; \
         UPDATE events SET resource_id = new FROM ids WHERE resource_id = old; \
         DROP TABLE ids",
    )?;
    place.execute(name, "VACUUM (FULL, ANALYZE, FREEZE) subscriptions")?;
    place.execute(name, "VACUUM (FULL, ANALYZE, FREEZE) events")?;
    place.execute(
        name,
        "ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_check; \
         CREATE TABLE ids AS SELECT id AS old, \
         'acc_' || lpad((row_number() OVER (ORDER BY id))::text, 40, '0') AS new \
         FROM ledger_accounts; \
         UPDATE ledger_accounts SET id = new FROM ids WHERE id = old; DROP TABLE ids",
    )?;
    place.execute(name, "VACUUM (FULL, ANALYZE, FREEZE) ledger_accounts")
}

/// Runs one cell.
pub fn run(
    place: &Place,
    name: &str,
    script: &str,
    clients: usize,
    seconds: u64,
) -> Result<Measure, Failure> {
    let dir = place.dir().join("pgbench");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir)?;
    let file = dir.join("script.sql");
    fs::write(&file, script)?;
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

/// The statements of a workload. An event's state is as wide as Ifmatch writes it.
pub fn script(
    system: System,
    workload: Workload,
    clients: usize,
    seeded: &Seeded,
    state_width: usize,
) -> Result<String, Failure> {
    let rows = seeded.subscriptions.len();
    Ok(match workload {
        Workload::Update => update(&format!("random(1, {rows})"), state_width),
        Workload::HotRefetch => update("1", state_width),
        Workload::HotCounter => counter(&seeded.workspace).script(system),
        Workload::CreditHot => transfer("1"),
        Workload::CreditMany => transfer(&format!("random(1, {ACCOUNTS})")),
        Workload::HotDay => day(&seeded.bookable, seeded.day(clients)?)?.script(system),
        _ => return Err("pgbench has no such workload".into()),
    })
}

fn update(place: &str, state_width: usize) -> String {
    let id = "'sub_' || lpad((:place)::text, 32, '0')";
    let changes = r#"[{"path","/quantity","from",123,"to",124}]"#;
    let state = "x".repeat(state_width);
    // The version is read back, because a script cannot remember one per row.
    format!(
        "\\set place {place}\n\\set quantity random(1, 1000)\nBEGIN;\n\
         UPDATE subscriptions SET version = version + 1, quantity = :quantity, \
         updated_at = updated_at + 1, updated_by = 'admin' \
         WHERE id = {id} AND version >= 1 AND deleted_at IS NULL RETURNING version \\gset\n\
         INSERT INTO events (resource_id, version, resource_type, kind, at, actor, source, forced, \
         request_id, changes, state) VALUES ({id}, :version, 'subscription', 'updated', \
         1795000000000000, 'admin', 'api', false, '0193f0c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f', \
         '{changes}', '{state}');\nCOMMIT;\n"
    )
}

/// A transfer as an application writes it: lock the account, compare, change it, insert the record.
///
/// Unlike Ifmatch this keeps no reservation and no answer for a repeated key. The id of the record
/// ascends like a UUIDv7.
fn transfer(place: &str) -> String {
    let account = "'acc_' || lpad((:place)::text, 40, '0')";
    format!(
        "\\set place {place}\nBEGIN;\n\
         SELECT available, reserved, version FROM ledger_accounts WHERE id = {account} \
         FOR UPDATE \\gset\n\
         UPDATE ledger_accounts SET available = available - 1, version = version + 1 \
         WHERE id = {account} AND :available >= 1;\n\
         INSERT INTO transfers (id, account_id, version, kind, amount, available, reserved, at, \
         actor, source, request_id) VALUES \
         ('trf_' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0') \
         || lpad((:client_id)::text, 8, '0') || lpad((:place)::text, 8, '0'), {account}, \
         :version + 1, 'charge', 1, :available - 1, :reserved, \
         1795000000000000, 'admin', 'api', '0193f0c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f');\nCOMMIT;\n"
    )
}

/// A row of Ifmatch's tables that every transaction increases by one, and its record.
///
/// Unlike Ifmatch this looks up no packages or bookables, keeps no answer for a repeated key and
/// writes no history.
struct Raised {
    table: &'static str,
    id: String,
    /// The column that is increased.
    taken: &'static str,
    /// Its maximum, as SQL.
    limit: String,
    /// The record, as an `INSERT`. Its id is made of the row's new number, which is unique and
    /// ascends like a UUIDv7.
    record: String,
}

impl Raised {
    fn script(self, system: System) -> String {
        let Self { table, id, taken, limit, record } = self;
        let raise = format!("UPDATE {table} SET {taken} = {taken} + 1, version = version + 1");
        if system == System::Conditional {
            return format!(
                "{raise} WHERE id = '{id}' AND {taken} + 1 <= {limit} RETURNING {taken};\n"
            );
        }
        format!(
            "BEGIN;\nSELECT {taken} AS taken, {limit} AS most FROM {table} WHERE id = '{id}' \
             FOR UPDATE \\gset\n{raise} WHERE id = '{id}';\n{record};\nCOMMIT;\n"
        )
    }
}

fn counter(workspace: &str) -> Raised {
    let feature = Workload::HotCounter.name();
    let scope = format!("workspaces/{workspace}");
    let id = format!("{scope}/{feature}");
    let record = format!(
        "INSERT INTO usage_records (id, version, counter_id, scope, charged_scope, feature, \
         quantity, reversed, is_rolling, metadata, at, actor, source, request_id) VALUES \
         ('usg_' || lpad((:taken)::text, 32, '0'), 1, '{id}', '{scope}', '{scope}', '{feature}', \
         1, 0, false, '{{}}', 1795000000000000, 'admin', 'api', \
         '0193f0c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f')"
    );
    // A counter has no column for what may still be used.
    let limit = format!("{LIMIT} - held");
    Raised { table: "counters", id, taken: "used", limit, record }
}

fn day(bookable: &str, day: Date) -> Result<Raised, Failure> {
    let id = format!("{bookable}/{day}");
    let until = day.tomorrow()?;
    let digits = day.strftime("%Y%m%d");
    let record = format!(
        "INSERT INTO bookings (id, version, bookable_id, start_date, end_date, quantity, notes, \
         status, confirmed_at, until_day, taken_until, metadata, created_at, updated_at, \
         updated_by) VALUES ('bkg_{digits}' || lpad((:taken)::text, 24, '0'), 1, '{bookable}', \
         '{day}', '{day}', 1, '', 'confirmed', 1795000000000000, '{until}', '{until}', \
         '{{}}', 1795000000000000, 1795000000000000, 'admin')"
    );
    let limit = "capacity".to_owned();
    Ok(Raised { table: "booking_days", id, taken: "reserved", limit, record })
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
