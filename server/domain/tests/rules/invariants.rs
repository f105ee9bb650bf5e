//! Invariants of every world, whatever commands led to it.

use crate::{
    commands::members,
    world::{Kept, World},
};
use ifmatch_domain::{
    billing::StoredPayment, booking::BookingDay, core::NewEvent, entitlement::StoredHold,
    provisioning::Slots,
};
use ifmatch_types::{
    BookingStatus, ChangeKind, Difference, HoldStatus, InvoiceStatus, PaymentStatus,
    ReservationStatus, ServerStatus, SubscriptionStatus, Transfer, TransferKind,
    merge::{self, IGNORED},
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Asserts all invariants.
pub fn assert_holds(world: &World) {
    assert_histories(world);
    assert_invoices(world);
    assert_numbers(world);
    assert_subscriptions(world);
    assert_assignments(world);
    assert_counters(world);
    assert_burns(world);
    assert_bookings(world);
    assert_ledger(world);
    assert_servers(world);
}

/// Histories are complete: version = 1 + number of effective changes, without gaps.
///
/// Each state is the previous one with its changes, and the last one is the object.
fn assert_histories(world: &World) {
    let rows = world.rows();
    for (kind, id, is_living, entity) in &rows {
        let history: Vec<&NewEvent> = world.history(id).collect();
        let mut before = Value::Object(Map::new());
        for (index, event) in history.iter().enumerate() {
            let entry = &event.entry;
            assert_eq!(entry.version, i64::try_from(index).unwrap() + 1, "no gap: {id}");
            assert_eq!(event.resource_type, kind.name());
            assert_eq!(entry.kind == ChangeKind::Created, index == 0, "created once: {id}");
            if entry.kind == ChangeKind::Deleted {
                let rest = &history[index..];
                let are_redactions = rest.iter().all(|event| event.entry.kind == entry.kind);
                assert!(are_redactions, "nothing else happens after a deletion: {id}");
                assert!(!is_living);
                let is_redaction = entry.reason.is_some() && !entry.by.forced;
                let same = merge::diff(&before, &event.state).is_empty();
                assert!(same || is_redaction, "a deletion shows the last living state");
                before = (**event.state).clone();
                continue;
            }
            assert_eq!(event.state["version"], entry.version);
            assert_eq!(event.state["updated_by"], entry.by.actor.as_str());
            if entry.kind == ChangeKind::Created {
                assert_eq!(entry.changes, [], "a creation's changes are its state: {id}");
                before = (**event.state).clone();
                continue;
            }
            let is_redaction = entry.reason.is_some() && !entry.by.forced;
            let is_made = is_redaction || !entry.changes.is_empty();
            assert!(is_made, "a version is made by a change: {id}");
            // A change whose values were redacted still has its path.
            let told = entry.changes.iter().filter(|change| change.from != change.to);
            assert_eq!(told.cloned().collect::<Vec<_>>(), merge::diff(&before, &event.state));
            let mut rebuilt = before.clone();
            entry.changes.iter().for_each(|change| set(&mut rebuilt, change));
            assert_eq!(essence(&rebuilt), essence(&event.state), "the changes make the state");
            before = (**event.state).clone();
        }
        let last = history.last().unwrap_or_else(|| panic!("{id} has a history"));
        assert_eq!(entity["version"], last.entry.version, "{id}");
        if *is_living {
            assert_eq!(*entity, **last.state, "an object equals the last state of its history");
        }
    }
    let known: BTreeSet<&String> = rows.iter().map(|(_, id, ..)| id).collect();
    let is_known = |event: &NewEvent| {
        known.contains(&event.id) || world.counters.contains_key(event.id.as_str())
    };
    assert!(world.events.iter().all(is_known));
}

/// Each account is the sum of its transfers, and has reserved what is pending.
fn assert_ledger(world: &World) {
    for account in world.accounts.values() {
        let own = world.transfers.values().filter(|stored| stored.account_id == account.id);
        let transfers: Vec<&Transfer> = own.map(|stored| &stored.transfer).collect();
        let total = transfers.iter().map(|transfer| match transfer.kind {
            TransferKind::Topup | TransferKind::Adjust | TransferKind::Refund => transfer.amount,
            TransferKind::Post | TransferKind::Charge => -transfer.amount,
            _ => 0,
        });
        assert_eq!(account.available + account.reserved, total.sum::<i64>(), "{account:?}");
        assert_eq!(account.version, i64::try_from(transfers.len()).unwrap());
        let pending = world.reservations.values().filter(|stored| {
            stored.account_id == account.id
                && stored.reservation.status == ReservationStatus::Pending
        });
        let pending: i64 = pending.map(|stored| stored.reservation.amount).sum();
        assert_eq!(account.reserved, pending);
        assert!(account.available >= 0 && account.reserved >= 0);
        let resolved = transfers
            .iter()
            .filter(|transfer| matches!(transfer.kind, TransferKind::Post | TransferKind::Void));
        let mut resolved: Vec<_> = resolved.map(|transfer| &transfer.reservation_id).collect();
        let count = resolved.len();
        resolved.sort_unstable();
        resolved.dedup();
        assert_eq!(resolved.len(), count, "each reservation is resolved at most once");
    }
}

/// A server is charged exactly if it exists on the panel, and counts towards one limit.
fn assert_servers(world: &World) {
    let mut used: BTreeMap<String, i64> = BTreeMap::new();
    for (id, row) in &world.servers {
        let (record, server) = (&row.record, &row.record.server);
        let reservation = server.reservation_id.as_ref();
        let reservation = reservation.map(|id| &world.reservations[id.as_str()]);
        assert_eq!(reservation.is_some(), server.price_credits > 0, "{id}");
        let expected = match server.status {
            ServerStatus::Provisioning | ServerStatus::PendingReconciliation => {
                ReservationStatus::Pending
            }
            ServerStatus::Failed => ReservationStatus::Voided,
            _ => ReservationStatus::Posted,
        };
        if let Some(stored) = reservation {
            assert_eq!(stored.reservation.status, expected, "{id}");
            assert_eq!(stored.reservation.server_id.as_ref(), Some(&server.id));
            assert_eq!(stored.reservation.amount, server.price_credits);
        }
        if Slots::counts(server.status) {
            let key = Slots::key(server.workspace_id.as_str(), server.product_id.as_str());
            *used.entry(key).or_default() += 1;
        }
        let is_settled = matches!(
            server.status,
            ServerStatus::Active | ServerStatus::Failed | ServerStatus::Deleted
        );
        assert_eq!(record.unsettled_since.is_none(), is_settled, "{id}");
        assert!(is_settled || server.next_check_at.is_some(), "{id} is not forgotten");
        assert_eq!(record.lease_until.is_some(), record.progress.running_call.is_some(), "{id}");
        assert_eq!(server.next_check_at.is_some(), record.progress.next_call.is_some(), "{id}");
        let entries = world.entries.values().filter(|stored| stored.server_id == *id);
        assert_eq!(i64::try_from(entries.count()).unwrap(), record.entries, "{id}");
    }
    for (key, slots) in &world.slots {
        assert_eq!(slots.used, used.remove(key).unwrap_or_default(), "{key}");
    }
    assert!(used.is_empty(), "every server that counts has a slot: {used:?}");
    let statuses = |id: &str| {
        let states = world.history(id).map(|event| event.state["status"].clone());
        let mut states: Vec<Value> = states.collect();
        states.dedup();
        states
    };
    for id in world.servers.keys() {
        let told = statuses(id);
        assert_eq!(told[0], "provisioning", "{id}");
        let ends = told.iter().position(|status| status == "failed" || status == "deleted");
        assert!(ends.is_none_or(|at| at + 1 == told.len()), "an end is an end: {id} {told:?}");
        let active = told.iter().position(|status| status == "active");
        assert!(active.is_none() || !told.contains(&Value::from("failed")), "{id} {told:?}");
    }
}

/// Applies one change to an object. A path has one or two keys.
fn set(object: &mut Value, change: &Difference) {
    let path: Vec<String> = change
        .path
        .split('/')
        .skip(1)
        .map(|key| key.replace("~1", "/").replace("~0", "~"))
        .collect();
    match path.as_slice() {
        [key] => object[key] = change.to.clone(),
        [key, inner] if change.to.is_null() => {
            object[key].as_object_mut().unwrap().remove(inner);
        }
        [key, inner] => object[key][inner] = change.to.clone(),
        other => panic!("objects are two levels deep: {other:?}"),
    }
}

/// An object without bookkeeping fields and nulls.
fn essence(object: &Value) -> Map<String, Value> {
    let mut members = members(object.clone());
    members.retain(|key, value| !IGNORED.contains(&key.as_str()) && !value.is_null());
    members
}

fn settled(payments: &Kept<StoredPayment>, invoice_id: &str) -> i64 {
    let settled = payments.values().map(|stored| &stored.payment).filter(|payment| {
        payment.invoice_id.as_str() == invoice_id && payment.status == PaymentStatus::Settled
    });
    settled.map(|payment| payment.amount).sum()
}

fn assert_invoices(world: &World) {
    for (id, row) in &world.invoices {
        let invoice = &row.record;
        let lines: i64 = invoice.lines.iter().map(|line| line.amount).sum();
        assert!(invoice.lines.iter().all(|line| line.amount == line.quantity * line.unit_amount));
        assert_eq!(invoice.subtotal, lines, "{id}");
        assert_eq!(invoice.total, invoice.subtotal + invoice.tax, "{id}");
        assert_eq!(invoice.amount_paid, settled(&world.payments, id), "{id}");
        let left = invoice.total - invoice.balance_applied - invoice.amount_paid;
        assert_eq!(invoice.amount_due, left.max(0), "{id}");
        let of_invoice =
            world.transfers.values().filter(|t| t.invoice_id == Some(invoice.id.clone()));
        let moved: i64 = of_invoice.map(|stored| stored.on_balance("USD").amount).sum();
        assert_eq!(-moved, invoice.balance_applied, "{id}");
        let is_draft = invoice.status == InvoiceStatus::Draft;
        assert_eq!(invoice.number.is_none(), is_draft, "{id}");
        assert_eq!(invoice.finalized_at.is_none(), is_draft, "{id}");
        assert_eq!(invoice.voided_at.is_some(), invoice.status == InvoiceStatus::Void, "{id}");
        assert_eq!(invoice.paid_at.is_some(), invoice.status == InvoiceStatus::Paid, "{id}");
        match invoice.status {
            InvoiceStatus::Paid => assert_eq!(invoice.amount_due, 0, "{id}"),
            InvoiceStatus::Open | InvoiceStatus::Uncollectible => {
                assert!(invoice.amount_due > 0, "{id}");
            }
            InvoiceStatus::Draft | InvoiceStatus::Void => {
                assert_eq!(invoice.amount_paid, 0, "{id}");
            }
            InvoiceStatus::Unknown(name) => panic!("{id} is {name}"),
        }
        assert!(row.deleted.is_none() || is_draft, "only drafts are deleted: {id}");
    }
}

/// Invoice numbers are 1..n, each used once.
fn assert_numbers(world: &World) {
    let numbers = world.invoices.values().filter_map(|row| row.record.number.as_deref());
    let mut numbers: Vec<i64> =
        numbers.map(|n| n.strip_prefix("INV-").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=world.last_number).collect::<Vec<_>>());
}

fn assert_subscriptions(world: &World) {
    for (id, row) in &world.subscriptions {
        let subscription = &row.record.subscription;
        let period = subscription.current_period_start.zip(subscription.current_period_end);
        assert!(period.is_none_or(|(start, end)| start < end), "{id}");
        assert_eq!(subscription.current_period_start.is_some(), period.is_some(), "{id}");
        let is_canceled = subscription.status == SubscriptionStatus::Canceled;
        assert_eq!(subscription.canceled_at.is_some(), is_canceled, "{id}");
        assert_eq!(subscription.ended_at, subscription.canceled_at, "{id}");
        let plan = &world.plans[subscription.plan_id.as_str()];
        assert!(plan.deleted.is_none(), "a subscribed plan lives: {id}");
        // A trial is not billed.
        if let Some(trial_end) = subscription.trial_end {
            let first = world.recurring(id).filter_map(|invoice| invoice.period_start).min();
            assert!(first.is_none_or(|first| first >= trial_end), "{id} is billed for its trial");
        }
    }
}

/// An assignment has an end exactly when it is over.
fn assert_assignments(world: &World) {
    for (id, row) in &world.assignments {
        let assignment = &row.record.assignment;
        let is_over = matches!(assignment.status.name(), "cancelled" | "expired");
        assert_eq!(assignment.ended_at.is_some(), is_over, "{id}");
    }
}

/// Each counter equals its records and holds, and every unit is on one counter.
fn assert_counters(world: &World) {
    for (id, counter) in &world.counters {
        let of = world.records.values().filter(|stored| stored.counter_id == *id);
        let counting: Vec<_> = of.filter(|s| Some(s.record.at) > counter.rolled_until).collect();
        let used: i64 = counting.iter().map(|s| s.record.quantity - s.record.reversed).sum();
        let of = world.holds.values().filter(|stored| stored.counter_id == *id);
        let active = of.filter(|stored| stored.hold.status == HoldStatus::Active);
        let active = active.filter(|s| Some(s.hold.expires_at) > counter.expired_until);
        let active: Vec<_> = active.collect();
        let held: i64 = active.iter().map(|stored| stored.hold.quantity).sum();
        assert_eq!((counter.used, counter.held), (used, held), "{id}");
        // A rolling window burnt what its records and holds burnt. A fixed one keeps it itself.
        let by_records = counting.iter().map(|stored| stored.burns.units());
        let burnt: i64 = by_records.chain(active.iter().map(|stored| stored.burns.units())).sum();
        assert_eq!(counter.rolling_burnt, burnt, "{id}");
        assert!(counter.rolled_until.is_none() || counter.burns.units() == 0, "{id}");
        let told: Vec<i64> = world.history(id).map(|event| event.entry.version).collect();
        assert_eq!(told, (1..=counter.events).collect::<Vec<_>>(), "{id}");
        let levels = world.history(id).map(|event| event.state["threshold"].as_i64().unwrap());
        let levels: Vec<i64> = levels.collect();
        assert!(
            counter.rolled_until.is_some() || levels.is_sorted_by(|a, b| a < b),
            "each threshold is reported once, in order: {id} {levels:?}"
        );
    }
    for (id, stored) in &world.records {
        let record = &stored.record;
        assert!(stored.burns.units() <= record.quantity - record.reversed, "{id}");
        assert!((0..=record.quantity).contains(&record.reversed), "{id}");
        assert!(world.counters.contains_key(&stored.counter_id), "{id}");
    }
    for (id, stored) in &world.holds {
        let hold = &stored.hold;
        assert_eq!(hold.ended_at.is_none(), hold.status == HoldStatus::Active, "{id}");
        let record = hold.record_id.as_ref().map(|record| &world.records[record.as_str()]);
        let recorded = record.map(|stored| (stored.record.quantity, stored.counter_id.clone()));
        let settled = hold.settled_quantity.map(|settled| (settled, stored.counter_id.clone()));
        assert_eq!(recorded, settled, "{id}");
    }
}

/// Whether a counter counts a hold. Of many that have expired, it gives all units back at once, and
/// their rows are ended slice by slice.
fn is_counted(stored: &StoredHold, world: &World) -> bool {
    let until = world.counters.get(&stored.counter_id).and_then(|counter| counter.expired_until);
    Some(stored.hold.expires_at) > until
}

/// No unit of a consumable is burnt twice.
fn assert_burns(world: &World) {
    for (id, row) in &world.boosts {
        let boost = &row.record.boost;
        let kept = world.counters.values().map(|counter| &counter.burns);
        let kept = kept.chain(world.records.values().map(|stored| &stored.burns));
        let holds = world.holds.values().filter(|stored| is_counted(stored, world));
        let kept = kept.chain(holds.map(|stored| &stored.burns));
        let burnt = kept.flat_map(|burns| burns.iter()).filter(|(boost_id, _)| boost_id == id);
        let burnt: i64 = burnt.map(|(_, units)| units).sum();
        let amount = boost.amount.unwrap_or_default();
        assert!(0 <= burnt && burnt <= boost.consumed && boost.consumed <= amount, "{id}");
    }
}

/// A day's reserved count is the sum of its bookings and at most its capacity.
fn assert_bookings(world: &World) {
    let mut taken: BTreeMap<String, i64> = BTreeMap::new();
    for (id, row) in &world.bookings {
        let (record, booking) = (&row.record, &row.record.booking);
        let takes = record.taken_until > booking.start_date;
        assert!(booking.start_date < record.until_day, "{id}");
        assert!((booking.start_date..=record.until_day).contains(&record.taken_until), "{id}");
        match booking.status {
            BookingStatus::Held | BookingStatus::Confirmed | BookingStatus::InUse => {
                assert_eq!(record.taken_until, record.until_day, "{id} takes all its days");
                assert!(row.deleted.is_none() && booking.ended_at.is_none(), "{id} goes on");
            }
            BookingStatus::Expired | BookingStatus::Cancelled => {
                assert!(!takes && booking.ended_at.is_some(), "{id} takes nothing");
            }
            BookingStatus::Completed | BookingStatus::NoShow => {
                assert!(booking.ended_at.is_some(), "{id} is over");
            }
            BookingStatus::Unknown(name) => panic!("{id} is {name}"),
        }
        assert!(booking.status != BookingStatus::Held || booking.hold_expires_at.is_some(), "{id}");
        for day in booking.start_date.days_before(record.taken_until) {
            let key = BookingDay::key(booking.bookable_id.as_str(), day);
            *taken.entry(key).or_default() += booking.quantity;
        }
    }
    for (key, day) in &world.booking_days {
        let expected = taken.remove(key).unwrap_or_default();
        assert_eq!(day.reserved, expected, "{key} is the sum of its bookings");
        assert!((0..=day.capacity).contains(&day.reserved), "{key}: {day:?}");
    }
    assert!(taken.is_empty(), "every taken day has a row: {taken:?}");
}
