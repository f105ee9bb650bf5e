//! Invoices: totals, statuses, frozen fields, and numbers without gaps.

use crate::harness::{Api, Server, both_databases, id, postgres_only, together, unique, version};
use ifmatch::INTEGER_MAX;
use serde_json::{Value, json};

both_databases![
    totals_are_sums_of_the_lines,
    totals_that_do_not_fit_are_refused,
    an_invoice_moves_only_along_its_allowed_transitions,
    finalizing_takes_the_next_number_once,
    an_invoice_over_nothing_is_paid_at_once,
    a_finalized_invoice_keeps_its_contents,
    notes_metadata_and_due_date_stay_editable,
    only_a_draft_can_be_deleted,
    sixteen_concurrent_finalizations_leave_no_gap,
    an_aborted_finalization_burns_no_number,
    a_void_invoice_keeps_its_number,
];
postgres_only![several_servers_number_without_gaps];

fn line(quantity: i64, unit_amount: i64) -> Value {
    json!({"description": "Seats", "quantity": quantity, "unit_amount": unit_amount})
}

async fn invoice_in(api: &Api, status: &str) -> Value {
    let draft = api.make_invoice(json!({})).await;
    if status == "draft" {
        return draft;
    }
    let open = api.finalize(&draft).await;
    match status {
        "open" => open,
        "paid" => {
            api.pay(&open, 1000).await.ok(201);
            api.read("invoices", &open).await
        }
        _ => api.change("invoices", &open, json!({"status": status})).await,
    }
}

async fn totals_are_sums_of_the_lines(server: Server) {
    let api = server.api();
    let lines = json!([line(3, 1999), line(1, -500), line(2, 0)]);
    let invoice = api.make_invoice(json!({"lines": lines, "tax": 250})).await;
    let amounts: Vec<_> =
        invoice["lines"].as_array().unwrap().iter().map(|l| &l["amount"]).collect();
    assert_eq!(amounts, [5997, -500, 0]);
    assert_eq!((&invoice["subtotal"], &invoice["total"]), (&json!(5497), &json!(5747)));
    assert_eq!((&invoice["amount_due"], &invoice["amount_paid"]), (&json!(5747), &json!(0)));

    let edit = json!({"lines": [line(1, 100)], "tax": 0});
    let changed = api.change("invoices", &invoice, edit).await;
    assert_eq!((&changed["subtotal"], &changed["total"]), (&json!(100), &json!(100)));
    assert_eq!(changed["lines"][0]["amount"], 100);
}

async fn totals_that_do_not_fit_are_refused(server: Server) {
    let api = server.api();
    let invoice = api.make_invoice(json!({})).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    for lines in [
        json!([line(4_000_000_000, 4_000_000_000_000)]),
        json!([line(1, INTEGER_MAX), line(1, INTEGER_MAX)]),
    ] {
        let answer = api.patch(&path, &json!({"lines": lines})).if_match(1).await;
        answer.problem(422, "AMOUNT_OVERFLOW");
    }
    let body = json!({"lines": [line(1, INTEGER_MAX)], "tax": 1});
    api.patch(&path, &body).if_match(1).await.problem(422, "AMOUNT_OVERFLOW");
    assert_eq!(api.read("invoices", &invoice).await, invoice);
    for lines in [json!([line(0, 5)]), json!([line(-1, 5)]), json!([{"quantity": 1}]), json!("x")] {
        let answer = api.patch(&path, &json!({"lines": lines})).if_match(1).await;
        let problem = answer.problem(422, "VALIDATION_FAILED");
        assert!(problem["errors"][0]["path"].as_str().unwrap().starts_with("/lines"), "{problem}");
    }
    api.patch(&path, &json!({"tax": -1})).if_match(1).await.invalid("/tax");
}

async fn an_invoice_moves_only_along_its_allowed_transitions(server: Server) {
    let api = server.api();
    let states = ["draft", "open", "paid", "void", "uncollectible"];
    for (from, allowed) in [
        ("draft", &["open"][..]),
        ("open", &["void", "uncollectible"]),
        ("paid", &[]),
        ("void", &[]),
        ("uncollectible", &["void"]),
    ] {
        for to in states.into_iter().filter(|to| *to != from) {
            let invoice = invoice_in(&api, from).await;
            assert_eq!(invoice["status"], from);
            let path = format!("/v1/invoices/{}", id(&invoice));
            let body = json!({"status": to, "version": invoice["version"]});
            let answer = api.patch(&path, &body).await;
            if allowed.contains(&to) {
                assert_eq!(answer.ok(200)["status"], to, "{from} to {to}");
                continue;
            }
            // Only payments make an invoice `paid`, and a paid invoice cannot be voided.
            assert!([409, 422].contains(&answer.status), "{from} to {to}: {}", answer.text);
            if to != "paid" && from != "paid" {
                let problem = answer.problem(409, "INVALID_STATE_TRANSITION");
                assert_eq!((&problem["from"], &problem["to"]), (&json!(from), &json!(to)));
                assert!(problem["allowed"].is_array(), "{problem}");
            }
            assert_eq!(api.read("invoices", &invoice).await, invoice);
        }
    }
}

async fn finalizing_takes_the_next_number_once(server: Server) {
    let api = server.api();
    let first = api.make_invoice(json!({})).await;
    assert_eq!(first["number"], Value::Null);
    let first = api.finalize(&first).await;
    assert_eq!((&first["number"], &first["status"]), (&json!("INV-000001"), &json!("open")));
    assert!(first["finalized_at"].is_string());
    let path = format!("/v1/invoices/{}", id(&first));
    let again = api.patch(&path, &json!({"status": "open", "version": 2})).await.is(200);
    assert_eq!(again.header("X-Changed"), Some("false"));
    assert_eq!(again.body, first);
    let second = api.make_open_invoice(json!({})).await;
    assert_eq!(second["number"], "INV-000002");
}

async fn an_invoice_over_nothing_is_paid_at_once(server: Server) {
    let api = server.api();
    for (n, lines) in
        [json!([]), json!([line(1, 0)]), json!([line(1, -50)])].into_iter().enumerate()
    {
        let draft = api.make_invoice(json!({"lines": lines})).await;
        let path = format!("/v1/invoices/{}", id(&draft));
        let paid = api.patch(&path, &json!({"status": "open"})).if_match(1).await.ok(200);
        assert_eq!(paid["status"], "paid");
        assert_eq!(paid["number"], format!("INV-{:06}", n + 1));
        assert_eq!(paid["amount_due"], 0);
        assert!(paid["paid_at"].is_string(), "{paid}");
    }
}

async fn a_finalized_invoice_keeps_its_contents(server: Server) {
    let api = server.api();
    for status in ["open", "paid", "void", "uncollectible"] {
        let invoice = invoice_in(&api, status).await;
        let other = api.make_workspace(json!({})).await;
        let path = format!("/v1/invoices/{}", id(&invoice));
        for (field, value) in [
            ("lines", json!([line(1, 1)])),
            ("tax", json!(7)),
            ("currency", json!("EUR")),
            ("workspace_id", json!(id(&other))),
        ] {
            let body = json!({(field): value, "version": invoice["version"]});
            let problem = api.patch(&path, &body).await.problem(409, "INVOICE_IMMUTABLE");
            let fields = problem["fields"].as_array().unwrap();
            let named = |f: &Value| f.as_str().unwrap().trim_start_matches('/') == field;
            assert!(fields.iter().any(named), "{status} {field}: {problem}");
        }
        assert_eq!(api.read("invoices", &invoice).await, invoice);
    }
}

async fn notes_metadata_and_due_date_stay_editable(server: Server) {
    let api = server.api();
    let open = invoice_in(&api, "open").await;
    let path = format!("/v1/invoices/{}", id(&open));
    let edit = json!({"notes": "call them", "metadata": {"a": "b"},
        "due_at": "2030-01-01T00:00:00.000000Z"});
    api.patch(&path, &edit).await.problem(428, "PRECONDITION_REQUIRED");
    let changed = api.change("invoices", &open, edit.clone()).await;
    for (field, value) in edit.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    // Echoing the frozen fields does not change them.
    let mut form = changed.clone();
    form["notes"] = json!("called");
    assert_eq!(version(&api.put(&path, &form).await.ok(200)), version(&changed) + 1);
}

async fn only_a_draft_can_be_deleted(server: Server) {
    let api = server.api();
    for status in ["open", "paid", "void", "uncollectible"] {
        let invoice = invoice_in(&api, status).await;
        let path = format!("/v1/invoices/{}?version={}", id(&invoice), invoice["version"]);
        let answer = api.delete(&path).await;
        assert!([409, 422].contains(&answer.status), "{status}: {}", answer.text);
        assert_ne!(answer.body["code"], "CONFLICT_VERSION_MISMATCH");
        assert_eq!(api.read("invoices", &invoice).await, invoice);
    }
    let draft = invoice_in(&api, "draft").await;
    api.delete(&format!("/v1/invoices/{}", id(&draft))).if_match(1).await.ok(200);
}

/// Asserts that the assigned numbers are 1, 2, 3, … without gap or duplicate.
async fn assert_numbers_are_gapless(api: &Api, expected: usize) {
    let invoices = api.list("/v1/invoices").await;
    let mut numbers: Vec<_> =
        invoices.iter().filter_map(|i| i["number"].as_str().map(str::to_owned)).collect();
    numbers.sort();
    let all: Vec<_> = (1..=expected).map(|n| format!("INV-{n:06}")).collect();
    assert_eq!(numbers, all);
}

async fn drafts(api: &Api, count: usize) -> Vec<Value> {
    let mut drafts = Vec::new();
    for _ in 0..count {
        drafts.push(api.make_invoice(json!({})).await);
    }
    drafts
}

/// Finalizes 24 drafts: 16 by two racing callers each, 8 in transactions that must fail.
async fn finalize_in_a_race(apis: &[Api]) {
    let drafts = drafts(&apis[0], 24).await;
    let statuses = together(16 * 3, |n| {
        let (api, draft) = (apis[n % apis.len()].clone(), drafts[n % 24].clone());
        async move {
            let path = format!("/v1/invoices/{}", id(&draft));
            let open = json!({"status": "open", "version": 1});
            let with_stale_check = json!({"operations": [
                {"op": "patch", "type": "invoice", "id": id(&draft), "version": 1,
                    "body": {"status": "open"}},
                {"op": "check", "type": "invoice", "id": id(&draft), "version": 77},
            ]});
            match n % 3 {
                0 => api.post("/v1/transactions", &with_stale_check).await.conflict(409)["status"]
                    .as_u64(),
                _ => Some(u64::from(api.patch(&path, &open).await.status)),
            }
        }
    })
    .await;
    let finalized = statuses.iter().filter(|status| **status == Some(200)).count();
    assert!(statuses.iter().all(|s| [Some(200), Some(409)].contains(s)), "{statuses:?}");
    assert_eq!(finalized, 16, "each of those is finalized once: {statuses:?}");
    assert_numbers_are_gapless(&apis[0], finalized).await;
}

async fn sixteen_concurrent_finalizations_leave_no_gap(server: Server) {
    finalize_in_a_race(&[server.api()]).await;
}

async fn several_servers_number_without_gaps(server: Server) {
    let (second, third) = (server.sibling().await, server.sibling().await);
    finalize_in_a_race(&[server.api(), second.api(), third.api()]).await;
}

async fn an_aborted_finalization_burns_no_number(server: Server) {
    let api = server.api();
    let drafts = drafts(&api, 2).await;
    let path = format!("/v1/invoices/{}", id(&drafts[0]));
    api.patch(&path, &json!({"status": "open", "version": 9})).await.conflict(409);
    let both = json!({"status": "open", "tax": -1, "version": 1});
    api.patch(&path, &both).await.invalid("/tax");
    let code = unique("taken");
    api.make_plan(json!({"code": code})).await;
    let plan = json!({"code": code, "name": "Other", "currency": "USD", "amount": 1,
        "interval": "day"});
    let operations = json!({"operations": [
        {"op": "patch", "type": "invoice", "id": id(&drafts[0]), "version": 1,
            "body": {"status": "open"}},
        {"op": "create", "type": "plan", "body": plan},
    ]});
    let failed = api.post("/v1/transactions", &operations).await.problem(409, "ALREADY_EXISTS");
    assert_eq!(failed["failed_index"], 1);
    assert_eq!(api.read("invoices", &drafts[0]).await, drafts[0]);
    assert_eq!(api.finalize(&drafts[1]).await["number"], "INV-000001");
    assert_eq!(api.finalize(&drafts[0]).await["number"], "INV-000002");
}

async fn a_void_invoice_keeps_its_number(server: Server) {
    let api = server.api();
    let open = invoice_in(&api, "open").await;
    let void = api.change("invoices", &open, json!({"status": "void"})).await;
    assert_eq!(void["number"], open["number"]);
    assert!(void["voided_at"].is_string(), "{void}");
    assert_eq!(invoice_in(&api, "open").await["number"], "INV-000002");
}
