//! The compared systems.

use crate::{peers::Service, workload::Workload};

/// A system that the load is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    Ifmatch,
    Baseline,
    /// The same statements without HTTP.
    Pgbench,
    /// The minimum for a row that every client increases: one statement and no record.
    Conditional,
    Etcd,
    Redis,
}

/// How a system is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A server on the database.
    Server,
    /// A pgbench script.
    Script,
    /// A server that keeps its data itself.
    Peer,
}

impl System {
    pub const ALL: [Self; 6] =
        [Self::Ifmatch, Self::Baseline, Self::Pgbench, Self::Conditional, Self::Etcd, Self::Redis];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ifmatch => "ifmatch",
            Self::Baseline => "baseline",
            Self::Pgbench => "pgbench",
            Self::Conditional => "one conditional UPDATE",
            Self::Etcd => "etcd",
            Self::Redis => "redis",
        }
    }

    pub fn form(self) -> Form {
        match self {
            Self::Ifmatch | Self::Baseline => Form::Server,
            Self::Pgbench | Self::Conditional => Form::Script,
            Self::Etcd | Self::Redis => Form::Peer,
        }
    }

    pub fn can(self, workload: Workload) -> bool {
        let raises_row = matches!(workload, Workload::HotCounter | Workload::HotDay);
        let is_plain = matches!(workload, Workload::Update | Workload::HotRefetch) || raises_row;
        match self {
            Self::Ifmatch => true,
            Self::Baseline => is_plain || workload == Workload::Read,
            Self::Pgbench => is_plain || workload.is_credit(),
            Self::Conditional => raises_row,
            Self::Etcd | Self::Redis => workload.is_lock() || workload == Workload::Update,
        }
    }

    /// What an update compares and keeps in this system, and when it is answered.
    pub fn update_promise(self) -> Option<&'static str> {
        match self {
            Self::Ifmatch => Some(
                "HTTP; compares the version; keeps the state and an event with what changed and by \
                 whom; answers after the fsync of its commit",
            ),
            Self::Etcd => Some(
                "one member; a transaction compares the revision and puts the state; answers after \
                 the fsync of its log; JSON gateway; old revisions are kept until they are compacted",
            ),
            Self::Redis => Some(
                "appendfsync always; a Lua script compares the version and sets it with the state; \
                 its own protocol without HTTP; no history",
            ),
            Self::Baseline | Self::Pgbench | Self::Conditional => None,
        }
    }

    /// What is sure when a lock is granted or released, and how its waiters wait.
    pub fn lock_promise(self) -> Option<&'static str> {
        match self {
            Self::Ifmatch => Some(
                "answers after the fsync of its commit (PostgreSQL: fsync and synchronous_commit; \
                 SQLite: synchronous=FULL); waiters wait in their request, first in, first out",
            ),
            Self::Etcd => Some(
                "one member; answers after the fsync of its log; JSON gateway; one lease per client; \
                 waiters wait in their request, first in, first out",
            ),
            Self::Redis => Some(
                "appendfsync always: answers after the fsync of its log; SET NX PX and a Lua \
                 compare-and-delete; waiters take a signal with BLPOP and try again, in no order",
            ),
            Self::Baseline | Self::Pgbench | Self::Conditional => None,
        }
    }

    /// The package to install before this system can be run, if it is missing.
    pub fn missing_package(self) -> Option<&'static str> {
        let (program, package) = Service::package_of(self)?;
        (!program.exists()).then_some(package)
    }
}
