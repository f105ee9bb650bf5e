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
    billing::{Charges, Need, PlanTerms, Segment, Sequence, StoredPayment, Terms},
    core::{LockClass, Row},
};
use ifmatch_types::{Invoice, Plan, PlanId};
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

    fn ask(&mut self, lookups: &mut Lookups, _state: &mut State) {
        self.terms.ask(lookups, terms, [TERMS_TAIL, TERMS_TAIL]);
        self.charges.ask(lookups, charges, [CHARGES_TAIL_SETTLED, CHARGES_TAIL]);
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

/// The terms of a subscription: the segment in force at the start of its settled period, and all
/// later ones. The row lock of the subscription protects them.
fn terms(whole: bool) -> Vec<String> {
    let head = format!("SELECT {} FROM subscription_terms WHERE id >= ", SegmentRow::column_list());
    // The ids of all segments begin with the subscription's id and `/`, which `0` follows.
    if whole {
        return vec![head, " || '/' AND id < ".to_owned()];
    }
    let settled = "coalesce((SELECT settled_term FROM subscriptions WHERE id = ";
    vec![format!("{head}{settled}"), "), ".to_owned(), " || '/') AND id < ".to_owned()]
}

const TERMS_TAIL: &str = " || '0'";

/// The living invoices of a subscription that charge a period from its settled one on.
///
/// These rows are not locked. Every command that makes or voids one of them locks the subscription.
fn charges(whole: bool) -> Vec<String> {
    let columns = InvoiceRow::column_list();
    let head = format!("SELECT {columns} FROM invoices WHERE subscription_id = ");
    if whole {
        return vec![head];
    }
    let settled =
        " AND charged_until >= coalesce((SELECT settled_at FROM subscriptions WHERE id = ";
    vec![head, settled.to_owned()]
}

const CHARGES_TAIL: &str = " AND charged_until IS NOT NULL AND status <> 'void' \
     AND deleted_at IS NULL";
const CHARGES_TAIL_SETTLED: &str = "), -9000000000000000000) AND charged_until IS NOT NULL \
     AND status <> 'void' AND deleted_at IS NULL";

/// Subscriptions that were asked for, each with whether all its rows are there.
type Asked = Vec<(String, bool)>;

/// Asks for rows of subscriptions, all or those of periods that may not be settled.
#[derive(Default)]
struct OfSubscriptions {
    whole: BTreeSet<String>,
    recent: BTreeSet<String>,
    asked: Vec<Place>,
}

impl OfSubscriptions {
    fn add(&mut self, id: String, whole: bool) {
        if whole {
            self.whole.insert(id)
        } else {
            self.recent.insert(id)
        };
    }

    fn ask(&mut self, lookups: &mut Lookups, texts: fn(bool) -> Vec<String>, tails: [&str; 2]) {
        // What is loaded whole need not be loaded in part.
        self.recent.retain(|id| !self.whole.contains(id));
        for (ids, whole) in [(&self.recent, false), (&self.whole, true)] {
            if ids.is_empty() {
                continue;
            }
            let texts = texts(whole);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let tail = if whole { tails[1] } else { tails[0] };
            let keys = ids.iter().map(|id| vec![Cell::Text(id.clone()); texts.len()]);
            self.asked.push(lookups.each(&Each { texts: &texts, tail }, keys));
        }
    }

    /// The found rows, and the subscriptions that were asked for, each with whether all its rows
    /// are there.
    fn take<R: StoredRow + DeserializeOwned>(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
    ) -> Result<(Vec<R>, Asked), StoreError> {
        let mut rows = Vec::new();
        for place in take(&mut self.asked) {
            rows.extend(lookups.take::<R>(place, db)?);
        }
        let whole = take(&mut self.whole).into_iter().map(|id| (id, true));
        let asked = whole.chain(take(&mut self.recent).into_iter().map(|id| (id, false))).collect();
        Ok((rows, asked))
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
