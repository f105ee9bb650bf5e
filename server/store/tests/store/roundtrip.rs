//! Rows are loaded as they were saved, with every optional field set and unset and with odd texts.

use crate::{
    commands::at,
    database::{Database, both_databases},
    lane::{read, save},
};
use ifmatch_domain::{
    Need, State,
    access::{self, StoredApiKey},
    billing::{self, Segment, StoredPayment, SubscriptionRecord, Terms},
    booking::{self, BookingDay, BookingRecord},
    core::{self, KeptAnswer, NewEvent, Resource, Row, Rows, Tombstone},
    ledger::{self, Account, StoredReservation, StoredTransfer},
    lock::{self, LockEnd, LockName, LockRecord},
    provisioning::{self, Doubt, Progress, ServerRecord, ServerSpec, Slots, StoredEntry},
};
use ifmatch_store::{AuditQuery, Db, EventsQuery};
use ifmatch_types::{
    ApiKey, ApiKeyId, AuditRecord, AuditResource, BalanceTransactionKind, Bookable, BookableId,
    BookableStatus, Booking, BookingId, BookingStatus, By, ChangeKind, Deploy, Difference,
    FeatureLimits, HistoryEntry, Interval, Invoice, InvoiceId, InvoiceLine, InvoiceStatus, Kind,
    LockScope, Metadata, Namespace, NamespaceId, PanelCall, PanelObservation, Payment, PaymentId,
    PaymentStatus, Plan, PlanId, PlanStatus, Product, ProductId, ProductStatus, RangeMode,
    Reservation, ReservationStatus, Role, Server, ServerEntry, ServerId, ServerLimits,
    ServerStatus, ServerStep, ServerVerdict, Source, Subscription, SubscriptionId,
    SubscriptionStatus, Timestamp, Transfer, TransferId, TransferKind, Workspace, WorkspaceId,
    merge,
};
use serde_json::json;
use std::sync::Arc;

/// Text that breaks code which quotes, escapes or counts bytes.
pub const ODD: &str = "Zoë 🦀 \"q\" 'q' \\ {a,NULL} % _ ; -- \u{202e}\u{feff}\r\n\t\u{10ffff}";

fn instant(n: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_123_456 + n).unwrap()
}

/// The earliest and the latest valid instant.
fn extremes() -> (Timestamp, Timestamp) {
    (at("0000-01-01T00:00:00Z"), at("9999-12-30T22:00:00Z"))
}

fn metadata(full: bool) -> Metadata {
    let odd = || (ODD.replace('\u{10ffff}', ""), ODD.to_owned());
    if full {
        Metadata::from([odd(), ("a/b~c".to_owned(), String::new())])
    } else {
        Metadata::new()
    }
}

fn deleted(full: bool) -> Option<Tombstone> {
    full.then(|| Tombstone { at: instant(9), by: ODD.to_owned(), last_version: Some(7) })
}

fn workspace(full: bool) -> Row<Workspace> {
    let record = Workspace {
        id: WorkspaceId::from_unchecked(format!("wsp_{full}")),
        version: if full { i64::MAX } else { 1 },
        name: ODD.to_owned(),
        email: full.then(|| ODD.to_owned()),
        currency: full.then(|| "EUR".to_owned()),
        metadata: metadata(full),
        created_at: extremes().0,
        updated_at: extremes().1,
        updated_by: ODD.to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

fn namespace(full: bool) -> Row<Namespace> {
    let record = Namespace {
        id: NamespaceId::from_unchecked(format!("nsp_{full}")),
        version: 1,
        workspace_id: workspace(full).record.id,
        name: ODD.to_owned(),
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

fn plan(full: bool) -> Row<Plan> {
    let record = Plan {
        id: PlanId::from_unchecked(format!("pln_{full}")),
        version: 3,
        code: format!("code-{full}"),
        name: ODD.to_owned(),
        description: if full { ODD.repeat(20) } else { String::new() },
        currency: "JPY".to_owned(),
        amount: if full { i64::MAX } else { 0 },
        interval: if full { Interval::Year } else { Interval::Day },
        interval_count: 36,
        trial_days: 730,
        status: if full { PlanStatus::Archived } else { PlanStatus::Draft },
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

fn subscription(full: bool) -> Row<SubscriptionRecord> {
    let optional = |n| full.then(|| instant(n));
    let subscription = Subscription {
        id: SubscriptionId::from_unchecked(format!("sub_{full}")),
        version: 1,
        workspace_id: workspace(full).record.id,
        plan_id: plan(full).record.id,
        quantity: 1_000_000,
        status: if full { SubscriptionStatus::PastDue } else { SubscriptionStatus::Trialing },
        notes: if full { ODD.repeat(200) } else { String::new() },
        cancel_at_period_end: full,
        start_at: extremes().0,
        current_period_start: optional(4),
        current_period_end: optional(5),
        trial_end: optional(6),
        canceled_at: optional(7),
        ended_at: optional(8),
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    let record = SubscriptionRecord {
        subscription,
        reached_at: instant(3),
        due_at: optional(9),
        billed_until: optional(10),
        settled_at: optional(11),
        settled_anchor: optional(12),
        settled_segment: full.then_some(7),
        had_draft: full,
        last_term: 2,
        last_term_at: instant(2),
        quantity_max: 1_000_000,
    };
    Row { record, deleted: deleted(full) }
}

fn segment(full: bool) -> Segment {
    Segment {
        subscription_id: subscription(true).record.subscription.id,
        seq: if full { 2 } else { 1 },
        at: instant(if full { 2 } else { 1 }),
        previous_at: full.then(|| instant(1)),
        plan_id: plan(full).record.id,
        quantity: 1_000_000,
        status: if full { SubscriptionStatus::Paused } else { SubscriptionStatus::Active },
        anchor_at: full.then(|| instant(2)),
        invoiced_until: full.then(|| instant(3)),
        invoiced_amount: full.then_some(i64::MIN),
    }
}

fn invoice(full: bool) -> Row<Invoice> {
    let optional = |n| full.then(|| instant(n));
    let line = InvoiceLine {
        description: ODD.to_owned(),
        quantity: i64::MAX,
        unit_amount: -1,
        amount: -i64::MAX,
        period_start: optional(1),
        segment_start: optional(2),
    };
    let (subtotal, tax) = if full { (i64::MIN, i64::MAX) } else { (0, 0) };
    let record = Invoice {
        id: InvoiceId::from_unchecked(format!("inv_{full}")),
        version: 1,
        workspace_id: workspace(full).record.id,
        subscription_id: full.then(|| subscription(full).record.subscription.id),
        number: full.then(|| "INV-000001".to_owned()),
        status: if full { InvoiceStatus::Void } else { InvoiceStatus::Draft },
        currency: "USD".to_owned(),
        lines: if full { vec![line.clone(), line] } else { vec![] },
        subtotal,
        tax,
        total: subtotal + tax,
        amount_paid: if full { i64::MAX } else { 0 },
        balance_applied: if full { -1 } else { 0 },
        amount_due: if full { i64::MAX } else { 0 },
        period_start: optional(3),
        period_end: optional(4),
        due_at: optional(5),
        notes: if full { ODD.to_owned() } else { String::new() },
        finalized_at: optional(6),
        paid_at: optional(7),
        voided_at: optional(8),
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

pub fn bookable(full: bool) -> Row<Bookable> {
    let record = Bookable {
        id: BookableId::from_unchecked(format!("bkb_{full}")),
        version: 1,
        name: ODD.to_owned(),
        capacity: if full { 1_000_000 } else { 0 },
        range_mode: if full { RangeMode::Nights } else { RangeMode::InclusiveDays },
        min_days: if full { 366 } else { 1 },
        max_days: 366,
        hold_ttl_ms: if full { 2_592_000_000 } else { 1 },
        time_zone: if full { ODD.to_owned() } else { "UTC".to_owned() },
        horizon_days: if full { 3_650 } else { 1 },
        status: if full { BookableStatus::Archived } else { BookableStatus::Active },
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

pub fn booking(full: bool) -> Row<BookingRecord> {
    let optional = |n| full.then(|| instant(n));
    let date = |text: &str| text.parse().unwrap();
    let booking = Booking {
        id: BookingId::from_unchecked(format!("bkg_{full}")),
        version: 1,
        bookable_id: bookable(full).record.id,
        workspace_id: full.then(|| WorkspaceId::from_unchecked(ODD)),
        start_date: date(if full { "2028-02-29" } else { "0000-01-01" }),
        end_date: date(if full { "2028-03-01" } else { "0000-01-01" }),
        quantity: if full { 1_000_000_000 } else { 1 },
        user_id: full.then(|| ODD.to_owned()),
        notes: if full { ODD.repeat(20) } else { String::new() },
        status: if full { BookingStatus::NoShow } else { BookingStatus::Confirmed },
        hold_expires_at: optional(3),
        confirmed_at: optional(4),
        cancelled_at: optional(5),
        ended_at: optional(6),
        metadata: metadata(full),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: "a".to_owned(),
    };
    let until_day = date(if full { "2028-03-02" } else { "0000-01-02" });
    let taken_until = date(if full { "2028-03-01" } else { "0000-01-01" });
    Row { record: BookingRecord { booking, until_day, taken_until }, deleted: deleted(full) }
}

fn booking_day(full: bool) -> BookingDay {
    BookingDay {
        bookable_id: bookable(full).record.id,
        day: booking(full).record.booking.start_date,
        capacity: if full { i64::MAX } else { 0 },
        reserved: if full { i64::MAX } else { 0 },
        version: 1,
    }
}

fn day_key(full: bool) -> String {
    let day = booking_day(full);
    BookingDay::key(day.bookable_id.as_str(), day.day)
}

fn payment(full: bool) -> StoredPayment {
    let payment = Payment {
        id: PaymentId::from_unchecked(format!("pay_{full}")),
        invoice_id: invoice(true).record.id,
        amount: i64::MAX,
        provider_ref: format!("{ODD}{full}"),
        status: if full { PaymentStatus::Reversed } else { PaymentStatus::Settled },
        created_at: instant(1),
        created_by: ODD.to_owned(),
        reversed_at: full.then(|| instant(2)),
        reversal_reason: full.then(|| ODD.to_owned()),
        reinstated_at: full.then(|| instant(4)),
        reinstatement_reason: full.then(|| ODD.to_owned()),
    };
    StoredPayment { payment, version: if full { 3 } else { 1 } }
}

fn api_key(full: bool) -> StoredApiKey {
    let key = ApiKey {
        id: ApiKeyId::from_unchecked(format!("key_{full}")),
        name: format!("{ODD}{full}"),
        role: if full { Role::Admin } else { Role::Viewer },
        created_at: instant(1),
        expires_at: full.then(|| instant(2)),
        revoked_at: full.then(|| instant(3)),
        workspace_id: full.then(|| WorkspaceId::from_unchecked(ODD)),
        acting_for: full.then(|| ODD.to_owned()),
        rotated_to: full.then(|| ApiKeyId::from_unchecked(ODD)),
        last_used_at: full.then(|| instant(4)),
    };
    let stored = StoredApiKey::new(key, format!("digest {full}"));
    let line_id = Some(ApiKeyId::from_unchecked("key_first"));
    if full {
        StoredApiKey { line_id, version: 9, ..stored }
    } else {
        StoredApiKey { name_key: None, ..stored }
    }
}

fn lock_record(full: bool) -> LockRecord {
    let (scope, function) = match full {
        true => (LockScope::Function, Some(format!("f{full}"))),
        false => (LockScope::Global, None),
    };
    let workspace_id = full.then(|| WorkspaceId::from_unchecked("wsp_true"));
    let name = LockName { workspace_id, scope, function, key: format!("k{full}") };
    LockRecord {
        id: name.id(),
        name,
        version: if full { 9 } else { 1 },
        fence: 7,
        owner_digest: format!("digest {full}"),
        label: full.then(|| ODD.to_owned()),
        acquired_at: instant(1),
        expires_at: instant(2),
        ttl_ms: 3,
        ended: full.then_some(LockEnd::Forced),
        previous_digest: full.then(|| ODD.to_owned()),
        previous_end: full.then_some(LockEnd::Expired),
        cooldown_until: full.then(|| instant(4)),
        changed_by: format!("stamp {full}"),
    }
}

fn account(full: bool) -> Account {
    let workspace_id = WorkspaceId::from_unchecked(format!("wsp_{full}"));
    let id = format!("wsp_{full}/credits");
    let (available, reserved) = if full { (i64::MAX, i64::MAX) } else { (0, 0) };
    Account { id, version: 7, workspace_id, unit: "credits".to_owned(), available, reserved }
}

fn transfer(full: bool) -> StoredTransfer {
    let id = TransferId::from_unchecked(format!("trf_resolution_{full}"));
    let transfer = Transfer {
        id,
        kind: if full { TransferKind::Post } else { TransferKind::Void },
        amount: if full { i64::MAX } else { 1 },
        version: if full { i64::MAX } else { 1 },
        available: if full { i64::MAX } else { 0 },
        reserved: if full { i64::MAX } else { 0 },
        reservation_id: Some(TransferId::from_unchecked(format!("trf_{full}"))),
        reference: full.then(|| ODD.to_owned()),
        reason: full.then(|| ODD.to_owned()),
        by: By {
            actor: ODD.to_owned(),
            key_id: full.then(|| ApiKeyId::from_unchecked(ODD)),
            on_behalf_of: full.then(|| ODD.to_owned()),
            source: if full { Source::Worker } else { Source::Cli },
            forced: false,
        },
        at: instant(1),
    };
    StoredTransfer {
        transfer,
        account_id: account(full).id,
        request_id: ODD.to_owned(),
        invoice_id: full.then(|| invoice(full).record.id),
        invoice_cause: full.then_some(BalanceTransactionKind::Void),
    }
}

fn reservation(full: bool) -> StoredReservation {
    let transfer = transfer(full).transfer;
    let reservation = Reservation {
        id: TransferId::from_unchecked(format!("trf_{full}")),
        workspace_id: account(full).workspace_id,
        amount: transfer.amount,
        reference: transfer.reference,
        server_id: full.then(|| ServerId::from_unchecked(ODD)),
        status: if full { ReservationStatus::Posted } else { ReservationStatus::Voided },
        posted: Some(if full { i64::MAX } else { 0 }),
        resolved_by: Some(transfer.id),
        created_at: instant(2),
        resolved_at: Some(instant(3)),
    };
    StoredReservation { reservation, account_id: account(full).id }
}

fn product(full: bool) -> Row<Product> {
    let odd = |text: &str| if full { ODD.to_owned() } else { text.to_owned() };
    let limit = if full { i64::MAX } else { 0 };
    let record = Product {
        id: ProductId::from_unchecked(format!("prd_{full}")),
        version: 4,
        name: odd("Game"),
        price_credits: limit,
        egg: 5,
        docker_image: odd("image"),
        startup: odd("run"),
        environment: metadata(full),
        limits: ServerLimits { memory: limit, swap: -1, disk: 1, io: 500, cpu: limit },
        feature_limits: FeatureLimits { databases: limit, allocations: 1, backups: 2 },
        deploy: Deploy {
            locations: if full { vec![1, i64::MAX] } else { Vec::new() },
            tags: if full { vec![ODD.to_owned()] } else { Vec::new() },
            dedicated_ip: full,
            port_range: vec!["25565-25570".to_owned()],
        },
        max_per_workspace: full.then_some(i64::MAX),
        status: if full { ProductStatus::Archived } else { ProductStatus::Active },
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: ODD.to_owned(),
    };
    Row { record, deleted: deleted(full) }
}

fn server(full: bool) -> Row<ServerRecord> {
    let optional = |n| full.then(|| instant(n));
    let id = format!("srv_{full}");
    let product = product(full).record;
    let server = Server {
        id: ServerId::from_unchecked(id.clone()),
        version: 2,
        workspace_id: workspace(full).record.id,
        product_id: product.id.clone(),
        name: ODD.to_owned(),
        panel_user: i64::MAX,
        status: if full { ServerStatus::PendingReconciliation } else { ServerStatus::Failed },
        suspended: full,
        suspended_on_panel: full,
        external_id: id,
        remote_id: full.then_some(i64::MAX),
        remote_uuid: full.then(|| ODD.to_owned()),
        panel_status: full.then(|| ODD.to_owned()),
        reservation_id: full.then(|| TransferId::from_unchecked("trf_true")),
        price_credits: if full { i64::MAX } else { 0 },
        attempts: 3,
        last_observation: full.then_some(PanelObservation::Throttled),
        next_check_at: optional(3),
        created_at: instant(1),
        updated_at: instant(2),
        updated_by: ODD.to_owned(),
    };
    let progress = Progress {
        running_call: full.then_some(PanelCall::LookUp),
        call_started_at: optional(4),
        next_call: full.then_some(PanelCall::Create),
        doubt: if full { Doubt::Unknown } else { Doubt::None },
        settle_at: optional(5),
        absent_at: optional(6),
        failures: if full { i64::MAX } else { 0 },
        watch_until: optional(7),
    };
    let record = ServerRecord {
        server,
        spec: ServerSpec::of(&product),
        generation: 7,
        lease_until: optional(8),
        unsettled_since: optional(9),
        progress,
        entries: 1,
    };
    Row { record, deleted: deleted(full) }
}

fn slots(full: bool) -> Slots {
    let server = server(full).record.server;
    let (workspace_id, product_id) = (server.workspace_id, server.product_id);
    Slots { workspace_id, product_id, used: i64::MAX, version: 8 }
}

fn slots_key(full: bool) -> String {
    let slots = slots(full);
    Slots::key(slots.workspace_id.as_str(), slots.product_id.as_str())
}

fn server_entry(full: bool) -> StoredEntry {
    let entry = ServerEntry {
        seq: if full { i64::MAX } else { 1 },
        at: instant(1),
        step: if full { ServerStep::Observed } else { ServerStep::Requested },
        call: full.then_some(PanelCall::Delete),
        observation: full.then_some(PanelObservation::Lost),
        verdict: full.then_some(ServerVerdict::OrphanDeleted),
        detail: full.then(|| ODD.to_owned()),
        status: ServerStatus::Deprovisioning,
        generation: i64::MAX,
        by: ODD.to_owned(),
    };
    StoredEntry { id: format!("ste_{full}"), entry, server_id: format!("srv_{full}") }
}

fn put_objects(state: &mut State, full: bool) {
    let id = |id: &str| format!("{id}_{full}");
    state.billing_mut().workspaces.put(id("wsp"), workspace(full));
    state.billing_mut().namespaces.put(id("nsp"), namespace(full));
    state.billing_mut().plans.put(id("pln"), plan(full));
    state.billing_mut().subscriptions.put(id("sub"), subscription(full));
    state.billing_mut().invoices.put(id("inv"), invoice(full));
    state.billing_mut().payments.put(id("pay"), payment(full));
    state.access_mut().api_keys.put(id("key"), api_key(full));
    state.lock_mut().locks.put(lock_record(full).id, lock_record(full));
    let ledger = state.ledger_mut();
    ledger.accounts.put(account(full).id, account(full));
    ledger.transfers.put(transfer(full).transfer.id.to_string(), transfer(full));
    ledger.reservations.put(id("trf"), reservation(full));
    let provisioning = state.provisioning_mut();
    provisioning.products.put(id("prd"), product(full));
    provisioning.servers.put(id("srv"), server(full));
    provisioning.slots.put(slots_key(full), slots(full));
    provisioning.entries.put(format!("ste_{full}"), server_entry(full));
    if full {
        let segments = vec![segment(false), segment(true)];
        let terms = Terms { segments, is_whole: true };
        state.billing_mut().terms.put(id("sub"), terms);
    }
    state.booking_mut().bookables.put(id("bkb"), bookable(full));
    state.booking_mut().bookings.put(id("bkg"), booking(full));
    state.booking_mut().booking_days.put(day_key(full), booking_day(full));
}

fn needs_of(full: bool) -> Vec<Need> {
    let object =
        |kind: Kind| Need::Core(core::Need::Object(kind, format!("{}{full}", kind.id_prefix())));
    let mut needs: Vec<Need> = Kind::ALL.into_iter().map(object).collect();
    needs.push(Need::Access(access::Need::ApiKey(format!("key_{full}"))));
    needs.push(Need::Lock(lock::Need::Lock(lock_record(full).id)));
    needs.push(Need::Ledger(ledger::Need::Account(account(full).id)));
    needs.push(Need::Ledger(ledger::Need::AccountOf(format!("trf_{full}"))));
    needs.push(Need::Ledger(ledger::Need::Reservation(format!("trf_{full}"))));
    let (workspace_id, product_id) = (format!("wsp_{full}"), format!("prd_{full}"));
    needs.push(Need::Provisioning(provisioning::Need::Slots(workspace_id, product_id)));
    needs.push(Need::Billing(billing::Need::Payments("inv_true".to_owned())));
    let subscription_id = "sub_true".to_owned();
    needs.push(Need::Core(core::Need::Object(Kind::Subscription, subscription_id.clone())));
    needs.push(Need::Billing(billing::Need::Terms { subscription_id, whole: true }));
    let day = booking_day(full);
    needs.push(Need::Booking(booking::Need::Days(day.bookable_id.into(), day.day, day.day)));
    needs
}

fn every_object_comes_back_as_it_was_saved(database: &Database) {
    let mut db = database.lane();
    save(&mut db, |state| [true, false].into_iter().for_each(|full| put_objects(state, full)))
        .unwrap();
    for full in [true, false] {
        let state = read(&mut db, needs_of(full));
        let id = |id: &str| format!("{id}_{full}");
        assert_eq!(state.billing().workspaces.get(&id("wsp")), Some(&workspace(full)));
        assert_eq!(state.billing().namespaces.get(&id("nsp")), Some(&namespace(full)));
        assert_eq!(state.billing().plans.get(&id("pln")), Some(&plan(full)));
        assert_eq!(state.billing().subscriptions.get(&id("sub")), Some(&subscription(full)));
        assert_eq!(state.billing().invoices.get(&id("inv")), Some(&invoice(full)));
        assert_eq!(state.billing().payments.get(&id("pay")), Some(&payment(full)));
        let terms = Terms { segments: vec![segment(false), segment(true)], is_whole: true };
        assert_eq!(state.billing().terms.get("sub_true"), Some(&terms));
        assert_eq!(state.access().api_keys.get(&id("key")), Some(&api_key(full)));
        assert_eq!(state.lock().locks.get(&lock_record(full).id), Some(&lock_record(full)));
        let ledger = state.ledger();
        assert_eq!(ledger.accounts.get(&account(full).id), Some(&account(full)));
        assert_eq!(ledger.account_of[&id("trf")], Some(account(full).id));
        assert_eq!(ledger.reservations.get(&id("trf")), Some(&reservation(full)));
        let resolution = transfer(full).transfer.id.to_string();
        assert_eq!(ledger.transfers.get(&resolution), Some(&transfer(full)));
        let provisioning = state.provisioning();
        assert_eq!(provisioning.products.get(&id("prd")), Some(&product(full)));
        assert_eq!(provisioning.servers.get(&id("srv")), Some(&server(full)));
        assert_eq!(provisioning.slots.get(&slots_key(full)), Some(&slots(full)));
        let entries = db.server_entries(&id("srv"), 0, 9).unwrap();
        assert_eq!(entries, [server_entry(full).entry]);
        assert_eq!(state.booking().bookables.get(&id("bkb")), Some(&bookable(full)));
        assert_eq!(state.booking().bookings.get(&id("bkg")), Some(&booking(full)));
        assert_eq!(state.booking().booking_days.get(&day_key(full)), Some(&booking_day(full)));
    }
}

/// Replaces the saved row by one with the same id that differs in everything else.
fn swap<R: Resource>(rows: &mut Rows<R>, id: &str, mut row: Row<R>, stamp: impl Fn(&mut R)) {
    stamp(&mut row.record);
    rows.put(id.to_owned(), row);
}

fn every_column_is_updated(database: &Database) {
    let mut db = database.lane();
    save(&mut db, |state| [true, false].into_iter().for_each(|full| put_objects(state, full)))
        .unwrap();
    db.begin().unwrap();
    let mut state = State::default();
    db.load(needs_of(false), &mut state).unwrap();
    let to = |id: &str| format!("{id}_false");
    swap(&mut state.billing_mut().workspaces, &to("wsp"), workspace(true), |w| {
        w.id = workspace(false).record.id
    });
    swap(&mut state.billing_mut().namespaces, &to("nsp"), namespace(true), |n| {
        n.id = namespace(false).record.id
    });
    swap(&mut state.billing_mut().plans, &to("pln"), plan(true), |p| p.id = plan(false).record.id);
    swap(&mut state.billing_mut().subscriptions, &to("sub"), subscription(true), |s| {
        s.subscription.id = subscription(false).record.subscription.id;
    });
    let number = || Some("INV-000002".to_owned());
    swap(&mut state.billing_mut().invoices, &to("inv"), invoice(true), |i| {
        (i.id, i.number) = (invoice(false).record.id, number());
    });
    swap(&mut state.booking_mut().bookables, &to("bkb"), bookable(true), |b| {
        b.id = bookable(false).record.id
    });
    swap(&mut state.booking_mut().bookings, &to("bkg"), booking(true), |b| {
        b.booking.id = booking(false).record.booking.id;
    });
    swap(&mut state.provisioning_mut().products, &to("prd"), product(true), |p| {
        p.id = product(false).record.id
    });
    swap(&mut state.provisioning_mut().servers, &to("srv"), server(true), |s| {
        s.server.id = server(false).record.server.id;
        s.server.external_id = s.server.id.to_string();
        s.server.reservation_id = Some(TransferId::from_unchecked("trf_false"));
    });
    db.save(&state, instant(0)).unwrap();
    db.commit().unwrap();
    let again = read(&mut db, needs_of(false));
    for kind in Kind::ALL {
        let id = format!("{}false", kind.id_prefix());
        let shown = |state: &State| match kind {
            Kind::Plan => format!("{:?}", state.billing().plans.get(&id)),
            Kind::Workspace => format!("{:?}", state.billing().workspaces.get(&id)),
            Kind::Namespace => format!("{:?}", state.billing().namespaces.get(&id)),
            Kind::Subscription => format!("{:?}", state.billing().subscriptions.get(&id)),
            Kind::Invoice => format!("{:?}", state.billing().invoices.get(&id)),
            Kind::Feature => format!("{:?}", state.entitlement().features.get(&id)),
            Kind::Package => format!("{:?}", state.entitlement().packages.get(&id)),
            Kind::Assignment => format!("{:?}", state.entitlement().assignments.get(&id)),
            Kind::Boost => format!("{:?}", state.entitlement().boosts.get(&id)),
            Kind::Bookable => format!("{:?}", state.booking().bookables.get(&id)),
            Kind::Booking => format!("{:?}", state.booking().bookings.get(&id)),
            Kind::Product => format!("{:?}", state.provisioning().products.get(&id)),
            Kind::Server => format!("{:?}", state.provisioning().servers.get(&id)),
        };
        assert_eq!(shown(&again), shown(&state));
    }
}

fn event(full: bool) -> NewEvent {
    let odd = || Some(ODD.to_owned());
    let change =
        Difference { path: "/a~1b".to_owned(), from: json!(null), to: json!({ODD: [1.5, ODD]}) };
    let entry = HistoryEntry {
        version: 1,
        at: instant(1),
        by: By {
            actor: ODD.to_owned(),
            key_id: full.then(|| ApiKeyId::from_unchecked(ODD)),
            on_behalf_of: if full { odd() } else { None },
            source: if full { Source::Worker } else { Source::Cli },
            forced: full,
        },
        kind: if full { ChangeKind::Forced } else { ChangeKind::Created },
        // The changes of a creation are not stored.
        changes: if full { vec![change] } else { vec![] },
        reason: if full { odd() } else { None },
        overwrote: full.then(|| vec![ODD.to_owned(), String::new()]),
        request_id: ODD.to_owned(),
        key_digest: if full { odd() } else { None },
    };
    let state = json!({"id": full, "odd": ODD, "zeta": 1, "alpha": i64::MAX});
    let state = Arc::new(state.into());
    let workspace_id = full.then(|| WorkspaceId::from_unchecked(ODD));
    NewEvent { resource_type: "invoice", id: format!("inv_{full}"), workspace_id, entry, state }
}

fn audit(full: bool) -> AuditRecord {
    AuditRecord {
        id: format!("aud_{full}"),
        audit_type: "forced_write".to_owned(),
        at: instant(i64::from(full)),
        actor: ODD.to_owned(),
        key_id: full.then(|| ApiKeyId::from_unchecked(ODD)),
        on_behalf_of: full.then(|| ODD.to_owned()),
        reason: full.then(|| ODD.to_owned()),
        request_id: "r".to_owned(),
        resource: full
            .then(|| AuditResource { resource_type: "plan".to_owned(), id: ODD.to_owned() }),
        expected_version: full.then(|| json!("blind")),
        overwritten_version: full.then_some(i64::MAX),
        attempts: if full { i64::MAX } else { 1 },
        changes: event(full).entry.changes,
    }
}

fn events_audits_and_answers_come_back_as_they_were_saved(database: &Database) {
    let mut db = database.lane();
    let answer = KeptAnswer {
        fingerprint: ODD.to_owned(),
        status: 201,
        headers: vec![("ETag".to_owned(), "\"1\"".to_owned()), (ODD.to_owned(), String::new())],
        body: format!("{{\"b\":1, \"a\" : \"{ODD}\"}}"),
    };
    save(&mut db, |state| {
        state.events.extend([event(true), event(false)]);
        state.audits.extend([audit(true), audit(false)]);
        state.answers.put((ODD.to_owned(), ODD.to_owned()), answer.clone());
    })
    .unwrap();
    assert_eq!(db.answer(ODD, ODD).unwrap(), Some(answer.clone()));
    let loaded =
        read(&mut db, vec![Need::Core(core::Need::Answer(ODD.to_owned(), ODD.to_owned()))]);
    assert_eq!(loaded.answers.get(&(ODD.to_owned(), ODD.to_owned())), Some(&answer));
    let audits = db.audits(&AuditQuery { limit: 9, ..AuditQuery::default() }).unwrap();
    assert_eq!(audits, [audit(true), audit(false)], "newest first");
    assert_events(&mut db);
}

fn assert_events(db: &mut Db) {
    let events = db.events(&EventsQuery { until: i64::MAX, limit: 9, ..EventsQuery::default() });
    for (event, mut expected) in events.unwrap().events.into_iter().zip([event(true), event(false)])
    {
        if expected.entry.kind == ChangeKind::Created {
            expected.entry.changes = merge::diff(&json!({}), &expected.state);
            assert_eq!(expected.entry.changes.len(), 4);
        }
        assert_eq!(
            (event.entry.clone(), &event.state),
            (expected.entry.clone(), &**expected.state)
        );
        assert_eq!(event.event_type, format!("invoice.{}", expected.entry.kind.name()));
        assert_eq!(db.history(&expected.id, None, false, 9).unwrap(), vec![expected.entry.clone()]);
        let (kind, state) = db.snapshot(&expected.id, 1).unwrap().unwrap();
        assert_eq!(
            (kind, state.to_string()),
            (expected.entry.kind, expected.state.text().to_owned())
        );
    }
}

both_databases!(
    every_object_comes_back_as_it_was_saved,
    every_column_is_updated,
    events_audits_and_answers_come_back_as_they_were_saved,
);
