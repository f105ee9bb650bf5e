//! The whole run: every system in turn, so that none has the quiet hours for itself.

use crate::{
    Failure,
    database::Place,
    load::{Target, Workload},
    measure::{Measure, measure},
    options::Options,
    pgbench,
    process::{self, Server},
    seed::seed,
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    Ifmatch,
    Baseline,
    Pgbench,
}

impl System {
    pub const ALL: [Self; 3] = [Self::Ifmatch, Self::Baseline, Self::Pgbench];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ifmatch => "ifmatch",
            Self::Baseline => "baseline",
            Self::Pgbench => "pgbench",
        }
    }

    fn can(self, workload: Workload) -> bool {
        match self {
            Self::Ifmatch => true,
            Self::Baseline => workload.is_plain(),
            Self::Pgbench => matches!(workload, Workload::Update | Workload::HotRefetch),
        }
    }
}

/// One cell of the table, with all its runs.
#[derive(Clone, Debug)]
pub struct Cell {
    pub backend: &'static str,
    pub system: System,
    pub workload: Workload,
    pub clients: usize,
    pub runs: Vec<Measure>,
}

impl Cell {
    /// The run in the middle, by rate.
    pub fn median(&self) -> Option<&Measure> {
        let mut runs: Vec<&Measure> = self.runs.iter().collect();
        runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        runs.get(runs.len() / 2).copied()
    }
}

/// Everything that was measured.
pub struct Suite {
    options: Options,
    server: PathBuf,
    pub cells: Vec<Cell>,
}

/// A backend with its seeded database.
struct Ground {
    place: Place,
    ids: Arc<Vec<String>>,
    state_width: usize,
}

const SEEDED: &str = "seeded";
const SEEDED_FOR_PGBENCH: &str = "seeded_for_pgbench";
const MEASURED: &str = "measured";

impl Suite {
    pub fn new(options: Options, server: PathBuf) -> Self {
        Self { options, server, cells: Vec::new() }
    }

    /// Measures everything on one backend.
    pub fn run(&mut self, place: Place) -> Result<(), Failure> {
        let ground = self.prepare(place)?;
        for run in 1..=self.options.runs {
            for system in System::ALL {
                if system == System::Pgbench && !ground.place.is_postgres() {
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
        let server = Server::ifmatch(&self.server, &place.url(SEEDED), place.dir())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ids = runtime.block_on(seed(server.address, self.options.rows))?;
        server.stop()?;
        let sql = "SELECT CAST(avg(length(state)) AS bigint) AS number FROM events \
             WHERE resource_type = 'subscription'";
        let state_width = usize::try_from(place.number(SEEDED, sql)?)?;
        place.settle(SEEDED)?;
        if place.is_postgres() {
            place.copy(SEEDED, SEEDED_FOR_PGBENCH)?;
            pgbench::prepare(&place, SEEDED_FOR_PGBENCH);
        }
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{}: {} subscriptions seeded in {seconds:.1} s", place.backend(), ids.len());
        Ok(Ground { place, ids: Arc::new(ids), state_width })
    }

    /// One system on a fresh copy: all its cells, then the check of what it left.
    fn run_system(&mut self, ground: &Ground, system: System) -> Result<(), Failure> {
        let place = &ground.place;
        let url = place.url(MEASURED);
        if system == System::Pgbench {
            place.copy(SEEDED_FOR_PGBENCH, MEASURED)?;
            for (workload, clients) in self.wanted(system) {
                let (seconds, rows) = (self.options.seconds, self.options.rows);
                let width = ground.state_width;
                let measured =
                    pgbench::run(place, MEASURED, workload, clients, seconds, rows, width)?;
                self.record(place, system, workload, clients, measured);
            }
            return place.remove(MEASURED);
        }
        place.copy(SEEDED, MEASURED)?;
        let server = match system {
            System::Ifmatch => Server::ifmatch(&self.server, &url, place.dir())?,
            _ => Server::baseline(&url)?,
        };
        let target = Arc::new(Target::new(server.address, Arc::clone(&ground.ids)));
        for (workload, clients) in self.wanted(system) {
            let measured = measure(&target, workload, clients, self.options.seconds)?;
            self.record(place, system, workload, clients, measured);
        }
        server.stop()?;
        let (written, growth) =
            (target.written.load(Ordering::Relaxed), u64::try_from(place.growth(MEASURED)?)?);
        if written != growth {
            let name = system.name();
            return Err(format!("{name}: {written} writes acknowledged, {growth} found").into());
        }
        if system == System::Ifmatch {
            process::verify(&self.server, &url, place.dir())?;
        }
        eprintln!("  {written} acknowledged writes, all there");
        place.remove(MEASURED)
    }

    fn wanted(&self, system: System) -> Vec<(Workload, usize)> {
        let chosen = |workload: &Workload| {
            self.options.workload.as_ref().is_none_or(|name| name == workload.name())
        };
        let workloads = Workload::ALL.into_iter().filter(chosen);
        workloads
            .filter(|workload| system.can(*workload))
            .flat_map(|workload| self.options.clients.iter().map(move |n| (workload, *n)))
            .collect()
    }

    fn record(
        &mut self,
        place: &Place,
        system: System,
        workload: Workload,
        clients: usize,
        measured: Measure,
    ) {
        let Measure { rate, p50_us, p99_us, conflicts } = measured;
        eprintln!(
            "  {:<12}{clients:>4} clients{rate:>10.0}/s   p50 {p50_us:>7} µs   p99 {p99_us:>8} µs   \
             {conflicts} conflicts",
            workload.name()
        );
        let backend = place.backend();
        let same = |cell: &&mut Cell| {
            (cell.backend, cell.system, cell.workload, cell.clients)
                == (backend, system, workload, clients)
        };
        match self.cells.iter_mut().find(same) {
            Some(cell) => cell.runs.push(measured),
            None => {
                self.cells.push(Cell { backend, system, workload, clients, runs: vec![measured] });
            }
        }
    }
}
