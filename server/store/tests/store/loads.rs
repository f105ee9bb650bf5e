//! The lane loads exactly what it asked for.

use crate::{
    ENDED_AT_ONCE,
    book::Book,
    commands::{at, delete},
    database::{Backend, Database, both_databases, execute},
    lane::{read, save},
    roundtrip::{bookable, booking},
};
use ifmatch_domain::{
    Need, State, access,
    billing::{self, Terms},
    booking,
    core::{self, Use},
};
use ifmatch_store::{Db, DueSubscription};
use ifmatch_types::{BookingId, BookingStatus, Kind, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn copied(db: &mut Db, book: &Book) {
    save(db, |state: &mut State| {
        let world = &book.world;
        world
            .workspaces
            .iter()
            .for_each(|(id, row)| state.billing_mut().workspaces.put(id.clone(), row.clone()));
        world
            .plans
            .iter()
            .for_each(|(id, row)| state.billing_mut().plans.put(id.clone(), row.clone()));
        world
            .namespaces
            .iter()
            .for_each(|(id, row)| state.billing_mut().namespaces.put(id.clone(), row.clone()));
        world
            .subscriptions
            .iter()
            .for_each(|(id, row)| state.billing_mut().subscriptions.put(id.clone(), row.clone()));
        world
            .invoices
            .iter()
            .for_each(|(id, row)| state.billing_mut().invoices.put(id.clone(), row.clone()));
        copy_terms(book, state);
        state.events.extend(world.events.iter().cloned());
    })
    .unwrap();
}

/// Copies the terms of all subscriptions.
pub fn copy_terms(book: &Book, state: &mut State) {
    let mut terms: BTreeMap<String, Terms> = BTreeMap::new();
    for segment in book.world.terms.values() {
        let of = terms.entry(segment.subscription_id.to_string()).or_default();
        of.segments.push(segment.clone());
    }
    for (id, terms) in terms {
        state.billing_mut().terms.put(id, terms);
    }
}

fn what_is_absent_is_loaded_as_absent(database: &Database) {
    let mut db = database.lane();
    let mut needs: Vec<Need> = Kind::ALL
        .into_iter()
        .map(|kind| Need::Core(core::Need::Object(kind, "nothing".to_owned())))
        .collect();
    needs.push(Need::Billing(billing::Need::PlanCode("nothing".to_owned())));
    needs.push(Need::Billing(billing::Need::PaymentRef("nothing".to_owned())));
    needs.push(Need::Access(access::Need::ApiKey("nothing".to_owned())));
    needs.push(Need::Core(core::Need::Answer("nothing".to_owned(), "at all".to_owned())));
    let state = read(&mut db, needs);
    assert!(
        state.billing().plans.is_loaded("nothing")
            && state.billing().plans.get("nothing").is_none()
    );
    assert!(
        state.billing().invoices.is_loaded("nothing")
            && state.billing().invoices.get("nothing").is_none()
    );
    assert!(state.billing().plan_codes.get("nothing").is_none());
    assert!(state.billing().payment_refs.get("nothing").is_none());
    assert!(state.access().api_keys.get("nothing").is_none());
    assert!(state.answers.get(&("nothing".to_owned(), "at all".to_owned())).is_none());
}

fn terms_are_those_in_force_from_the_settled_period_on(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    let other = book.subscription(&workspace, &plan, json!({}));
    for (day, quantity) in [("01-10", 2), ("01-20", 3), ("02-10", 4), ("03-10", 5), ("03-20", 6)] {
        book.now = at(&format!("2027-{day}T00:00:00Z"));
        book.bill(&id, &format!("2027-{day}T00:00:00Z"));
        book.edit(&id, json!({"quantity": quantity})).unwrap();
        book.edit(&other, json!({"quantity": quantity})).unwrap();
    }
    copied(&mut db, &book);
    let terms = |db: &mut Db, whole: bool| {
        let subscription_id = id.clone();
        let row = core::Need::Object(Kind::Subscription, subscription_id.clone());
        let need = billing::Need::Terms { subscription_id, whole };
        let state = read(db, vec![Need::Core(row), Need::Billing(need)]);
        let terms = state.billing().terms.get(&id).unwrap();
        assert_eq!(terms.is_whole, whole);
        let of = terms.segments.iter().map(|segment| (segment.seq, segment.quantity));
        of.collect::<Vec<_>>()
    };
    let all = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)];
    assert_eq!(terms(&mut db, true), all);
    assert_eq!(terms(&mut db, false), all[3..], "those of settled periods are left out");
}

fn charges_are_those_of_living_invoices_from_the_settled_period_on(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let id = book.subscription(&workspace, &plan, json!({}));
    let other = book.subscription(&workspace, &plan, json!({}));
    book.bill(&other, "2027-05-01T00:00:00Z");
    book.bill(&id, "2027-03-01T00:00:00Z");
    book.invoice(&workspace, json!({"subscription_id": id}));
    let march = book.world.recurring(&id).max_by_key(|invoice| invoice.period_start).unwrap();
    let march = march.id.to_string();
    book.now = at("2027-03-01T00:00:00Z");
    book.edit(&march, json!({"status": "void"})).unwrap();
    copied(&mut db, &book);
    let charges = |db: &mut Db, whole: bool| {
        let subscription_id = id.clone();
        let row = core::Need::Object(Kind::Subscription, subscription_id.clone());
        let need = billing::Need::Charges { subscription_id, whole };
        let state = read(db, vec![Need::Core(row), Need::Billing(need)]);
        let charges = state.billing().charges.get(&id).unwrap();
        assert_eq!(charges.is_whole, whole);
        let months = ["01", "02", "03"].map(|month| at(&format!("2027-{month}-01T00:00:00Z")));
        months.map(|start| charges.has_recurring(start))
    };
    // Voiding cleared what was known to be settled.
    assert_eq!(charges(&mut db, false), [true, true, false], "a void invoice charges nothing");
    assert_eq!(book.bill(&id, "2027-03-01T00:00:00Z"), (1, false));
    let again = Database::create(if db.is_sqlite() { Backend::Sqlite } else { Backend::Postgres });
    let mut db = again.lane();
    copied(&mut db, &book);
    assert_eq!(charges(&mut db, false), [false, false, true], "the rest is settled");
    assert_eq!(charges(&mut db, true), [true; 3]);
}

fn the_users_of_a_workspace_and_of_a_subscription_are_named(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (workspace, other) = (book.workspace(), book.workspace());
    let plan = book.plan("p", json!({}));
    let make = |book: &mut Book, workspace: &str| {
        let namespace = book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "n"}));
        let subscription = book.subscription(workspace, &plan, json!({}));
        let invoice = book.invoice(workspace, json!({"subscription_id": subscription}));
        [namespace, subscription, invoice]
    };
    let [namespace, subscription, invoice] = make(&mut book, &workspace);
    make(&mut book, &other);
    let [gone, _, deleted] = make(&mut book, &workspace);
    book.run(delete(Kind::Namespace, &gone, 1)).unwrap();
    book.run(delete(Kind::Invoice, &deleted, 1)).unwrap();
    copied(&mut db, &book);
    let needs = vec![
        Need::Core(core::Need::InUse(Kind::Workspace, workspace.clone())),
        Need::Core(core::Need::InUse(Kind::Subscription, subscription.clone())),
    ];
    let state = read(&mut db, needs);
    let users = |id: &str| state.in_use.get(id).cloned().unwrap();
    let Use(found) = users(&workspace);
    assert_eq!(found.len(), 4, "two subscriptions, a namespace, an invoice: {found:?}");
    assert!([&namespace, &subscription, &invoice].iter().all(|id| found.contains(*id)));
    assert_eq!(users(&subscription), Use(BTreeSet::from([invoice])));
}

fn a_history_is_loaded_from_the_oldest_version_asked_for(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let id = book.workspace();
    for n in 2..=6 {
        book.edit(&id, json!({"name": n.to_string()})).unwrap();
    }
    copied(&mut db, &book);
    let need = |version| Need::Core(core::Need::History(id.clone(), version));
    let state = read(&mut db, vec![need(5), need(3)]);
    let history = &state.histories[&id];
    assert_eq!((history.since, history.entries.len()), (3, 4));
    assert_eq!(history.bases.keys().copied().collect::<Vec<_>>(), [3, 5]);
    assert_eq!(history.bases[&3]["name"], "3");
    // After pruning, the history begins later than the version that was asked for.
    execute(&mut db, "DELETE FROM events WHERE version < 4");
    let state = read(&mut db, vec![need(3)]);
    let history = &state.histories[&id];
    assert_eq!((history.since, history.bases.len(), history.asked.contains(&3)), (4, 0, true));
    // Only the end of a very long history is read, so the base is unknown.
    execute(
        &mut db,
        &format!("UPDATE events SET version = version + 5000 WHERE resource_id = '{id}'"),
    );
    let many: Vec<String> = (1..=5000)
        .map(|n| {
            format!(
                "('{id}', {n}, 'workspace', 'updated', 0, 'a', 'api', false, 'r', '[]', '{{}}')"
            )
        })
        .collect();
    execute(
        &mut db,
        &format!(
            "INSERT INTO events (resource_id, version, resource_type, kind, at, \
         actor, source, forced, request_id, changes, state) VALUES {}",
            many.join(",")
        ),
    );
    let state = read(&mut db, vec![need(1)]);
    let history = &state.histories[&id];
    assert!(history.entries.len() < 2_000 && history.since > 1, "{}", history.since);
    assert!(history.bases.is_empty());
}

fn due_subscriptions_are_those_that_a_bill_does_something_for(database: &Database) {
    let mut db = database.lane();
    let mut book = Book::default();
    let (workspace, plan) = (book.workspace(), book.plan("p", json!({})));
    let trial = book.plan("t", json!({"trial_days": 14}));
    let fresh = |book: &mut Book, changed| book.subscription(&workspace, &plan, changed);
    let unbilled = fresh(&mut book, json!({}));
    let billed = fresh(&mut book, json!({}));
    book.bill(&billed, "2027-01-01T00:00:00Z");
    let void = fresh(&mut book, json!({}));
    book.bill(&void, "2027-01-01T00:00:00Z");
    let invoice = book.world.recurring(&void).next().unwrap().id.to_string();
    book.edit(&invoice, json!({"status": "void"})).unwrap();
    let future = fresh(&mut book, json!({"start_at": "2027-01-20T00:00:00Z"}));
    let canceled = fresh(&mut book, json!({}));
    book.edit(&canceled, json!({"status": "canceled"})).unwrap();
    let paused = fresh(&mut book, json!({}));
    book.edit(&paused, json!({"status": "paused"})).unwrap();
    let deleted = fresh(&mut book, json!({}));
    book.run(delete(Kind::Subscription, &deleted, 1)).unwrap();
    let trialing = book.subscription(&workspace, &trial, json!({}));
    copied(&mut db, &book);
    let ids = |due: Vec<DueSubscription>| due.into_iter().map(|due| due.id).collect::<Vec<_>>();
    let first = DueSubscription::first();
    let mut due = |as_of: &str| {
        let mut found = ids(db.due_subscriptions(at(as_of), &first, 99).unwrap());
        found.sort();
        found
    };
    assert_eq!(due("2026-12-31T00:00:00Z"), [""; 0]);
    let sorted = |mut ids: Vec<&String>| {
        ids.sort();
        ids.into_iter().cloned().collect::<Vec<String>>()
    };
    assert_eq!(due("2027-01-10T00:00:00Z"), sorted(vec![&unbilled, &void, &paused]));
    assert_eq!(due("2027-01-15T00:00:00Z"), sorted(vec![&unbilled, &void, &paused, &trialing]));
    // All subscriptions that may be due are included. The billing command decides.
    let later = due("2027-02-20T00:00:00Z");
    for id in [&unbilled, &billed, &void, &trialing, &future] {
        assert!(later.contains(id));
    }
    assert!(!later.contains(&canceled) && !later.contains(&deleted));
    let mut page = |after: &DueSubscription, limit| {
        db.due_subscriptions(at("2027-02-20T00:00:00Z"), after, limit).unwrap()
    };
    let begin = page(&DueSubscription::first(), 2);
    let rest = page(&begin[1], 99);
    let mut paged = ids([begin, rest].concat());
    paged.sort();
    assert_eq!(paged, later, "page by page");
}

fn of_very_many_bookings_that_are_over_a_slice_is_loaded_and_the_rest_added_up(
    database: &Database,
) {
    let mut db = database.lane();
    let mut room = String::new();
    save(&mut db, |state| {
        let of = bookable(false);
        state.booking_mut().bookables.put(of.record.id.to_string(), of);
        let count = i64::try_from(ENDED_AT_ONCE).unwrap() + 5;
        for n in 0..count {
            let mut row = booking(false);
            let record = &mut row.record;
            record.booking.id = BookingId::from_unchecked(format!("bkg_{n:04}"));
            record.booking.status = BookingStatus::Held;
            // A hold with a later id expired earlier.
            record.booking.hold_expires_at = Timestamp::from_micros(2_000 - n);
            record.booking.quantity = n + 1;
            record.until_day = "0000-01-04".parse().unwrap();
            let days = if n % 2 == 0 { "0000-01-02" } else { "0000-01-04" };
            record.taken_until = days.parse().unwrap();
            room = record.booking.bookable_id.to_string();
            state.booking_mut().bookings.put(record.booking.id.to_string(), row);
        }
    })
    .unwrap();
    let due = |db: &mut Db, needs: Vec<Need>| {
        let needs = needs
            .into_iter()
            .chain([
                Need::Core(core::Need::Clock),
                Need::Booking(booking::Need::DueBookings(room.clone())),
            ])
            .collect();
        read(db, needs).booking_mut().due_bookings.remove(&room).unwrap()
    };
    let taken = |first, second, third| {
        let days = ["0000-01-01", "0000-01-02", "0000-01-03"].map(|day| day.parse().unwrap());
        BTreeMap::from_iter(days.into_iter().zip([first, second, third]))
    };
    let found = due(&mut db, Vec::new());
    assert_eq!((found.ids.len(), found.ids[0].as_str()), (ENDED_AT_ONCE, "bkg_0005"));
    // The odd ones take a day, the even ones three.
    assert_eq!(found.rest, taken(1 + 2 + 3 + 4 + 5, 2 + 4, 2 + 4));
    // A hold that a command names is ended with the others, and is not part of the rest.
    let found =
        due(&mut db, vec![Need::Core(core::Need::Object(Kind::Booking, "bkg_0002".to_owned()))]);
    assert_eq!((found.ids.len(), found.ids[0].as_str()), (ENDED_AT_ONCE + 1, "bkg_0002"));
    assert_eq!(found.rest, taken(1 + 2 + 4 + 5, 2 + 4, 2 + 4));
}

both_databases!(
    what_is_absent_is_loaded_as_absent,
    terms_are_those_in_force_from_the_settled_period_on,
    charges_are_those_of_living_invoices_from_the_settled_period_on,
    the_users_of_a_workspace_and_of_a_subscription_are_named,
    a_history_is_loaded_from_the_oldest_version_asked_for,
    due_subscriptions_are_those_that_a_bill_does_something_for,
    of_very_many_bookings_that_are_over_a_slice_is_loaded_and_the_rest_added_up,
);
