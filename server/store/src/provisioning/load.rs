//! Loads the slots that decisions about servers need. The workspace's row lock protects them.

use crate::core::{
    db::Db,
    error::StoreError,
    load::System,
    lookup::{Lookups, Place},
    record::Record,
    table::{keys, put_rows},
};
use crate::schema::ServerSlotsRow;
use ifmatch_domain::{
    Need as AnyNeed, State,
    provisioning::{Need, Slots},
};
use std::{collections::BTreeSet, mem::take};

/// The needs of this system.
#[derive(Default)]
pub(crate) struct Wanted {
    slots: BTreeSet<String>,
    asked: Option<Place>,
}

impl Wanted {
    /// Adds a need of this system. Returns it if it is one of the ledger's.
    pub(crate) fn add(&mut self, need: Need) -> Option<AnyNeed> {
        match need {
            Need::Ledger(need) => return Some(AnyNeed::Ledger(need)),
            Need::Slots(workspace_id, product_id) => {
                self.slots.insert(Slots::key(&workspace_id, &product_id));
            }
        }
        None
    }
}

impl System for Wanted {
    fn ask(&mut self, lookups: &mut Lookups, _state: &mut State) {
        self.asked = Some(lookups.rows::<ServerSlotsRow>("", "id", keys(&self.slots)));
    }

    fn put(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let rows = lookups.take::<ServerSlotsRow>(asked, db)?;
        let table = &mut state.provisioning_mut().slots;
        for row in rows {
            table.load(row.id.clone(), Some(Slots::from_row(row)?));
        }
        // A slot that was not found is known to be absent.
        put_rows(Vec::new(), take(&mut self.slots), |_| "", table)
    }
}
