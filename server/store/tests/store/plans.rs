//! The plans of the lane's statements on PostgreSQL: always by index, row by row, in order.

use crate::{
    book::Book,
    commands::{command, create, key, members, patch},
    database::{Backend, Database, execute, texts},
    lane::{carry_out, knowing_subscriptions, read_into},
};
use ifmatch_domain::{
    Action, Need,
    billing::{self, RecordPayment},
    core,
    entitlement::{
        self, AssignPackage, CheckAndRecord, EndHold, ExpireEntitlements, GrantBoost, HoldEnd,
        PlaceHold, ReverseUsage, ScopeRef,
    },
    ledger,
};
use ifmatch_store::Db;
use ifmatch_types::Kind;
use serde_json::json;

/// Makes the lane prepare every hot statement: a batch that creates, changes, bills and pays.
fn warm_up(db: &mut Db) -> Book {
    let mut book = Book::default();
    let mut run = |book: &mut Book, actions: Vec<Action>| {
        let batch: Vec<_> = actions
            .into_iter()
            .map(|action| {
                let mut command = command(book.fresh_seed(), action);
                command.idempotency = Some(key(&format!("{}", command.seed), "print"));
                command
            })
            .collect();
        let decided = carry_out(db, &batch, book.now);
        assert_eq!(book.world.carry_out(&batch, book.now), decided);
        assert!(decided.iter().all(Result::is_ok), "{decided:#?}");
    };
    let named = json!({"name": "Acme", "currency": "USD"});
    run(&mut book, vec![create(Kind::Workspace, named.clone()), create(Kind::Workspace, named)]);
    let workspaces: Vec<String> = book.world.workspaces.keys().cloned().collect();
    let workspace = &workspaces[0];
    run(
        &mut book,
        vec![
            create(
                Kind::Plan,
                json!({"code": "p", "name": "n", "currency": "USD", "amount": 5,
            "interval": "month", "status": "active"}),
            ),
            create(Kind::Namespace, json!({"workspace_id": workspace, "name": "n"})),
            create(Kind::Invoice, json!({"workspace_id": workspace, "tax": 9, "status": "open"})),
        ],
    );
    let plan = book.world.plans.keys().next().unwrap().clone();
    run(
        &mut book,
        vec![create(Kind::Subscription, json!({"workspace_id": workspace, "plan_id": plan}))],
    );
    run(&mut book, vec![create(Kind::Bookable, json!({"name": "Room", "capacity": 9}))]);
    let room = book.world.bookables.keys().next().cloned().unwrap();
    let days = json!({"bookable_id": room, "start_date": "2027-01-02", "end_date": "2027-01-04",
        "quantity": 1});
    run(&mut book, vec![create(Kind::Booking, days)]);
    let booking = book.world.bookings.keys().next().cloned().unwrap();
    run(
        &mut book,
        vec![
            patch(Kind::Booking, &booking, 1, json!({"end_date": "2027-01-03"})),
            patch(Kind::Bookable, &room, 1, json!({"capacity": 8})),
        ],
    );
    let one = |kept: &std::collections::BTreeMap<String, _>| kept.keys().next().cloned();
    let invoice = book.world.invoices.keys().next().cloned().unwrap();
    let subscription = one(&book.world.subscriptions).unwrap();
    let namespace = book.world.namespaces.keys().next().cloned().unwrap();
    let body = json!({"amount": 1, "provider_ref": "ref"});
    run(
        &mut book,
        vec![
            patch(Kind::Workspace, workspace, 1, json!({"name": "x"})),
            patch(Kind::Workspace, &workspaces[1], 1, json!({"name": "x"})),
            patch(Kind::Namespace, &namespace, 1, json!({"name": "x"})),
            patch(Kind::Plan, &plan, 1, json!({"name": "x"})),
            patch(Kind::Subscription, &subscription, 1, json!({"quantity": 2})),
            Action::Billing(billing::Action::RecordPayment(RecordPayment {
                invoice_id: invoice,
                body,
            })),
        ],
    );
    // Only log rows are inserted, so all writes are one statement.
    run(
        &mut book,
        vec![
            patch(Kind::Workspace, workspace, 2, json!({"name": "y"})),
            patch(Kind::Namespace, &namespace, 2, json!({"name": "y"})),
            patch(Kind::Plan, &plan, 2, json!({"name": "y"})),
            patch(Kind::Subscription, &subscription, 2, json!({"quantity": 3})),
        ],
    );
    warm_up_entitlements(&mut book, &ScopeRef::workspace(workspace), &mut run);
    book
}

/// Grants packages and boosts, records usage and ends holds on a rolling pool, and again later.
fn warm_up_entitlements(
    book: &mut Book,
    scope: &ScopeRef,
    run: &mut impl FnMut(&mut Book, Vec<Action>),
) {
    let rolling = json!({"code": "f", "type": "limit", "reset": "rolling", "rolling_days": 1,
        "releasable": true});
    run(book, vec![create(Kind::Feature, rolling)]);
    let grants = json!([{"feature": "f", "grant": "limit", "limit": 20}]);
    let package = json!({"code": "p", "is_base": true, "grants": grants});
    run(book, vec![create(Kind::Package, package)]);
    let assign = |external: &str| {
        let body = members(json!({"package": "p", "external_service_id": external}));
        Action::Entitlement(entitlement::Action::AssignPackage(AssignPackage {
            scope: scope.clone(),
            body,
        }))
    };
    let boost = json!({"feature": "f", "kind": "add_limit", "amount": 5, "duration": "consumable",
        "external_addon_id": "a"});
    let boost = GrantBoost { scope: scope.clone(), body: members(boost) };
    run(
        book,
        vec![assign("a"), assign("b"), Action::Entitlement(entitlement::Action::GrantBoost(boost))],
    );
    for _ in 0..2 {
        let item = json!({"feature": "f", "quantity": 1});
        let items = vec![members(item.clone()), members(item)];
        let used = CheckAndRecord { scope: scope.clone(), items, is_batch: true };
        let hold = json!({"feature": "f", "quantity": 1, "ttl_ms": 1});
        let hold = PlaceHold { scope: scope.clone(), body: members(hold) };
        run(
            book,
            vec![
                Action::Entitlement(entitlement::Action::CheckAndRecord(used)),
                Action::Entitlement(entitlement::Action::PlaceHold(hold.clone())),
            ],
        );
        run(book, vec![Action::Entitlement(entitlement::Action::PlaceHold(hold))]);
        let hold_id = book.world.holds.keys().last().unwrap().clone();
        let end =
            EndHold { scope: scope.clone(), hold_id, end: HoldEnd::Release(Default::default()) };
        let record_id = book.world.records.keys().last().unwrap().clone();
        let body = members(json!({"quantity": 1}));
        let reverse = ReverseUsage { scope: scope.clone(), record_id, body };
        run(
            book,
            vec![
                Action::Entitlement(entitlement::Action::EndHold(end)),
                Action::Entitlement(entitlement::Action::ReverseUsage(reverse)),
            ],
        );
        book.now = crate::random::later(book.now, 2);
    }
    let expire = ExpireEntitlements { scope: scope.clone() };
    run(book, vec![Action::Entitlement(entitlement::Action::ExpireEntitlements(expire))]);
}

/// Makes the lane prepare lookups that few batches need.
fn look_up(db: &mut Db) {
    let id = || "nothing".to_owned();
    let now = Book::default().now;
    let needs = vec![
        Need::Core(core::Need::History(id(), 1)),
        Need::Billing(billing::Need::Terms { subscription_id: id(), whole: false }),
        Need::Billing(billing::Need::Charges { subscription_id: id(), whole: false }),
        Need::Ledger(ledger::Need::Balances(id())),
        Need::Core(core::Need::Owner(Kind::Subscription, id())),
        Need::Core(core::Need::InUse(Kind::Workspace, id())),
        Need::Core(core::Need::InUse(Kind::Subscription, id())),
        Need::Core(core::Need::InUse(Kind::Package, id())),
        Need::Core(core::Need::InUse(Kind::Bookable, id())),
        Need::Core(core::Need::Owner(Kind::Namespace, id())),
        Need::Entitlement(entitlement::Need::DueHolds(id(), None, now)),
        Need::Entitlement(entitlement::Need::DueCounters(id(), now)),
    ];
    read_into(knowing_subscriptions([id()]), db, needs);
}

/// The plan of every statement this connection has prepared, with its text.
fn plans(db: &mut Db) -> Vec<(String, String)> {
    let names =
        texts(db, "SELECT name AS found FROM pg_prepared_statements WHERE NOT from_sql ORDER BY 1");
    let statements = texts(
        db,
        "SELECT statement AS found FROM pg_prepared_statements WHERE NOT from_sql ORDER BY name",
    );
    let counts = texts(
        db,
        "SELECT coalesce(array_length(parameter_types, 1), 0)::text AS found \
         FROM pg_prepared_statements WHERE NOT from_sql ORDER BY name",
    );
    // `EXPLAIN` has a column of another name; a function gives it one.
    execute(
        db,
        "CREATE FUNCTION pg_temp.explained(statement text) RETURNS SETOF text LANGUAGE plpgsql \
         AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || statement; END $$",
    );
    let mut plans = Vec::new();
    for ((name, statement), count) in names.into_iter().zip(statements).zip(counts) {
        if statement.contains("pg_prepared_statements") || statement.starts_with("EXPLAIN") {
            continue;
        }
        let nulls = vec!["NULL"; count.parse().unwrap()].join(", ");
        let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let sql = format!(
            "SELECT explained AS found FROM pg_temp.explained('EXECUTE \"{name}\"{arguments}')"
        );
        plans.push((statement, texts(db, &sql).join("\n")));
    }
    plans
}

/// Adds some hundred similar rows to every table.
fn grow(db: &mut Db) {
    for table in [
        "workspaces",
        "namespaces",
        "plans",
        "subscriptions",
        "invoices",
        "payments",
        "bookables",
        "bookings",
        "booking_days",
        "features",
        "packages",
        "assignments",
        "boosts",
        "counters",
        "usage_records",
        "usage_holds",
    ] {
        execute(
            db,
            &format!(
                "INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(t) || \
                 jsonb_build_object('id', t.id || n, 'code', n, 'provider_ref', n, 'number', n, \
                 'period_start', NULL, 'day', n, 'external_service_id', NULL, \
                 'addon_key', NULL, 'is_base', false))).* \
                 FROM (SELECT * FROM {table} LIMIT 1) AS t, generate_series(1, 300) AS n"
            ),
        );
    }
}

#[test]
fn what_the_lane_locks_and_updates_is_found_by_index_one_by_one() {
    // Once without statistics, and once with statistics of small tables. In both cases an
    // unrestricted planner would rather read whole tables.
    for is_counted in [false, true] {
        let database = Database::create(Backend::Postgres);
        let mut db = database.lane();
        warm_up(&mut db);
        if is_counted {
            grow(&mut db);
            execute(&mut db, "ANALYZE");
        }
        assert_plans(&mut db);
    }
}

#[test]
fn what_grows_is_found_by_key_also_by_a_plan_made_when_there_was_nothing() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    execute(&mut db, "ANALYZE");
    warm_up(&mut db);
    look_up(&mut db);
    let plans = plans(&mut db);
    for (condition, by_key) in [
        (
            "FROM answers",
            "using answers_pkey on answers\n Index Cond: ((scope = k.c0) AND (key = k.c1))",
        ),
        (
            "AND hold_expires_at <= (SELECT number FROM clock)",
            "using bookings_by_expiry on bookings\n \
             Index Cond: ((bookable_id = k.c0) AND (hold_expires_at <= $",
        ),
        (
            "ORDER BY at LIMIT 1",
            "->  Limit\n ->  Index Only Scan using usage_records_rolling on usage_records \
             usage_records_2\n Index Cond: ((counter_id = $8) AND (at > $9))",
        ),
        (
            "FROM events WHERE resource_id = k.",
            "using events_by_version on events\n \
             Index Cond: ((resource_id = k.c1) AND (version >= k.c2))",
        ),
        (
            "UNION ALL SELECT later.stop, t.* FROM term AS later",
            "using subscription_terms_pkey on subscription_terms t_1\n \
             Index Cond: ((at = later.previous_at) AND (subscription_id = later.subscription_id)",
        ),
        (
            "AS stop, t.* FROM subscription_terms AS t WHERE t.at = k.c1",
            "using subscription_terms_pkey on subscription_terms t\n \
             Index Cond: ((at = $",
        ),
        (
            "FROM invoices WHERE subscription_id = k.c0 AND charged_until",
            "using invoices_by_charge on invoices\n \
             Index Cond: ((subscription_id = k.c0) AND (charged_until >= k.c1))",
        ),
        ("FROM namespaces WHERE deleted_at IS NULL", "Index Cond: (workspace_id = k.c1)"),
        ("SELECT subscription_id, id FROM invoices", "Index Cond: (subscription_id = k.c0)"),
        ("SELECT package_id, id FROM assignments", "Index Cond: (package_id = k.c0)"),
        ("SELECT bookable_id, id FROM bookings", "Index Cond: (bookable_id = k.c0)"),
        ("SELECT id, workspace_id FROM namespaces", "Index Cond: (id = k.c0)"),
        (
            "ORDER BY expires_at, id LIMIT k.",
            "using usage_holds_by_counter on usage_holds\n \
             Index Cond: ((ROW(counter_id, expires_at) <= ROW(k.c1, k.c2)) AND (counter_id = k.c0))",
        ),
        (
            "AND day >= k.c1 AND reserved > k.",
            "Index Cond: ((bookable_id = k.c0) AND (day >= k.c1))",
        ),
        (
            "AND day >= k.c1 AND day <= k.",
            "Index Cond: ((bookable_id = k.c0) AND (day >= k.c1) AND (day <= k.c2))",
        ),
    ] {
        let meant: Vec<_> = plans.iter().filter(|(sql, _)| sql.contains(condition)).collect();
        assert!(!meant.is_empty(), "{condition}");
        for (statement, plan) in meant {
            let lines: Vec<&str> = plan.lines().map(str::trim).collect();
            let scans = with_named_keys(&lines.join("\n "), statement);
            assert!(scans.contains(by_key), "{statement}\n{plan}");
        }
    }
}

/// A plan with `k.c0`, `k.c1`, … for the columns of its statement's keys, instead of numbered arrays.
fn with_named_keys(plan: &str, statement: &str) -> String {
    let number = |text: &str| {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse::<usize>().ok()).unwrap()
    };
    // Each set of keys has its own arrays.
    let sets: Vec<usize> = statement.split("(SELECT unnest($").skip(1).map(number).collect();
    let mut parts = plan.split("(unnest($");
    let before = parts.next().unwrap().to_owned();
    parts.fold(before, |named, part| {
        let key = number(part);
        let first = sets.iter().filter(|first| **first <= key).max().unwrap();
        let (_, rest) = part.split_once("))").unwrap();
        format!("{named}k.c{}{rest}", key - first)
    })
}

#[track_caller]
fn assert_plans(db: &mut Db) {
    let plans = plans(db);
    let mut locks = 0;
    let mut updates = 0;
    let mut looked_up = 0;
    for (statement, plan) in &plans {
        let is_of_usage = ["FROM usage_records", "FROM usage_holds", "FROM counters"];
        if is_of_usage.iter().any(|from| statement.contains(from)) {
            assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{statement}\n{plan}");
            looked_up += 1;
        }
        let is_lock = statement.contains("FOR NO KEY UPDATE") || statement.contains("FOR SHARE");
        let is_update = statement.contains("UPDATE ") && statement.contains(") AS u WHERE");
        let is_of_days = statement.contains("FROM booking");
        if !(is_lock || is_update || is_of_days || statement.contains("= ANY(")) {
            continue;
        }
        let context = format!("{statement}\n{plan}");
        assert!(plan.contains("Index Scan using"), "{context}");
        // A scan without a condition reads its whole index. Only the sequences are small enough for
        // that.
        let conditions = plan.matches("Index Cond").count();
        let sequences = statement.matches("UPDATE sequences").count();
        assert!(conditions + sequences >= plan.matches("Index Scan using").count(), "{context}");
        let is_generic = !statement.contains("= ANY(") || plan.contains("= ANY ($");
        assert!(is_generic, "one plan for whatever is asked for: {context}");
        for forbidden in ["Seq Scan", "Hash Join", "Merge Join", "Bitmap", "Gather"] {
            assert!(!plan.contains(forbidden), "{context}");
        }
        if is_lock && statement.contains("AS passed") {
            // Row by row, in the order of the keys: the turnstile, then one of two locks.
            assert!(plan.trim_start().starts_with("Nested Loop"), "{context}");
            assert_eq!(plan.matches("LockRows").count(), 2, "{context}");
            assert_eq!(plan.matches("Subquery Scan on u\n").count(), 1, "{context}");
            assert_eq!(plan.matches("Index Cond: (id = ").count(), 2, "{context}");
            assert!(plan.contains("_pkey"), "by the key: {context}");
            locks += 1;
        } else if is_lock {
            assert!(statement.contains("ORDER BY"), "{context}");
            assert!(plan.trim_start().starts_with("LockRows"), "{context}");
            // An account's id begins with its workspace's, so that index has the same order.
            let index = if statement.contains("FROM ledger_accounts WHERE unit") {
                "ledger_accounts_by_workspace"
            } else {
                "_pkey"
            };
            assert!(plan.contains(index), "by the key, which is the order: {context}");
            locks += 1;
        }
        if is_update {
            let tables = statement.matches("UPDATE ").count();
            assert_eq!(plan.matches("Nested Loop").count(), tables, "{context}");
            assert!(plan.matches("Index Scan using").count() >= tables, "{context}");
            updates += tables;
        }
    }
    assert!(looked_up >= 5, "{looked_up} look-ups: {plans:#?}");
    assert!(locks >= 6 && updates >= 10, "{locks} locks, {updates} updates: {plans:#?}");
}

#[test]
fn one_statement_serves_every_batch_size() {
    let database = Database::create(Backend::Postgres);
    let mut db = database.lane();
    let book = warm_up(&mut db);
    let count =
        "SELECT count(*)::text AS found FROM pg_prepared_statements WHERE statement LIKE 'UPDATE%'";
    let before = texts(&mut db, count);
    let workspaces: Vec<String> = book.world.workspaces.keys().cloned().collect();
    for size in 1..=2 {
        let version = book.version(&workspaces[0]) + i64::try_from(size).unwrap() - 1;
        let batch: Vec<_> = (1u128..)
            .zip(&workspaces[..size])
            .map(|(n, id)| {
                let version = if *id == workspaces[0] { version } else { 2 };
                command(
                    n << 64 | 7,
                    patch(Kind::Workspace, id, version, json!({"name": format!("s{size}")})),
                )
            })
            .collect();
        let decided = carry_out(&mut db, &batch, book.now);
        assert!(decided.iter().all(Result::is_ok), "{decided:?}");
    }
    assert_eq!(texts(&mut db, count), before, "nothing was prepared anew");
}
