//! Tests of billing: settling, previews, periods, and the balance of a customer.

use super::*;
use crate::{BalanceTransactionKind, Code, InvoiceStatus, Timestamp, WorkspaceId};

const NOON: &str = "2026-11-22T12:00:00Z";

fn noon() -> Timestamp {
    NOON.parse().expect("an instant")
}

fn invoice() -> Value {
    json!({"id": "inv_1", "version": 1, "workspace_id": "wsp_1", "subscription_id": ID,
        "number": "INV-000007", "status": "open", "currency": "USD", "lines": [], "subtotal": 3100,
        "tax": 0, "total": 3100, "amount_paid": 0, "balance_applied": 600, "amount_due": 2500,
        "period_start": NOON, "period_end": NOON, "due_at": null, "notes": "",
        "finalized_at": NOON, "paid_at": null, "voided_at": null, "metadata": {},
        "created_at": NOON, "updated_at": NOON, "updated_by": "somebody"})
}

fn run() -> Value {
    json!({"as_of": NOON, "made": 2, "skipped": 0, "failed": 0, "remaining": 0})
}

fn refusal(status: u16, code: &str) -> ScriptStep {
    problem(status, code, "none", 0, json!({}))
}

#[tokio::test(start_paused = true)]
async fn settling_names_the_version_and_is_repeated_with_the_same_key() {
    let steps = vec![ScriptStep::Broken, answer(201, json!({"invoice": invoice()}))];
    let (billing, script) = client(steps);
    let settled = billing.subscriptions().settle(&id(), 4).await.expect("settled");
    let made = settled.invoice.expect("an invoice");
    assert_eq!((made.status, made.amount_due), (InvoiceStatus::Open, 2500));
    assert_eq!(url(&script, 0), format!("http://billing.test/v1/subscriptions/{ID}/settle"));
    assert_eq!(body(&script, 0), json!({"version": 4}));
    let key = |index| script.at(index).1.idempotency_key;
    assert!(key(0).is_some() && key(0) == key(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_to_settle_is_a_success_without_an_invoice() {
    let (billing, _) = client(vec![answer(200, json!({"invoice": null}))]);
    let settled = billing.subscriptions().settle(&id(), 4).await.expect("nothing was due");
    assert_eq!(settled.invoice, None);
}

/// A settle decides nothing anew: the caller must look at what it would be charged for.
#[tokio::test(start_paused = true)]
async fn settling_a_stale_version_is_a_conflict_and_is_not_tried_again() {
    let (billing, script) = client(vec![conflict(4, 5, 9)]);
    let error = billing.subscriptions().settle(&id(), 4).await.expect_err("stale");
    assert!(error.is_conflict() && !error.maybe_applied(), "{error}");
    assert_eq!(script.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_billing_is_told_by_its_code() {
    for (status, name, code) in [
        (409, "BILLING_BEHIND", Code::BillingBehind),
        (409, "SUBSCRIPTION_ENDED", Code::SubscriptionEnded),
    ] {
        let (billing, script) = client(vec![refusal(status, name)]);
        let error = billing.subscriptions().settle(&id(), 4).await.expect_err(name);
        assert!(matches!(error, Error::Refused(_)) && !error.is_conflict(), "{error}");
        assert_eq!((error.code(), script.sent().len()), (Some(code), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_settlement_can_be_resumed() {
    let budget = SendBudget { capacity: 0, refill_per_second: 0 };
    let steps = vec![ScriptStep::Broken, answer(201, json!({"invoice": invoice()}))];
    let (billing, script) = client_with(budget, steps);
    let error = billing.subscriptions().settle(&id(), 4).await.expect_err("broken");
    let Error::OutcomeUnknown(unknown) = error else { unreachable!("{error}") };
    billing.resume(*unknown).await.expect("settled");
    assert_eq!(script.at(0).1.idempotency_key, script.at(1).1.idempotency_key);
    assert_eq!(body(&script, 0), body(&script, 1));
}

#[tokio::test(start_paused = true)]
async fn a_preview_names_the_instant_and_the_subscription() {
    let previewed = json!({"workspace_id": "wsp_1", "subscription_id": ID, "currency": "USD",
        "lines": [], "subtotal": 3100, "tax": 0, "total": 3100, "balance_applied": 600,
        "amount_due": 2500, "period_start": NOON, "period_end": null});
    let page = json!({"invoices": [previewed], "remaining": 3});
    let (billing, script) = client(vec![answer(200, page.clone()), answer(200, page)]);
    let all = billing.preview_billing(noon()).await.expect("a preview");
    assert_eq!((all.invoices.len(), all.remaining), (1, 3));
    let one = billing.subscriptions().preview_invoices(&id(), noon()).await.expect("a preview");
    assert_eq!(one.invoices.first().map(|invoice| invoice.amount_due), Some(2500));
    for index in [0, 1] {
        assert_eq!(url(&script, index), "http://billing.test/v1/billing-runs/preview");
    }
    assert_eq!(body(&script, 0), json!({"as_of": noon()}));
    assert_eq!(body(&script, 1), json!({"as_of": noon(), "subscription_id": ID}));
}

#[tokio::test(start_paused = true)]
async fn periods_say_what_they_cost_and_what_was_charged() {
    let segment = json!({"start": NOON, "plan_id": "pln_1", "quantity": 2, "cost": 3100});
    let period = json!({"start": NOON, "end": NOON, "cost": 3100, "charged": 0,
        "segments": [segment], "of_a_later_server": true});
    let (billing, script) = client(vec![answer(200, json!({"items": [period]}))]);
    let page = billing.subscriptions().periods(&id()).limit(5).await.expect("a page");
    let [period] = page.items.as_slice() else { unreachable!("{:?}", page.items) };
    assert_eq!((period.cost, period.charged, period.segments.len()), (3100, 0, 1));
    let path = format!("http://billing.test/v1/subscriptions/{ID}/periods?limit=5");
    assert_eq!(url(&script, 0), path);
}

#[tokio::test(start_paused = true)]
async fn a_balance_is_read_and_corrected_with_a_reason() {
    let transaction = json!({"id": "trf_1", "kind": "adjustment", "currency": "USD", "amount": 500,
        "invoice_id": null, "reason": "an hour of downtime", "at": NOON, "by": {"actor": "ops",
        "on_behalf_of": null, "source": "api"}});
    let (billing, script) = client(vec![
        answer(200, json!({"items": [{"currency": "USD", "amount": 600}]})),
        ScriptStep::Broken,
        answer(201, transaction.clone()),
        answer(200, json!({"items": [transaction]})),
    ]);
    let balance = billing.balance(&WorkspaceId::from_unchecked("wsp_1"));
    assert_eq!(balance.get().await.expect("a balance").items.len(), 1);
    let adjusted = balance.adjust("USD", 500, "an hour of downtime").await.expect("adjusted");
    assert_eq!((adjusted.kind, adjusted.amount), (BalanceTransactionKind::Adjustment, 500));
    let page = balance.transactions().await.expect("a page");
    assert_eq!(page.items.first(), Some(&adjusted));

    let base = "http://billing.test/v1/workspaces/wsp_1/balance";
    assert_eq!(url(&script, 0), base);
    assert_eq!(url(&script, 1), format!("{base}/adjustments"));
    let sent = json!({"currency": "USD", "amount": 500, "reason": "an hour of downtime"});
    assert_eq!([body(&script, 1), body(&script, 2)], [sent.clone(), sent]);
    assert!(script.at(1).1.idempotency_key.is_some());
    assert_eq!(script.at(1).1.idempotency_key, script.at(2).1.idempotency_key);
    assert_eq!(url(&script, 3), format!("{base}/transactions"));
}

#[tokio::test(start_paused = true)]
async fn a_balance_that_would_fall_below_zero_is_a_refusal() {
    let (billing, script) = client(vec![refusal(422, "INSUFFICIENT_BALANCE")]);
    let balance = billing.balance(&WorkspaceId::from_unchecked("wsp_1"));
    let error = balance.adjust("USD", -900, "a mistake").await.expect_err("too little");
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert_eq!((error.code(), script.sent().len()), (Some(Code::InsufficientBalance), 1));
}

#[tokio::test(start_paused = true)]
async fn billing_is_as_of_now_by_the_servers_clock_if_no_instant_is_named() {
    let page = json!({"invoices": [], "remaining": 0});
    let steps = vec![ok(run()), ok(run()), ok(page.clone()), ok(page)];
    let (billing, script) = client(steps);
    billing.run_billing(None).await.expect("a run");
    billing.run_billing(noon()).await.expect("a run");
    billing.preview_billing(None).await.expect("a preview");
    billing.subscriptions().preview_invoices(&id(), None).await.expect("a preview");
    let sent = [0, 1, 2, 3].map(|index| body(&script, index));
    let expected = [
        json!({"as_of": null}),
        json!({"as_of": noon()}),
        json!({"as_of": null}),
        json!({"as_of": null, "subscription_id": ID}),
    ];
    assert_eq!(sent, expected);
}

#[tokio::test(start_paused = true)]
async fn a_long_billing_run_is_awaited_until_the_deadline_and_not_repeated() {
    let late = |answer: Value| ScriptStep::After(secs(50), Box::new(ok(answer)));
    let page = json!({"invoices": [], "remaining": 0});
    let (billing, script) = client(vec![late(run()), late(page), ScriptStep::Silence]);
    billing.run_billing(noon()).deadline(secs(60)).await.expect("a run");
    billing.preview_billing(noon()).deadline(secs(60)).await.expect("a preview");
    assert_eq!(script.sent().len(), 2, "nothing was sent twice");

    let error = billing.run_billing(noon()).deadline(secs(20)).await.expect_err("silence");
    assert!(error.is_deadline() && error.maybe_applied(), "{error}");
    assert_eq!(script.sent().len(), 3);
}
