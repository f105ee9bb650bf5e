//! The rows that a command needs before it is decided, and the order in which rows are locked.

use ifmatch_types::{Kind, Version};

/// Something that must be loaded for a command, common to all systems.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A versioned object that may be changed; locked exclusively until the commit.
    Object(Kind, String),
    /// A versioned object that is only referred to. Its row lock blocks changes, but neither
    /// readers nor other references.
    Reference(Kind, String),
    /// An object's snapshot at a version, and all changes since.
    History(String, Version),
    /// The objects that refer to an object. For some kinds this includes deleted ones.
    InUse(Kind, String),
    /// The object that another one belongs to, through a field that never changes; not locked.
    Owner(Kind, String),
    /// The time that deadlines are compared with; read after all locks are taken.
    Clock,
    /// The kept answer for an API key and its Idempotency-Key.
    Answer(String, String),
}

/// How a system's need is loaded.
pub trait SystemNeed {
    /// The row that this need locks, with its class in the lock order.
    fn lock(&self) -> Option<(LockClass, &str)> {
        None
    }
    /// The turn in which this need is loaded.
    fn turn(&self) -> Turn;
    /// What it is to a batch that locks nothing.
    fn unlocked(&self) -> Unlocked {
        Unlocked::Refused
    }
}

/// What a need is to a batch that locks nothing.
///
/// Such a batch reads rows with their stamps, and is saved only if they still have them. A command may
/// depend on one such row, and on what cannot change without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlocked {
    /// It must be read under a lock, so the batch takes its locks.
    Refused,
    /// It never changes. Read first, because it may tell which row is needed.
    Constant,
    /// The row that the command depends on.
    Row,
    /// It changes only together with that row. Read after the row.
    Dependent,
    /// A unique key. Saving takes it, and fails if it was taken before. It is looked up only if the
    /// batch does not save it.
    Key,
}

/// The order in which needs are loaded while row locks are still to be taken.
///
/// When no lock is left to take, all remaining needs are loaded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// Objects, and lookups that find the id of an object to lock.
    Objects,
    /// Rows that are read without their own lock.
    Facts,
    /// Sequences, which are always locked last.
    Sequences,
    /// The clock, and rows that have expired by it. Only valid if read after all locks are taken.
    Clock,
    /// Kept answers. A command that waited for a row lock must see the answer that the previous
    /// holder of the lock committed.
    Answers,
}

/// The order in which rows are locked; the same for every writer, which prevents deadlocks.
///
/// Rows of one class are locked by ascending id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockClass {
    /// A named lock; writes are checked against its fence.
    NamedLock,
    /// An account of the ledger.
    LedgerAccount,
    /// A workspace.
    Workspace,
    /// A namespace.
    Namespace,
    /// A plan.
    Plan,
    /// A subscription.
    Subscription,
    /// An invoice.
    Invoice,
    /// A package.
    Package,
    /// A feature.
    Feature,
    /// An assignment of a package.
    Assignment,
    /// A boost.
    Boost,
    /// A bookable; its row lock also protects its days.
    Bookable,
    /// A booking.
    Booking,
    /// A product.
    Product,
    /// A server.
    Server,
    /// An API key.
    ApiKey,
    /// A sequence of numbers.
    Sequence,
}

impl SystemNeed for Need {
    fn lock(&self) -> Option<(LockClass, &str)> {
        match self {
            Self::Object(kind, id) | Self::Reference(kind, id) => Some((LockClass::of(*kind), id)),
            Self::History(..) | Self::InUse(..) | Self::Owner(..) => None,
            Self::Clock | Self::Answer(..) => None,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Object(..) | Self::Reference(..) | Self::Owner(..) => Turn::Objects,
            Self::History(..) | Self::InUse(..) => Turn::Facts,
            Self::Clock => Turn::Clock,
            Self::Answer(..) => Turn::Answers,
        }
    }

    fn unlocked(&self) -> Unlocked {
        match self {
            Self::Object(..) => Unlocked::Row,
            Self::Answer(..) => Unlocked::Key,
            Self::Reference(..) | Self::History(..) | Self::InUse(..) => Unlocked::Refused,
            Self::Owner(..) | Self::Clock => Unlocked::Refused,
        }
    }
}

impl LockClass {
    /// The lock class of a kind.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Workspace => Self::Workspace,
            Kind::Namespace => Self::Namespace,
            Kind::Plan => Self::Plan,
            Kind::Subscription => Self::Subscription,
            Kind::Invoice => Self::Invoice,
            Kind::Package => Self::Package,
            Kind::Feature => Self::Feature,
            Kind::Assignment => Self::Assignment,
            Kind::Boost => Self::Boost,
            Kind::Bookable => Self::Bookable,
            Kind::Booking => Self::Booking,
            Kind::Product => Self::Product,
            Kind::Server => Self::Server,
        }
    }

    /// The kind of this class. `None` if its rows are not versioned objects.
    pub fn kind(self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| Self::of(*kind) == self)
    }
}
