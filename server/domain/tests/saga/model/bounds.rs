//! What is searched, and how much trouble there is.

use super::clock::{TICK_MS, TIMEOUT};
use ifmatch_domain::provisioning::Windows;

/// The remaining number of each kind of trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// A worker dies and begins anew.
    pub crashes: u8,
    /// A worker stands still, for any time.
    pub pauses: u8,
    /// The panel fails a call, or undoes a create, or loses an answer.
    pub faults: u8,
    /// A lookup is answered with 404 although the server exists.
    pub false_absences: u8,
    /// A customer deletes an active server.
    pub deletions: u8,
    /// An admin decides about a server whose fate is unknown.
    pub resolutions: u8,
}

/// What is searched.
#[derive(Clone, Copy)]
pub struct Search {
    pub servers: usize,
    pub workers: usize,
    pub trouble: Trouble,
    /// What the saga is told.
    pub windows: Windows,
    /// The panel has ended a create this many ticks after it was sent.
    pub panel_limit: i64,
    /// Whether the panel may undo a create whose row it has committed.
    pub undoes: bool,
    /// Whether the record of a call is guarded by the generation.
    pub checks_generation: bool,
    /// Whether a server fails only when it was absent twice.
    pub looks_twice: bool,
    /// Whether a worker sends a create however long it stood still before.
    pub sends_late: bool,
}

pub const WINDOWS: Windows = Windows {
    timeout_ms: TIMEOUT * TICK_MS,
    settle_ms: 3 * TICK_MS,
    absent_gap_ms: TICK_MS,
    reconcile_ms: TICK_MS,
};

pub const NONE: Trouble =
    Trouble { crashes: 0, pauses: 0, faults: 0, false_absences: 0, deletions: 0, resolutions: 0 };

pub const TWO_SERVERS: Search = Search {
    servers: 2,
    workers: 2,
    trouble: Trouble { crashes: 2, pauses: 1, faults: 1, ..NONE },
    windows: WINDOWS,
    panel_limit: 2,
    undoes: true,
    checks_generation: true,
    looks_twice: true,
    sends_late: false,
};

/// Everything that can go wrong, around one server.
pub const ONE_SERVER: Search = Search {
    servers: 1,
    trouble: Trouble {
        crashes: 2,
        pauses: 1,
        faults: 2,
        false_absences: 1,
        deletions: 1,
        resolutions: 1,
    },
    ..TWO_SERVERS
};

/// A worker may send its create at any time. The panel takes nothing back.
pub const LATE_SENDER: Search = Search {
    trouble: Trouble { false_absences: 0, ..ONE_SERVER.trouble },
    undoes: false,
    sends_late: true,
    ..ONE_SERVER
};

/// One server that nobody but the workers and the panel changes, for searches that find something.
pub const SMALL: Search = Search {
    trouble: Trouble { deletions: 0, resolutions: 0, ..ONE_SERVER.trouble },
    ..ONE_SERVER
};
