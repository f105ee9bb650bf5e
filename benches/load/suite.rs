//! The whole run: the systems take turns, so that none has the quiet hours for itself.

use crate::{
    Failure, billing,
    database::Place,
    load::Target,
    measure::{Measure, measure},
    options::Options,
    peers::Service,
    pgbench,
    process::{self, Server},
    provisioning::{self, Panel},
    seed::{Seeded, seed},
    system::{Form, System},
    workload::Workload,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// One cell of the table, with all its runs.
#[derive(Clone, Debug)]
pub struct Cell {
    pub backend: &'static str,
    pub system: System,
    pub workload: Workload,
    pub clients: usize,
    /// Usage records added before the measurement.
    pub records: u64,
    pub runs: Vec<Measure>,
}

impl Cell {
    /// The run with the median rate.
    pub fn median(&self) -> Option<&Measure> {
        let mut runs: Vec<&Measure> = self.runs.iter().collect();
        runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        runs.get(runs.len() / 2).copied()
    }
}

/// All measurements.
pub struct Suite {
    options: Options,
    server: PathBuf,
    panel: Panel,
    pub cells: Vec<Cell>,
}

/// A backend with its seeded database.
struct Ground {
    place: Arc<Place>,
    seeded: Arc<Seeded>,
    state_width: usize,
}

impl Ground {
    /// The same with more subscriptions.
    fn with_subscriptions(&self, more: impl Iterator<Item = String>) -> Self {
        let mut seeded = Seeded::clone(&self.seeded);
        seeded.subscriptions.extend(more);
        let (place, state_width) = (Arc::clone(&self.place), self.state_width);
        Self { place, seeded: Arc::new(seeded), state_width }
    }

    /// The number of servers that a workload's clients share. SQLite allows one process.
    fn servers(&self, workload: Workload) -> usize {
        if self.place.is_postgres() { workload.servers() } else { 1 }
    }
}

const SEEDED: &str = "seeded";
const SEEDED_FOR_PGBENCH: &str = "seeded_for_pgbench";
const MEASURED: &str = "measured";

impl Suite {
    pub fn new(options: Options, server: PathBuf) -> Result<Self, Failure> {
        Ok(Self { options, server, panel: Panel::start()?, cells: Vec::new() })
    }

    /// Measures all systems on one backend.
    pub fn run(&mut self, place: Place) -> Result<(), Failure> {
        let ground = self.prepare(place)?;
        if self.options.growth {
            return self.run_growth(&ground);
        }
        for run in 1..=self.options.runs {
            for system in System::ALL {
                let is_possible = system.form() != Form::Script || ground.place.is_postgres();
                let is_missing = system.missing_package().is_some();
                if !is_possible || is_missing || self.wanted(system).is_empty() {
                    continue;
                }
                let backend = ground.place.backend();
                eprintln!("{backend}, {}, run {run} of {}", system.name(), self.options.runs);
                self.run_system(&ground, system)?;
            }
        }
        Ok(())
    }

    fn prepare(&self, place: Place) -> Result<Ground, Failure> {
        let started = Instant::now();
        place.create(SEEDED);
        let server = self.start(&place, SEEDED)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cells = self.wanted(System::Ifmatch);
        let seeded = runtime.block_on(seed(server.address, self.options.rows, &cells))?;
        server.stop()?;
        let sql = "SELECT CAST(avg(length(state)) AS bigint) FROM events \
             WHERE resource_type = 'subscription'";
        let state_width = usize::try_from(place.number(SEEDED, sql)?)?;
        place.settle(SEEDED)?;
        let is_wanted_script =
            |system: System| system.form() == Form::Script && !self.wanted(system).is_empty();
        if place.is_postgres() && System::ALL.into_iter().any(is_wanted_script) {
            place.copy(SEEDED, SEEDED_FOR_PGBENCH)?;
            pgbench::prepare(&place, SEEDED_FOR_PGBENCH)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        let rows = seeded.subscriptions.len();
        eprintln!("{}: {rows} subscriptions seeded in {seconds:.1} s", place.backend());
        Ok(Ground { place: Arc::new(place), seeded: Arc::new(seeded), state_width })
    }

    /// Measures all cells of one system on a fresh copy, or on its own empty store.
    fn run_system(&mut self, ground: &Ground, system: System) -> Result<(), Failure> {
        let cells = self.wanted(system);
        if system.form() == Form::Peer {
            return self.run_peer(ground, system, &cells);
        }
        if system.form() == Form::Server {
            ground.place.copy(SEEDED, MEASURED)?;
            let (once, often): (Vec<_>, Vec<_>) =
                cells.into_iter().partition(|(workload, _)| workload.is_done_once());
            // The cells with one server first, then those with two.
            for servers in 1..=2 {
                let of_these = |cell: &&(Workload, usize)| ground.servers(cell.0) == servers;
                let cells: Vec<_> = often.iter().filter(of_these).copied().collect();
                self.run_servers(ground, system, (servers, &cells), 0)?;
            }
            for cell in once {
                ground.place.remove(MEASURED)?;
                ground.place.copy(SEEDED, MEASURED)?;
                self.run_servers(ground, system, (1, &[cell]), 0)?;
            }
        } else {
            ground.place.copy(SEEDED_FOR_PGBENCH, MEASURED)?;
            for (workload, clients) in cells {
                let (seeded, width) = (&ground.seeded, ground.state_width);
                let script = pgbench::script(system, workload, clients, seeded, width)?;
                let seconds = self.options.seconds;
                let measured = pgbench::run(&ground.place, MEASURED, &script, clients, seconds)?;
                self.record(&ground.place, system, (workload, clients), 0, measured);
            }
        }
        ground.place.remove(MEASURED)
    }

    /// Measures another system, in turn with this backend.
    fn run_peer(
        &mut self,
        ground: &Ground,
        system: System,
        cells: &[(Workload, usize)],
    ) -> Result<(), Failure> {
        let service = Service::start(system)?;
        let addresses = vec![service.server.address];
        let target = Arc::new(Target::new(
            system,
            addresses,
            Arc::clone(&ground.seeded),
            ground.state_width,
        ));
        for (workload, clients) in cells {
            let measured = measure(&target, *workload, *clients, self.options.seconds)?;
            self.record(&ground.place, system, (*workload, *clients), 0, measured);
        }
        Ok(())
    }

    /// Measures cells while the rows that are there increase.
    fn run_growth(&mut self, ground: &Ground) -> Result<(), Failure> {
        for cell in self.wanted(System::Ifmatch) {
            let sizes = self.options.records.clone();
            ground.place.copy(SEEDED, MEASURED)?;
            for records in sizes.unwrap_or_else(|| cell.0.sizes().to_vec()) {
                let seeded = u64::try_from(ground.seeded.subscriptions.len())?;
                ground.place.fill(MEASURED, cell.0, records)?;
                eprintln!("{}, {records} records", ground.place.backend());
                let cells = vec![cell; self.options.runs];
                if cell.0.is_uniform() {
                    // The clients use all subscriptions, each at its first version.
                    let filled = Place::filled_ids(seeded, records);
                    let grown = ground.with_subscriptions(filled);
                    self.run_servers(&grown, System::Ifmatch, (1, &cells), records)?;
                    ground.place.remove(MEASURED)?;
                    ground.place.copy(SEEDED, MEASURED)?;
                } else {
                    self.run_servers(ground, System::Ifmatch, (1, &cells), records)?;
                }
            }
            ground.place.remove(MEASURED)?;
        }
        Ok(())
    }

    /// Measures cells with the same number of servers, then checks the database.
    fn run_servers(
        &mut self,
        ground: &Ground,
        system: System,
        (servers, cells): (usize, &[(Workload, usize)]),
        records: u64,
    ) -> Result<(), Failure> {
        if cells.is_empty() {
            return Ok(());
        }
        let place = &ground.place;
        let url = place.url(MEASURED);
        let mut expected = BTreeMap::new();
        for sql in cells.iter().flat_map(|(workload, _)| workload.traces()) {
            expected.insert(*sql, place.number(MEASURED, sql)?);
        }
        let start = |_| match system {
            System::Ifmatch => self.start(place, MEASURED),
            _ => Server::baseline(&url),
        };
        let servers: Vec<Server> = (0..servers).map(start).collect::<Result<_, _>>()?;
        let addresses = servers.iter().map(|server| server.address).collect();
        let target = Arc::new(Target::new(
            system,
            addresses,
            Arc::clone(&ground.seeded),
            ground.state_width,
        ));
        let mut acknowledged = 0u64;
        for (workload, clients) in cells {
            let seconds = self.options.seconds;
            let measured = match workload {
                Workload::Provisioning => {
                    provisioning::measure_updates(&target, *clients, seconds)?
                }
                Workload::BillingRun => billing::measure_run(&target)?,
                _ => measure(&target, *workload, *clients, seconds)?,
            };
            self.record(place, system, (*workload, *clients), records, measured);
            let written = target.written.swap(0, Ordering::Relaxed);
            acknowledged = acknowledged.saturating_add(written);
            for sql in workload.traces() {
                expected.entry(sql).and_modify(|number| *number = number.saturating_add(written));
            }
        }
        servers.into_iter().try_for_each(Server::stop)?;
        for (sql, expected) in expected {
            let found = place.number(MEASURED, sql)?;
            if found != expected {
                let name = system.name();
                return Err(format!("{name}: {sql}: {found} found, {expected} expected").into());
            }
        }
        if system == System::Ifmatch {
            process::verify(&self.server, &url, place.dir())?;
        }
        eprintln!("  {acknowledged} acknowledged writes, all there");
        Ok(())
    }

    fn start(&self, place: &Place, database: &str) -> Result<Server, Failure> {
        let url = place.url(database);
        Server::ifmatch(&self.server, &url, place.dir(), self.panel.settings())
    }

    fn wanted(&self, system: System) -> Vec<(Workload, usize)> {
        let chosen = |workload: &Workload| {
            (!self.options.growth || workload.can_grow())
                && self
                    .options
                    .workloads
                    .as_ref()
                    .is_none_or(|names| names.iter().any(|name| name == workload.name()))
        };
        let is_meant = self.options.system.as_ref().is_none_or(|name| name == system.name());
        let workloads = Workload::ALL.into_iter().filter(chosen);
        workloads
            .filter(|workload| is_meant && system.can(*workload))
            .flat_map(|workload| {
                let clients = if workload.is_done_once() { &[1] } else { &*self.options.clients };
                clients.iter().map(move |n| (workload, *n))
            })
            .collect()
    }

    fn record(
        &mut self,
        place: &Place,
        system: System,
        (workload, clients): (Workload, usize),
        records: u64,
        measured: Measure,
    ) {
        let Measure { rate, p50_us, p99_us, conflicts, servers_s, .. } = measured;
        eprintln!(
            "  {:<12}{clients:>4} clients{rate:>10.0}/s   p50 {p50_us:>7} µs   p99 {p99_us:>8} µs   \
             {conflicts} conflicts",
            workload.name()
        );
        if let Some(seconds) = servers_s {
            eprintln!("  1,000 servers active after {seconds:.1} s");
        }
        let backend = place.backend();
        let same = |cell: &&mut Cell| {
            (cell.backend, cell.system, cell.workload, cell.clients, cell.records)
                == (backend, system, workload, clients, records)
        };
        match self.cells.iter_mut().find(same) {
            Some(cell) => cell.runs.push(measured),
            None => {
                let runs = vec![measured];
                self.cells.push(Cell { backend, system, workload, clients, records, runs });
            }
        }
    }
}
