//! Loads what a batch needs: one query per table, rows locked in a fixed order.

mod booking;
mod entitlement;

use booking::BookingNeeds;
use entitlement::{EntitlementNeeds, HotNeeds};

use crate::{
    Db, StoreError,
    bulk::{Lock, select_by, select_where, selects_each},
    lookup::{Lookups, Place},
    on_backend,
    row::{Stored, answer_from, api_key_from, entry_from, payment_from, state_from},
    schema::{
        AnswerRow, ApiKeyRow, AssignmentRow, BookingRow, EventRow, NamespaceRow, PaymentRow,
        PlanRow, SequenceRow, StoredRow,
    },
    sql::{Cell, Sql},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{
    AssignmentRecord, BilledPeriods, BookingRecord, BoostRecord, CodeHolder, FeatureRecord,
    History, Need, PackageRecord, PlanTerms, SERIES, Sequence, State, StoredPayment,
    SubscriptionRecord, Use, lock_place,
};
use ifmatch_types::{
    Bookable, Invoice, Kind, Namespace, Plan, PlanId, Timestamp, Version, Workspace,
};
use std::collections::{BTreeMap, BTreeSet};

/// A write that is further behind than this is told that its base is unknown, instead of having
/// the lane read through years of history for it.
const EXPLAINABLE_VERSIONS: i64 = 1_000;

/// So many holds that are over are ended in one commit, at most: after an outage there may be very
/// many of them, and somebody waits for that commit.
const ENDED_AT_ONCE: i64 = 500;

/// An object with more users than this is taken for used, whatever the batch does with them.
const USERS_MAX: i64 = 1_000;

/// Needs by table, each sorted: the order of the fields is the order of the locks.
#[derive(Default)]
struct Wanted {
    answers: BTreeSet<(String, String)>,
    objects: BTreeMap<LockOrder, BTreeSet<String>>,
    plan_codes: BTreeSet<String>,
    plan_terms: BTreeSet<PlanId>,
    histories: BTreeMap<String, BTreeSet<Version>>,
    payments: BTreeSet<String>,
    payment_refs: BTreeSet<String>,
    billed: BTreeSet<String>,
    in_use: BTreeSet<(Kind, String)>,
    api_keys: BTreeSet<String>,
    sequences: BTreeSet<&'static str>,
    owners: BTreeSet<(Kind, String)>,
    clock: bool,
    entitlements: EntitlementNeeds,
    bookings: BookingNeeds,
}

/// A kind with its place in the order of locks.
type LockOrder = (u8, Kind);

impl Wanted {
    fn sort(needs: impl IntoIterator<Item = Need>) -> Self {
        let mut wanted = Self::default();
        for need in needs {
            match need {
                Need::Answer(scope, key) => {
                    wanted.answers.insert((scope, key));
                }
                Need::Object(kind, id) => {
                    let order = (lock_place(kind), kind);
                    wanted.objects.entry(order).or_default().insert(id);
                }
                Need::PlanCode(code) => {
                    wanted.plan_codes.insert(code);
                }
                Need::PlanTerms(id) => {
                    wanted.plan_terms.insert(id);
                }
                Need::History(id, version) => {
                    wanted.histories.entry(id).or_default().insert(version);
                }
                Need::Payments(invoice_id) => {
                    wanted.payments.insert(invoice_id);
                }
                Need::PaymentRef(provider_ref) => {
                    wanted.payment_refs.insert(provider_ref);
                }
                Need::BilledPeriods(id) => {
                    wanted.billed.insert(id);
                }
                Need::InUse(kind, id) => {
                    wanted.in_use.insert((kind, id));
                }
                Need::ApiKey(id) => {
                    wanted.api_keys.insert(id);
                }
                Need::Sequence(series) => {
                    wanted.sequences.insert(series);
                }
                Need::Owner(kind, id) => {
                    wanted.owners.insert((kind, id));
                }
                Need::Clock => wanted.clock = true,
                need => {
                    if let Some(need) = wanted.bookings.add(need) {
                        wanted.entitlements.add(need);
                    }
                }
            }
        }
        wanted
    }
}

impl Db {
    /// Loads needs into a batch's state, inside its transaction, and locks what is to be locked.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn load(
        &mut self,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.load_with(Lock::Update, needs, state)
    }

    /// Loads needs as [`load`](Self::load) does, and locks nothing: for a look that decides nothing.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn peek(
        &mut self,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.load_with(Lock::None, needs, state)
    }

    fn load_with(
        &mut self,
        lock: Lock,
        needs: impl IntoIterator<Item = Need>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let wanted = Wanted::sort(needs);
        for ((_, kind), ids) in wanted.objects {
            match kind {
                Kind::Workspace => self.load_objects::<Workspace>(ids, lock, state)?,
                Kind::Namespace => self.load_objects::<Namespace>(ids, lock, state)?,
                Kind::Plan => self.load_objects::<Plan>(ids, lock, state)?,
                Kind::Subscription => self.load_objects::<SubscriptionRecord>(ids, lock, state)?,
                Kind::Invoice => self.load_objects::<Invoice>(ids, lock, state)?,
                Kind::Package => self.load_objects::<PackageRecord>(ids, lock, state)?,
                Kind::Feature => self.load_objects::<FeatureRecord>(ids, lock, state)?,
                Kind::Assignment => self.load_objects::<AssignmentRecord>(ids, lock, state)?,
                Kind::Boost => self.load_objects::<BoostRecord>(ids, lock, state)?,
                Kind::Bookable => self.load_objects::<Bookable>(ids, lock, state)?,
                Kind::Booking => self.load_objects::<BookingRecord>(ids, lock, state)?,
            }
        }
        self.load_plan_codes(wanted.plan_codes, state)?;
        self.load_plan_terms(wanted.plan_terms, state)?;
        for (id, versions) in wanted.histories {
            self.load_history(id, versions, state)?;
        }
        self.load_payments(wanted.payments, wanted.payment_refs, state)?;
        self.load_billed(wanted.billed, state)?;
        for (kind, id) in wanted.in_use {
            let users = self.users_of(kind, &id)?;
            state.in_use.load(id, Some(Use(users)));
        }
        self.load_api_keys(wanted.api_keys, lock, state)?;
        self.load_owners(wanted.owners, state)?;
        let (hot, rest) = wanted.entitlements.split();
        self.look_up(wanted.answers, wanted.clock, hot, wanted.bookings, state)?;
        self.load_entitlements(rest, state)?;
        if wanted.sequences.contains(SERIES) {
            let rows: Vec<SequenceRow> = select_by(self, "series", vec![SERIES.to_owned()], lock)?;
            let last = rows.first().map(|row| Sequence { series: SERIES, last: row.last });
            state.sequences.load(SERIES.to_owned(), last);
        }
        Ok(())
    }

    fn load_objects<R: Stored>(
        &mut self,
        ids: BTreeSet<String>,
        lock: Lock,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let keys: Vec<String> = ids.iter().cloned().collect();
        for row in select_by::<R::Row>(self, "id", keys, lock)? {
            let row = R::from_row(row)?;
            R::rows_mut(state).load(row.record.id().to_owned(), Some(row));
        }
        // What was not found is known to be absent.
        for id in ids {
            R::rows_mut(state).load(id, None);
        }
        Ok(())
    }

    /// Asks for kept answers.
    fn ask_answers(&self, keys: &BTreeSet<(String, String)>, lookups: &mut Lookups) -> Place {
        let keys = keys
            .iter()
            .map(|(scope, key)| vec![Cell::Text(scope.clone()), Cell::Text(key.clone())]);
        let same = ["scope = ", " AND key = "];
        lookups.add(selects_each::<AnswerRow>(self.is_sqlite(), &same, keys, " LIMIT 1"))
    }

    fn put_answers(
        rows: Vec<AnswerRow>,
        keys: BTreeSet<(String, String)>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        for row in rows {
            let key = (row.scope.clone(), row.key.clone());
            state.answers.load(key, Some(answer_from(row)?));
        }
        for key in keys {
            state.answers.load(key, None);
        }
        Ok(())
    }

    /// Loads what locks nothing and what most batches need, in one round trip.
    fn look_up(
        &mut self,
        answers: BTreeSet<(String, String)>,
        clock: bool,
        hot: HotNeeds,
        bookings: BookingNeeds,
        state: &mut State,
    ) -> Result<(), StoreError> {
        // What is over is over by the same clock as everything else in the batch.
        let clock = (clock || bookings.go_by_clock()) && state.clock.is_none();
        if clock && self.is_sqlite() {
            state.clock = Some(Timestamp::now());
        }
        let mut lookups = Lookups::new(self, state.clock);
        let asked_answers = (!answers.is_empty()).then(|| self.ask_answers(&answers, &mut lookups));
        let asked_clock = (clock && !self.is_sqlite()).then(|| lookups.clock());
        let asked_hot = hot.ask(self.is_sqlite(), &mut lookups);
        let asked_bookings = bookings.ask(self.is_sqlite(), &mut lookups, state);
        lookups.run(self)?;
        if let Some(place) = asked_answers {
            Self::put_answers(lookups.take(place, self)?, answers, state)?;
        }
        if let Some(place) = asked_clock {
            let read = lookups.take_number(place)?;
            let known = read.and_then(Timestamp::from_micros);
            let strange = || StoreError::Unforeseen(format!("the database's clock says {read:?}"));
            state.clock = Some(known.ok_or_else(strange)?);
        }
        self.put_hot(hot, asked_hot, &mut lookups, state)?;
        self.put_bookings(bookings, &asked_bookings, &mut lookups, state)
    }

    fn load_plan_codes(
        &mut self,
        codes: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if codes.is_empty() {
            return Ok(());
        }
        let keys = codes.iter().cloned().collect();
        // Deleted drafts gave their codes back.
        let living = "deleted_at IS NULL AND ";
        let rows: Vec<PlanRow> = select_where(self, living, "code", keys, Lock::None)?;
        for row in rows {
            state.plan_codes.load(row.code, Some(CodeHolder { id: row.id }));
        }
        for code in codes {
            state.plan_codes.load(code, None);
        }
        Ok(())
    }

    fn load_plan_terms(
        &mut self,
        ids: BTreeSet<PlanId>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let keys = ids.iter().map(ToString::to_string).collect();
        let rows: Vec<PlanRow> = select_by(self, "id", keys, Lock::None)?;
        for row in rows {
            let plan = Plan::from_row(row)?.record;
            let terms = PlanTerms::from(&plan);
            state.plan_terms.insert(plan.id, Some(terms));
        }
        for id in ids {
            state.plan_terms.entry(id).or_insert(None);
        }
        Ok(())
    }

    /// Loads snapshots of an object's old versions and all changes since the oldest of them.
    fn load_history(
        &mut self,
        id: String,
        versions: BTreeSet<Version>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let oldest = versions.first().copied().unwrap_or_default();
        // The states are large, and only those of the versions that were named are needed.
        let columns = EventRow::column_list().replace("\"state\"", "'' AS state");
        let sql = Sql::new(format!("SELECT {columns} FROM events WHERE resource_id = "))
            .bind(id.as_str())
            .text(" AND version >= ")
            .bind(oldest)
            .text(" ORDER BY version DESC LIMIT ")
            .bind(EXPLAINABLE_VERSIONS);
        let mut rows = EventRow::query(self, sql)?;
        rows.reverse();
        let first = rows.first().map_or(Version::MAX, |row| row.version);
        let mut history = History { since: first, asked: versions.clone(), ..History::default() };
        for row in &rows {
            history.entries.push(entry_from(row)?);
        }
        for version in versions.into_iter().filter(|version| *version >= first) {
            let sql = EventRow::select()
                .text(" WHERE resource_id = ")
                .bind(id.as_str())
                .text(" AND version = ")
                .bind(version);
            if let Some(row) = EventRow::query(self, sql)?.first() {
                history.bases.insert(version, state_from(row)?);
            }
        }
        if let Some(before) = state.histories.remove(&id) {
            history.merge(before);
        }
        state.histories.insert(id, history);
        Ok(())
    }

    fn load_payments(
        &mut self,
        invoice_ids: BTreeSet<String>,
        provider_refs: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if !invoice_ids.is_empty() {
            let keys = invoice_ids.iter().cloned().collect();
            for row in select_by::<PaymentRow>(self, "invoice_id", keys, Lock::None)? {
                let payment = payment_from(row)?;
                state.payments.load(payment.id.to_string(), Some(StoredPayment(payment)));
            }
            state.paid_invoices.extend(invoice_ids);
        }
        if !provider_refs.is_empty() {
            let keys = provider_refs.iter().cloned().collect();
            for row in select_by::<PaymentRow>(self, "provider_ref", keys, Lock::None)? {
                let payment = payment_from(row)?;
                let id = payment.id.to_string();
                let holder = CodeHolder { id: id.clone() };
                state.payment_refs.load(payment.provider_ref.clone(), Some(holder));
                state.payments.load(id, Some(StoredPayment(payment)));
            }
            for provider_ref in provider_refs {
                state.payment_refs.load(provider_ref, None);
            }
        }
        Ok(())
    }

    /// The subscription is locked, and whoever makes or voids its invoices locks it or its invoice.
    fn load_billed(
        &mut self,
        subscription_ids: BTreeSet<String>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        for id in subscription_ids {
            let sql = Sql::new("SELECT period_start FROM invoices WHERE subscription_id = ")
                .bind(id.as_str())
                // Earlier periods than the running one are never billed again.
                .text(" AND period_start >= (SELECT current_period_start FROM subscriptions WHERE id = ")
                .bind(id.as_str())
                .text(") AND status <> 'void' AND deleted_at IS NULL")
                .returning::<diesel::sql_types::Nullable<BigInt>>();
            let starts: Vec<Option<i64>> = on_backend!(self, c => sql.load(c))?;
            let starts = starts.into_iter().flatten().filter_map(Timestamp::from_micros).collect();
            state.billed.load(id, Some(BilledPeriods(starts)));
        }
        Ok(())
    }

    /// What refers to an object; if that is more than one batch can delete, only a part of it.
    fn users_of(&mut self, kind: Kind, id: &str) -> Result<BTreeSet<String>, StoreError> {
        let sql = match kind {
            Kind::Subscription => {
                Sql::new("SELECT id FROM invoices WHERE subscription_id = ").bind(id)
            }
            Kind::Package => Sql::new("SELECT id FROM assignments WHERE package_id = ").bind(id),
            Kind::Bookable => Sql::new("SELECT id FROM bookings WHERE bookable_id = ").bind(id),
            _ => Sql::new(
                "SELECT id FROM subscriptions WHERE deleted_at IS NULL AND workspace_id = ",
            )
            .bind(id)
            .text(
                " UNION ALL SELECT id FROM namespaces WHERE deleted_at IS NULL AND workspace_id = ",
            )
            .bind(id)
            .text(" UNION ALL SELECT id FROM invoices WHERE deleted_at IS NULL AND workspace_id = ")
            .bind(id),
        };
        let sql = sql.text(" LIMIT ").bind(USERS_MAX);
        let found: Vec<String> = on_backend!(self, c => sql.returning::<Text>().load(c))?;
        Ok(found.into_iter().collect())
    }

    fn load_api_keys(
        &mut self,
        ids: BTreeSet<String>,
        lock: Lock,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let keys = ids.iter().cloned().collect();
        for row in select_by::<ApiKeyRow>(self, "id", keys, lock)? {
            let stored = api_key_from(row)?;
            state.api_keys.load(stored.key.id.to_string(), Some(stored));
        }
        for id in ids {
            state.api_keys.load(id, None);
        }
        Ok(())
    }

    /// Fields that are set once need no lock to be relied on.
    fn load_owners(
        &mut self,
        wanted: BTreeSet<(Kind, String)>,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let mut by_kind: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for (kind, id) in wanted {
            by_kind.entry(kind).or_default().push(id.clone());
            state.owners.insert((kind, id), None);
        }
        for (kind, ids) in by_kind {
            let owned: Vec<(String, String)> = match kind {
                Kind::Namespace => select_by::<NamespaceRow>(self, "id", ids, Lock::None)?
                    .into_iter()
                    .map(|row| (row.id, row.workspace_id))
                    .collect(),
                Kind::Assignment => select_by::<AssignmentRow>(self, "id", ids, Lock::None)?
                    .into_iter()
                    .map(|row| (row.id, row.scope))
                    .collect(),
                Kind::Booking => select_by::<BookingRow>(self, "id", ids, Lock::None)?
                    .into_iter()
                    .map(|row| (row.id, row.bookable_id))
                    .collect(),
                _ => Vec::new(),
            };
            for (id, owner) in owned {
                state.owners.insert((kind, id), Some(owner));
            }
        }
        Ok(())
    }
}
