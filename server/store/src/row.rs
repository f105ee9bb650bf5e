//! Between the rows of the database and the objects of the rules.

mod entitlement;

pub(crate) use entitlement::{
    counter_from, counter_to, hold_from, hold_to, log_from, log_to, record_from, record_to,
};

use crate::{
    error::StoreError,
    schema::{
        AnswerRow, ApiKeyRow, AuditRow, BookableRow, BookingDayRow, BookingRow, EventRow,
        InvoiceRow, NamespaceRow, PaymentRow, PlanRow, StoredRow, SubscriptionRow, WorkspaceRow,
    },
};
use ifmatch_domain::{
    Answer, Audit, BookingDay, BookingRecord, Guarded, NewEvent, Resource, Row, StoredApiKey,
    StoredPayment, SubscriptionRecord,
};
use ifmatch_types::{
    ApiKey, ApiKeyId, AuditResource, Bookable, BookableId, BookableStatus, Booking, BookingId,
    BookingStatus, By, ChangeKind, Date, Event, HistoryEntry, Interval, Invoice, InvoiceId,
    InvoiceStatus, Namespace, NamespaceId, Payment, PaymentId, PaymentStatus, Plan, PlanId,
    PlanStatus, RangeMode, Role, Source, Subscription, SubscriptionId, SubscriptionStatus,
    Timestamp, Workspace, WorkspaceId, merge,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// How an object of the rules is stored.
pub(crate) trait Stored: Resource {
    /// Its row.
    type Row: StoredRow;

    fn from_row(row: Self::Row) -> Result<Row<Self>, StoreError>;
    fn to_row(row: &Row<Self>) -> Self::Row;
}

/// What a column holds cannot be read.
struct Unreadable(String);

/// Reads the columns of one row; what cannot be read is a broken invariant, told with its place.
fn reading<T>(
    table: &'static str,
    id: &str,
    read: impl FnOnce() -> Result<T, Unreadable>,
) -> Result<T, StoreError> {
    read().map_err(|Unreadable(what)| StoreError::Corrupt { table, id: id.to_owned(), what })
}

fn instant(micros: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_micros(micros).ok_or_else(|| Unreadable(format!("instant {micros}")))
}

fn opt_instant(micros: Option<i64>) -> Result<Option<Timestamp>, Unreadable> {
    micros.map(instant).transpose()
}

fn date(text: &str) -> Result<Date, Unreadable> {
    text.parse().map_err(|_| Unreadable(format!("date `{text}`")))
}

fn name<T>(value: Option<T>, text: &str) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("`{text}`")))
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is stored as JSON has texts for keys")
}

fn micros(instant: Option<Timestamp>) -> Option<i64> {
    instant.map(Timestamp::as_micros)
}

type Deletion = Option<(Timestamp, String)>;

fn deletion(at: Option<i64>, by: Option<String>) -> Result<Deletion, Unreadable> {
    match (at, by) {
        (Some(at), Some(by)) => Ok(Some((instant(at)?, by))),
        _ => Ok(None),
    }
}

fn deleted_at<R>(row: &Row<R>) -> Option<i64> {
    row.deleted.as_ref().map(|(at, _)| at.as_micros())
}

fn deleted_by<R>(row: &Row<R>) -> Option<String> {
    row.deleted.as_ref().map(|(_, by)| by.clone())
}

impl Stored for Plan {
    type Row = PlanRow;

    fn from_row(row: PlanRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(PlanRow::TABLE, &id, || {
            let record = Self {
                id: PlanId::from_unchecked(row.id),
                version: row.version,
                code: row.code,
                name: row.name,
                description: row.description,
                currency: row.currency,
                amount: row.amount,
                interval: name(Interval::from_name(&row.interval), &row.interval)?,
                interval_count: row.interval_count,
                trial_days: row.trial_days,
                status: name(PlanStatus::from_name(&row.status), &row.status)?,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> PlanRow {
        let plan = &row.record;
        PlanRow {
            id: plan.id.to_string(),
            version: plan.version,
            code: plan.code.clone(),
            name: plan.name.clone(),
            description: plan.description.clone(),
            currency: plan.currency.clone(),
            amount: plan.amount,
            interval: plan.interval.name().to_owned(),
            interval_count: plan.interval_count,
            trial_days: plan.trial_days,
            status: plan.status.name().to_owned(),
            metadata: text(&plan.metadata),
            created_at: plan.created_at.as_micros(),
            updated_at: plan.updated_at.as_micros(),
            updated_by: plan.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for Workspace {
    type Row = WorkspaceRow;

    fn from_row(row: WorkspaceRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(WorkspaceRow::TABLE, &id, || {
            let record = Self {
                id: WorkspaceId::from_unchecked(row.id),
                version: row.version,
                name: row.name,
                email: row.email,
                currency: row.currency,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> WorkspaceRow {
        let workspace = &row.record;
        WorkspaceRow {
            id: workspace.id.to_string(),
            version: workspace.version,
            name: workspace.name.clone(),
            email: workspace.email.clone(),
            currency: workspace.currency.clone(),
            metadata: text(&workspace.metadata),
            created_at: workspace.created_at.as_micros(),
            updated_at: workspace.updated_at.as_micros(),
            updated_by: workspace.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for Namespace {
    type Row = NamespaceRow;

    fn from_row(row: NamespaceRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(NamespaceRow::TABLE, &id, || {
            let record = Self {
                id: NamespaceId::from_unchecked(row.id),
                version: row.version,
                workspace_id: WorkspaceId::from_unchecked(row.workspace_id),
                name: row.name,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> NamespaceRow {
        let namespace = &row.record;
        NamespaceRow {
            id: namespace.id.to_string(),
            version: namespace.version,
            workspace_id: namespace.workspace_id.to_string(),
            name: namespace.name.clone(),
            metadata: text(&namespace.metadata),
            created_at: namespace.created_at.as_micros(),
            updated_at: namespace.updated_at.as_micros(),
            updated_by: namespace.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for SubscriptionRecord {
    type Row = SubscriptionRow;

    fn from_row(row: SubscriptionRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(SubscriptionRow::TABLE, &id, || {
            let subscription = Subscription {
                id: SubscriptionId::from_unchecked(row.id),
                version: row.version,
                workspace_id: WorkspaceId::from_unchecked(row.workspace_id),
                plan_id: PlanId::from_unchecked(row.plan_id),
                quantity: row.quantity,
                status: name(SubscriptionStatus::from_name(&row.status), &row.status)?,
                notes: row.notes,
                cancel_at_period_end: row.cancel_at_period_end,
                start_at: instant(row.start_at)?,
                current_period_start: instant(row.current_period_start)?,
                current_period_end: instant(row.current_period_end)?,
                trial_end: opt_instant(row.trial_end)?,
                canceled_at: opt_instant(row.canceled_at)?,
                ended_at: opt_instant(row.ended_at)?,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let record = Self {
                subscription,
                anchor_at: instant(row.anchor_at)?,
                plan_changes: json(&row.plan_changes)?,
                billed_quantity: row.billed_quantity,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> SubscriptionRow {
        let subscription = &row.record.subscription;
        SubscriptionRow {
            id: subscription.id.to_string(),
            version: subscription.version,
            workspace_id: subscription.workspace_id.to_string(),
            plan_id: subscription.plan_id.to_string(),
            quantity: subscription.quantity,
            status: subscription.status.name().to_owned(),
            notes: subscription.notes.clone(),
            cancel_at_period_end: subscription.cancel_at_period_end,
            start_at: subscription.start_at.as_micros(),
            current_period_start: subscription.current_period_start.as_micros(),
            current_period_end: subscription.current_period_end.as_micros(),
            trial_end: micros(subscription.trial_end),
            canceled_at: micros(subscription.canceled_at),
            ended_at: micros(subscription.ended_at),
            anchor_at: row.record.anchor_at.as_micros(),
            plan_changes: text(&row.record.plan_changes),
            billed_quantity: row.record.billed_quantity,
            metadata: text(&subscription.metadata),
            created_at: subscription.created_at.as_micros(),
            updated_at: subscription.updated_at.as_micros(),
            updated_by: subscription.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for Invoice {
    type Row = InvoiceRow;

    fn from_row(row: InvoiceRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(InvoiceRow::TABLE, &id, || {
            let record = Self {
                id: InvoiceId::from_unchecked(row.id),
                version: row.version,
                workspace_id: WorkspaceId::from_unchecked(row.workspace_id),
                subscription_id: row.subscription_id.map(SubscriptionId::from_unchecked),
                number: row.number,
                status: name(InvoiceStatus::from_name(&row.status), &row.status)?,
                currency: row.currency,
                lines: json(&row.lines)?,
                subtotal: row.subtotal,
                tax: row.tax,
                total: row.total,
                amount_paid: row.amount_paid,
                amount_due: row.amount_due,
                period_start: opt_instant(row.period_start)?,
                period_end: opt_instant(row.period_end)?,
                due_at: opt_instant(row.due_at)?,
                notes: row.notes,
                finalized_at: opt_instant(row.finalized_at)?,
                paid_at: opt_instant(row.paid_at)?,
                voided_at: opt_instant(row.voided_at)?,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> InvoiceRow {
        let invoice = &row.record;
        InvoiceRow {
            id: invoice.id.to_string(),
            version: invoice.version,
            workspace_id: invoice.workspace_id.to_string(),
            subscription_id: invoice.subscription_id.clone().map(String::from),
            number: invoice.number.clone(),
            status: invoice.status.name().to_owned(),
            currency: invoice.currency.clone(),
            lines: text(&invoice.lines),
            subtotal: invoice.subtotal,
            tax: invoice.tax,
            total: invoice.total,
            amount_paid: invoice.amount_paid,
            amount_due: invoice.amount_due,
            period_start: micros(invoice.period_start),
            period_end: micros(invoice.period_end),
            due_at: micros(invoice.due_at),
            notes: invoice.notes.clone(),
            finalized_at: micros(invoice.finalized_at),
            paid_at: micros(invoice.paid_at),
            voided_at: micros(invoice.voided_at),
            metadata: text(&invoice.metadata),
            created_at: invoice.created_at.as_micros(),
            updated_at: invoice.updated_at.as_micros(),
            updated_by: invoice.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for Bookable {
    type Row = BookableRow;

    fn from_row(row: BookableRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(BookableRow::TABLE, &id, || {
            let record = Self {
                id: BookableId::from_unchecked(row.id),
                version: row.version,
                name: row.name,
                capacity: row.capacity,
                range_mode: name(RangeMode::from_name(&row.range_mode), &row.range_mode)?,
                min_days: row.min_days,
                max_days: row.max_days,
                hold_ttl_ms: row.hold_ttl_ms,
                horizon_days: row.horizon_days,
                status: name(BookableStatus::from_name(&row.status), &row.status)?,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> BookableRow {
        let bookable = &row.record;
        BookableRow {
            id: bookable.id.to_string(),
            version: bookable.version,
            name: bookable.name.clone(),
            capacity: bookable.capacity,
            range_mode: bookable.range_mode.name().to_owned(),
            min_days: bookable.min_days,
            max_days: bookable.max_days,
            hold_ttl_ms: bookable.hold_ttl_ms,
            horizon_days: bookable.horizon_days,
            status: bookable.status.name().to_owned(),
            metadata: text(&bookable.metadata),
            created_at: bookable.created_at.as_micros(),
            updated_at: bookable.updated_at.as_micros(),
            updated_by: bookable.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

impl Stored for BookingRecord {
    type Row = BookingRow;

    fn from_row(row: BookingRow) -> Result<Row<Self>, StoreError> {
        let id = row.id.clone();
        reading(BookingRow::TABLE, &id, || {
            let booking = Booking {
                id: BookingId::from_unchecked(row.id),
                version: row.version,
                bookable_id: BookableId::from_unchecked(row.bookable_id),
                start_date: date(&row.start_date)?,
                end_date: date(&row.end_date)?,
                quantity: row.quantity,
                user_id: row.user_id,
                notes: row.notes,
                status: name(BookingStatus::from_name(&row.status), &row.status)?,
                hold_expires_at: opt_instant(row.hold_expires_at)?,
                confirmed_at: opt_instant(row.confirmed_at)?,
                cancelled_at: opt_instant(row.cancelled_at)?,
                ended_at: opt_instant(row.ended_at)?,
                metadata: json(&row.metadata)?,
                created_at: instant(row.created_at)?,
                updated_at: instant(row.updated_at)?,
                updated_by: row.updated_by,
            };
            let record = Self {
                booking,
                until_day: date(&row.until_day)?,
                taken_until: date(&row.taken_until)?,
            };
            Ok(Row { record, deleted: deletion(row.deleted_at, row.deleted_by)? })
        })
    }

    fn to_row(row: &Row<Self>) -> BookingRow {
        let booking = &row.record.booking;
        BookingRow {
            id: booking.id.to_string(),
            version: booking.version,
            bookable_id: booking.bookable_id.to_string(),
            start_date: booking.start_date.to_string(),
            end_date: booking.end_date.to_string(),
            quantity: booking.quantity,
            user_id: booking.user_id.clone(),
            notes: booking.notes.clone(),
            status: booking.status.name().to_owned(),
            hold_expires_at: micros(booking.hold_expires_at),
            confirmed_at: micros(booking.confirmed_at),
            cancelled_at: micros(booking.cancelled_at),
            ended_at: micros(booking.ended_at),
            until_day: row.record.until_day.to_string(),
            taken_until: row.record.taken_until.to_string(),
            metadata: text(&booking.metadata),
            created_at: booking.created_at.as_micros(),
            updated_at: booking.updated_at.as_micros(),
            updated_by: booking.updated_by.clone(),
            deleted_at: deleted_at(row),
            deleted_by: deleted_by(row),
        }
    }
}

pub(crate) fn booking_day_from(row: BookingDayRow) -> Result<BookingDay, StoreError> {
    reading(BookingDayRow::TABLE, &row.id, || {
        Ok(BookingDay {
            bookable_id: BookableId::from_unchecked(row.bookable_id),
            day: date(&row.day)?,
            capacity: row.capacity,
            reserved: row.reserved,
            version: row.version,
        })
    })
}

/// The half-open range of days that bookings of a bookable take.
pub(crate) fn range_from(
    bookable_id: &str,
    start: &str,
    until: &str,
) -> Result<(Date, Date), StoreError> {
    reading(BookingRow::TABLE, bookable_id, || Ok((date(start)?, date(until)?)))
}

pub(crate) fn booking_day_to(day: &BookingDay) -> BookingDayRow {
    BookingDayRow {
        id: BookingDay::key(day.bookable_id.as_str(), day.day),
        version: day.version,
        bookable_id: day.bookable_id.to_string(),
        day: day.day.to_string(),
        capacity: day.capacity,
        reserved: day.reserved,
    }
}

pub(crate) fn payment_from(row: PaymentRow) -> Result<Payment, StoreError> {
    let id = row.id.clone();
    reading(PaymentRow::TABLE, &id, || {
        Ok(Payment {
            id: PaymentId::from_unchecked(row.id),
            invoice_id: InvoiceId::from_unchecked(row.invoice_id),
            amount: row.amount,
            provider_ref: row.provider_ref,
            status: name(PaymentStatus::from_name(&row.status), &row.status)?,
            created_at: instant(row.created_at)?,
            created_by: row.created_by,
            reversed_at: opt_instant(row.reversed_at)?,
            reversal_reason: row.reversal_reason,
        })
    })
}

pub(crate) fn payment_to(stored: &StoredPayment) -> PaymentRow {
    let payment = &stored.0;
    PaymentRow {
        id: payment.id.to_string(),
        version: stored.guard(),
        invoice_id: payment.invoice_id.to_string(),
        amount: payment.amount,
        provider_ref: payment.provider_ref.clone(),
        status: payment.status.name().to_owned(),
        created_at: payment.created_at.as_micros(),
        created_by: payment.created_by.clone(),
        reversed_at: micros(payment.reversed_at),
        reversal_reason: payment.reversal_reason.clone(),
    }
}

pub(crate) fn api_key_from(row: ApiKeyRow) -> Result<StoredApiKey, StoreError> {
    let id = row.id.clone();
    reading(ApiKeyRow::TABLE, &id, || {
        let key = ApiKey {
            id: ApiKeyId::from_unchecked(row.id),
            name: row.name,
            role: name(Role::from_name(&row.role), &row.role)?,
            created_at: instant(row.created_at)?,
            expires_at: opt_instant(row.expires_at)?,
            revoked_at: opt_instant(row.revoked_at)?,
        };
        Ok(StoredApiKey { key, digest: row.digest })
    })
}

pub(crate) fn api_key_to(stored: &StoredApiKey) -> ApiKeyRow {
    let key = &stored.key;
    ApiKeyRow {
        id: key.id.to_string(),
        version: stored.guard(),
        name: key.name.clone(),
        role: key.role.name().to_owned(),
        digest: stored.digest.clone(),
        created_at: key.created_at.as_micros(),
        expires_at: micros(key.expires_at),
        revoked_at: micros(key.revoked_at),
    }
}

pub(crate) fn answer_from(row: AnswerRow) -> Result<Answer, StoreError> {
    reading(AnswerRow::TABLE, &row.key, || {
        Ok(Answer {
            fingerprint: row.fingerprint,
            status: u16::try_from(row.status)
                .map_err(|_| Unreadable(format!("status {}", row.status)))?,
            headers: json(&row.headers)?,
            body: row.body,
        })
    })
}

pub(crate) fn answer_to(
    scope: String,
    key: String,
    answer: &Answer,
    created_at: Timestamp,
) -> AnswerRow {
    AnswerRow {
        scope,
        key,
        fingerprint: answer.fingerprint.clone(),
        status: i64::from(answer.status),
        headers: text(&answer.headers),
        body: answer.body.clone(),
        created_at: created_at.as_micros(),
    }
}

pub(crate) fn event_to(event: &NewEvent) -> EventRow {
    let entry = &event.entry;
    EventRow {
        resource_id: event.id.clone(),
        version: entry.version,
        resource_type: event.resource_type.to_owned(),
        kind: entry.kind.name().to_owned(),
        at: entry.at.as_micros(),
        actor: entry.by.actor.clone(),
        on_behalf_of: entry.by.on_behalf_of.clone(),
        source: entry.by.source.name().to_owned(),
        forced: entry.by.forced,
        reason: entry.reason.clone(),
        overwrote: entry.overwrote.as_ref().map(text),
        request_id: entry.request_id.clone(),
        changes: text(&entry.changes),
        state: event.state.text().to_owned(),
    }
}

/// A history entry as the API shows it: a creation's changes are all that its state has, and are not
/// stored a second time.
pub(crate) fn shown_entry_from(row: &EventRow) -> Result<HistoryEntry, StoreError> {
    let mut entry = entry_from(row)?;
    if entry.kind == ChangeKind::Created && entry.changes.is_empty() {
        entry.changes = merge::diff(&Value::Object(Map::new()), &state_from(row)?);
    }
    Ok(entry)
}

/// A history entry as it is stored.
pub(crate) fn entry_from(row: &EventRow) -> Result<HistoryEntry, StoreError> {
    reading(EventRow::TABLE, &row.resource_id, || {
        Ok(HistoryEntry {
            version: row.version,
            at: instant(row.at)?,
            by: By {
                actor: row.actor.clone(),
                on_behalf_of: row.on_behalf_of.clone(),
                source: name(Source::from_name(&row.source), &row.source)?,
                forced: row.forced,
            },
            kind: name(ChangeKind::from_name(&row.kind), &row.kind)?,
            changes: json(&row.changes)?,
            reason: row.reason.clone(),
            overwrote: row.overwrote.as_deref().map(json).transpose()?,
            request_id: row.request_id.clone(),
        })
    })
}

pub(crate) fn state_from(row: &EventRow) -> Result<Value, StoreError> {
    reading(EventRow::TABLE, &row.resource_id, || json(&row.state))
}

pub(crate) fn event_from(seq: i64, row: &EventRow) -> Result<Event, StoreError> {
    let entry = shown_entry_from(row)?;
    let (resource_type, id) = (row.resource_type.clone(), row.resource_id.clone());
    Ok(Event {
        seq,
        event_type: format!("{resource_type}.{}", row.kind),
        resource: AuditResource { resource_type, id },
        entry,
        state: state_from(row)?,
    })
}

pub(crate) fn audit_to(audit: &Audit) -> AuditRow {
    AuditRow {
        id: audit.id.clone(),
        audit_type: audit.audit_type.clone(),
        at: audit.at.as_micros(),
        actor: audit.actor.clone(),
        on_behalf_of: audit.on_behalf_of.clone(),
        reason: audit.reason.clone(),
        request_id: audit.request_id.clone(),
        resource_type: audit.resource.as_ref().map(|resource| resource.resource_type.clone()),
        resource_id: audit.resource.as_ref().map(|resource| resource.id.clone()),
        expected_version: audit.expected_version.as_ref().map(text),
        overwritten_version: audit.overwritten_version,
        changes: text(&audit.changes),
    }
}

pub(crate) fn audit_from(row: AuditRow) -> Result<Audit, StoreError> {
    let id = row.id.clone();
    reading(AuditRow::TABLE, &id, || {
        let resource = match (row.resource_type, row.resource_id) {
            (Some(resource_type), Some(id)) => Some(AuditResource { resource_type, id }),
            _ => None,
        };
        Ok(Audit {
            id: row.id,
            audit_type: row.audit_type,
            at: instant(row.at)?,
            actor: row.actor,
            on_behalf_of: row.on_behalf_of,
            reason: row.reason,
            request_id: row.request_id,
            resource,
            expected_version: row.expected_version.as_deref().map(json).transpose()?,
            overwritten_version: row.overwritten_version,
            changes: json(&row.changes)?,
        })
    })
}
