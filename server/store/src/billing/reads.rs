//! Reads of billing: payments, and the subscriptions that are due.

use crate::{
    StoreError,
    core::{db::Db, record::Record, sql::Sql},
    on_backend,
    schema::{PaymentRow, StoredRow},
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::billing::StoredPayment;
use ifmatch_types::{Payment, Timestamp};

impl Db {
    /// Payments of an invoice after an id, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn payments(
        &mut self,
        invoice_id: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Payment>, StoreError> {
        let sql = PaymentRow::select()
            .text(" WHERE invoice_id = ")
            .bind(invoice_id)
            .text(" AND id > ")
            .bind(after)
            .text(" ORDER BY id LIMIT ")
            .bind(limit);
        PaymentRow::query(self, sql)?.into_iter().map(payment_from).collect()
    }

    /// The payment with this id.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn payment(&mut self, id: &str) -> Result<Option<Payment>, StoreError> {
        let sql = PaymentRow::select().text(" WHERE id = ").bind(id);
        PaymentRow::query(self, sql)?.into_iter().next().map(payment_from).transpose()
    }

    /// The subscriptions with something due until an instant, after a place in that order.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn due_subscriptions(
        &mut self,
        as_of: Timestamp,
        after: &DueSubscription,
        limit: i64,
    ) -> Result<Vec<DueSubscription>, StoreError> {
        // The second condition alone would be right. With the first one, the index begins there.
        let sql = due("SELECT s.due_at, s.id", as_of)
            .text(" AND s.due_at >= ")
            .bind(after.due_at)
            .text(" AND (s.due_at > ")
            .bind(after.due_at)
            .text(" OR s.id > ")
            .bind(after.id.as_str())
            .text(") ORDER BY s.due_at, s.id LIMIT ")
            .bind(limit)
            .returning::<(BigInt, Text)>();
        let found: Vec<(i64, String)> = on_backend!(self, c => sql.load(c))?;
        Ok(found.into_iter().map(|(due_at, id)| DueSubscription { due_at, id }).collect())
    }

    /// How many subscriptions have something due at an instant.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn count_due_subscriptions(&mut self, as_of: Timestamp) -> Result<i64, StoreError> {
        let sql = due("SELECT count(*)", as_of).returning::<BigInt>();
        Ok(on_backend!(self, c => sql.get_result(c))?)
    }
}

/// A subscription with something due, as a place in the order of what is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSubscription {
    /// When it was due, in microseconds.
    pub due_at: i64,
    /// The subscription's id.
    pub id: String,
}

impl DueSubscription {
    /// The place before all.
    pub const fn first() -> Self {
        Self { due_at: i64::MIN, id: String::new() }
    }
}

/// A query over the subscriptions with something due until an instant.
fn due(select: &'static str, as_of: Timestamp) -> Sql {
    Sql::new(select)
        .text(" FROM subscriptions AS s WHERE s.deleted_at IS NULL AND s.due_at <= ")
        .bind(as_of.as_micros())
}

fn payment_from(row: PaymentRow) -> Result<Payment, StoreError> {
    StoredPayment::from_row(row).map(|stored| stored.payment)
}
