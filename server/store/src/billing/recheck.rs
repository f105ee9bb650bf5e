//! Computes the periods of subscriptions anew, for `verify` and for people.

use crate::{
    StoreError,
    core::{db::Db, sql::Sql, verify::Broken},
    on_backend,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    Need, State,
    billing::{self, recheck as broken_rule},
    core,
};
use ifmatch_types::{BillingPeriod, Kind};
use std::collections::BTreeSet;

/// Number of subscriptions that are looked at at a time.
const PAGE: i64 = 200;

/// Adds the subscriptions whose periods, costs and charges are not as the rules say.
pub(crate) fn recheck(db: &mut Db, broken: &mut Vec<Broken>) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let sql = Sql::new("SELECT id FROM subscriptions WHERE id > ")
            .bind(after.as_str())
            .text(" ORDER BY id LIMIT ")
            .bind(PAGE)
            .returning::<Text>();
        let ids: Vec<String> = on_backend!(db, c => sql.load(c))?;
        let Some(last) = ids.last() else { return Ok(()) };
        after.clone_from(last);
        let mut state = look(db, &ids)?;
        for id in ids {
            if let Some(invariant) = broken_rule(&id, &mut state) {
                broken.push(Broken { invariant, id });
            }
        }
    }
}

impl Db {
    /// The periods of a subscription that have begun, oldest first; read in one snapshot.
    ///
    /// They cannot be told if one costs more than an integer holds. That is told instead.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn billing_periods(
        &mut self,
        id: &str,
    ) -> Result<Result<Vec<BillingPeriod>, billing::Rejection>, StoreError> {
        let mut state = self.in_one_snapshot(|db| look(db, &[id.to_owned()]))?;
        Ok(billing::periods_of(id, &mut state))
    }
}

/// Loads all that periods, costs and charges of subscriptions follow from, without locks.
fn look(db: &mut Db, ids: &[String]) -> Result<State, StoreError> {
    let mut state = State::default();
    db.peek(ids.iter().flat_map(|id| needs(id)), &mut state)?;
    db.peek(plans(ids, &state), &mut state)?;
    Ok(state)
}

fn needs(id: &str) -> [Need; 3] {
    let (subscription_id, whole) = (id.to_owned(), true);
    [
        Need::Core(core::Need::Object(Kind::Subscription, id.to_owned())),
        Need::Billing(billing::Need::Terms { subscription_id: id.to_owned(), whole }),
        Need::Billing(billing::Need::Charges { subscription_id, whole }),
    ]
}

/// The terms of all plans that the loaded terms name.
fn plans(ids: &[String], state: &State) -> Vec<Need> {
    let terms = ids.iter().filter_map(|id| state.billing().terms.get(id.as_str()));
    let plans = terms.flat_map(|terms| &terms.segments).map(|segment| segment.plan_id.clone());
    let plans: BTreeSet<_> = plans.collect();
    plans.into_iter().map(|id| Need::Billing(billing::Need::PlanTerms(id))).collect()
}
