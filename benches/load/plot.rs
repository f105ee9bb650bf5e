//! The plot: grouped bars as SVG, readable on light and dark pages.

use crate::{report::Report, suite::Cell, system::System, workload::Workload};
use std::fmt::Write;

const PANEL_WIDTH: f64 = 420.0;
const PANEL_HEIGHT: f64 = 220.0;
const LEFT: f64 = 20.0;
const TOP: f64 = 64.0;
const BAR: f64 = 24.0;
/// Space for the number above the highest bar, and for the axis below.
const ABOVE: f64 = 46.0;
const BELOW: f64 = 40.0;

/// The plot has its own background, because it does not know the page's.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}\
    .small{font-size:10px}.page{fill:#fff}.axis{stroke:#8c959f}.ifmatch{fill:#1a7f37}\
    .baseline{fill:#8c959f}.pgbench{fill:#0969da}.merge{fill:#9a6700}.sdk{fill:#8250df}.conditional{fill:#54aeff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}\
    .axis{stroke:#6e7681}.ifmatch{fill:#3fb950}.baseline{fill:#8b949e}.pgbench{fill:#58a6ff}\
    .merge{fill:#d29922}.sdk{fill:#bc8cff}.conditional{fill:#a5d6ff}}";

/// A panel's bars: their style, system and workload.
type Series = &'static [(&'static str, System, Workload)];

const PANELS: [(&str, Series); 5] = [
    (
        "updates of 100,000 objects, a second",
        &[
            ("ifmatch", System::Ifmatch, Workload::Update),
            ("baseline", System::Baseline, Workload::Update),
            ("pgbench", System::Pgbench, Workload::Update),
        ],
    ),
    (
        "updates of one object, a second",
        &[
            ("merge", System::Ifmatch, Workload::HotMerge),
            ("sdk", System::Ifmatch, Workload::HotSdk),
            ("ifmatch", System::Ifmatch, Workload::HotRefetch),
            ("baseline", System::Baseline, Workload::HotRefetch),
            ("pgbench", System::Pgbench, Workload::HotRefetch),
        ],
    ),
    (
        "usage of one counter, a second",
        &[
            ("ifmatch", System::Ifmatch, Workload::HotCounter),
            ("baseline", System::Baseline, Workload::HotCounter),
            ("pgbench", System::Pgbench, Workload::HotCounter),
            ("conditional", System::Conditional, Workload::HotCounter),
        ],
    ),
    (
        "bookings of one day, a second",
        &[
            ("ifmatch", System::Ifmatch, Workload::HotDay),
            ("baseline", System::Baseline, Workload::HotDay),
            ("pgbench", System::Pgbench, Workload::HotDay),
            ("conditional", System::Conditional, Workload::HotDay),
        ],
    ),
    (
        "reads by id, a second",
        &[
            ("ifmatch", System::Ifmatch, Workload::Read),
            ("baseline", System::Baseline, Workload::Read),
        ],
    ),
];

const LEGEND: [(&str, &str); 6] = [
    ("ifmatch", "Ifmatch"),
    ("merge", "Ifmatch, server-side merge"),
    ("sdk", "Ifmatch, SDK"),
    ("baseline", "a transaction per request"),
    ("pgbench", "pgbench, no HTTP"),
    ("conditional", "pgbench, one conditional UPDATE"),
];

/// Draws a report.
pub fn draw(report: &Report<'_>) -> String {
    let mut backends: Vec<&str> = report.cells.iter().map(|cell| cell.backend).collect();
    backends.sort_unstable();
    backends.dedup();
    let mut body = String::new();
    let (mut bottom, mut right) = (TOP, LEFT);
    for (title, series) in PANELS {
        let mut x = LEFT;
        for backend in &backends {
            let panel = Panel { report, backend, title, series, x, y: bottom };
            panel.draw(&mut body);
            x += PANEL_WIDTH + LEFT;
        }
        right = x;
        bottom += PANEL_HEIGHT + 16.0;
    }
    let mut x = LEFT;
    for (class, name) in LEGEND {
        let _ = write!(
            body,
            r#"<rect class="{class}" x="{x}" y="20" width="12" height="12"/><text x="{}" y="30">{name}</text>"#,
            x + 18.0
        );
        x += 28.0 + 7.0 * f64::from(u32::try_from(name.len()).unwrap_or_default());
    }
    // Below the panels: the source of the numbers, in two lines that fit.
    let machine = escape(&report.machine_line());
    let (hardware, run) = machine.split_once("; ").unwrap_or((&machine, ""));
    for (line, y) in [(hardware, bottom + 8.0), (run, bottom + 22.0)] {
        let _ = write!(body, r#"<text class="small" x="{LEFT}" y="{y}">{line}</text>"#);
    }
    let (width, height) = (right.max(x), bottom + 36.0);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Requests a second"><style>{STYLE}</style><rect class="page" width="{width}" height="{height}"/>{body}</svg>"#
    )
}

struct Panel<'a> {
    report: &'a Report<'a>,
    backend: &'a str,
    title: &'a str,
    series: Series,
    x: f64,
    y: f64,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String) {
        let clients = self.clients();
        let highest = self.bars(&clients).map(|(_, _, rate)| rate).fold(1.0, f64::max);
        let ground = self.y + PANEL_HEIGHT - BELOW;
        let scale = (PANEL_HEIGHT - ABOVE - BELOW) / highest;
        let (left, right) = (self.x, self.x + PANEL_WIDTH);
        let _ = write!(
            svg,
            r#"<text class="title" x="{left}" y="{}">{}: {}</text><line class="axis" x1="{left}" x2="{right}" y1="{ground}" y2="{ground}"/>"#,
            self.y + 14.0,
            if self.backend == "sqlite" { "SQLite" } else { "PostgreSQL" },
            self.title
        );
        let step = PANEL_WIDTH / count(clients.len());
        let shown = self.series.iter().filter(|(_, system, _)| self.has(*system)).count();
        let bar = BAR.min((step - 8.0) / count(shown));
        for (group, number) in clients.iter().enumerate() {
            let middle = left + step * (count(group) + 0.5);
            let label = if *number == 1 { "1 client".to_owned() } else { number.to_string() };
            let _ = write!(
                svg,
                r#"<text x="{middle}" y="{}" text-anchor="middle">{label}</text>"#,
                ground + 18.0
            );
            let begin = middle - bar * count(shown) / 2.0;
            let in_group = self.bars(&clients).filter(|(of, _, _)| of == number);
            for (place, (_, class, rate)) in in_group.enumerate() {
                let (x, height) = (begin + bar * count(place), rate * scale);
                let _ = write!(
                    svg,
                    r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="{:.1}" height="{height:.1}"/><text class="small" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                    ground - height,
                    bar - 2.0,
                    x + bar / 2.0 - 1.0,
                    ground - height - 4.0,
                    thousands(rate)
                );
            }
        }
    }

    fn clients(&self) -> Vec<usize> {
        let cells = self.report.cells.iter().filter(|cell| cell.backend == self.backend);
        let mut clients: Vec<usize> = cells.map(|cell| cell.clients).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    fn has(&self, system: System) -> bool {
        let is_here = |cell: &Cell| cell.backend == self.backend && cell.system == system;
        self.report.cells.iter().any(is_here)
    }

    /// Each bar's group, style and height.
    fn bars(&self, clients: &[usize]) -> impl Iterator<Item = (usize, &'static str, f64)> {
        let series = self.series.iter();
        clients.iter().flat_map(move |number| {
            series.clone().filter_map(move |(class, system, workload)| {
                let measured = self.report.median(self.backend, *system, *workload, *number)?;
                Some((*number, *class, measured.rate))
            })
        })
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn thousands(rate: f64) -> String {
    let thousands = rate / 1_000.0;
    if thousands < 10.0 { format!("{thousands:.1}k") } else { format!("{thousands:.0}k") }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
