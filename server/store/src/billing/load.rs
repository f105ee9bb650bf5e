//! Loads the rows that decisions about billing need.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::System,
        record::{Record, records},
        select::{Each, Lock, load_all, select_by, select_where},
        sql::Cell,
        table::{keys, put_holders},
    },
    schema::{PlanRow, SequenceRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{
    State,
    billing::{BilledPeriods, Need, PlanTerms, Sequence, StoredPayment},
    core::{LockClass, Row},
};
use ifmatch_types::{Plan, PlanId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The needs of this system, by kind. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    plan_codes: BTreeSet<String>,
    plan_terms: BTreeSet<PlanId>,
    payments: BTreeSet<String>,
    payment_refs: BTreeSet<String>,
    billed: BTreeSet<String>,
    sequences: BTreeSet<&'static str>,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        match need {
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
            Need::BilledPeriods(id) => {
                self.billed.insert(id);
            }
            Need::Sequence(series) => {
                self.sequences.insert(series);
            }
        }
    }
}

impl System for Wanted {
    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        load_plan_codes(db, std::mem::take(&mut self.plan_codes), state)?;
        load_plan_terms(db, std::mem::take(&mut self.plan_terms), state)?;
        load_payments(db, std::mem::take(&mut self.payments), state)?;
        load_payment_refs(db, std::mem::take(&mut self.payment_refs), state)?;
        load_billed(db, std::mem::take(&mut self.billed), state)
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
        for series in std::mem::take(&mut self.sequences) {
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

/// The billed periods of a subscription, from the running one on.
///
/// These rows are not locked. The subscription is locked, and every command that makes or voids one
/// of its invoices locks the subscription or the invoice.
const BILLED: Each<'_> = Each {
    texts: &[
        "SELECT subscription_id, period_start FROM invoices WHERE subscription_id = ",
        // Periods before the running one are never billed again.
        " AND period_start >= (SELECT current_period_start FROM subscriptions WHERE id = ",
    ],
    tail: ") AND status <> 'void' AND deleted_at IS NULL",
};

fn load_billed(
    db: &mut Db,
    subscription_ids: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let keys = subscription_ids.iter().map(|id| vec![Cell::Text(id.clone()); 2]);
    let found: Vec<(String, i64)> = load_all!(db, BILLED.of(db.is_sqlite(), keys), (Text, BigInt));
    let mut billed: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
    for (id, start) in found {
        billed.entry(id).or_default().extend(Timestamp::from_micros(start));
    }
    for id in subscription_ids {
        let periods = billed.remove(&id).unwrap_or_default();
        state.billing_mut().billed.load(id, Some(BilledPeriods(periods)));
    }
    Ok(())
}
