//! Connections that hang, end or never end, and a panel that is down.

use super::{
    super::{Chaos, Kind, On, Panel, Trouble},
    client::{
        BOTH, Got, NEVER, SERVERS, SOON, act, body, call, create, eventually, look_up, plant, send,
    },
};
use std::{
    io::{self, ErrorKind},
    pin::pin,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends a create and leaves its answer in the connection.
async fn send_create(panel: &Panel, external_id: &str) -> TcpStream {
    let body = body(panel.kind(), external_id).to_string();
    send(panel, Panel::KEY, "POST", SERVERS, &body).await
}

/// Whether the panel has neither answered nor ended the connection.
fn is_silent(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn a_late_success_comes_without_an_answer_and_without_its_client() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    panel.script(On::Create, Trouble::LateSuccess { after: SOON });
    let patient = send_create(&panel, "patient").await;
    eventually("the call has arrived", || panel.creates_of("patient") == 1).await;
    assert_eq!(look_up(&panel, "patient").await.unwrap().status, 404);
    eventually("the row appears", || panel.server("patient").is_some()).await;
    assert!(timeout(SOON, patient.readable()).await.is_err(), "it is not answered");

    panel.script(On::Create, Trouble::LateSuccess { after: SOON });
    let gone = send_create(&panel, "gone").await;
    eventually("the call has arrived", || panel.creates_of("gone") == 1).await;
    drop(gone);
    eventually("the row appears", || panel.server("gone").is_some()).await;

    panel.script(On::Create, Trouble::Hang);
    let hanging = send_create(&panel, "never").await;
    eventually("the call has arrived", || panel.creates_of("never") == 1).await;
    assert_eq!(look_up(&panel, "never").await.unwrap().status, 404);
    assert!(is_silent(&hanging));
    assert_eq!(panel.calls_of(On::Create).last().unwrap().answered, None);
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_the_work() {
    let panel = Panel::start(Kind::Pelican).await;
    for (trouble, is_done) in [(Trouble::LoseRequest, false), (Trouble::LoseAnswer, true)] {
        panel.script(On::Create, trouble);
        let lost = create(&panel, "srv_1").await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
        assert_eq!(panel.server("srv_1").is_some(), is_done);
    }
    panel.script(On::Delete, Trouble::LoseAnswer);
    act(&panel, 1, "delete").await.unwrap_err();
    assert!(panel.servers().is_empty());
    assert_eq!(panel.creates_of("srv_1"), 2);
}

#[tokio::test]
async fn a_huge_answer_never_ends_and_a_slow_one_takes_its_time() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    panel.script(On::Create, Trouble::Huge);
    let mut huge = send_create(&panel, "srv_1").await;
    let mut received = vec![0; 4 << 20];
    huge.read_exact(&mut received).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 201 "));
    drop(huge);
    assert!(panel.server("srv_1").is_some());
    panel.script(On::Suspend, Trouble::Huge);
    let mut huge = send(&panel, Panel::KEY, "POST", &format!("{SERVERS}/1/suspend"), "").await;
    huge.read_exact(&mut received).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200 "));

    panel.script(On::LookUp, Trouble::Slow { per_chunk: Duration::from_millis(1) });
    let whole = look_up(&panel, "srv_1").await.unwrap();
    assert_eq!(whole.attributes()["external_id"], "srv_1");
    panel.script(On::LookUp, Trouble::Slow { per_chunk: NEVER });
    let path = format!("{SERVERS}/external/srv_1");
    let mut slow = send(&panel, Panel::KEY, "GET", &path, "").await;
    let mut begin = vec![0; 64];
    slow.read_exact(&mut begin).await.unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200 "));
    let rest = timeout(SOON, slow.read_to_end(&mut begin)).await;
    assert!(rest.is_err(), "the rest does not come");
}

#[tokio::test]
async fn a_panel_that_is_down_refuses_connections_and_comes_back_on_its_port() {
    let panel = Panel::start(Kind::Pterodactyl).await;
    let url = panel.url();
    plant(&panel, "srv_1", None);
    panel.script(On::Create, Trouble::LateSuccess { after: SOON });
    let open = send_create(&panel, "srv_2").await;
    eventually("the call has arrived", || panel.creates_of("srv_2") == 1).await;
    for _ in 0..2 {
        panel.go_down().await;
        panel.go_down().await;
        let refused = TcpStream::connect(url.replace("http://", "")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        panel.come_up().await;
        panel.come_up().await;
        assert_eq!(look_up(&panel, "srv_1").await.unwrap().status, 200);
    }
    eventually("work that has begun goes on", || panel.server("srv_2").is_some()).await;
    assert_eq!(panel.url(), url);
    assert!(!is_silent(&open), "the connection has ended");
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let panel = Panel::start(Kind::Pelican).await;
    plant(&panel, "srv_1", None);
    let mut stream = TcpStream::connect(panel.url().replace("http://", "")).await.unwrap();
    let key = Panel::KEY;
    let request = format!(
        "GET {SERVERS}/external/srv_1 HTTP/1.1\r\nhost: panel\r\nauthorization: Bearer {key}\r\n"
    );
    // The first two in one packet.
    stream.write_all(format!("{request}\r\n{request}\r\n").as_bytes()).await.unwrap();
    eventually("both are answered", || {
        panel.calls().iter().filter(|call| call.answered == Some(200)).count() == 2
    })
    .await;
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3);
}

/// The status of a call. `None` if it fails, or if it has arrived and is not answered in time.
async fn status_of(panel: &Panel, call: impl Future<Output = io::Result<Got>>) -> Option<u16> {
    let before = panel.calls().len();
    let mut call = pin!(call);
    loop {
        match timeout(Duration::from_millis(30), &mut call).await {
            Ok(answer) => return answer.ok().map(|got| got.status),
            Err(_) if panel.calls().len() > before => return None,
            Err(_) => {}
        }
    }
}

/// Calls of every sort, one after the other.
async fn calls(panel: &Panel) -> Vec<Option<u16>> {
    let mut statuses = Vec::new();
    for n in 0..12 {
        let name = format!("srv_{n}");
        statuses.push(status_of(panel, create(panel, &name)).await);
        statuses.push(status_of(panel, look_up(panel, &name)).await);
        for action in ["suspend", "unsuspend", "delete"] {
            let id = panel.server(&name).map_or(1, |server| server.id);
            statuses.push(status_of(panel, act(panel, id, action)).await);
        }
    }
    statuses
}

#[tokio::test]
async fn chaos_repeats_itself_and_ends() {
    for kind in BOTH {
        let chaos = Chaos { seed: 42, percent: 60, within: Duration::from_millis(20) };
        let mut runs = Vec::new();
        for _ in 0..2 {
            let panel = Panel::start(kind).await;
            panel.chaos(Some(chaos.clone()));
            let statuses = calls(&panel).await;
            runs.push(panel.calls().iter().map(|call| (call.on, call.trouble)).collect::<Vec<_>>());
            let met = panel.calls().iter().filter(|call| call.trouble.is_some()).count();
            assert!((20..50).contains(&met), "{met} of 60 calls met a trouble");
            assert!(statuses.contains(&None) && statuses.contains(&Some(204)));
            assert!(panel.most_rows_made() <= 1);
            panel.chaos(None);
            let found = call(&panel, "GET", &format!("{SERVERS}/external/absent")).await.unwrap();
            assert_eq!(found.status, 404);
        }
        assert_eq!(runs[0], runs[1], "the same seed makes the same choices");
    }
}
