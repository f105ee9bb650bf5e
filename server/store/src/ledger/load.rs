//! Loads the accounts and reservations that decisions need.

use crate::{
    core::{
        db::Db,
        error::StoreError,
        load::System,
        lookup::{Lookups, Place},
        postgres::PostgresDb,
        record::records,
        select::{Each, Lock, load_all, select_by, select_ordered},
        sql::Cell,
        table::{keys, load_rows, put_rows},
        unlocked::{ById, StampedTable, read_stamped},
    },
    schema::{LedgerAccountRow, ReservationRow, StoredRow},
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    State,
    core::LockClass,
    ledger::{Account, Need, StoredTransfer},
};
use std::{collections::BTreeSet, mem::take};

/// Accounts. Reservations change only together with theirs, and each only once.
pub(crate) const STAMPED_TABLE: StampedTable = StampedTable {
    table: LedgerAccountRow::TABLE,
    dependents: &[ReservationRow::TABLE],
    read: read_accounts,
};

/// The needs of this system. Each set is sorted.
#[derive(Default)]
pub(crate) struct Wanted {
    accounts: BTreeSet<String>,
    balances: BTreeSet<String>,
    accounts_of: BTreeSet<String>,
    reservations: BTreeSet<String>,
    asked: Option<Place>,
}

impl Wanted {
    /// Adds a need of this system.
    pub(crate) fn add(&mut self, need: Need) {
        let (ids, id) = match need {
            Need::Account(id) => (&mut self.accounts, id),
            Need::Balances(workspace_id) => (&mut self.balances, workspace_id),
            Need::AccountOf(id) => (&mut self.accounts_of, id),
            Need::Reservation(id) => (&mut self.reservations, id),
        };
        ids.insert(id);
    }
}

impl System for Wanted {
    fn lock(
        &mut self,
        class: LockClass,
        db: &mut Db,
        lock: Lock,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if class != LockClass::LedgerAccount {
            return Ok(());
        }
        let ids = take(&mut self.accounts);
        let accounts = &mut state.ledger_mut().accounts;
        load_rows(db, ids, lock, |account: &Account| account.id.as_str(), accounts)?;
        load_balances(db, take(&mut self.balances), lock, state)
    }

    fn ask(&mut self, lookups: &mut Lookups, _state: &mut State) {
        let ids = keys(&self.reservations);
        self.asked = Some(lookups.rows::<ReservationRow>("", "id", ids));
    }

    fn put(
        &mut self,
        db: &mut Db,
        lookups: &mut Lookups,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let rows = lookups.take::<ReservationRow>(asked, db)?;
        let resolutions: BTreeSet<String> =
            rows.iter().filter_map(|row| row.resolved_by.clone()).collect();
        let wanted = take(&mut self.reservations);
        let ledger = state.ledger_mut();
        put_rows(rows, wanted, |stored| stored.reservation.id.as_str(), &mut ledger.reservations)?;
        // Mostly none: a reservation is looked at again only by a repeat.
        let rows = select_by(db, "id", keys(&resolutions), Lock::None)?;
        for stored in records::<StoredTransfer>(rows)? {
            ledger.transfers.load(stored.transfer.id.to_string(), Some(stored));
        }
        Ok(())
    }

    fn load(&mut self, db: &mut Db, state: &mut State) -> Result<(), StoreError> {
        load_accounts_of(db, take(&mut self.accounts_of), state)
    }
}

fn read_accounts(
    db: &mut PostgresDb,
    ids: &BTreeSet<String>,
    state: &mut State,
) -> Result<ById, StoreError> {
    let (rows, stamps) = read_stamped::<LedgerAccountRow>(db, ids)?;
    let accounts = &mut state.ledger_mut().accounts;
    put_rows(rows, ids.clone(), |account: &Account| account.id.as_str(), accounts)?;
    Ok(stamps)
}

/// Loads and locks all balances of some workspaces: their accounts in currencies.
fn load_balances(
    db: &mut Db,
    workspaces: BTreeSet<String>,
    lock: Lock,
    state: &mut State,
) -> Result<(), StoreError> {
    let is_currency = "unit <> 'credits' AND ";
    let rows = select_ordered(db, is_currency, "workspace_id", keys(&workspaces), lock)?;
    for account in records::<Account>(rows)? {
        state.ledger_mut().accounts.load(account.id.clone(), Some(account));
    }
    state.ledger_mut().balances_of.extend(workspaces);
    Ok(())
}

/// Loads the accounts of reservations. An account never changes, so no lock is needed.
fn load_accounts_of(
    db: &mut Db,
    ids: BTreeSet<String>,
    state: &mut State,
) -> Result<(), StoreError> {
    let each = Each { texts: &["SELECT id, account_id FROM reservations WHERE id = "], tail: "" };
    let asked = ids.iter().map(|id| vec![Cell::Text(id.clone())]);
    let queries = if ids.is_empty() { Vec::new() } else { each.of(db.is_sqlite(), asked) };
    let found: Vec<(String, String)> = load_all!(db, queries, (Text, Text));
    let account_of = &mut state.ledger_mut().account_of;
    account_of.extend(ids.into_iter().map(|id| (id, None)));
    account_of.extend(found.into_iter().map(|(id, account)| (id, Some(account))));
    Ok(())
}
