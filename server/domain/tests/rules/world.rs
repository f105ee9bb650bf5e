//! A database of a few maps, used in the same way as the lane uses a real one.
//!
//! Saving a decided batch asserts what the real databases assert: guards and unique keys.

use crate::ENDED_AT_ONCE;
use ifmatch_domain::{
    Command, Need, Outcome, Rejection, Settings, State,
    access::{self, StoredApiKey},
    billing::{
        self, Charges, PlanTerms, Segment, Sequence, StoredPayment, SubscriptionRecord, Terms,
        charged_until,
    },
    booking::{self, BookingDay, BookingRecord, DueBookings},
    core::{
        self, Audit, CodeHolder, Guarded, History, IdempotencyKey, KeptAnswer, NewEvent, Redaction,
        Resource, Row, Rows, Table, Use,
    },
    decide,
    entitlement::{
        self, AssignmentRecord, BoostRecord, Burns, Counter, DueHolds, FeatureRecord, FeatureTerms,
        Holdings, LogLine, PackageRecord, RolledOff, ScopeRef, StoredHold, StoredRecord, addon_key,
        entitlement,
    },
    entitlement_needs,
    ledger::{self, Account, StoredReservation, StoredTransfer},
    lock::{self, LockRecord},
    needs,
    provisioning::{self, ServerRecord, Slots, StoredEntry},
};
use ifmatch_types::{
    Bookable, BookingStatus, Entitlement, HoldStatus, Invoice, InvoiceStatus, Kind, Namespace,
    PanelKind, Plan, Product, ServerStatus, Timestamp, Version, Workspace,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

/// Rows by id.
pub type Kept<T> = BTreeMap<String, T>;
pub type Decided = Result<Outcome, Rejection>;

/// All stored rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub plans: Kept<Row<Plan>>,
    pub workspaces: Kept<Row<Workspace>>,
    pub namespaces: Kept<Row<Namespace>>,
    pub subscriptions: Kept<Row<SubscriptionRecord>>,
    pub terms: Kept<Segment>,
    pub invoices: Kept<Row<Invoice>>,
    pub bookables: Kept<Row<Bookable>>,
    pub bookings: Kept<Row<BookingRecord>>,
    pub booking_days: Kept<BookingDay>,
    pub payments: Kept<StoredPayment>,
    pub api_keys: Kept<StoredApiKey>,
    pub locks: Kept<LockRecord>,
    pub accounts: Kept<Account>,
    pub transfers: Kept<StoredTransfer>,
    pub reservations: Kept<StoredReservation>,
    pub products: Kept<Row<Product>>,
    pub servers: Kept<Row<ServerRecord>>,
    pub slots: Kept<Slots>,
    pub entries: Kept<StoredEntry>,
    pub answers: BTreeMap<(String, String), KeptAnswer>,
    pub last_number: i64,
    pub events: Vec<NewEvent>,
    pub audits: Vec<Audit>,
    pub features: Kept<Row<FeatureRecord>>,
    pub packages: Kept<Row<PackageRecord>>,
    pub assignments: Kept<Row<AssignmentRecord>>,
    pub boosts: Kept<Row<BoostRecord>>,
    pub counters: Kept<Counter>,
    pub records: Kept<StoredRecord>,
    pub holds: Kept<StoredHold>,
    pub log: Vec<LogLine>,
    /// Whether one commit ends everything that is over, instead of a slice.
    pub ends_all: bool,
}

impl World {
    /// Carries out a batch as the lane does: load in rounds, decide each, save the changes.
    pub fn carry_out(&mut self, batch: &[Command], now: Timestamp) -> Vec<Decided> {
        let mut state = self.load(batch, now);
        let decided = batch.iter().map(|command| decide_one(&mut state, command, now)).collect();
        self.save(&state);
        decided
    }

    /// The state that the lane has loaded before it decides.
    pub fn load(&self, batch: &[Command], now: Timestamp) -> State {
        self.load_all(now, |state, wanted| wanted.extend(needs(batch, state)))
    }

    /// The entitlement of a feature, from what a reader loads.
    pub fn entitlement(&self, of: &ScopeRef, code: &str, now: Timestamp) -> Option<Entitlement> {
        let state = self.load_all(now, |state, wanted| {
            entitlement_needs(of, std::iter::once(code), state, wanted);
        });
        entitlement(of, code, now, &state)
    }

    /// Loads in rounds until nothing more is needed.
    ///
    /// A row that turns out to be changed needs a stronger lock. Then everything is loaded again,
    /// as in the lane.
    fn load_all(&self, now: Timestamp, wants: impl Fn(&State, &mut Vec<Need>)) -> State {
        let settings = Settings { panel: Some(PanelKind::Pterodactyl) };
        let mut state = State::under(settings, now);
        let mut objects: BTreeSet<Need> = BTreeSet::new();
        loop {
            let mut wanted = Vec::new();
            wants(&state, &mut wanted);
            let mut wanted: BTreeSet<Need> = wanted.into_iter().collect();
            if wanted.is_empty() {
                return state;
            }
            objects.extend(wanted.iter().filter(|need| is_object(need)).cloned());
            let is_upgrade = |need: &Need| match need {
                Need::Core(core::Need::Object(kind, id)) => state.is_shared(*kind, id),
                _ => false,
            };
            if wanted.iter().any(is_upgrade) {
                state = State::under(settings, now);
                wanted.clone_from(&objects);
            }
            let turn = wanted.iter().map(Need::turn).min();
            wanted.retain(|need| Some(need.turn()) == turn);
            for need in wanted {
                self.load_one(need, now, &mut state);
            }
        }
    }

    /// Asserts that a rejected command changed nothing, except for a denial's line in the log.
    #[track_caller]
    pub fn assert_untouched(&self, before: &Self, rejection: &Rejection) {
        let Some(denial) = rejection.denial() else {
            return assert_eq!(self, before, "a rejected command leaves no trace: {rejection:?}");
        };
        let mut rest = self.clone();
        let line = rest.log.pop();
        let logged = line.map(|line| (line.scope, line.entry.log_type));
        assert_eq!(logged, Some((denial.scope.clone(), "usage.denied".to_owned())));
        assert_eq!(rest, *before, "a denial leaves its log line and nothing else");
    }

    fn load_one(&self, need: Need, now: Timestamp, state: &mut State) {
        match need {
            Need::Core(core::Need::Object(kind, id)) => self.load_object(kind, id, state),
            Need::Core(core::Need::Reference(kind, id)) => {
                if !state.is_object_loaded(kind, &id) {
                    state.share(kind, id.clone());
                    self.load_object(kind, id, state);
                }
            }
            Need::Billing(billing::Need::PlanCode(code)) => {
                let holder = self
                    .plans
                    .values()
                    .find(|row| row.deleted.is_none() && row.record.code == code);
                let holder = holder.map(|row| CodeHolder { id: row.record.id.to_string() });
                state.billing_mut().plan_codes.load(code, holder);
            }
            Need::Billing(billing::Need::PlanTerms(id)) => {
                let terms = self.plans.get(id.as_str()).map(|row| PlanTerms::from(&row.record));
                state.billing_mut().plan_terms.insert(id, terms);
            }
            Need::Core(core::Need::History(id, version)) => self.load_history(id, version, state),
            Need::Billing(billing::Need::Payments(invoice_id)) => {
                for (id, payment) in &self.payments {
                    if payment.payment.invoice_id.as_str() == invoice_id {
                        state.billing_mut().payments.load(id.clone(), Some(payment.clone()));
                    }
                }
                state.billing_mut().paid_invoices.insert(invoice_id);
            }
            Need::Billing(billing::Need::PaymentRef(provider_ref)) => {
                let known =
                    self.payments.iter().find(|(_, p)| p.payment.provider_ref == provider_ref);
                if let Some((id, payment)) = known {
                    state.billing_mut().payments.load(id.clone(), Some(payment.clone()));
                }
                let holder = known.map(|(id, _)| CodeHolder { id: id.clone() });
                state.billing_mut().payment_refs.load(provider_ref, holder);
            }
            Need::Billing(billing::Need::Terms { subscription_id, whole }) => {
                let from = self
                    .subscriptions
                    .get(&subscription_id)
                    .and_then(|row| row.record.settled_segment.filter(|_| !whole));
                let of = |segment: &&Segment| segment.subscription_id.as_str() == subscription_id;
                let later = |s: &&Segment| from.is_none_or(|from| s.seq >= from);
                let segments = self.terms.values().filter(of).filter(later).cloned().collect();
                let terms = Terms { segments, is_whole: from.is_none() };
                state.billing_mut().terms.load(subscription_id, Some(terms));
            }
            Need::Billing(billing::Need::Charges { subscription_id, whole }) => {
                let from = self
                    .subscriptions
                    .get(&subscription_id)
                    .and_then(|row| row.record.settled_at.filter(|_| !whole));
                let mut charges = Charges::default();
                charges.is_whole = from.is_none();
                for invoice in self.invoices_of(&subscription_id) {
                    if charged_until(invoice).is_some_and(|until| Some(until) >= from) {
                        charges.add(invoice);
                    }
                }
                state.billing_mut().charges.load(subscription_id, Some(charges));
            }
            Need::Core(core::Need::InUse(kind, id)) => {
                let used = Some(self.used_by(kind, &id));
                state.in_use.load(id, used);
            }
            Need::Lock(lock::Need::Lock(id)) => {
                let lock = self.locks.get(&id).cloned();
                state.lock_mut().locks.load(id, lock);
            }
            Need::Ledger(need)
            | Need::Billing(billing::Need::Ledger(need))
            | Need::Provisioning(provisioning::Need::Ledger(need)) => {
                self.load_ledger(need, state);
            }
            Need::Provisioning(provisioning::Need::Slots(workspace_id, product_id)) => {
                let key = Slots::key(&workspace_id, &product_id);
                let slots = self.slots.get(&key).cloned();
                state.provisioning_mut().slots.load(key, slots);
            }
            Need::Provisioning(provisioning::Need::Holders(remote_id)) => {
                let servers = self.servers.values().map(|row| &row.record.server);
                let holders = servers.filter(|server| {
                    server.remote_id == Some(remote_id) && server.status != ServerStatus::Deleted
                });
                let holders = holders.map(|server| server.id.to_string()).collect();
                state.provisioning_mut().holders.insert(remote_id, holders);
            }
            Need::Access(access::Need::ApiKey(id)) => {
                let key = self.api_keys.get(&id).cloned();
                state.access_mut().api_keys.load(id, key);
            }
            Need::Access(access::Need::KeysNamed(name)) => {
                let keys = self.api_keys.values();
                let named = keys.filter(|k| k.key.name == name && k.key.revoked_at.is_none());
                let ids = named.map(|stored| stored.key.id.to_string()).collect();
                state.access_mut().named.load(name, Some(access::Named(ids)));
            }
            Need::Core(core::Need::Answer(scope, key)) => {
                let key = (scope, key);
                let answer = self.answers.get(&key).cloned();
                state.answers.load(key, answer);
            }
            Need::Billing(billing::Need::Sequence(series)) => {
                let last = Sequence { series, last: self.last_number };
                state.billing_mut().sequences.load(series.to_owned(), Some(last));
            }
            Need::Core(core::Need::Owner(kind, id)) => {
                let owner = match kind {
                    Kind::Namespace => {
                        self.namespaces.get(&id).map(|row| row.record.workspace_id.to_string())
                    }
                    Kind::Assignment => {
                        self.assignments.get(&id).map(|row| row.record.assignment.scope.clone())
                    }
                    Kind::Boost => self.boosts.get(&id).map(|row| row.record.boost.scope.clone()),
                    Kind::Booking => {
                        let row = self.bookings.get(&id);
                        row.map(|row| row.record.booking.bookable_id.to_string())
                    }
                    Kind::Subscription => {
                        let row = self.subscriptions.get(&id);
                        row.map(|row| row.record.subscription.workspace_id.to_string())
                    }
                    Kind::Server => {
                        let row = self.servers.get(&id);
                        row.map(|row| row.record.server.workspace_id.to_string())
                    }
                    other => panic!("this world knows no owner of {other:?}"),
                };
                state.owners.insert((kind, id), owner);
            }
            Need::Core(core::Need::Clock) => state.clock = Some(now),
            Need::Booking(booking::Need::Days(bookable_id, from, to)) => {
                let (from, to) = state.booking_mut().widen_days(&bookable_id, from, to);
                self.load_days(state, |day| {
                    day.bookable_id.as_str() == bookable_id && (from..=to).contains(&day.day)
                });
            }
            Need::Booking(booking::Need::DaysAbove(bookable_id, capacity, from)) => {
                self.load_days(state, |day| {
                    day.bookable_id.as_str() == bookable_id
                        && day.day >= from
                        && day.reserved > capacity
                });
                state.booking_mut().days_above.insert((bookable_id, capacity, from));
            }
            Need::Booking(booking::Need::DueBookings(bookable_id)) => {
                let at = state.clock.unwrap_or(now);
                let is_due = |record: &BookingRecord| {
                    record.booking.bookable_id.as_str() == bookable_id
                        && record.booking.status == BookingStatus::Held
                        && record.booking.hold_expires_at <= Some(at)
                };
                let due = self.bookings.iter().filter(|(_, row)| is_due(&row.record));
                let mut due: Vec<_> = due.collect();
                due.sort_by_key(|(id, row)| (row.record.booking.hold_expires_at, *id));
                let (mut ids, mut rest) = (Vec::new(), Vec::new());
                for (id, row) in due {
                    if ids.len() < self.ended_at_once() || state.booking().bookings.is_loaded(id) {
                        ids.push(id.clone());
                        state.booking_mut().bookings.load(id.clone(), Some(row.clone()));
                    } else {
                        rest.push(row.record.share());
                    }
                }
                ids.sort_unstable();
                state.booking_mut().due_bookings.insert(bookable_id, DueBookings::new(ids, rest));
            }
            need => self.load_entitlement(need, state),
        }
    }

    fn load_entitlement(&self, need: Need, state: &mut State) {
        match need {
            Need::Entitlement(
                entitlement::Need::FeatureCode(code) | entitlement::Need::FeatureToGrant(code),
            ) => {
                let living = self.features.values().filter(|row| row.deleted.is_none());
                let found = living.map(|row| &row.record).find(|r| r.feature.code == code);
                if let Some(record) = found {
                    let id = record.feature.id.to_string();
                    state.entitlement_mut().feature_terms.insert(id, FeatureTerms::from(record));
                }
                let holder = found.map(|record| CodeHolder { id: record.feature.id.to_string() });
                state.entitlement_mut().feature_codes.load(code, holder);
            }
            Need::Entitlement(entitlement::Need::PackageCode(code)) => {
                let living = self.packages.values().filter(|row| row.deleted.is_none());
                let found = living.map(|row| &row.record.package).find(|p| p.code == code);
                let holder = found.map(|package| CodeHolder { id: package.id.to_string() });
                state.entitlement_mut().package_codes.load(code, holder);
            }
            Need::Entitlement(entitlement::Need::ExternalService(external)) => {
                let found = self.assignments.iter().find(|(_, row)| {
                    row.record.assignment.external_service_id.as_ref() == Some(&external)
                });
                let holder = found.map(|(id, row)| {
                    state.entitlement_mut().assignments.load(id.clone(), Some(row.clone()));
                    CodeHolder { id: id.clone() }
                });
                state.entitlement_mut().external_services.load(external, holder);
            }
            Need::Entitlement(entitlement::Need::Addon(key)) => {
                let found = self.boosts.iter().find(|(_, row)| {
                    let boost = &row.record.boost;
                    let addon = boost.external_addon_id.as_deref();
                    addon_key(boost.source.as_deref(), addon).as_ref() == Some(&key)
                });
                let holder = found.map(|(id, row)| {
                    state.entitlement_mut().boosts.load(id.clone(), Some(row.clone()));
                    CodeHolder { id: id.clone() }
                });
                state.entitlement_mut().addons.load(key, holder);
            }
            Need::Entitlement(entitlement::Need::Holdings(scope)) => {
                self.load_holdings(scope, state)
            }
            Need::Entitlement(entitlement::Need::Counter(id)) => {
                let counter = self.counters.get(&id).cloned();
                state.entitlement_mut().counters.load(id, counter);
            }
            Need::Entitlement(entitlement::Need::RolledOff(id, from, until)) => {
                let of = self.records.values().filter(|stored| stored.counter_id == id);
                let of = of.filter(|stored| stored.record.reversed < stored.record.quantity);
                let of: Vec<_> = of.collect();
                let is_left = |at: Timestamp| Some(at) > from && at <= until;
                let left = of.iter().filter(|stored| is_left(stored.record.at));
                let left: Vec<_> = left.collect();
                let quantity = left.iter().map(|s| s.record.quantity - s.record.reversed).sum();
                let burnt = left.iter().map(|s| s.burns.units()).sum();
                let oldest = of.iter().map(|s| s.record.at).filter(|at| *at > until).min();
                let rolled = RolledOff { until, quantity, burnt, oldest };
                state.entitlement_mut().rolled.insert(id, rolled);
            }
            Need::Entitlement(entitlement::Need::DueHolds(id, from, until)) => {
                let due = self.due_holds(until).filter(|(_, stored)| stored.counter_id == id);
                let mut found: Vec<_> = due.collect();
                found.sort_by_key(|(hold_id, stored)| (stored.hold.expires_at, *hold_id));
                let at_once = found.len().min(self.ended_at_once());
                let mut ids = BTreeSet::new();
                for (hold_id, stored) in &found[..at_once] {
                    state.entitlement_mut().holds.load((*hold_id).clone(), Some((*stored).clone()));
                    ids.insert((*hold_id).clone());
                }
                let (is_cut, mut units, mut burns) = (at_once < found.len(), 0, Burns::default());
                for (_, stored) in found {
                    if Some(stored.hold.expires_at) > from {
                        units += stored.hold.quantity;
                        burns.append(&stored.burns);
                    }
                }
                let due = DueHolds { until, ids, is_cut, units, burns };
                state.entitlement_mut().due_holds.insert(id, due);
            }
            Need::Entitlement(entitlement::Need::DueCounters(scope, now)) => {
                let due = self.due_holds(now).filter(|(_, stored)| stored.charged_scope == scope);
                let due = due.map(|(_, stored)| stored.counter_id.clone()).collect();
                state.entitlement_mut().due_counters.insert(scope, due);
            }
            Need::Entitlement(entitlement::Need::Record(id)) => {
                let record = self.records.get(&id).cloned();
                state.entitlement_mut().records.load(id, record);
            }
            Need::Entitlement(entitlement::Need::BurntBoost(id)) => {
                let boost = self.boosts.get(&id).cloned();
                state.entitlement_mut().boosts.load(id, boost);
            }
            Need::Entitlement(entitlement::Need::Hold(id)) => {
                let hold = self.holds.get(&id).cloned();
                state.entitlement_mut().holds.load(id, hold);
            }
            other => panic!("no loader for {other:?}"),
        }
    }

    fn load_ledger(&self, need: ledger::Need, state: &mut State) {
        let ledger = state.ledger_mut();
        match need {
            ledger::Need::Account(id) => {
                let account = self.accounts.get(&id).cloned();
                ledger.accounts.load(id, account);
            }
            ledger::Need::Balances(workspace_id) => {
                let of = |account: &&Account| account.workspace_id.as_str() == workspace_id;
                let balances = self.accounts.values().filter(of);
                for account in balances.filter(|account| account.unit != ledger::CREDITS) {
                    ledger.accounts.load(account.id.clone(), Some(account.clone()));
                }
                ledger.balances_of.insert(workspace_id);
            }
            ledger::Need::AccountOf(id) => {
                let account = self.reservations.get(&id).map(|stored| stored.account_id.clone());
                ledger.account_of.insert(id, account);
            }
            ledger::Need::Reservation(id) => {
                let stored = self.reservations.get(&id).cloned();
                let resolution = stored.as_ref().and_then(|s| s.reservation.resolved_by.as_ref());
                if let Some(transfer) = resolution {
                    let found = self.transfers.get(transfer.as_str()).cloned();
                    ledger.transfers.load(transfer.to_string(), found);
                }
                ledger.reservations.load(id, stored);
            }
        }
    }

    fn load_holdings(&self, scope: String, state: &mut State) {
        let mut holdings = Holdings::default();
        for (id, row) in &self.assignments {
            let record = &row.record;
            if record.assignment.scope != scope {
                continue;
            }
            holdings.anchor = Some(record.assignment.anchor_at);
            if matches!(record.assignment.status.name(), "active" | "suspended") {
                holdings.assignments.push(id.clone());
                let package = &self.packages[record.package_id.as_str()].record;
                let package_id = record.package_id.to_string();
                state.entitlement_mut().package_grants.insert(package_id, package.grants.clone());
                state.entitlement_mut().assignments.load(id.clone(), Some(row.clone()));
            }
        }
        for (id, row) in &self.boosts {
            if row.record.boost.scope == scope {
                holdings.anchor = Some(row.record.anchor_at);
                if !row.record.is_over {
                    holdings.boosts.push(id.clone());
                    state.entitlement_mut().boosts.load(id.clone(), Some(row.clone()));
                }
            }
        }
        state.entitlement_mut().holdings.load(scope, Some(holdings));
    }

    fn ended_at_once(&self) -> usize {
        if self.ends_all { usize::MAX } else { ENDED_AT_ONCE }
    }

    fn due_holds(&self, now: Timestamp) -> impl Iterator<Item = (&String, &StoredHold)> {
        self.holds.iter().filter(move |(_, stored)| {
            stored.hold.status == HoldStatus::Active && stored.hold.expires_at <= now
        })
    }

    fn load_days(&self, state: &mut State, wanted: impl Fn(&BookingDay) -> bool) {
        for (key, day) in self.booking_days.iter().filter(|(_, day)| wanted(day)) {
            state.booking_mut().booking_days.load(key.clone(), Some(day.clone()));
        }
    }

    fn load_object(&self, kind: Kind, id: String, state: &mut State) {
        fn load<R: Resource>(kept: &Kept<Row<R>>, rows: &mut Rows<R>, id: String) {
            let row = kept.get(&id).cloned();
            rows.load(id, row);
        }
        match kind {
            Kind::Plan => load(&self.plans, &mut state.billing_mut().plans, id),
            Kind::Workspace => load(&self.workspaces, &mut state.billing_mut().workspaces, id),
            Kind::Namespace => load(&self.namespaces, &mut state.billing_mut().namespaces, id),
            Kind::Subscription => {
                load(&self.subscriptions, &mut state.billing_mut().subscriptions, id)
            }
            Kind::Invoice => load(&self.invoices, &mut state.billing_mut().invoices, id),
            Kind::Feature => load(&self.features, &mut state.entitlement_mut().features, id),
            Kind::Package => load(&self.packages, &mut state.entitlement_mut().packages, id),
            Kind::Assignment => {
                load(&self.assignments, &mut state.entitlement_mut().assignments, id)
            }
            Kind::Boost => load(&self.boosts, &mut state.entitlement_mut().boosts, id),
            Kind::Bookable => load(&self.bookables, &mut state.booking_mut().bookables, id),
            Kind::Booking => load(&self.bookings, &mut state.booking_mut().bookings, id),
            Kind::Product => load(&self.products, &mut state.provisioning_mut().products, id),
            Kind::Server => load(&self.servers, &mut state.provisioning_mut().servers, id),
        }
    }

    fn load_history(&self, id: String, version: Version, state: &mut State) {
        let known = self.history(&id).filter(|event| event.entry.version >= version);
        let known: Vec<&NewEvent> = known.collect();
        let mut history = History {
            since: known.first().map_or(Version::MAX, |event| event.entry.version),
            asked: BTreeSet::from([version]),
            entries: known.iter().map(|event| Arc::new(event.entry.clone())).collect(),
            bases: BTreeMap::new(),
        };
        if let Some(base) = known.first().filter(|event| event.entry.version == version) {
            history.bases.insert(version, Arc::clone(&base.state));
        }
        if let Some(before) = state.histories.remove(&id) {
            history.merge(before);
        }
        state.histories.insert(id, history);
    }

    fn used_by(&self, kind: Kind, id: &str) -> Use {
        let of_subscription = |invoice: &Invoice| {
            invoice.subscription_id.as_ref().is_some_and(|owner| owner.as_str() == id)
        };
        if kind == Kind::Subscription {
            let users = self.invoices.iter().filter(|(_, row)| of_subscription(&row.record));
            return Use(users.map(|(id, _)| id.clone()).collect());
        }
        if kind == Kind::Package {
            let users = self.assignments.iter();
            let users = users.filter(|(_, row)| row.record.package_id.as_str() == id);
            return Use(users.map(|(id, _)| id.clone()).collect());
        }
        if kind == Kind::Bookable {
            let of_bookable =
                |row: &Row<BookingRecord>| row.record.booking.bookable_id.as_str() == id;
            let users = self.bookings.iter().filter(|(_, row)| of_bookable(row));
            return Use(users.map(|(id, _)| id.clone()).collect());
        }
        if kind == Kind::Product {
            let users = self.servers.iter();
            let users = users.filter(|(_, row)| row.record.server.product_id.as_str() == id);
            return Use(users.map(|(id, _)| id.clone()).collect());
        }
        fn living<R>(rows: &Kept<Row<R>>, of: impl Fn(&R) -> bool) -> Vec<String> {
            let living = rows.iter().filter(|(_, r)| r.deleted.is_none() && of(&r.record));
            living.map(|(id, _)| id.clone()).collect()
        }
        let mut users = living(&self.namespaces, |n| n.workspace_id.as_str() == id);
        users.extend(living(&self.subscriptions, |s| s.subscription.workspace_id.as_str() == id));
        users.extend(living(&self.invoices, |i| i.workspace_id.as_str() == id));
        let accounts = self.accounts.values().filter(|a| a.workspace_id.as_str() == id);
        users.extend(accounts.map(|account| account.id.clone()));
        users.extend(living(&self.servers, |s| s.server.workspace_id.as_str() == id));
        Use(users.into_iter().collect())
    }

    /// Saves a decided batch with the guards of the real databases.
    pub fn save(&mut self, state: &State) {
        fold(&mut self.plans, &state.billing().plans, |row| row.record.id.to_string());
        fold(&mut self.workspaces, &state.billing().workspaces, |row| row.record.id.to_string());
        fold(&mut self.namespaces, &state.billing().namespaces, |row| row.record.id.to_string());
        fold(&mut self.subscriptions, &state.billing().subscriptions, |row| {
            row.record.subscription.id.to_string()
        });
        for change in state.billing().terms.changes() {
            let loaded = change.original.map_or(0, |original| original.segments.len());
            for segment in &change.row.segments[loaded..] {
                let place = format!("{}/{:08}", segment.subscription_id, segment.seq);
                let before = self.terms.insert(place, segment.clone());
                assert_eq!(before, None, "terms are only appended");
            }
        }
        fold(&mut self.invoices, &state.billing().invoices, |row| row.record.id.to_string());
        fold(&mut self.bookables, &state.booking().bookables, |row| row.record.id.to_string());
        fold(&mut self.bookings, &state.booking().bookings, |row| {
            row.record.booking.id.to_string()
        });
        fold(&mut self.booking_days, &state.booking().booking_days, |day| {
            BookingDay::key(day.bookable_id.as_str(), day.day)
        });
        fold(&mut self.payments, &state.billing().payments, |payment| {
            payment.payment.id.to_string()
        });
        fold(&mut self.api_keys, &state.access().api_keys, |stored| stored.key.id.to_string());
        fold(&mut self.locks, &state.lock().locks, |lock| lock.id.clone());
        fold(&mut self.accounts, &state.ledger().accounts, |account| account.id.clone());
        fold(&mut self.transfers, &state.ledger().transfers, |s| s.transfer.id.to_string());
        fold(&mut self.reservations, &state.ledger().reservations, |s| {
            s.reservation.id.to_string()
        });
        fold(&mut self.products, &state.provisioning().products, |row| row.record.id.to_string());
        fold(&mut self.servers, &state.provisioning().servers, |row| {
            row.record.server.id.to_string()
        });
        fold(&mut self.slots, &state.provisioning().slots, |slots| {
            Slots::key(slots.workspace_id.as_str(), slots.product_id.as_str())
        });
        fold(&mut self.entries, &state.provisioning().entries, |stored| stored.id.clone());
        fold(&mut self.features, &state.entitlement().features, |row| {
            row.record.feature.id.to_string()
        });
        fold(&mut self.packages, &state.entitlement().packages, |row| {
            row.record.package.id.to_string()
        });
        fold(&mut self.assignments, &state.entitlement().assignments, |row| {
            row.record.assignment.id.to_string()
        });
        fold(&mut self.boosts, &state.entitlement().boosts, |row| row.record.boost.id.to_string());
        fold(&mut self.counters, &state.entitlement().counters, |counter| counter.id.clone());
        fold(&mut self.records, &state.entitlement().records, |stored| {
            stored.record.id.to_string()
        });
        fold(&mut self.holds, &state.entitlement().holds, |stored| stored.hold.id.to_string());
        self.log.extend(state.entitlement().log.iter().cloned());
        if let Some(change) = state.billing().sequences.changes().next() {
            assert_eq!(
                change.guard,
                Some(self.last_number),
                "the sequence is unchanged since it was loaded"
            );
            self.last_number = change.row.last;
        }
        for (key, answer) in state.new_answers() {
            let before = self.answers.insert(key.clone(), answer.clone());
            assert_eq!(before, None, "an answer is kept once");
        }
        self.events.extend(state.events.iter().cloned());
        self.audits.extend(state.audits.iter().cloned());
        state.redactions.iter().for_each(|redaction| self.rewrite(redaction));
        self.assert_unique();
    }

    /// Rewrites the past of a redacted object.
    fn rewrite(&mut self, redaction: &Redaction) {
        let id = &redaction.object_id;
        let is_earlier =
            |event: &&mut NewEvent| event.id == *id && event.entry.version <= redaction.version;
        for event in self.events.iter_mut().filter(is_earlier) {
            redaction.redact_changes(&mut event.entry.changes);
            let mut state = Value::clone(&event.state);
            redaction.redact(&mut state);
            event.state = Arc::new(state.into());
        }
        let is_about = |audit: &&mut Audit| audit.resource.as_ref().is_some_and(|of| of.id == *id);
        for audit in self.audits.iter_mut().filter(is_about) {
            redaction.redact_changes(&mut audit.changes);
        }
        for answer in self.answers.values_mut() {
            let mut body = serde_json::from_str(&answer.body).unwrap();
            if redaction.redact_within(&mut body) {
                answer.body = body.to_string();
            }
        }
    }

    fn assert_unique(&self) {
        let living = self.plans.values().filter(|row| row.deleted.is_none());
        assert_once("a living plan's code", living.map(|row| row.record.code.clone()));
        let invoices = || self.invoices.values().map(|row| &row.record);
        assert_once("an invoice's number", invoices().filter_map(|i| i.number.clone()));
        let recurring = self.subscriptions.keys().flat_map(|id| self.recurring(id));
        assert_once(
            "a billed period",
            recurring.map(|i| (i.subscription_id.clone(), i.period_start)),
        );
        let refs = self.payments.values().map(|payment| payment.payment.provider_ref.clone());
        assert_once("a provider's reference", refs);
        let living = self.features.values().filter(|row| row.deleted.is_none());
        assert_once("a living feature's code", living.map(|row| &row.record.feature.code));
        let living = self.packages.values().filter(|row| row.deleted.is_none());
        assert_once("a living package's code", living.map(|row| &row.record.package.code));
        let assignments = || self.assignments.values().map(|row| &row.record.assignment);
        let external = assignments().filter_map(|a| a.external_service_id.as_ref());
        assert_once("an external service id", external);
        let bases = assignments().filter(|a| a.is_base);
        let bases = bases.filter(|a| matches!(a.status.name(), "active" | "suspended"));
        assert_once("a scope's base package", bases.map(|a| &a.scope));
        let addons = self.boosts.values().map(|row| &row.record.boost);
        let addons =
            addons.filter_map(|b| addon_key(b.source.as_deref(), b.external_addon_id.as_deref()));
        assert_once("an add-on", addons);
        assert_once("a line of the log", self.log.iter().map(|line| &line.entry.id));
        let entries = self.entries.values();
        assert_once("an entry's number", entries.map(|e| (&e.server_id, e.entry.seq)));
        let entries = self.events.iter().map(|event| (event.id.clone(), event.entry.version));
        assert_once("a version in a history", entries);
    }

    /// The recurring invoices of a subscription that are not void.
    pub fn recurring<'a>(&'a self, subscription_id: &'a str) -> impl Iterator<Item = &'a Invoice> {
        self.invoices_of(subscription_id)
            .filter(|i| i.period_start.is_some() && i.status != InvoiceStatus::Void)
    }

    /// The invoices of a subscription that are not deleted.
    pub fn invoices_of<'a>(
        &'a self,
        subscription_id: &'a str,
    ) -> impl Iterator<Item = &'a Invoice> {
        let living = self.invoices.values().filter(|row| row.deleted.is_none());
        living.map(|row| &row.record).filter(move |invoice| {
            invoice.subscription_id.as_ref().is_some_and(|id| id.as_str() == subscription_id)
        })
    }

    /// The history of an object, oldest first.
    pub fn history<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a NewEvent> {
        self.events.iter().filter(move |event| event.id == id)
    }

    /// An object as the API shows it, or its last state if deleted.
    pub fn entity(&self, id: &str) -> Value {
        self.rows().into_iter().find(|(_, row_id, ..)| row_id == id).map(|row| row.3).unwrap()
    }

    /// Every object: kind, id, whether it is not deleted, and its representation.
    pub fn rows(&self) -> Vec<(Kind, String, bool, Value)> {
        fn shown<R: Resource>(
            kept: &Kept<Row<R>>,
        ) -> impl Iterator<Item = (Kind, String, bool, Value)> {
            kept.iter().map(|(id, row)| {
                let entity = serde_json::to_value(row.record.entity()).unwrap();
                (R::KIND, id.clone(), row.deleted.is_none(), entity)
            })
        }
        shown(&self.plans)
            .chain(shown(&self.workspaces))
            .chain(shown(&self.namespaces))
            .chain(shown(&self.subscriptions))
            .chain(shown(&self.invoices))
            .chain(shown(&self.features))
            .chain(shown(&self.packages))
            .chain(shown(&self.assignments))
            .chain(shown(&self.boosts))
            .chain(shown(&self.bookables))
            .chain(shown(&self.bookings))
            .chain(shown(&self.products))
            .chain(shown(&self.servers))
            .collect()
    }
}

fn is_object(need: &Need) -> bool {
    matches!(need, Need::Core(core::Need::Object(..)))
}

/// Decides one command and keeps its answer, as the lane does.
pub fn decide_one(state: &mut State, command: &Command, now: Timestamp) -> Decided {
    let outcome = decide(state, command, now)?;
    if let Some(key) = &command.idempotency
        && outcome.is_kept()
    {
        state.remember(key, answer_of(key, &outcome));
    }
    Ok(outcome)
}

fn answer_of(key: &IdempotencyKey, outcome: &Outcome) -> KeptAnswer {
    let fingerprint = key.fingerprint.clone();
    KeptAnswer { fingerprint, status: 200, headers: Vec::new(), body: told(outcome).to_string() }
}

/// A value that is equal for equal outcomes.
fn told(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Core(outcome) => told_of_core(outcome),
        other => json!({ "told": format!("{other:?}") }),
    }
}

fn told_of_core(outcome: &core::Outcome) -> Value {
    match outcome {
        core::Outcome::Object(object) => {
            json!({ "how": format!("{:?}", object.how), "body": **object.body })
        }
        core::Outcome::Transaction(outcomes) => outcomes.iter().map(told_of_core).collect(),
        other => json!({ "told": format!("{other:?}") }),
    }
}

fn fold<V>(kept: &mut Kept<V>, table: &Table<String, V>, id: impl Fn(&V) -> String)
where
    V: Clone + Debug + Guarded,
{
    for change in table.changes() {
        let before = kept.insert(id(change.row), change.row.clone());
        assert_eq!(
            before.as_ref().map(Guarded::guard),
            change.guard,
            "a row is unchanged since it was loaded"
        );
    }
}

#[track_caller]
fn assert_once<T: Ord + Debug>(what: &str, all: impl Iterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for one in all {
        let text = format!("{one:?}");
        assert!(seen.insert(one), "{what} exists once: {text}");
    }
}

/// The variant's name of an outcome or a rejection, without its system.
pub fn variant_name(told: &impl Debug) -> String {
    let text = format!("{told:?}");
    let systems = [
        "Core(",
        "Billing(",
        "Entitlement(",
        "Booking(",
        "Access(",
        "Lock(",
        "Ledger(",
        "Provisioning(",
    ];
    let own = systems.iter().find_map(|system| text.strip_prefix(system)).unwrap_or(&text);
    own.chars().take_while(|character| character.is_alphanumeric()).collect()
}
