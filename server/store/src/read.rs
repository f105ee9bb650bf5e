//! Reads beside the lane: one object, many objects, and what belongs to one.

use crate::{
    Db, StoreError,
    bulk::{Lock, select_by},
    on_backend,
    row::{Stored, answer_from, api_key_from, payment_from},
    schema::{AnswerRow, ApiKeyRow, PaymentRow, StoredRow},
    sql::Sql,
};
use diesel::{
    RunQueryDsl,
    sql_types::{BigInt, Text},
};
use ifmatch_domain::{
    Answer, AssignmentRecord, BookingRecord, BoostRecord, FeatureRecord, PackageRecord, Row,
    StoredApiKey, SubscriptionRecord,
};
use ifmatch_types::{
    Bookable, Deleted, Invoice, Kind, Namespace, Payment, Plan, Timestamp, Version, Workspace,
};

/// What is stored under an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A living object.
    Living {
        /// Its version.
        version: Version,
        /// The object, as JSON text.
        body: String,
    },
    /// A deleted one.
    Deleted(Deleted),
}

/// How many API keys there are, and how many of them are revoked.
///
/// A key is never removed, and revoked once for ever. So if one set of keys was read after another
/// and both have the same tally, they are the same set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyTally {
    /// The number of keys, revoked ones included.
    pub keys: i64,
    /// The number of revoked keys.
    pub revoked: i64,
}

/// Runs generic code for a kind that is known at run time.
macro_rules! stored_kind {
    ($kind:expr, $stored:ident => $body:expr) => {
        match $kind {
            Kind::Plan => {
                type $stored = Plan;
                $body
            }
            Kind::Workspace => {
                type $stored = Workspace;
                $body
            }
            Kind::Namespace => {
                type $stored = Namespace;
                $body
            }
            Kind::Subscription => {
                type $stored = SubscriptionRecord;
                $body
            }
            Kind::Invoice => {
                type $stored = Invoice;
                $body
            }
            Kind::Feature => {
                type $stored = FeatureRecord;
                $body
            }
            Kind::Package => {
                type $stored = PackageRecord;
                $body
            }
            Kind::Assignment => {
                type $stored = AssignmentRecord;
                $body
            }
            Kind::Boost => {
                type $stored = BoostRecord;
                $body
            }
            Kind::Bookable => {
                type $stored = Bookable;
                $body
            }
            Kind::Booking => {
                type $stored = BookingRecord;
                $body
            }
        }
    };
}
pub(crate) use stored_kind;

impl Db {
    /// Looks up objects of one kind; the ids must be sorted and unique.
    ///
    /// Returns what was found, with its id; an absent object has no entry.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn find(
        &mut self,
        kind: Kind,
        ids: Vec<String>,
    ) -> Result<Vec<(String, Found)>, StoreError> {
        stored_kind!(kind, R => {
            let rows = select_by::<<R as Stored>::Row>(self, "id", ids, Lock::None)?;
            rows.into_iter().map(|row| R::from_row(row).map(|row| found(&row))).collect()
        })
    }

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

    /// Every API key there is, revoked ones included, oldest first.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_keys(&mut self) -> Result<Vec<StoredApiKey>, StoreError> {
        let sql = ApiKeyRow::select().text(" ORDER BY id");
        ApiKeyRow::query(self, sql)?.into_iter().map(api_key_from).collect()
    }

    /// Counts the API keys, without reading them.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_key_tally(&mut self) -> Result<ApiKeyTally, StoreError> {
        let sql = Sql::new("SELECT count(*), count(revoked_at) FROM api_keys")
            .returning::<(BigInt, BigInt)>();
        let (keys, revoked) = on_backend!(self, c => sql.get_result::<(i64, i64)>(c))?;
        Ok(ApiKeyTally { keys, revoked })
    }

    /// The API key with this digest, revoked or not.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn api_key(&mut self, digest: &str) -> Result<Option<StoredApiKey>, StoreError> {
        let sql = ApiKeyRow::select().text(" WHERE digest = ").bind(digest);
        ApiKeyRow::query(self, sql)?.into_iter().next().map(api_key_from).transpose()
    }

    /// The answer kept for an Idempotency-Key.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn answer(&mut self, scope: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let sql =
            AnswerRow::select().text(" WHERE scope = ").bind(scope).text(" AND key = ").bind(key);
        AnswerRow::query(self, sql)?.into_iter().next().map(answer_from).transpose()
    }

    /// Subscriptions with something due at an instant, in the order of their ids, after an id.
    ///
    /// It may name one too many: the bill itself decides, on the locked row.
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
        let sql = Sql::new("SELECT s.id FROM subscriptions AS s WHERE s.id > ")
            .bind(after)
            .text(
                " AND s.status <> 'canceled' AND s.deleted_at IS NULL AND s.current_period_start <= ",
            )
            .bind(as_of.as_micros())
            .text(" AND (s.current_period_end <= ")
            .bind(as_of.as_micros())
            .text(
                " OR (s.status IN ('active', 'past_due') AND NOT EXISTS (SELECT 1 FROM invoices AS i \
                 WHERE i.subscription_id = s.id AND i.period_start = s.current_period_start \
                 AND i.status <> 'void' AND i.deleted_at IS NULL))) ORDER BY s.id LIMIT ",
            )
            .bind(limit)
            .returning::<Text>();
        Ok(on_backend!(self, c => sql.load(c))?)
    }
}

fn found<R: Stored>(row: &Row<R>) -> (String, Found) {
    let id = row.record.id().to_owned();
    let found = match row.tombstone() {
        Some(deleted) => Found::Deleted(deleted),
        None => Found::Living {
            version: row.record.version(),
            body: serde_json::to_string(row.record.entity())
                .expect("entities are JSON objects with texts for keys"),
        },
    };
    (id, found)
}
