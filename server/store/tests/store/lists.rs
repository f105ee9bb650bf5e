//! Lists: keyset pages over equal values lose nothing and show nothing twice.

use crate::{
    book::Book,
    commands::{at, members},
    database::{Database, both_databases},
    lane::save,
};
use ifmatch_domain::{
    Action, State,
    entitlement::{self, AssignPackage, GrantBoost, ScopeRef},
};
use ifmatch_store::{Db, FieldType, ListQuery, SortKey, filters, sorts};
use ifmatch_types::Kind;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Many objects of every kind with few different values, one of each deleted.
fn furnish(db: &mut Db) -> Book {
    let mut book = Book::default();
    for n in 0..23u32 {
        book.now = at(&format!("2027-01-0{}T00:00:00.00000{}Z", n % 2 + 1, n % 3));
        let workspace =
            book.make(Kind::Workspace, json!({"name": format!("W{}", n % 2), "currency": "USD"}));
        let plan = book.plan(&format!("c{}{n}", n % 2), json!({"amount": n % 3}));
        book.make(Kind::Namespace, json!({"workspace_id": workspace, "name": "same"}));
        let room = book.make(Kind::Bookable, json!({"name": "same", "capacity": 9}));
        let days = json!({"bookable_id": room, "start_date": "2027-01-02",
            "end_date": "2027-01-03", "quantity": 1, "user_id": format!("u{}", n % 2)});
        book.make(Kind::Booking, days);
        book.subscription(
            &workspace,
            &plan,
            json!({"quantity": n % 2 + 1, "start_at": "2027-01-01T00:00:00Z"}),
        );
        book.invoice(&workspace, json!({"tax": n % 2}));
        let code = format!("f{}{n}", n % 2);
        let kind = if n.is_multiple_of(3) { "boolean" } else { "limit" };
        book.make(Kind::Feature, json!({"code": code, "type": kind}));
        let package = format!("p{}{n}", n % 2);
        book.make(Kind::Package, json!({"code": package, "is_base": n.is_multiple_of(2)}));
        let scope = ScopeRef::workspace(workspace);
        let body = members(json!({"package": package}));
        book.run(Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
            scope: scope.clone(),
            body,
        })))
        .unwrap();
        let body = json!({"feature": code, "kind": "enable", "duration": "permanent"});
        let boost = GrantBoost { scope, body: members(body) };
        book.run(Action::Entitlement(entitlement::Action::GrantBoost(boost))).unwrap();
    }
    save(db, |state| copy(&book, state)).unwrap();
    crate::database::execute(
        db,
        "UPDATE invoices SET deleted_at = 1, deleted_by = 'a' \
         WHERE id = (SELECT max(id) FROM invoices)",
    );
    book
}

fn copy(book: &Book, state: &mut State) {
    let world = &book.world;
    world
        .workspaces
        .iter()
        .for_each(|(id, row)| state.billing_mut().workspaces.put(id.clone(), row.clone()));
    world.plans.iter().for_each(|(id, row)| state.billing_mut().plans.put(id.clone(), row.clone()));
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
    world
        .features
        .iter()
        .for_each(|(id, row)| state.entitlement_mut().features.put(id.clone(), row.clone()));
    world
        .packages
        .iter()
        .for_each(|(id, row)| state.entitlement_mut().packages.put(id.clone(), row.clone()));
    world
        .assignments
        .iter()
        .for_each(|(id, row)| state.entitlement_mut().assignments.put(id.clone(), row.clone()));
    world
        .boosts
        .iter()
        .for_each(|(id, row)| state.entitlement_mut().boosts.put(id.clone(), row.clone()));
    world
        .bookables
        .iter()
        .for_each(|(id, row)| state.booking_mut().bookables.put(id.clone(), row.clone()));
    world
        .bookings
        .iter()
        .for_each(|(id, row)| state.booking_mut().bookings.put(id.clone(), row.clone()));
}

/// How a value is written into a cursor.
fn cursor(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pages_over_equal_values_lose_nothing(database: &Database) {
    let mut db = database.lane();
    let book = furnish(&mut db);
    for kind in Kind::ALL {
        let all: BTreeSet<String> =
            book.world.rows().into_iter().filter(|row| row.0 == kind).map(|row| row.1).collect();
        let living = all.len() - usize::from(kind == Kind::Invoice);
        for field in sorts(kind) {
            for (descending, limit) in [(false, 1), (true, 1), (false, 4), (true, 7), (false, 99)] {
                let sort = SortKey { field: *field, descending };
                let mut seen: Vec<Value> = Vec::new();
                loop {
                    let mut query = ListQuery::new(kind, sort, limit);
                    if let Some(last) = seen.last() {
                        let id = last["id"].as_str().unwrap().to_owned();
                        query.after(&cursor(&last[field.0]), id).unwrap();
                    }
                    let page = db.list(&query).unwrap();
                    if page.is_empty() {
                        break;
                    }
                    seen.extend(page);
                    assert!(seen.len() <= living, "nothing is shown twice: {kind} by {}", field.0);
                }
                assert_order(&seen, sort);
                let ids: BTreeSet<&str> =
                    seen.iter().map(|item| item["id"].as_str().unwrap()).collect();
                assert_eq!((ids.len(), seen.len()), (living, living), "{kind} by {}", field.0);
            }
        }
    }
}

/// By value, then by id; both in the same direction.
fn assert_order(seen: &[Value], sort: SortKey) {
    let key = |item: &Value| {
        let value = &item[sort.field.0];
        let number = value.as_i64().unwrap_or_default();
        (
            number,
            value.as_str().unwrap_or_default().to_owned(),
            item["id"].as_str().unwrap().to_owned(),
        )
    };
    for pair in seen.windows(2) {
        let ordered = match sort.descending {
            true => key(&pair[0]) > key(&pair[1]),
            false => key(&pair[0]) < key(&pair[1]),
        };
        assert!(ordered, "{:?} {:?}", pair[0], pair[1]);
    }
}

fn a_filter_lets_through_what_has_its_value(database: &Database) {
    let mut db = database.lane();
    let book = furnish(&mut db);
    for kind in Kind::ALL {
        let rows: Vec<Value> =
            book.world.rows().into_iter().filter(|row| row.0 == kind).map(|row| row.3).collect();
        for field in filters(kind) {
            let values: BTreeSet<String> =
                rows.iter().map(|row| &row[field.0]).filter(|v| !v.is_null()).map(cursor).collect();
            for value in &values {
                let sort = SortKey { field: sorts(kind)[0], descending: false };
                let mut query = ListQuery::new(kind, sort, 99);
                query.filter(*field, value).unwrap();
                let found = db.list(&query).unwrap();
                let expected = rows.iter().filter(|row| cursor(&row[field.0]) == *value).count();
                let gone = usize::from(kind == Kind::Invoice);
                assert!((expected - gone..=expected).contains(&found.len()), "{kind} {}", field.0);
                assert!(found.iter().all(|item| cursor(&item[field.0]) == *value));
            }
            if field.1 != FieldType::Text {
                let sort = SortKey { field: sorts(kind)[0], descending: false };
                assert_eq!(
                    ListQuery::new(kind, sort, 9).filter(*field, "x"),
                    Err(field.1.expectation())
                );
            }
        }
    }
}

both_databases!(pages_over_equal_values_lose_nothing, a_filter_lets_through_what_has_its_value);
