//! Consumable boosts: which units were burnt, and making boosts whole again.
//!
//! To burn a unit is to consume it for usage that nothing else covers. In a fixed window the burnt
//! units belong to the window. In a rolling window each record and hold keeps what it burnt.

use super::scope::change_holdings;
use crate::core::{Context, State, change_internally};
use ifmatch_types::Timestamp;
use serde::{Deserialize, Serialize};

/// Burnt units with the ids of their boosts, first burnt first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Burns(Vec<(String, i64)>);

impl Burns {
    /// The number of burnt units.
    pub fn units(&self) -> i64 {
        self.0.iter().fold(0i64, |sum, (_, units)| sum.saturating_add(*units))
    }

    /// Each boost with a number of its burnt units. A boost may occur several times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(boost_id, units)| (boost_id.as_str(), *units))
    }

    /// Adds units that were burnt last.
    pub fn push(&mut self, boost_id: &str, units: i64) {
        match self.0.last_mut() {
            Some((last, burnt)) if last == boost_id => *burnt = burnt.saturating_add(units),
            _ if units > 0 => self.0.push((boost_id.to_owned(), units)),
            _ => {}
        }
    }

    /// Adds units that were burnt after these.
    pub fn append(&mut self, later: &Self) {
        later.iter().for_each(|(boost_id, units)| self.push(boost_id, units));
    }

    /// Removes up to `wanted` units, last burnt first, and returns them.
    ///
    /// Units of boosts for which `may` is false stay.
    fn take_last(&mut self, mut wanted: i64, may: impl Fn(&str) -> bool) -> Self {
        let mut taken = Self::default();
        for (boost_id, burnt) in self.0.iter_mut().rev() {
            let units = wanted.min(*burnt);
            if units > 0 && may(boost_id) {
                *burnt = burnt.saturating_sub(units);
                wanted = wanted.saturating_sub(units);
                taken.push(boost_id, units);
            }
        }
        let left = std::mem::take(&mut self.0);
        left.into_iter().for_each(|(boost_id, burnt)| self.push(&boost_id, burnt));
        taken
    }

    /// Forgets units beyond the first `units`.
    pub(crate) fn shorten(&mut self, units: i64) {
        let beyond = self.units().saturating_sub(units);
        self.take_last(beyond, |_| true);
    }

    /// Makes boosts whole again for up to `units` units, last burnt first.
    ///
    /// Units of boosts that have expired or were revoked stay burnt.
    pub(crate) fn make_whole(&mut self, units: i64, ctx: &mut Context<'_>) {
        let back = self.take_last(units, |id| can_be_whole(id, ctx.now, ctx.state));
        back.iter().for_each(|(boost_id, units)| consume(boost_id, units.saturating_neg(), ctx));
    }

    /// The number of units of boosts that have expired or were revoked.
    pub(crate) fn lost(&self, now: Timestamp, state: &State) -> i64 {
        let lost = self.iter().filter(|(boost_id, _)| !can_be_whole(boost_id, now, state));
        lost.fold(0i64, |sum, (_, units)| sum.saturating_add(units))
    }
}

/// Whether a boost can get units back. A boost that is not loaded ended long ago.
fn can_be_whole(boost_id: &str, now: Timestamp, state: &State) -> bool {
    let row = state.entitlement().boosts.find(boost_id);
    row.is_some_and(|row| row.deleted.is_none() && !row.record.is_expired(now))
}

/// Burns units of a boost; a negative number makes units whole again.
pub(crate) fn consume(boost_id: &str, units: i64, ctx: &mut Context<'_>) {
    let row = ctx
        .state
        .entitlement()
        .boosts
        .get(boost_id)
        .expect("only boosts that were found are burnt");
    let before = row.record.clone();
    let mut record = before.clone();
    record.boost.consumed = record.boost.consumed.saturating_add(units);
    if record.is_over {
        // It was burnt out and is worth something again.
        record.is_over = false;
        let (of, id) = (record.boost.scope.clone(), boost_id.to_owned());
        change_holdings(&of, ctx, |holdings| {
            if !holdings.boosts.contains(&id) {
                holdings.boosts.push(id);
            }
        });
    }
    change_internally(record, before, ctx);
}
