//! What the lane holds in memory while it decides a batch.

use crate::{
    Answer, AssignmentRecord, BookingDay, BookingRecord, BoostRecord, Counter, Document,
    FeatureRecord, FeatureTerms, Holdings, LogLine, PackageRecord, PoolGrant, Resource, RolledOff,
    Rows, Share, StoredApiKey, StoredHold, StoredRecord, SubscriptionRecord, Table,
    command::IdempotencyKey, decide::dispatch_kind, edit, table::Guarded,
};
use foldhash::{HashMap, HashSet};
use ifmatch_types::{
    AuditRecord, Bookable, Date, HistoryEntry, Interval, Invoice, Kind, Namespace, Payment,
    PaymentStatus, Plan, PlanId, Timestamp, Version, Workspace,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Everything a batch has loaded, and everything it is going to save.
#[derive(Debug, Default)]
pub struct State {
    /// Plans by id.
    pub plans: Rows<Plan>,
    /// Workspaces by id.
    pub workspaces: Rows<Workspace>,
    /// Namespaces by id.
    pub namespaces: Rows<Namespace>,
    /// Subscriptions by id.
    pub subscriptions: Rows<SubscriptionRecord>,
    /// Invoices by id.
    pub invoices: Rows<Invoice>,
    /// Which living plan has a code.
    pub plan_codes: Table<String, CodeHolder>,
    /// Payments by id.
    pub payments: Table<String, StoredPayment>,
    /// Payment ids by provider reference.
    pub payment_refs: Table<String, CodeHolder>,
    /// The last number given out in each series.
    pub sequences: Table<String, Sequence>,
    /// API keys by id.
    pub api_keys: Table<String, StoredApiKey>,
    /// Answers kept for repeats, by scope and key.
    pub answers: Table<(String, String), Answer>,
    /// The terms of plans that are or were on sale; those never change, so no lock is needed.
    pub plan_terms: HashMap<PlanId, Option<PlanTerms>>,
    /// Invoices whose payments are all in `payments`.
    pub paid_invoices: BTreeSet<String>,
    /// The period starts for which a subscription has a recurring invoice that is not void.
    pub billed: Table<String, BilledPeriods>,
    /// What referred to an object when this batch began.
    pub in_use: Table<String, Use>,
    /// Features by id.
    pub features: Rows<FeatureRecord>,
    /// Packages by id.
    pub packages: Rows<PackageRecord>,
    /// Assignments by id.
    pub assignments: Rows<AssignmentRecord>,
    /// Boosts by id.
    pub boosts: Rows<BoostRecord>,
    /// Which living feature has a code.
    pub feature_codes: Table<String, CodeHolder>,
    /// Which living package has a code.
    pub package_codes: Table<String, CodeHolder>,
    /// Which assignment has an external service id.
    pub external_services: Table<String, CodeHolder>,
    /// Which boost has an add-on's key.
    pub addons: Table<String, CodeHolder>,
    /// Counters by key.
    pub counters: Table<String, Counter>,
    /// Usage records by id.
    pub records: Table<String, StoredRecord>,
    /// Usage holds by id.
    pub holds: Table<String, StoredHold>,
    /// The terms of features, by id; frozen once they matter, so no lock is needed.
    pub feature_terms: HashMap<String, FeatureTerms>,
    /// What packages grant, by id, read after the lock of the scopes that have them.
    pub package_grants: HashMap<String, Vec<PoolGrant>>,
    /// What scopes have, by `workspaces/wsp_…` or `namespaces/nsp_…`.
    pub holdings: HashMap<String, Holdings>,
    /// What left rolling windows, by counter.
    pub rolled: HashMap<String, RolledOff>,
    /// Holds whose time is over, by counter; loaded for counters that hold anything.
    pub due_holds: HashMap<String, DueHolds>,
    /// Counters with such holds, by scope.
    pub due_counters: HashMap<String, BTreeSet<String>>,
    /// What objects belong to, by a field that is set once.
    pub owners: HashMap<(Kind, String), Option<String>>,
    /// Objects that were locked as references only: this batch may not change them.
    pub references: HashSet<(Kind, String)>,
    /// The instant that judges deadlines, if a command of this batch asked for it.
    pub clock: Option<Timestamp>,
    /// Bookables by id.
    pub bookables: Rows<Bookable>,
    /// Bookings by id.
    pub bookings: Rows<BookingRecord>,
    /// Days of bookables, by [`BookingDay::key`]; a day of which nothing was ever reserved has none.
    pub booking_days: Table<String, BookingDay>,
    /// The first and the last day of each bookable between which all its days are loaded.
    pub day_ranges: HashMap<String, (Date, Date)>,
    /// Bookables whose days from a date on with more than this reserved are loaded.
    pub days_above: BTreeSet<(String, i64, Date)>,
    /// The holds that are over, by bookable.
    pub due_bookings: HashMap<String, DueBookings>,
    /// Old states, loaded for writes that name an old version.
    pub histories: HashMap<String, History>,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
    /// What is to be audited, in order.
    pub audits: Vec<Audit>,
    /// What is to be written into entitlement logs, in order.
    pub log: Vec<LogLine>,
}

/// What an object was, as far back as a batch needs it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Snapshots of the versions that stale writes name.
    pub bases: BTreeMap<Version, Value>,
    /// Every change since the earliest of those versions.
    pub entries: Vec<HistoryEntry>,
    /// The earliest version after which all changes are in `entries`.
    pub since: Version,
    /// The versions whose snapshot was looked for, found or not.
    pub asked: BTreeSet<Version>,
}

impl History {
    /// Adds what an earlier round had loaded of the same object.
    pub fn merge(&mut self, other: Self) {
        if other.since < self.since {
            self.since = other.since;
            self.entries = other.entries;
        }
        self.bases.extend(other.bases);
        self.asked.extend(other.asked);
    }
}

/// Which object has a unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHolder {
    /// Its id.
    pub id: String,
}

impl Guarded for CodeHolder {
    fn guard(&self) -> i64 {
        0
    }
}

/// The last number given out in a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Which series.
    pub series: &'static str,
    /// The last number; 0 before the first.
    pub last: i64,
}

impl Guarded for Sequence {
    fn guard(&self) -> i64 {
        self.last
    }
}

/// The recurring invoices a subscription has, by period start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledPeriods(pub BTreeSet<Timestamp>);

impl Guarded for BilledPeriods {
    fn guard(&self) -> i64 {
        0
    }
}

/// The holds of a counter that are over: a slice of them to be ended, and what the rest still has.
///
/// One commit ends a bounded number of them, but all of a counter that has burnt consumables, and no
/// decision counts any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueHolds {
    /// The ids of those that are to be ended now; the holds themselves are loaded, too.
    pub ids: BTreeSet<String>,
    /// So many units are held by those that are left for later commits.
    pub rest: i64,
}

/// The holds of a bookable that are over: a slice of them to be ended, and what the rest still
/// takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueBookings {
    /// The ids of those that are to be ended now; the bookings themselves are loaded, too.
    pub ids: Vec<String>,
    /// What those that are left for later commits take of each day. A booking that is loaded for
    /// another reason is not among them.
    pub rest: BTreeMap<Date, i64>,
}

impl DueBookings {
    /// Adds up day by day what the holds take that are left.
    pub fn new(ids: Vec<String>, left: impl IntoIterator<Item = Share>) -> Self {
        let mut rest: BTreeMap<Date, i64> = BTreeMap::new();
        for share in left {
            for day in share.start.days_before(share.until) {
                let taken = rest.entry(day).or_default();
                *taken = taken.saturating_add(share.quantity);
            }
        }
        Self { ids, rest }
    }

    /// What the holds that are left take of a day.
    pub(crate) fn rest_on(&self, day: Date) -> i64 {
        self.rest.get(&day).copied().unwrap_or_default()
    }
}

/// The ids of what refers to an object in the database; of very many, some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use(pub BTreeSet<String>);

impl Guarded for Use {
    fn guard(&self) -> i64 {
        0
    }
}

impl Guarded for Answer {
    fn guard(&self) -> i64 {
        0
    }
}

/// A payment as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPayment(pub Payment);

impl Guarded for StoredPayment {
    fn guard(&self) -> i64 {
        match self.0.status {
            PaymentStatus::Settled => 1,
            PaymentStatus::Reversed => 2,
        }
    }
}

/// What a plan costs, frozen since it went on sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerms {
    /// The plan's code, for texts.
    pub code: String,
    /// ISO 4217.
    pub currency: String,
    /// The price of one unit for one period.
    pub amount: i64,
    /// The unit of the period.
    pub interval: Interval,
    /// So many units make a period.
    pub interval_count: i64,
}

impl From<&Plan> for PlanTerms {
    fn from(plan: &Plan) -> Self {
        Self {
            code: plan.code.clone(),
            currency: plan.currency.clone(),
            amount: plan.amount,
            interval: plan.interval,
            interval_count: plan.interval_count,
        }
    }
}

/// One change, on its way to the history and the event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The object's kind, or `usage` for a counter.
    pub resource_type: &'static str,
    /// The object.
    pub id: String,
    /// The change. Of a creation it lists no changes: they are what the state has.
    pub entry: HistoryEntry,
    /// The object after it.
    pub state: Arc<Document>,
}

/// One record, on its way to the audit log.
pub type Audit = AuditRecord;

/// A point to roll back to.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    tables: [usize; 27],
    events: usize,
    audits: usize,
    log: usize,
}

/// Applies one expression to every table, in one fixed order.
macro_rules! each_table {
    ($state:expr, $table:ident => $body:expr) => {{
        let state = $state;
        [
            {
                let $table = &mut state.plans;
                $body
            },
            {
                let $table = &mut state.workspaces;
                $body
            },
            {
                let $table = &mut state.namespaces;
                $body
            },
            {
                let $table = &mut state.subscriptions;
                $body
            },
            {
                let $table = &mut state.invoices;
                $body
            },
            {
                let $table = &mut state.plan_codes;
                $body
            },
            {
                let $table = &mut state.payments;
                $body
            },
            {
                let $table = &mut state.payment_refs;
                $body
            },
            {
                let $table = &mut state.sequences;
                $body
            },
            {
                let $table = &mut state.api_keys;
                $body
            },
            {
                let $table = &mut state.answers;
                $body
            },
            {
                let $table = &mut state.billed;
                $body
            },
            {
                let $table = &mut state.in_use;
                $body
            },
            {
                let $table = &mut state.features;
                $body
            },
            {
                let $table = &mut state.packages;
                $body
            },
            {
                let $table = &mut state.assignments;
                $body
            },
            {
                let $table = &mut state.boosts;
                $body
            },
            {
                let $table = &mut state.feature_codes;
                $body
            },
            {
                let $table = &mut state.package_codes;
                $body
            },
            {
                let $table = &mut state.external_services;
                $body
            },
            {
                let $table = &mut state.addons;
                $body
            },
            {
                let $table = &mut state.counters;
                $body
            },
            {
                let $table = &mut state.records;
                $body
            },
            {
                let $table = &mut state.holds;
                $body
            },
            {
                let $table = &mut state.bookables;
                $body
            },
            {
                let $table = &mut state.bookings;
                $body
            },
            {
                let $table = &mut state.booking_days;
                $body
            },
        ]
    }};
}

impl State {
    pub(crate) fn checkpoint(&mut self) -> Checkpoint {
        Checkpoint {
            events: self.events.len(),
            audits: self.audits.len(),
            log: self.log.len(),
            tables: each_table!(self, table => table.checkpoint()),
        }
    }

    pub(crate) fn rollback(&mut self, checkpoint: &Checkpoint) {
        self.events.truncate(checkpoint.events);
        self.audits.truncate(checkpoint.audits);
        self.log.truncate(checkpoint.log);
        let mut points = checkpoint.tables.iter().copied();
        each_table!(self, table => table.rollback(points.next().unwrap_or_default()));
    }

    /// Runs `attempt`; if it fails or panics, the state is as it was before.
    ///
    /// A panic goes on after that: the caller decides what becomes of it.
    pub fn attempt<T, E>(
        &mut self,
        attempt: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let checkpoint = self.checkpoint();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(&mut *self)));
        match outcome {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(refused)) => {
                self.rollback(&checkpoint);
                Err(refused)
            }
            Err(panic) => {
                self.rollback(&checkpoint);
                std::panic::resume_unwind(panic)
            }
        }
    }

    /// Keeps an accepted command's answer for a repeat of it.
    pub fn remember(&mut self, key: &IdempotencyKey, answer: Answer) {
        self.answers.put((key.scope.as_str().to_owned(), key.key.clone()), answer);
    }

    /// Whether there is anything to save.
    pub fn is_changed(&mut self) -> bool {
        !self.events.is_empty()
            || !self.audits.is_empty()
            || !self.log.is_empty()
            || each_table!(self, table => table.is_changed()).contains(&true)
    }

    /// The answers that this batch adds, by scope and key.
    pub fn new_answers(&self) -> impl Iterator<Item = (&(String, String), &Answer)> {
        self.answers.new_rows()
    }

    /// Whether the object, or its absence, was loaded.
    pub(crate) fn is_object_loaded(&self, kind: Kind, id: &str) -> bool {
        dispatch_kind!(kind, R => R::rows(self).is_loaded(id))
    }

    /// Whether the object, or its absence, was loaded and may be changed.
    pub(crate) fn is_object_locked(&self, kind: Kind, id: &str) -> bool {
        let is_reference =
            || !self.references.is_empty() && self.references.contains(&(kind, id.to_owned()));
        self.is_object_loaded(kind, id) && !is_reference()
    }

    /// The version at which the object was loaded.
    pub(crate) fn loaded_version(&self, kind: Kind, id: &str) -> Option<Version> {
        dispatch_kind!(kind, R => R::rows(self).original(id).map(|row| row.record.version()))
    }

    /// The answer kept under this key, whatever the request was.
    pub(crate) fn recall(&self, key: &IdempotencyKey) -> Option<&Answer> {
        self.answers.get(&(key.scope.as_str().to_owned(), key.key.clone()))
    }

    /// Whether something outside the loaded rows refers to an object: what is loaded may have been
    /// deleted or moved by this batch, so that only its own row can tell.
    pub(crate) fn is_used_elsewhere(&self, id: &str) -> bool {
        // By its own kind: under another one it would be known to be absent.
        let is_loaded =
            |user: &String| Kind::of_id(user).is_some_and(|kind| self.is_object_loaded(kind, user));
        self.in_use.get(id).is_some_and(|users| !users.0.iter().all(is_loaded))
    }

    /// The changes of an object after a version, oldest first, or `None` if they are not all known.
    pub(crate) fn changes_since(&self, id: &str, base: Version) -> Option<Vec<&HistoryEntry>> {
        let loaded = self.histories.get(id);
        let batch: Vec<&HistoryEntry> =
            self.events.iter().filter(|event| event.id == id).map(|event| &event.entry).collect();
        let first_in_batch = batch.first().map(|entry| entry.version);
        let known = loaded.is_some_and(|history| history.since <= base)
            || first_in_batch.is_some_and(|first| first <= base.saturating_add(1));
        // Entries of this batch follow the loaded ones without a gap.
        known.then(|| {
            loaded
                .into_iter()
                .flat_map(|history| &history.entries)
                .chain(batch)
                .filter(|entry| entry.version > base)
                .collect()
        })
    }

    /// The state of an object at an old version, if it is known to this batch: because it was
    /// loaded for it, because this batch made it, or because the batch began with it.
    pub(crate) fn snapshot<R: Resource>(&self, id: &str, version: Version) -> Option<Value> {
        let made_here =
            self.events.iter().find(|event| event.id == id && event.entry.version == version);
        if let Some(event) = made_here {
            return Some(Value::clone(&event.state));
        }
        let loaded = R::rows(self).original(id);
        if let Some(row) = loaded.filter(|row| row.record.version() == version) {
            return Some(edit::json(row.record.entity()));
        }
        self.histories.get(id)?.bases.get(&version).cloned()
    }
}
