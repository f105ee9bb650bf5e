//! The examples as readers run them: each exits with 0 and shows what it promises.

use crate::harness::{
    ADMIN_KEY, Database, Finished, Server, both_databases, run_example, run_to_end,
};
use serde_json::Value;

both_databases![
    the_quickstart_shows_a_conflict_resolved,
    two_kinds_of_writers_lose_no_edit,
    conflicts_wait_for_a_person_across_restarts,
    a_force_is_previewed_reasoned_and_on_record,
    a_metered_api_serves_exactly_what_was_paid_for,
    asking_first_overspends_and_check_and_record_does_not,
    a_rush_books_exactly_what_is_free,
    a_worker_that_was_paused_too_long_writes_nothing,
    workers_spend_credits_to_exactly_zero,
    a_year_is_billed_to_the_cent_with_a_void_a_credit_and_an_upgrade,
    servers_that_exist_are_paid_for_whatever_the_panel_does,
];

/// Runs an example against this server, with `typed` as its stdin.
async fn run(server: &Server, name: &str, args: &[&str], typed: &str) -> Finished {
    let env = [("IFMATCH_URL", server.url()), ("IFMATCH_KEY", ADMIN_KEY)];
    run_example(name, server, args, typed, &env).await
}

#[track_caller]
fn says(finished: &Finished, sentences: &[&str]) {
    for sentence in sentences {
        assert!(finished.stdout.contains(sentence), "says {sentence:?}: {}", finished.output());
    }
}

async fn the_quickstart_shows_a_conflict_resolved(server: Server) {
    let finished = run(&server, "quickstart", &[], "").await.succeeded();
    says(&finished, &["saved as version 4 after 1 conflict: 10 seats, notes \"prefers e-mail\""]);
    let subs = server.api().list("/v1/subscriptions").await;
    assert_eq!((subs.len(), &subs[0]["quantity"]), (1, &Value::from(10)));

    // Without a key the example starts a private server and does not touch this one.
    let finished = run_example("quickstart", &server, &[], "", &[]).await.succeeded();
    says(&finished, &["started a private server", "after 1 conflict: 10 seats"]);
    assert_eq!(server.api().list("/v1/subscriptions").await.len(), 1);
}

async fn two_kinds_of_writers_lose_no_edit(server: Server) {
    let args = ["--seconds", "2", "--subscriptions", "2", "--writers", "3"];
    let finished = run(&server, "two_writers", &args, "").await.succeeded();
    // All six saved the same form: one wins.
    says(&finished, &["/notes", "theirs", "VERDICT: no edit was lost"]);
    let total = finished.stdout.lines().rfind(|line| line.starts_with("               ")).unwrap();
    let sums: Vec<u32> = total.split_whitespace().map(|sum| sum.parse().unwrap()).collect();
    let [commits, conflicts, merges, retries, unresolved] = sums[..] else { panic!("{total}") };
    assert!(unresolved >= 5, "{}", finished.output());
    assert_eq!(conflicts, merges + retries + unresolved, "{}", finished.output());

    // Checks the server too, not only the example's own verdict.
    let subs = server.api().list("/v1/subscriptions").await;
    let versions: i64 = subs.iter().map(|sub| sub["version"].as_i64().unwrap()).sum();
    assert_eq!(versions, 2 + i64::from(commits), "{}", finished.output());
}

async fn conflicts_wait_for_a_person_across_restarts(server: Server) {
    let inbox = |typed| run(&server, "conflict_inbox", &["--store", "inbox"], typed);
    let finished = inbox("l\nl\n").await.succeeded();
    says(&finished, &["/notes", "was     \"\"", "yours   ", "theirs  ", "still open: 3"]);

    let finished = inbox("what?\nm\nt\ne\nAcme and Globex share a card\n").await.succeeded();
    says(&finished, &["waiting from an earlier run: 3", "still open: 0"]);
    let mut subs = server.api().list("/v1/subscriptions").await;
    subs.sort_by_key(|sub| sub["id"].to_string());
    let now: Vec<_> = subs.iter().map(|sub| (&sub["notes"], &sub["quantity"])).collect();
    assert_eq!(
        now,
        [
            (&Value::from("Acme pays by card"), &Value::from(3)),
            (&Value::from("Globex pays by invoice"), &Value::from(1)),
            (&Value::from("Acme and Globex share a card"), &Value::from(3)),
        ]
    );
}

async fn a_force_is_previewed_reasoned_and_on_record(server: Server) {
    let finished = run(&server, "force_override", &[], "").await.succeeded();
    says(
        &finished,
        &[
            "/notes: \"promised a refund until Friday\" → \"chargeback 8812\"",
            "(FORCE_FORBIDDEN)",
            "the admin forces it: version 3, forced: true",
            "force_denied by support-agent",
            "forced_write by admin: chargeback 8812, decided by finance",
        ],
    );
    let subs = server.api().list("/v1/subscriptions").await;
    assert_eq!(subs[0]["status"], "canceled");
}

async fn a_metered_api_serves_exactly_what_was_paid_for(server: Server) {
    let args = ["--limit", "150", "--calls", "400", "--workers", "16"];
    let finished = run(&server, "metered_api", &args, "").await.succeeded();
    says(&finished, &["served          150", "turned away     250", "failed            0"]);

    // Checks the server too, not only the example's own verdict.
    let workspaces = server.api().list("/v1/workspaces").await;
    let usage = format!("/v1/workspaces/{}/usage", workspaces[0]["id"].as_str().unwrap());
    assert_eq!(server.api().list(&usage).await.len(), 150);
}

async fn asking_first_overspends_and_check_and_record_does_not(server: Server) {
    let args = ["--limit", "20", "--workers", "16"];
    let finished = run(&server, "can_then_record", &args, "").await.succeeded();
    says(&finished, &["rendered for nothing", "      20        20  exactly what was paid for"]);

    for workspace in server.api().list("/v1/workspaces").await {
        let usage = format!("/v1/workspaces/{}/usage", workspace["id"].as_str().unwrap());
        assert_eq!(server.api().list(&usage).await.len(), 20);
    }
}

async fn a_rush_books_exactly_what_is_free(server: Server) {
    let args = ["--capacity", "7", "--attempts", "60", "--workers", "16", "--quantity", "2"];
    let finished = run(&server, "booking_rush", &args, "").await.succeeded();
    says(&finished, &["booked            3", "conflicts        57", "failures          0"]);

    // Checks the server too, not only the example's own verdict.
    let bookings = server.api().list("/v1/bookings").await;
    assert_eq!(bookings.len(), 3);
    assert!(bookings.iter().all(|booking| booking["status"] == "cancelled"));
}

async fn a_worker_that_was_paused_too_long_writes_nothing(server: Server) {
    let finished = run(&server, "fenced_job", &[], "").await.succeeded();
    let refusals = ["ada  is refused by its guard", "ada  is refused by the server"];
    says(&finished, &["bob  added 10 seats", "VERDICT: the worker that was paused wrote nothing"]);
    says(&finished, &refusals);
    let finished = run(&server, "fenced_job", &["--unfenced"], "").await.succeeded();
    says(&finished, &["VERDICT: without the fence, the job was done twice"]);

    // Checks the server too, not only the example's own verdict.
    let subs = server.api().list("/v1/subscriptions").await;
    let mut seats: Vec<i64> = subs.iter().map(|sub| sub["quantity"].as_i64().unwrap()).collect();
    seats.sort_unstable();
    assert_eq!(seats, [11, 21]);
}

async fn workers_spend_credits_to_exactly_zero(server: Server) {
    let args = ["--credits", "150", "--workers", "16"];
    let finished = run(&server, "credits", &args, "").await.succeeded();
    says(&finished, &["charged           150", "available 0, reserved 0"]);

    // Checks the server too, not only the example's own verdict.
    let workspaces = server.api().list("/v1/workspaces").await;
    let path = format!("/v1/workspaces/{}/credits", workspaces[0]["id"].as_str().unwrap());
    let left = server.api().get(&path).await.ok(200);
    assert_eq!((&left["available"], &left["reserved"]), (&0.into(), &0.into()));
}

async fn a_year_is_billed_to_the_cent_with_a_void_a_credit_and_an_upgrade(server: Server) {
    let finished = run(&server, "billing_year", &[], "").await.succeeded();
    says(&finished, &["Remaining time on Basic", "VERDICT: every period was charged"]);
    let invoices = server.api().list("/v1/invoices").await;
    assert_eq!(invoices.len(), 13, "twelve months and the upgrade");
    let living = || invoices.iter().filter(|invoice| invoice["status"] != "void");
    assert_eq!(living().count(), 12);
    let due: i64 = living().map(|invoice| invoice["amount_due"].as_i64().unwrap()).sum();
    assert_eq!(due, 0);
    let covered = |invoice: &Value| invoice["balance_applied"].as_i64().unwrap();
    assert_eq!(living().map(covered).sum::<i64>(), 500, "the credit is spent once");
}

async fn servers_that_exist_are_paid_for_whatever_the_panel_does(server: Server) {
    // The example starts a server of its own.
    let database = Database::create(server.database().backend());
    let args = ["--servers", "20", "--database-url", database.url()];
    // A machine without CA certificates can still speak plain HTTP, to the server and to the panel.
    let no_certificates = [("SSL_CERT_FILE", "none.pem"), ("SSL_CERT_DIR", "none")];
    let finished = run_example("provision", &server, &args, "", &no_certificates).await.succeeded();
    let lost = "it is made, but the answer is lost";
    says(&finished, &[lost, "in_doubt", "orphan_deleted", "bought          1 transfers    100"]);
    says(&finished, &["VERDICT: ", "each server that exists is paid for, and no other"]);

    // Checks the database too, not only the example's own verdict.
    let url = [("IFMATCH_DATABASE_URL", database.url())];
    run_to_end(&database, &["verify"], &url).await.succeeded();
}
