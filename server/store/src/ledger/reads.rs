//! Reads of the ledger outside the lane: balances, transfers and reservations.

use crate::{
    StoreError,
    core::{
        db::Db,
        record::{Record, records},
        sql::Sql,
    },
    on_backend,
    schema::{LedgerAccountRow, ReservationRow, StoredRow, TransferRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Nullable},
};
use ifmatch_domain::ledger::{Account, StoredReservation, StoredTransfer};
use ifmatch_types::{
    BalanceItem, BalanceTransaction, Reservation, ReservationStatus, Timestamp, Transfer,
    TransferKind, Version,
};

/// Which transfers of an account to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct TransferQuery {
    /// The account.
    pub account_id: String,
    /// Only those of this kind.
    pub kind: Option<TransferKind>,
    /// Only those for this purpose.
    pub reference: Option<String>,
    /// Only those from this instant on, in the order of their instants.
    pub since: Option<Timestamp>,
    /// Only those before this one, of which this is the instant and the version.
    pub before: Option<(Timestamp, Version)>,
    /// Maximum number.
    pub limit: i64,
}

/// Which reservations of an account to list, oldest first.
#[derive(Clone, Debug)]
pub struct ReservationQuery {
    /// The account.
    pub account_id: String,
    /// Only those of this status.
    pub status: Option<ReservationStatus>,
    /// Only those after this id.
    pub after: String,
    /// Maximum number.
    pub limit: i64,
}

/// The pending reservations of all workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReservations {
    /// Their number.
    pub count: i64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// When this was true.
    pub at: Timestamp,
}

/// Which transactions of a workspace's balances to list, newest first.
#[derive(Clone, Debug)]
pub struct BalanceQuery {
    /// The workspace.
    pub workspace_id: String,
    /// Only those in this currency.
    pub currency: Option<String>,
    /// Only those before this id.
    pub before: Option<String>,
    /// Maximum number.
    pub limit: i64,
}

impl Db {
    /// The balances of a workspace, by currency.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn balances(&mut self, workspace_id: &str) -> Result<Vec<BalanceItem>, StoreError> {
        let accounts = self.balance_accounts(workspace_id)?;
        let item =
            |account: Account| BalanceItem { currency: account.unit, amount: account.available };
        Ok(accounts.into_iter().map(item).collect())
    }

    /// Transactions of a workspace's balances, newest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn balance_transactions(
        &mut self,
        query: &BalanceQuery,
    ) -> Result<Vec<BalanceTransaction>, StoreError> {
        let mut accounts = self.balance_accounts(&query.workspace_id)?;
        accounts.retain(|account| query.currency.as_ref().is_none_or(|unit| account.unit == *unit));
        let mut found: Vec<(String, StoredTransfer)> = Vec::new();
        for account in accounts {
            let mut sql =
                TransferRow::select().text(" WHERE account_id = ").bind(account.id.as_str());
            if let Some(before) = &query.before {
                sql = sql.text(" AND id < ").bind(before.as_str());
            }
            let sql = sql.text(" ORDER BY id DESC LIMIT ").bind(query.limit);
            let transfers: Vec<StoredTransfer> = records(TransferRow::query(self, sql)?)?;
            found.extend(transfers.into_iter().map(|stored| (account.unit.clone(), stored)));
        }
        found.sort_unstable_by(|(_, a), (_, b)| b.transfer.id.as_str().cmp(a.transfer.id.as_str()));
        found.truncate(usize::try_from(query.limit).unwrap_or_default());
        Ok(found.iter().map(|(currency, stored)| stored.on_balance(currency)).collect())
    }

    fn balance_accounts(&mut self, workspace_id: &str) -> Result<Vec<Account>, StoreError> {
        let sql = LedgerAccountRow::select()
            .text(" WHERE workspace_id = ")
            .bind(workspace_id)
            .text(" AND unit <> 'credits' ORDER BY unit");
        records(LedgerAccountRow::query(self, sql)?)
    }

    /// An account. `None` if it has had no transfer.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn account(&mut self, id: &str) -> Result<Option<Account>, StoreError> {
        let sql = LedgerAccountRow::select().text(" WHERE id = ").bind(id);
        let row = LedgerAccountRow::query(self, sql)?.into_iter().next();
        row.map(Account::from_row).transpose()
    }

    /// Transfers of an account, newest first.
    ///
    /// Instants of several servers need not be in the order of the versions. A list from an instant
    /// on therefore follows the instants: in the other order it could not know where it ends.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn transfers(&mut self, query: &TransferQuery) -> Result<Vec<Transfer>, StoreError> {
        let mut sql = TransferRow::select().text(" WHERE account_id = ");
        sql = sql.bind(query.account_id.as_str());
        if let Some(kind) = query.kind {
            sql = sql.text(" AND kind = ").bind(kind.name());
            // Told as a text, so that the index of all others is used.
            if kind != TransferKind::Reserve {
                sql = sql.text(" AND kind <> 'reserve'");
            }
        }
        if let Some(reference) = &query.reference {
            sql = sql.text(" AND reference = ").bind(reference.as_str());
        }
        if let Some(since) = query.since {
            sql = sql.text(" AND at >= ").bind(since.as_micros());
            if let Some((at, version)) = query.before {
                sql = sql.text(" AND (at, version) < (").bind(at.as_micros());
                sql = sql.text(", ").bind(version).text(")");
            }
            sql = sql.text(" ORDER BY at DESC, version DESC");
        } else {
            if let Some((_, version)) = query.before {
                sql = sql.text(" AND version < ").bind(version);
            }
            sql = sql.text(" ORDER BY version DESC");
        }
        let sql = sql.text(" LIMIT ").bind(query.limit);
        let stored: Vec<StoredTransfer> = records(TransferRow::query(self, sql)?)?;
        Ok(stored.into_iter().map(|stored| stored.transfer).collect())
    }

    /// A transfer of an account.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn transfer(&mut self, account_id: &str, id: &str) -> Result<Option<Transfer>, StoreError> {
        let sql = TransferRow::select().text(" WHERE id = ").bind(id);
        let sql = sql.text(" AND account_id = ").bind(account_id);
        let row = TransferRow::query(self, sql)?.into_iter().next();
        row.map(|row| StoredTransfer::from_row(row).map(|stored| stored.transfer)).transpose()
    }

    /// A reservation.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn reservation(&mut self, id: &str) -> Result<Option<Reservation>, StoreError> {
        let sql = ReservationRow::select().text(" WHERE id = ").bind(id);
        let row = ReservationRow::query(self, sql)?.into_iter().next();
        row.map(reservation_from).transpose()
    }

    /// Reservations of an account, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn reservations(
        &mut self,
        query: &ReservationQuery,
    ) -> Result<Vec<Reservation>, StoreError> {
        let of_account = || {
            let sql = ReservationRow::select().text(" WHERE account_id = ");
            sql.bind(query.account_id.as_str())
        };
        let page = |sql: Sql| {
            let sql = sql.text(" AND id > ").bind(query.after.as_str());
            sql.text(" ORDER BY id LIMIT ").bind(query.limit)
        };
        // As texts, so that the index of pending reservations is used, and the one of all others.
        let pending = || of_account().text(" AND status = 'pending'");
        let resolved = || of_account().text(" AND status <> 'pending'");
        let sql = match query.status {
            Some(ReservationStatus::Pending) => page(pending()),
            Some(status) => page(resolved().text(" AND status = ").bind(status.name())),
            None => {
                let sql = Sql::new("SELECT * FROM (").query(page(pending()));
                let sql = sql.text(") AS pending UNION ALL SELECT * FROM (");
                let sql = sql.query(page(resolved())).text(") AS resolved ORDER BY id LIMIT ");
                sql.bind(query.limit)
            }
        };
        ReservationRow::query(self, sql)?.into_iter().map(reservation_from).collect()
    }

    /// How many reservations are pending, and since when.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn open_reservations(&mut self) -> Result<OpenReservations, StoreError> {
        let at = self.clock()?;
        let sql =
            Sql::new("SELECT count(*), min(created_at) FROM reservations WHERE status = 'pending'");
        let sql = sql.returning::<(BigInt, Nullable<BigInt>)>();
        let (count, oldest): (i64, Option<i64>) = on_backend!(self, c => sql.get_result(c))?;
        Ok(OpenReservations { count, oldest: oldest.and_then(Timestamp::from_micros), at })
    }

    /// Pending reservations that were made up to an instant, oldest first.
    ///
    /// `after` is the instant and id of the last one of an earlier call. All pending reservations are
    /// looked at.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn reservations_pending_until(
        &mut self,
        until: Timestamp,
        after: Option<&(Timestamp, String)>,
        limit: i64,
    ) -> Result<Vec<Reservation>, StoreError> {
        let (at, id) = after.map_or((i64::MIN, ""), |(at, id)| (at.as_micros(), id.as_str()));
        let sql = ReservationRow::select();
        let sql = sql.text(" WHERE status = 'pending' AND (created_at, id) > (").bind(at);
        let sql = sql.text(", ").bind(id).text(") AND created_at <= ").bind(until.as_micros());
        let sql = sql.text(" ORDER BY created_at, id LIMIT ").bind(limit);
        ReservationRow::query(self, sql)?.into_iter().map(reservation_from).collect()
    }
}

fn reservation_from(row: ReservationRow) -> Result<Reservation, StoreError> {
    StoredReservation::from_row(row).map(|stored| stored.reservation)
}
