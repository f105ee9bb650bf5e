//! Loads the slots that decisions about servers need. The workspace's row lock protects them.

use crate::core::{
    db::Db,
    error::StoreError,
    load::System,
    lookup::{Lookups, Place},
    record::Record,
    select::{Each, load_all},
    sql::Cell,
    table::{keys, put_rows},
};
use crate::schema::ServerSlotsRow;
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{
    Need as AnyNeed, State,
    provisioning::{Need, Slots},
};
use std::{collections::BTreeSet, mem::take};

/// The servers that have an id on the panel.
const HOLDERS: Each<'_> = Each {
    texts: &["SELECT remote_id, id FROM servers WHERE remote_id = "],
    tail: " AND status <> 'deleted'",
};

/// The needs of this system.
#[derive(Default)]
pub(crate) struct Wanted {
    slots: BTreeSet<String>,
    holders: BTreeSet<i64>,
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
            Need::Holders(remote_id) => {
                self.holders.insert(remote_id);
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

    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        let wanted = take(&mut self.holders);
        let sql = HOLDERS.of(db.is_sqlite(), wanted.iter().map(|id| vec![Cell::Int(*id)]));
        let found: Vec<(i64, String)> = load_all!(db, sql, (BigInt, Text));
        let holders = &mut state.provisioning_mut().holders;
        for remote_id in wanted {
            holders.entry(remote_id).or_default();
        }
        for (remote_id, id) in found {
            holders.entry(remote_id).or_default().insert(id);
        }
        Ok(())
    }
}
