//! Re-checks what must always hold of everything that is stored.

use crate::{
    Db, StoreError, on_backend,
    read::stored_kind,
    row::{Stored, state_from},
    schema::{EventRow, StoredRow},
    sql::Sql,
};
use diesel::{RunQueryDsl, sql_types::Text};
use ifmatch_domain::{
    AssignmentRecord, BookingRecord, BoostRecord, FeatureRecord, PackageRecord, SubscriptionRecord,
};
use ifmatch_types::{Bookable, Invoice, Kind, Namespace, Plan, Workspace, merge};

/// So many rows are compared at a time.
const PAGE: i64 = 1_000;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The sentence that does not hold.
    pub invariant: &'static str,
    /// The row for which it does not.
    pub id: String,
}

/// Each query finds the rows for which its sentence does not hold.
const CHECKS: [(&str, &str); 14] = [
    (
        "an object's history has one entry per version, without a gap",
        "SELECT resource_id FROM events GROUP BY resource_id \
         HAVING count(*) <> max(version) OR min(version) <> 1",
    ),
    (
        "an invoice's total is the sum of its subtotal and its tax",
        "SELECT id FROM invoices WHERE total <> subtotal + tax",
    ),
    (
        "an invoice's amount_paid is the sum of its settled payments",
        "SELECT i.id FROM invoices AS i WHERE i.amount_paid <> (SELECT coalesce(sum(p.amount), 0) \
         FROM payments AS p WHERE p.invoice_id = i.id AND p.status = 'settled')",
    ),
    (
        "an invoice's amount_due is what its payments leave of its total",
        "SELECT id FROM invoices WHERE amount_due <> \
         CASE WHEN total > amount_paid THEN total - amount_paid ELSE 0 END",
    ),
    (
        "invoice numbers have no gap and no duplicate",
        "SELECT 'INV' FROM (SELECT count(*) AS given, count(DISTINCT number) AS different, \
         coalesce(max(CAST(substr(number, 5) AS bigint)), 0) AS greatest, \
         coalesce((SELECT last FROM sequences WHERE series = 'INV'), -1) AS last \
         FROM invoices WHERE number IS NOT NULL) AS numbers \
         WHERE last <> given OR last <> different OR last <> greatest",
    ),
    (
        "a void invoice has no settled payments",
        "SELECT id FROM invoices WHERE status = 'void' AND amount_paid > 0",
    ),
    (
        "a subscription has at most one recurring invoice per period that is not void",
        "SELECT subscription_id FROM invoices WHERE period_start IS NOT NULL AND status <> 'void' \
         AND deleted_at IS NULL GROUP BY subscription_id, period_start HAVING count(*) > 1",
    ),
    (
        "a counter's used is the sum of its records that still count, without what was reversed",
        "SELECT c.id FROM counters AS c WHERE c.used <> (SELECT \
         coalesce(sum(r.quantity - r.reversed), 0) FROM usage_records AS r \
         WHERE r.counter_id = c.id AND (c.rolled_until IS NULL OR r.at > c.rolled_until))",
    ),
    (
        "a counter's held is the sum of its active holds",
        "SELECT c.id FROM counters AS c WHERE c.held <> (SELECT coalesce(sum(h.quantity), 0) \
         FROM usage_holds AS h WHERE h.counter_id = c.id AND h.status = 'active')",
    ),
    (
        "a settled hold has one record of what it was settled at",
        "SELECT h.id FROM usage_holds AS h WHERE h.status = 'settled' AND NOT EXISTS (SELECT 1 \
         FROM usage_records AS r WHERE r.id = h.record_id AND r.quantity = h.settled_quantity \
         AND r.counter_id = h.counter_id)",
    ),
    (
        "a scope has at most one base package that is active or suspended",
        "SELECT scope FROM assignments WHERE is_base AND status IN ('active', 'suspended') \
         GROUP BY scope HAVING count(*) > 1",
    ),
    (
        "what is reserved of a day is the sum of what bookings take of it",
        "SELECT d.id FROM booking_days AS d WHERE d.reserved <> \
         (SELECT coalesce(sum(b.quantity), 0) FROM bookings AS b \
         WHERE b.bookable_id = d.bookable_id AND b.start_date <= d.day AND b.taken_until > d.day)",
    ),
    (
        "a day that a booking takes is on record",
        "SELECT b.id FROM bookings AS b WHERE b.taken_until > b.start_date AND NOT EXISTS \
         (SELECT 1 FROM booking_days AS d WHERE d.bookable_id = b.bookable_id \
         AND d.day = b.start_date)",
    ),
    (
        "of no day more is reserved than there is",
        "SELECT id FROM booking_days WHERE reserved < 0 OR reserved > capacity",
    ),
];

impl Db {
    /// Every invariant that does not hold, with the row for which it does not.
    ///
    /// It reads one snapshot, so that writes may go on meanwhile. As long as it runs, the database
    /// keeps what that snapshot sees: PostgreSQL vacuums nothing newer, SQLite's log grows.
    ///
    /// # Errors
    ///
    /// Technical ones only; see [`StoreError`].
    pub fn verify(&mut self) -> Result<Vec<Broken>, StoreError> {
        self.in_one_snapshot(Self::broken)
    }

    fn broken(&mut self) -> Result<Vec<Broken>, StoreError> {
        let mut broken = Vec::new();
        for (invariant, sql) in CHECKS {
            let query = Sql::new(sql).returning::<Text>();
            let ids: Vec<String> = on_backend!(self, c => query.load(c))?;
            broken.extend(ids.into_iter().map(|id| Broken { invariant, id }));
        }
        for kind in Kind::ALL {
            stored_kind!(kind, R => self.verify_states::<R>(&mut broken)?);
        }
        Ok(broken)
    }

    /// Compares every object with the last entry of its history.
    fn verify_states<R: Stored>(&mut self, broken: &mut Vec<Broken>) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let sql = R::Row::select()
                .text(" WHERE id > ")
                .bind(after.as_str())
                .text(" ORDER BY id LIMIT ")
                .bind(PAGE);
            let rows = R::Row::query(self, sql)?;
            for row in rows.into_iter().map(R::from_row) {
                let row = row?;
                after = row.record.id().to_owned();
                let sql = EventRow::select()
                    .text(" WHERE resource_id = ")
                    .bind(after.as_str())
                    .text(" ORDER BY version DESC LIMIT 1");
                let last = EventRow::query(self, sql)?;
                let stored = serde_json::to_value(row.record.entity())
                    .expect("entities are JSON objects with texts for keys");
                let agrees = match last.first() {
                    Some(last) => {
                        let state = state_from(last)?;
                        last.version == row.record.version()
                            && (row.deleted.is_some() || merge::diff(&stored, &state).is_empty())
                    }
                    None => false,
                };
                if !agrees {
                    let invariant = "an object is what the last entry of its history says";
                    broken.push(Broken { invariant, id: after.clone() });
                }
            }
            if after.is_empty() {
                return Ok(());
            }
            let more = R::Row::select().text(" WHERE id > ").bind(after.as_str()).text(" LIMIT 1");
            if R::Row::query(self, more)?.is_empty() {
                return Ok(());
            }
        }
    }
}
