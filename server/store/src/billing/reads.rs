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

    /// The ids of subscriptions with something due at an instant, after an id, sorted.
    ///
    /// It may include some that have nothing due. The billing command decides on the locked row.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn due_subscriptions(
        &mut self,
        as_of: Timestamp,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let sql = due("SELECT s.id", as_of, after).text(" ORDER BY s.id LIMIT ").bind(limit);
        let sql = sql.returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }

    /// How many subscriptions have something due at an instant.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn count_due_subscriptions(&mut self, as_of: Timestamp) -> Result<i64, StoreError> {
        let sql = due("SELECT count(*)", as_of, "").returning::<BigInt>();
        Ok(on_backend!(self, c => sql.get_result(c))?)
    }
}

/// A query over the subscriptions with something due at an instant, after an id.
fn due(select: &'static str, as_of: Timestamp, after: &str) -> Sql {
    Sql::new(select)
        .text(" FROM subscriptions AS s WHERE s.id > ")
        .bind(after)
        .text(" AND s.status <> 'canceled' AND s.deleted_at IS NULL AND s.current_period_start <= ")
        .bind(as_of.as_micros())
        .text(" AND (s.current_period_end <= ")
        .bind(as_of.as_micros())
        .text(
            " OR (s.status IN ('active', 'past_due') AND NOT EXISTS (SELECT 1 FROM invoices AS i \
             WHERE i.subscription_id = s.id AND i.period_start = s.current_period_start \
             AND i.status <> 'void' AND i.deleted_at IS NULL)))",
        )
}

fn payment_from(row: PaymentRow) -> Result<Payment, StoreError> {
    StoredPayment::from_row(row).map(|stored| stored.payment)
}
