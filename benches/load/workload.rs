//! What the load does.

/// One kind of work, which all clients of a cell do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Versioned updates of many objects; no two clients share one.
    Update,
    /// The same while 1,000 servers are being made on a slow panel.
    Provisioning,
    /// Reads of many objects by id.
    Read,
    /// Updates of one object from stale versions, which the server merges.
    HotMerge,
    /// Updates of one object: read, write, and start over after a conflict.
    HotRefetch,
    /// The same through the SDK.
    HotSdk,
    /// Usage of one feature by one workspace: all requests increase the same counter.
    HotCounter,
    /// The same for a feature with a rolling window.
    HotRolling,
    /// Bookings of one day of one bookable.
    HotDay,
    /// New subscriptions to one plan in random workspaces; two servers on PostgreSQL.
    SignUps,
    /// Reservations of one account's credits.
    CreditHot,
    /// Reservations of 10,000 accounts' credits.
    CreditMany,
    /// An acquire and a release, each client its own lock.
    LockPairs,
    /// The same on one lock, for which all other clients wait.
    LockHandover,
    /// One billing run over all subscriptions, each of which gets an invoice.
    BillingRun,
}

impl Workload {
    pub const ALL: [Self; 15] = [
        Self::Update,
        Self::Provisioning,
        Self::Read,
        Self::HotMerge,
        Self::HotRefetch,
        Self::HotSdk,
        Self::HotCounter,
        Self::HotRolling,
        Self::HotDay,
        Self::SignUps,
        Self::CreditHot,
        Self::CreditMany,
        Self::LockPairs,
        Self::LockHandover,
        Self::BillingRun,
    ];

    /// The name in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Provisioning => "provisioning",
            Self::Read => "read",
            Self::HotMerge => "hot-merge",
            Self::HotRefetch => "hot-refetch",
            Self::HotSdk => "hot-sdk",
            Self::HotCounter => "hot-counter",
            Self::HotRolling => "hot-rolling",
            Self::HotDay => "hot-day",
            Self::SignUps => "sign-ups",
            Self::CreditHot => "credit-hot",
            Self::CreditMany => "credit-many",
            Self::LockPairs => "lock-pairs",
            Self::LockHandover => "lock-handover",
            Self::BillingRun => "billing-run",
        }
    }

    /// The name in tables and plots.
    pub fn title(self) -> &'static str {
        match self {
            Self::Update => "versioned updates, each client its own objects",
            Self::Provisioning => {
                "the same while 1,000 servers are made on a panel that takes 2 s a call"
            }
            Self::Read => "reads by id",
            Self::HotMerge => "one object, server-side merge",
            Self::HotRefetch => "one object, refetch and retry",
            Self::HotSdk => "one object, the SDK's update()",
            Self::HotCounter => "one counter, check and record",
            Self::HotRolling => "one counter of the last 30 days, check and record",
            Self::HotDay => "one day, book",
            Self::SignUps => "one plan, new subscriptions through two servers",
            Self::CreditHot => "one account, reserve credits",
            Self::CreditMany => "10,000 accounts, reserve credits",
            Self::LockPairs => "acquire and release, each client its own lock",
            Self::LockHandover => "one lock, all others wait; times from release to next grant",
            Self::BillingRun => {
                "one billing run, an invoice for each subscription; times of the run"
            }
        }
    }

    /// Whether it records usage.
    pub fn is_usage(self) -> bool {
        matches!(self, Self::HotCounter | Self::HotRolling)
    }

    /// Whether it reserves credits.
    pub fn is_credit(self) -> bool {
        matches!(self, Self::CreditHot | Self::CreditMany)
    }

    /// Whether there may be many rows already of what it uses.
    pub fn can_grow(self) -> bool {
        self.is_usage() || self.is_credit() || self.is_uniform()
    }

    /// Whether each client has its share of all subscriptions.
    pub fn is_uniform(self) -> bool {
        matches!(self, Self::Update | Self::Read)
    }

    /// The numbers of rows there in a measurement of growth.
    pub fn sizes(self) -> &'static [u64] {
        if self.is_uniform() { &[0, 2_000_000] } else { &[0, 1_000_000, 5_000_000] }
    }

    /// Whether it acquires and releases locks.
    pub fn is_lock(self) -> bool {
        matches!(self, Self::LockPairs | Self::LockHandover)
    }

    /// Whether it leaves nothing to do for another run on the same database. It has one client.
    pub fn is_done_once(self) -> bool {
        self == Self::BillingRun
    }

    /// Server processes that the clients share. SQLite always has one.
    pub fn servers(self) -> usize {
        if self == Self::SignUps { 2 } else { 1 }
    }

    /// Queries whose result grows by one with every write of this workload.
    pub fn traces(self) -> &'static [&'static str] {
        match self {
            Self::Read => &[],
            Self::Update
            | Self::Provisioning
            | Self::HotMerge
            | Self::HotRefetch
            | Self::HotSdk => &["SELECT sum(version) FROM subscriptions"],
            Self::HotCounter => &[
                "SELECT count(*) FROM usage_records WHERE NOT is_rolling",
                "SELECT sum(used) FROM counters WHERE rolled_until IS NULL",
            ],
            // The sum of its counter also decreases, so it is not a trace.
            Self::HotRolling => &["SELECT count(*) FROM usage_records WHERE is_rolling"],
            Self::HotDay => {
                &["SELECT count(*) FROM bookings", "SELECT sum(reserved) FROM booking_days"]
            }
            Self::SignUps => &["SELECT count(*) FROM subscriptions"],
            Self::BillingRun => &["SELECT count(*) FROM invoices"],
            Self::CreditHot | Self::CreditMany => &[
                "SELECT count(*) FROM transfers",
                "SELECT coalesce(sum(reserved), 0) FROM ledger_accounts",
            ],
            Self::LockPairs | Self::LockHandover => {
                &["SELECT coalesce(sum(version), 0) FROM locks"]
            }
        }
    }

    /// The index of the workload's object in the list of ids.
    pub fn hot_place(self) -> usize {
        match self {
            Self::HotMerge => 1,
            Self::HotRefetch => 2,
            Self::HotSdk => 3,
            _ => 0,
        }
    }
}
