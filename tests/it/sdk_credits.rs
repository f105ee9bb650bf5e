//! The Rust SDK's credits against real servers: two phases, denials as values, answers that get
//! lost.

use crate::harness::{
    ADMIN_KEY, Server, both_databases, id,
    proxy::{Fault, Proxy},
};
use futures::TryStreamExt;
use ifmatch::{
    Client, Code, CreditAccount, Error, Reservation, ReservationStatus, ReserveOutcome, SendBudget,
    Transfer, TransferId, TransferKind,
};
use serde_json::json;
use std::time::Duration;

both_databases![
    credits_are_reserved_and_charged_or_given_back,
    too_few_credits_are_a_value_and_other_refusals_are_errors,
    lost_answers_move_nothing_twice,
    an_unknown_outcome_is_settled_later,
];

fn client(url: &str) -> Client {
    Client::builder(url).key(ADMIN_KEY).send_timeout(Duration::from_secs(5)).build().unwrap()
}

async fn account(server: &Server, billing: &Client, credits: i64) -> CreditAccount {
    let workspace = server.api().make_workspace(json!({})).await;
    let account = billing.credits(&id(&workspace).parse().unwrap());
    let topup = account.top_up(credits, "order 1").await.unwrap();
    assert_eq!((topup.kind, topup.amount), (TransferKind::Topup, credits));
    account
}

async fn reserved(account: &CreditAccount, amount: i64) -> TransferId {
    account.reserve(amount).await.unwrap().reserved().expect("there is enough").id
}

async fn left(account: &CreditAccount) -> (i64, i64) {
    let credits = account.get().await.unwrap();
    (credits.available, credits.reserved)
}

async fn credits_are_reserved_and_charged_or_given_back(server: Server) {
    let billing = client(server.url());
    let account = account(&server, &billing, 100).await;
    account.adjust(-10, "counted again").await.unwrap();
    let reserve = account.reserve(30).reference("render 17").await.unwrap();
    let ReserveOutcome::Reserved(first) = reserve else { panic!("{reserve:?}") };
    assert_eq!(first.reference.as_deref(), Some("render 17"));
    let (second, third) = (reserved(&account, 20).await, reserved(&account, 5).await);
    assert_eq!(left(&account).await, (35, 55));
    assert_eq!(billing.reservation(&first.id).post_part(12).await.unwrap().amount, 12);
    assert_eq!(billing.reservation(&second).post().await.unwrap().amount, 20);
    let pending = account.reservations().filter("status", "pending");
    let pending: Vec<Reservation> = pending.stream().try_collect().await.unwrap();
    assert_eq!(pending.iter().map(|one| &one.id).collect::<Vec<_>>(), [&third]);
    billing.reservation(&third).void().await.unwrap();
    assert_eq!(left(&account).await, (58, 0));
    let reservation = billing.reservation(&first.id).get().await.unwrap();
    assert_eq!((reservation.status, reservation.posted), (ReservationStatus::Posted, Some(12)));
    let transfers: Vec<Transfer> = account.transfers().stream().try_collect().await.unwrap();
    let kinds: Vec<&str> = transfers.iter().map(|transfer| transfer.kind.name()).collect();
    let expected = ["void", "post", "post", "reserve", "reserve", "reserve", "adjust", "topup"];
    assert_eq!(kinds, expected);
}

async fn too_few_credits_are_a_value_and_other_refusals_are_errors(server: Server) {
    let billing = client(server.url());
    let account = account(&server, &billing, 4).await;
    let outcome = account.reserve(5).await.unwrap();
    let ReserveOutcome::Insufficient { required, available, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((required, available), (5, 4));
    let refused = |result: Result<Transfer, Error>| match result {
        Err(Error::Refused(problem)) => problem.code,
        other => panic!("a refusal was expected: {other:?}"),
    };
    let id = reserved(&account, 4).await;
    assert_eq!(refused(account.adjust(-1, "r").await), Code::InsufficientCredits);
    assert_eq!(refused(billing.reservation(&id).post_part(5).await), Code::ExceedsReservation);
    billing.reservation(&id).post_part(3).await.unwrap();
    assert_eq!(billing.reservation(&id).post_part(3).await.unwrap().amount, 3, "the first result");
    assert_eq!(refused(billing.reservation(&id).post().await), Code::ReservationAlreadyPosted);
    assert_eq!(
        refused(billing.reservation(&id).post_part(4).await),
        Code::ReservationAlreadyPosted
    );
    assert_eq!(refused(billing.reservation(&id).void().await), Code::ReservationAlreadyPosted);
    let unknown = TransferId::from_unchecked("trf_0193f0c0a1b27c3d8e4f5a6b7c8d9e0f");
    assert!(billing.reservation(&unknown).void().await.unwrap_err().is_not_found());
    assert!(billing.reservation(&unknown).get().await.unwrap_err().is_not_found());
}

async fn lost_answers_move_nothing_twice(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let billing = client(proxy.url());
    let account = account(&server, &billing, 100).await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Duplicate] {
        proxy.next("POST", fault.clone());
        let id = reserved(&account, 10).await;
        proxy.next("POST", fault.clone());
        billing.reservation(&id).post().await.unwrap();
    }
    proxy.next("POST", Fault::LoseAnswer);
    account.top_up(1, "one").await.unwrap();
    assert_eq!(left(&account).await, (71, 0));
}

async fn an_unknown_outcome_is_settled_later(server: Server) {
    let proxy = Proxy::before(server.url()).await;
    let none = SendBudget { capacity: 0, refill_per_second: 0 };
    let once = Client::builder(proxy.url()).key(ADMIN_KEY).send_budget(none).build().unwrap();
    let account = account(&server, &once, 10).await;
    proxy.next("POST", Fault::LoseAnswer);
    let error = account.reserve(4).await.unwrap_err();
    let Error::OutcomeUnknown(unknown) = error else { panic!("{error:?}") };
    assert_eq!(left(&account).await, (6, 4), "it was applied");
    let outcome = once.resume(*unknown).await.unwrap().reservation().unwrap();
    let id = outcome.reserved().expect("the same reservation").id;
    assert_eq!(left(&account).await, (6, 4), "and not again");
    once.reservation(&id).void().await.unwrap();
}
