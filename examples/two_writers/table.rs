//! The live table: redrawn in place on a terminal, elsewhere one line a second.

use crate::{
    ledger::{Ledger, Sums},
    writer::Job,
};
use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

pub struct Table {
    terminal: bool,
    since: Instant,
    /// The table's lines on the terminal.
    lines: usize,
}

impl Table {
    pub fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), since: Instant::now(), lines: 0 }
    }

    /// The time between two drawings.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(if self.terminal { 100 } else { 1000 })
    }

    pub fn draw(&mut self, ledger: &Ledger) -> io::Result<()> {
        if self.terminal {
            return self.redraw(ledger);
        }
        let sums = Job::ALL.iter().fold(Sums::default(), |sum, job| add(sum, ledger.sums(*job)));
        let Sums { commits, conflicts, merges, retries, unresolved } = sums;
        println!(
            "{:>3} s  {commits} commits, {conflicts} conflicts: {merges} merged, \
            {retries} retried, {unresolved} unresolved",
            self.since.elapsed().as_secs()
        );
        Ok(())
    }

    /// Draws the final state, which remains.
    pub fn finish(&mut self, ledger: &Ledger) -> io::Result<()> {
        if !self.terminal {
            println!();
        }
        self.redraw(ledger)?;
        println!();
        Ok(())
    }

    fn redraw(&mut self, ledger: &Ledger) -> io::Result<()> {
        let mut text = format!(
            "{:15}{:>9}{:>11}{:>9}{:>9}{:>12}\n",
            "", "commits", "conflicts", "merges", "retries", "unresolved"
        );
        let mut total = Sums::default();
        for job in Job::ALL {
            let sums = ledger.sums(job);
            total = add(total, sums);
            text.push_str(&row(job.key_name(), sums));
        }
        text.push_str(&row("", total));
        if self.lines > 0 {
            // Moves the cursor to the table's start and clears from there.
            text.insert_str(0, &format!("\x1b[{}A\x1b[J", self.lines));
        }
        self.lines = Job::ALL.len() + 2;
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

fn row(name: &str, sums: Sums) -> String {
    let Sums { commits, conflicts, merges, retries, unresolved } = sums;
    format!("{name:15}{commits:>9}{conflicts:>11}{merges:>9}{retries:>9}{unresolved:>12}\n")
}

fn add(one: Sums, other: Sums) -> Sums {
    Sums {
        commits: one.commits + other.commits,
        conflicts: one.conflicts + other.conflicts,
        merges: one.merges + other.merges,
        retries: one.retries + other.retries,
        unresolved: one.unresolved + other.unresolved,
    }
}
