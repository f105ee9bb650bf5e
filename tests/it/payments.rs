//! Payments: append-only, identified by the provider's reference, each counted once.

use crate::harness::{Api, Server, both_databases, id, postgres_only, together, unique, version};
use serde_json::{Value, json};

both_databases![
    a_part_payment_leaves_the_rest_due,
    the_last_payment_makes_the_invoice_paid,
    a_payment_delivered_twice_counts_once,
    more_than_is_due_is_refused,
    only_a_finalized_invoice_can_be_paid,
    an_uncollectible_invoice_may_still_be_paid,
    a_reversed_payment_is_due_again,
    a_reversed_payment_that_is_delivered_again_counts_only_if_it_is_reinstated,
    an_invoice_with_a_settled_payment_cannot_be_voided,
    concurrent_payments_never_exceed_what_is_due,
    concurrent_deliveries_of_one_payment_count_once,
    wrong_payments_are_refused,
];
postgres_only![several_servers_never_take_more_than_is_due];

fn payments(invoice: &Value) -> String {
    format!("/v1/invoices/{}/payments", id(invoice))
}

async fn a_part_payment_leaves_the_rest_due(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let reference = unique("ref");
    let body = json!({"amount": 300, "provider_ref": reference});
    let payment = api.post(&payments(&invoice), &body).key("p").await.ok(201);
    assert!(id(&payment).starts_with("pay_"), "{payment}");
    assert_eq!(payment["invoice_id"], invoice["id"]);
    assert_eq!((&payment["amount"], &payment["provider_ref"]), (&json!(300), &json!(reference)));
    assert_eq!(payment["status"], "settled");
    let now = api.read("invoices", &invoice).await;
    assert_eq!((&now["amount_paid"], &now["amount_due"]), (&json!(300), &json!(700)));
    assert_eq!((&now["status"], &now["paid_at"]), (&json!("open"), &Value::Null));
    assert!(version(&now) > version(&invoice), "a payment changes the invoice");
    assert_eq!(api.list(&payments(&invoice)).await, [payment]);
}

async fn the_last_payment_makes_the_invoice_paid(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    for amount in [400, 350, 250] {
        assert_eq!(api.read("invoices", &invoice).await["status"], "open");
        api.pay(&invoice, amount).await.ok(201);
    }
    let paid = api.read("invoices", &invoice).await;
    assert_eq!((&paid["status"], &paid["amount_due"]), (&json!("paid"), &json!(0)));
    assert!(paid["paid_at"].is_string(), "{paid}");
    assert_eq!(api.list(&payments(&invoice)).await.len(), 3);
}

async fn a_payment_delivered_twice_counts_once(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let body = json!({"amount": 600, "provider_ref": unique("ref")});
    let first = api.post(&payments(&invoice), &body).key(&unique("k")).await.ok(201);
    let again = api.post(&payments(&invoice), &body).key(&unique("k")).await.ok(200);
    assert_eq!(again, first);
    assert_eq!(api.read("invoices", &invoice).await["amount_paid"], 600);
    assert_eq!(api.list(&payments(&invoice)).await.len(), 1);

    api.pay(&invoice, 400).await.ok(201);
    let late = api.post(&payments(&invoice), &body).key(&unique("k")).await.ok(200);
    assert_eq!(late["id"], first["id"], "also when nothing is due any more");
}

async fn more_than_is_due_is_refused(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    api.pay(&invoice, 1001).await.problem(422, "EXCEEDS_AMOUNT_DUE");
    api.pay(&invoice, 900).await.ok(201);
    api.pay(&invoice, 101).await.problem(422, "EXCEEDS_AMOUNT_DUE");
    let now = api.read("invoices", &invoice).await;
    assert_eq!((&now["amount_paid"], &now["amount_due"]), (&json!(900), &json!(100)));
}

async fn only_a_finalized_invoice_can_be_paid(server: Server) {
    let api = server.api();
    let draft = api.make_invoice(json!({})).await;
    api.pay(&draft, 100).await.problem(409, "INVALID_STATE_TRANSITION");
    let open = api.make_open_invoice(json!({})).await;
    let void = api.change("invoices", &open, json!({"status": "void"})).await;
    api.pay(&void, 100).await.problem(409, "INVALID_STATE_TRANSITION");
    for invoice in [draft, void] {
        assert!(api.list(&payments(&invoice)).await.is_empty());
        assert_eq!(api.read("invoices", &invoice).await, invoice);
    }
}

async fn an_uncollectible_invoice_may_still_be_paid(server: Server) {
    let api = server.api();
    let open = api.make_open_invoice(json!({})).await;
    let given_up = api.change("invoices", &open, json!({"status": "uncollectible"})).await;
    api.pay(&given_up, 1000).await.ok(201);
    assert_eq!(api.read("invoices", &open).await["status"], "paid");
}

async fn a_reversed_payment_is_due_again(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let first = api.pay(&invoice, 400).await.ok(201);
    api.pay(&invoice, 600).await.ok(201);
    assert_eq!(api.read("invoices", &invoice).await["status"], "paid");
    let path = format!("{}/{}/reverse", payments(&invoice), id(&first));
    let reverse = || api.post(&path, &json!({"reason": "chargeback"})).key("reverse");
    let answer = reverse().await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    let now = api.read("invoices", &invoice).await;
    assert_eq!((&now["status"], &now["amount_due"]), (&json!("open"), &json!(400)));
    assert_eq!((&now["amount_paid"], &now["paid_at"]), (&json!(600), &Value::Null));
    let listed = api.list(&payments(&invoice)).await;
    let reversed = listed.iter().find(|payment| id(payment) == id(&first)).unwrap();
    assert_eq!(reversed["status"], "reversed");
    assert_eq!(reversed["reversal_reason"], "chargeback");
    assert!(reversed["reversed_at"].is_string(), "{reversed}");

    reverse().await;
    api.post(&path, &json!({"reason": "again"})).key("reverse again").await;
    assert_eq!(api.read("invoices", &invoice).await["amount_paid"], 600, "it counts once");
    api.pay(&invoice, 400).await.ok(201);
    assert_eq!(api.read("invoices", &invoice).await["status"], "paid");
}

async fn a_reversed_payment_that_is_delivered_again_counts_only_if_it_is_reinstated(
    server: Server,
) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let body = json!({"amount": 700, "provider_ref": unique("ref")});
    let deliver = || api.post(&payments(&invoice), &body).key(&unique("k"));
    let payment = deliver().await.ok(201);
    let turn = |to: &str, reason: &str| {
        let path = format!("{}/{}/{to}", payments(&invoice), id(&payment));
        api.post(&path, &json!({ "reason": reason }))
    };
    turn("reverse", "chargeback").await.ok(200);
    let refused = deliver().await.problem(409, "PAYMENT_REVERSED");
    assert_eq!(refused["payment_id"], payment["id"]);
    assert_eq!(refused["reversal_reason"], "chargeback");
    assert_eq!(api.read("invoices", &invoice).await["amount_due"], 1000);

    turn("reinstate", "").await.invalid("/reason");
    turn("reinstate", "won")
        .without_idempotency_key()
        .await
        .problem(400, "IDEMPOTENCY_KEY_REQUIRED");
    let won = turn("reinstate", "dispute won").await.ok(200);
    assert_eq!((&won["status"], &won["amount"]), (&json!("settled"), &json!(700)));
    assert_eq!(won["reinstatement_reason"], "dispute won");
    assert_eq!(api.read("invoices", &invoice).await["amount_due"], 300);
    assert_eq!(turn("reinstate", "again").await.ok(200), won, "it counts once");
    assert_eq!(deliver().await.ok(200), won);

    turn("reverse", "another dispute").await.ok(200);
    api.pay(&invoice, 400).await.ok(201);
    let refused = turn("reinstate", "won, too late").await.problem(422, "EXCEEDS_AMOUNT_DUE");
    assert_eq!((&refused["amount_due"], &refused["amount"]), (&json!(600), &json!(700)));
    assert_eq!(api.read("invoices", &invoice).await["amount_due"], 600);
}

async fn an_invoice_with_a_settled_payment_cannot_be_voided(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    let payment = api.pay(&invoice, 100).await.ok(201);
    let now = api.read("invoices", &invoice).await;
    let path = format!("/v1/invoices/{}", id(&invoice));
    let void = json!({"status": "void", "version": version(&now)});
    api.patch(&path, &void).await.problem(422, "INVOICE_HAS_PAYMENTS");
    assert_eq!(api.read("invoices", &invoice).await, now);
    let reverse = format!("{}/{}/reverse", payments(&invoice), id(&payment));
    api.post(&reverse, &json!({"reason": "mistake"})).key("r").await;
    let void = api.change("invoices", &invoice, json!({"status": "void"})).await;
    assert_eq!(void["status"], "void");
}

/// Races twelve payments of 300 for an invoice of 1000.
async fn race(apis: &[Api]) {
    let invoice = apis[0].make_open_invoice(json!({})).await;
    let statuses = together(12, |n| {
        let (api, invoice) = (apis[n % apis.len()].clone(), invoice.clone());
        async move { api.pay(&invoice, 300).await.status }
    })
    .await;
    let accepted = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(accepted, 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 9, "{statuses:?}");
    let now = apis[0].read("invoices", &invoice).await;
    assert_eq!((&now["amount_paid"], &now["amount_due"]), (&json!(900), &json!(100)));
    assert_eq!(apis[0].list(&payments(&invoice)).await.len(), 3);
}

async fn concurrent_payments_never_exceed_what_is_due(server: Server) {
    for _ in 0..5 {
        race(&[server.api()]).await;
    }
}

async fn several_servers_never_take_more_than_is_due(server: Server) {
    let sibling = server.sibling().await;
    for _ in 0..5 {
        race(&[server.api(), sibling.api()]).await;
    }
}

async fn concurrent_deliveries_of_one_payment_count_once(server: Server) {
    let api = server.api();
    for _ in 0..5 {
        let invoice = api.make_open_invoice(json!({})).await;
        let body = json!({"amount": 400, "provider_ref": unique("ref")});
        let answers = together(8, |_| {
            let (api, path, body) = (api.clone(), payments(&invoice), body.clone());
            async move { api.post(&path, &body).key(&unique("k")).await }
        })
        .await;
        let fresh = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(fresh, 1, "{answers:?}");
        for answer in &answers {
            assert_eq!(answer.body["id"], answers[0].body["id"], "{}", answer.text);
        }
        assert_eq!(api.read("invoices", &invoice).await["amount_paid"], 400);
    }
}

async fn wrong_payments_are_refused(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    for (field, value) in [
        ("amount", json!(0)),
        ("amount", json!(-5)),
        ("provider_ref", json!("")),
        ("extra", json!(1)),
    ] {
        let body = json!({"amount": 100, "provider_ref": unique("ref")});
        let body = crate::harness::with(body, &json!({(field): value}));
        let answer = api.post(&payments(&invoice), &body).key(&unique("k")).await;
        answer.invalid(&format!("/{field}"));
    }
    assert_eq!(api.read("invoices", &invoice).await, invoice);
}
