//! Loads the rows that decisions about billing need.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::System,
        lookup::{Lookups, Place},
        record::{Record, records},
        select::{Each, Lock, select_by, select_where},
        sql::Cell,
        table::{keys, put_holders},
    },
    schema::{InvoiceRow, PlanRow, SegmentRow, SequenceRow, StoredRow},
};
use ifmatch_domain::{
    Need as AnyNeed, State,
    billing::{
        Charges, Need, PlanTerms, Segment, Sequence, StoredPayment, SubscriptionRecord, Terms,
    },
    core::{LockClass, Row},
};
use ifmatch_types::{Invoice, Plan, PlanId, Timestamp};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    plan_codes: BTreeSet<String>,
    plan_terms: BTreeSet<PlanId>,
    payments: BTreeSet<String>,
    payment_refs: BTreeSet<String>,
    terms: OfSubscriptions,
    charges: OfSubscriptions,
    sequences: BTreeSet<&'static str>,
}

impl Wanted {
    /// Adds a need of this system. Returns it if it is one of the ledger's.
    pub(crate) fn add(&mut self, need: Need) -> Option<AnyNeed> {
        match need {
            Need::Ledger(need) => return Some(AnyNeed::Ledger(need)),
            Need::PlanCode(code) => {
                self.plan_codes.insert(code);
            }
            Need::PlanTerms(id) => {
                self.plan_terms.insert(id);
            }
            Need::Payments(invoice_id) => {
                self.payments.insert(invoice_id);
            }
            Need::PaymentRef(provider_ref) => {
                self.payment_refs.insert(provider_ref);
            }
            Need::Terms { subscription_id, whole } => self.terms.add(subscription_id, whole),
            Need::Charges { subscription_id, whole } => self.charges.add(subscription_id, whole),
            Need::Sequence(series) => {
                self.sequences.insert(series);
            }
        }
        None
    }
}

impl System for Wanted {
    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        load_plan_codes(db, take(&mut self.plan_codes), state)?;
        load_plan_terms(db, take(&mut self.plan_terms), state)?;
        load_payments(db, take(&mut self.payments), state)?;
        load_payment_refs(db, take(&mut self.payment_refs), state)
    }

    fn ask(&mut self, lookups: &mut Lookups, state: &mut State) {
        let query = Each { texts: &TERMS, tail: &terms_tail() };
        self.terms.ask(lookups, state, &query, terms_key);
        let texts = [&*charges_head(), " AND charged_until >= "];
        self.charges.ask(lookups, state, &Each { texts: &texts, tail: CHARGES_TAIL }, charges_key);
    }

    fn put(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        self.put_terms(db, lookups, state)?;
        self.put_charges(db, lookups, state)
    }

    fn lock(
        &mut self,
        class: LockClass,
        db: &mut Db,
        lock: Lock,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if class != LockClass::Sequence {
            return Ok(());
        }
        let keys = self.sequences.iter().map(|series| (*series).to_owned()).collect();
        let rows: Vec<SequenceRow> = select_by(db, "series", keys, lock)?;
        for series in take(&mut self.sequences) {
            let row = rows.iter().find(|row| row.series == series);
            let last = row.map(|row| Sequence { series, last: row.last });
            state.billing_mut().sequences.load(series.to_owned(), last);
        }
        Ok(())
    }
}

fn load_plan_codes(
    db: &mut Db,
    codes: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    // A deleted draft frees its code.
    let rows: Vec<PlanRow> = select_where(db, "deleted_at IS NULL AND ", "code", keys(&codes))?;
    let found = rows.into_iter().map(|row| (row.code, row.id));
    put_holders(found, codes, &mut state.billing_mut().plan_codes);
    Ok(())
}

fn load_plan_terms(
    db: &mut Db,
    ids: BTreeSet<PlanId>,
    state: &mut State,
) -> Result<(), StoreError> {
    let keys = ids.iter().map(ToString::to_string).collect();
    for row in records::<Row<Plan>>(select_by(db, "id", keys, Lock::None)?)? {
        let terms = PlanTerms::from(&row.record);
        state.billing_mut().plan_terms.insert(row.record.id, Some(terms));
    }
    for id in ids {
        state.billing_mut().plan_terms.entry(id).or_insert(None);
    }
    Ok(())
}

fn load_payments(
    db: &mut Db,
    invoice_ids: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    for row in select_by(db, "invoice_id", keys(&invoice_ids), Lock::None)? {
        let payment = StoredPayment::from_row(row)?;
        state.billing_mut().payments.load(payment.payment.id.to_string(), Some(payment));
    }
    state.billing_mut().paid_invoices.extend(invoice_ids);
    Ok(())
}

fn load_payment_refs(
    db: &mut Db,
    provider_refs: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for row in select_by(db, "provider_ref", keys(&provider_refs), Lock::None)? {
        let payment = StoredPayment::from_row(row)?;
        let id = payment.payment.id.to_string();
        found.push((payment.payment.provider_ref.clone(), id.clone()));
        state.billing_mut().payments.load(id, Some(payment));
    }
    put_holders(found, provider_refs, &mut state.billing_mut().payment_refs);
    Ok(())
}

/// The terms of a subscription, from the latest back to the first, or to the segment in force at the
/// start of its settled period. The row lock of the subscription protects them.
const TERMS: [&str; 4] = [
    "WITH RECURSIVE term AS (SELECT ",
    " AS stop, t.* FROM subscription_terms AS t WHERE t.at = ",
    " AND t.subscription_id = ",
    " AND t.seq = ",
];

fn terms_tail() -> String {
    format!(
        " UNION ALL SELECT later.stop, t.* FROM term AS later JOIN subscription_terms AS t \
         ON t.at = later.previous_at AND t.subscription_id = later.subscription_id \
         AND t.seq = later.seq - 1 WHERE later.seq > later.stop) SELECT {} FROM term",
        SegmentRow::column_list()
    )
}

fn terms_key(record: &SubscriptionRecord, whole: bool) -> Vec<Cell> {
    let settled = record.settled_segment.filter(|_| !whole);
    vec![
        Cell::from(settled.unwrap_or(1)),
        Cell::from(record.last_term_at.as_micros()),
        Cell::from(record.subscription.id.to_string()),
        Cell::from(record.last_term),
    ]
}

/// The living invoices of a subscription that charge a period from its settled one on.
///
/// These rows are not locked. Every command that makes or voids one of them locks the subscription.
fn charges_head() -> String {
    format!("SELECT {} FROM invoices WHERE subscription_id = ", InvoiceRow::column_list())
}

const CHARGES_TAIL: &str = " AND status <> 'void' AND deleted_at IS NULL";

fn charges_key(record: &SubscriptionRecord, whole: bool) -> Vec<Cell> {
    let settled = record.settled_at.filter(|_| !whole).unwrap_or(Timestamp::MIN);
    vec![Cell::from(record.subscription.id.to_string()), Cell::from(settled.as_micros())]
}

/// Asks for rows of subscriptions, all or those of periods that may not be settled. The rows of the
/// subscriptions themselves are loaded before.
#[derive(Default)]
struct OfSubscriptions {
    /// Each subscription, with whether all its rows are needed.
    wanted: BTreeMap<String, bool>,
    place: Option<Place>,
}

impl OfSubscriptions {
    fn add(&mut self, id: String, whole: bool) {
        *self.wanted.entry(id).or_default() |= whole;
    }

    fn ask(
        &mut self,
        lookups: &mut Lookups,
        state: &State,
        query: &Each<'_>,
        key: fn(&SubscriptionRecord, bool) -> Vec<Cell>,
    ) {
        let keys = self.wanted.iter().filter_map(|(id, whole)| {
            let row = state.billing().subscriptions.original(id)?;
            Some(key(&row.record, *whole))
        });
        let keys: Vec<Vec<Cell>> = keys.collect();
        self.place = (!keys.is_empty()).then(|| lookups.each(query, keys));
    }

    /// The found rows, and the subscriptions that were asked for, each with whether all its rows
    /// are there.
    fn take<R: StoredRow + DeserializeOwned>(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
    ) -> Result<(Vec<R>, BTreeMap<String, bool>), StoreError> {
        let place = self.place.take();
        let rows = place.map(|place| lookups.take::<R>(place, db)).transpose()?;
        Ok((rows.unwrap_or_default(), take(&mut self.wanted)))
    }
}

impl Wanted {
    fn put_terms(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let (rows, asked) = self.terms.take::<SegmentRow>(db, lookups)?;
        let mut found: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
        for segment in records::<Segment>(rows)? {
            found.entry(segment.subscription_id.to_string()).or_default().push(segment);
        }
        for (id, is_whole) in asked {
            let mut segments = found.remove(&id).unwrap_or_default();
            segments.sort_unstable_by_key(|segment| segment.seq);
            state.billing_mut().terms.load(id, Some(Terms { segments, is_whole }));
        }
        Ok(())
    }

    fn put_charges(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let (rows, asked) = self.charges.take::<InvoiceRow>(db, lookups)?;
        let mut found: BTreeMap<String, Charges> = BTreeMap::new();
        for row in records::<Row<Invoice>>(rows)? {
            let id = row.record.subscription_id.as_ref().map(ToString::to_string);
            found.entry(id.unwrap_or_default()).or_default().add(&row.record);
        }
        for (id, is_whole) in asked {
            let mut charges = found.remove(&id).unwrap_or_default();
            charges.is_whole = is_whole;
            state.billing_mut().charges.load(id, Some(charges));
        }
        Ok(())
    }
}
