//! The printed and stored results: medians, ratios within this run, and the targets met.

use crate::{measure::Measure, suite::Cell, system::System, workload::Workload};
use serde_json::{Value, json};
use std::fmt::Write;

/// The cells of a run, with queries on them.
pub struct Report<'a> {
    pub machine: &'a Value,
    pub cells: &'a [Cell],
}

/// What a goal compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Rate,
    /// The other system's 99th percentile in units of ours.
    P99,
    /// The 99th percentile of updates alone in units of that while servers are made.
    P99Alone,
}

/// A ratio that the server should reach.
struct Goal {
    backend: &'static str,
    workload: Workload,
    clients: usize,
    against: System,
    of: Of,
    at_least: f64,
}

const GOALS: [Goal; 21] = [
    goal("postgres", Workload::Update, 64, System::Pgbench, 2.0),
    goal("postgres", Workload::Update, 64, System::Baseline, 4.0),
    goal("sqlite", Workload::Update, 64, System::Baseline, 4.0),
    goal("postgres", Workload::Update, 1, System::Baseline, 1.0),
    goal("sqlite", Workload::Update, 1, System::Baseline, 1.0),
    goal("postgres", Workload::Update, 64, System::Etcd, 5.0),
    goal("postgres", Workload::Update, 64, System::Redis, 0.5),
    goal("postgres", Workload::HotCounter, 64, System::Pgbench, 15.0),
    goal("postgres", Workload::HotCounter, 64, System::Conditional, 6.0),
    goal("sqlite", Workload::HotCounter, 64, System::Baseline, 6.0),
    goal("postgres", Workload::HotDay, 64, System::Pgbench, 15.0),
    goal("postgres", Workload::HotDay, 64, System::Conditional, 6.0),
    goal("sqlite", Workload::HotDay, 64, System::Baseline, 6.0),
    goal("postgres", Workload::CreditHot, 64, System::Pgbench, 15.0),
    goal("postgres", Workload::CreditMany, 64, System::Pgbench, 2.0),
    goal("postgres", Workload::LockPairs, 64, System::Etcd, 5.0),
    goal("sqlite", Workload::LockPairs, 64, System::Etcd, 5.0),
    handover_goal("postgres"),
    handover_goal("sqlite"),
    provisioning_goal("postgres"),
    provisioning_goal("sqlite"),
];

const fn goal(
    backend: &'static str,
    workload: Workload,
    clients: usize,
    against: System,
    at_least: f64,
) -> Goal {
    Goal { backend, workload, clients, against, of: Of::Rate, at_least }
}

const fn handover_goal(backend: &'static str) -> Goal {
    Goal { of: Of::P99, ..goal(backend, Workload::LockHandover, 64, System::Etcd, 2.0) }
}

/// Servers that are being made may slow other writes down to 1.2 times their 99th percentile.
const fn provisioning_goal(backend: &'static str) -> Goal {
    let goal = goal(backend, Workload::Provisioning, 64, System::Ifmatch, 1.0 / 1.2);
    Goal { of: Of::P99Alone, ..goal }
}

impl Report<'_> {
    /// The median of a cell, if measured. With several record counts, the lowest one's.
    pub fn median(
        &self,
        backend: &str,
        system: System,
        workload: Workload,
        clients: usize,
    ) -> Option<&Measure> {
        let found = self.cells.iter().find(|cell| {
            (cell.backend, cell.system, cell.workload, cell.clients)
                == (backend, system, workload, clients)
        });
        found?.median()
    }

    /// The ratio to another system's rate. A merge is compared with a refetch loop, which it
    /// replaces.
    fn ratio(&self, cell: &Cell, against: System) -> Option<f64> {
        let workload = match cell.workload {
            Workload::HotMerge | Workload::HotSdk => Workload::HotRefetch,
            other => other,
        };
        let other = self.median(cell.backend, against, workload, cell.clients)?;
        Some(cell.median()?.rate / other.rate)
    }

    /// A rate relative to the one before records were added.
    fn times_first(&self, cell: &Cell) -> Option<f64> {
        self.ratio(cell, cell.system).filter(|_| cell.records > 0)
    }

    /// The table, as text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}\n", self.machine_line());
        let mut above = None;
        let mut cells: Vec<&Cell> = self.cells.iter().collect();
        cells.sort_by_key(|cell| (cell.backend, cell.workload, cell.system));
        for cell in cells {
            let Some(measure) = cell.median() else { continue };
            let Measure { rate, p50_us, p99_us, slowest_share, servers_s, .. } = measure;
            let conflicts: u64 = cell.runs.iter().map(|run| run.conflicts).sum();
            if above != Some((cell.backend, cell.workload)) {
                above = Some((cell.backend, cell.workload));
                let _ = writeln!(text, "{}: {}", cell.backend, cell.workload.title());
            }
            let mut line = format!(
                "  {:<22}{:>4} clients {rate:>8.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms",
                cell.system.name(),
                cell.clients,
                milliseconds(*p50_us),
                milliseconds(*p99_us)
            );
            if conflicts > 0 {
                let _ = write!(line, "  {conflicts} conflicts");
            }
            if let Some(share) = slowest_share.filter(|_| cell.workload == Workload::HotSdk) {
                let _ = write!(line, "  slowest client {share:.2} × the fastest");
            }
            if let Some(seconds) = servers_s {
                let _ = write!(line, "  1,000 servers in {seconds:.1} s");
            }
            if cell.records > 0 {
                let _ = write!(line, "  {} records there", cell.records);
                if let Some(ratio) = self.times_first(cell) {
                    let _ = write!(line, ", {ratio:.2} × the first rate");
                }
            }
            for against in System::ALL.into_iter().filter(|system| *system != System::Ifmatch) {
                if cell.system == System::Ifmatch
                    && let Some(ratio) = self.ratio(cell, against)
                {
                    let _ = write!(line, "  {ratio:.2} × {}", against.name());
                }
            }
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text);
        for (system, what, note) in self.notes() {
            let _ = writeln!(text, "{what} of {}: {note}", system.name());
        }
        for (goal, ratio) in self.goals() {
            let verdict = if ratio >= goal.at_least { "met" } else { "NOT MET" };
            let other = goal.against.name();
            let found = match goal.of {
                Of::Rate => format!("{ratio:.2} × {other}"),
                Of::P99 => format!("the p99 of {other} is {ratio:.2} × ours"),
                Of::P99Alone => format!("their p99 is {:.2} × that of updates alone", 1.0 / ratio),
            };
            let _ = writeln!(
                text,
                "{verdict}: {} {}, {} clients: {found} ({})",
                goal.backend,
                goal.workload.name(),
                goal.clients,
                match goal.of {
                    Of::P99Alone => format!("at most {:.2} ×", 1.0 / goal.at_least),
                    Of::Rate | Of::P99 => format!("at least {} ×", goal.at_least),
                }
            );
        }
        text
    }

    /// What the compared systems promise for updates and locks, or which package is missing.
    fn notes(&self) -> Vec<(System, &'static str, String)> {
        let is_measured = |which: fn(Workload) -> bool| {
            self.cells.iter().any(|cell| which(cell.workload)).then_some(System::ALL)
        };
        let updates = is_measured(|workload| workload == Workload::Update).into_iter().flatten();
        let locks = is_measured(Workload::is_lock).into_iter().flatten();
        let updates =
            updates.filter_map(|system| Some((system, "updates", system.update_promise()?)));
        let locks = locks.filter_map(|system| Some((system, "locks", system.lock_promise()?)));
        let or_missing = |(system, what, promise): (System, _, &str)| {
            let missing = system
                .missing_package()
                .map(|package| format!("not measured; not installed (apt-get install {package})"));
            let is_there = self.cells.iter().any(|cell| cell.system == system);
            Some((system, what, missing.or_else(|| is_there.then(|| promise.to_owned()))?))
        };
        updates.chain(locks).filter_map(or_missing).collect()
    }

    /// The whole report as JSON.
    pub fn json(&self) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| {
                json!({
                    "backend": cell.backend, "system": cell.system.name(),
                    "workload": cell.workload.name(), "clients": cell.clients,
                    "records": cell.records, "median": cell.median(), "runs": cell.runs,
                    "times_first": self.times_first(cell),
                    "times_baseline": self.ratio(cell, System::Baseline),
                    "times_pgbench": self.ratio(cell, System::Pgbench),
                    "times_conditional": self.ratio(cell, System::Conditional),
                    "times_etcd": self.ratio(cell, System::Etcd),
                    "times_redis": self.ratio(cell, System::Redis),
                })
            })
            .collect();
        let goals: Vec<Value> = self
            .goals()
            .map(|(goal, ratio)| {
                json!({ "backend": goal.backend, "workload": goal.workload.name(),
                    "clients": goal.clients,
                    "against": goal.against.name(), "at_least": goal.at_least, "ratio": ratio,
                    "of": match goal.of {
                        Of::Rate => "rate",
                        Of::P99 => "p99",
                        Of::P99Alone => "p99 of updates alone",
                    },
                    "met": ratio >= goal.at_least })
            })
            .collect();
        let notes: Vec<Value> = self
            .notes()
            .into_iter()
            .map(|(system, what, note)| json!({ "system": system.name(), "of": what, "is": note }))
            .collect();
        json!({ "machine": self.machine, "cells": cells, "goals": goals, "notes": notes })
    }

    /// The machine in one line.
    pub fn machine_line(&self) -> String {
        let value = |name: &str| match self.machine.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        format!(
            "{} cores ({}), {} MiB, Linux {}, {}, {}; load before {}; commit {}; {}",
            value("cores"),
            value("cpu"),
            value("memory_mib"),
            value("kernel"),
            value("filesystem"),
            value("postgres"),
            value("load_before"),
            value("commit"),
            value("at")
        )
    }

    fn goals(&self) -> impl Iterator<Item = (&'static Goal, f64)> {
        GOALS.iter().filter_map(|goal| {
            let of = |system, workload| self.median(goal.backend, system, workload, goal.clients);
            let other = if goal.of == Of::P99Alone { Workload::Update } else { goal.workload };
            let ours = of(System::Ifmatch, goal.workload)?;
            let theirs = of(goal.against, other)?;
            let ratio = match goal.of {
                Of::Rate => ours.rate / theirs.rate,
                Of::P99 | Of::P99Alone => milliseconds(theirs.p99_us) / milliseconds(ours.p99_us),
            };
            Some((goal, ratio))
        })
    }
}

fn milliseconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1_000.0
}
