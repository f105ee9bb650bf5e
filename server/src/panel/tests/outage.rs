//! Connections that break, stall or never open, and what the log says about calls.

use super::{
    fake::{Act, Fake, answer},
    fixture::{EXTERNAL_ID, KEY, document, error, hasty, panel, record},
};
use crate::panel::answer::Answered;
use ifmatch_domain::provisioning::Observation;
use ifmatch_types::PanelCall;
use ifmatch_types::PanelKind;
use std::{
    io::{self, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Instant,
};

fn told_nothing(told: Answered, detail: &str) {
    assert_eq!(told.observation, Observation::Unclear);
    assert!(told.detail.as_ref().unwrap().starts_with(detail), "{told:?}");
}

fn did_not_connect(told: Answered) {
    assert_eq!(told.observation, Observation::NotConnected, "{told:?}");
    assert!(told.detail.unwrap().starts_with("the connection never opened: "));
}

#[tokio::test]
async fn a_refused_connection_never_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    did_not_connect(panel(PanelKind::Pterodactyl, &url).call(PanelCall::Create, &record()).await);
}

#[tokio::test]
async fn a_name_that_does_not_exist_never_opened() {
    did_not_connect(hasty("http://panel.invalid").call(PanelCall::Create, &record()).await);
}

#[tokio::test]
async fn a_tls_handshake_that_fails_or_stalls_never_opened() {
    let plain = Fake::that(answer(400, &[], "plain HTTP only"));
    let url = plain.url.replace("http:", "https:");
    did_not_connect(panel(PanelKind::Pelican, &url).call(PanelCall::Create, &record()).await);
    let stalled = Fake::that(Act::Stall(Vec::new()));
    let url = stalled.url.replace("http:", "https:");
    did_not_connect(hasty(&url).call(PanelCall::Create, &record()).await);
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_does_not_end_tells_nothing() {
    let head = "HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n{\"object\":";
    for begun in ["", head] {
        let mut fake = Fake::that(Act::Stall(begun.as_bytes().to_vec()));
        let started = Instant::now();
        let told = hasty(&fake.url).call(PanelCall::Create, &record()).await;
        told_nothing(told, "there was no whole answer in time");
        assert!(started.elapsed().as_secs() < 10);
        // The request is given up with its connection.
        fake.request().await;
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up() {
    let heads = [
        "HTTP/1.1 201 Created\r\n\r\n".to_owned(),
        format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", 1u64 << 40),
    ];
    for head in heads {
        let mut fake = Fake::that(Act::Flood(head.into_bytes()));
        let told = panel(PanelKind::Pelican, &fake.url).call(PanelCall::Create, &record()).await;
        told_nothing(told, "the answer is too large");
        fake.request().await;
    }
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_read() {
    for (length, fits) in [(256 << 10, true), ((256 << 10) + 1, false)] {
        let mut body = document(PanelKind::Pelican).to_string();
        body.push_str(&" ".repeat(length - body.len()));
        let fake = Fake::that(answer(200, &[], &body));
        let told = panel(PanelKind::Pelican, &fake.url).call(PanelCall::LookUp, &record()).await;
        assert_eq!(matches!(told.observation, Observation::Found(_)), fits);
    }
}

#[tokio::test]
async fn a_broken_connection_tells_nothing() {
    let body = document(PanelKind::Pterodactyl).to_string();
    let truncated =
        format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1);
    let acts = [
        Act::Reset,
        Act::Answer(Vec::new()),
        Act::Answer(truncated.into_bytes()),
        Act::Answer(b"not HTTP\r\n\r\n".to_vec()),
        Act::Answer(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab".to_vec()),
    ];
    for act in acts {
        let fake = Fake::that(act);
        let told = panel(PanelKind::Pelican, &fake.url).call(PanelCall::Create, &record()).await;
        told_nothing(told, "the connection broke: ");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        target.set_nonblocking(true).unwrap();
        let location = format!("location: http://{}/", target.local_addr().unwrap());
        let fake = Fake::that(answer(status, &[&location], ""));
        let told = panel(PanelKind::Pelican, &fake.url).call(PanelCall::LookUp, &record()).await;
        told_nothing(told, &format!("status {status}"));
        assert_eq!(target.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

/// Collects the log of a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_one_line_in_the_log_without_the_key() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber, `tracing` asks the default of whichever thread logs a line first whether
    // that line is wanted at all, and other tests' threads have none. With two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(log);
    let fake = Fake::that(answer(500, &[], &error("Exception", 500, &format!("bad {KEY}"))));
    panel(PanelKind::Pelican, &fake.url).call(PanelCall::Suspend, &record()).await;
    let fake = Fake::that(Act::Answer(Vec::new()));
    panel(PanelKind::Pelican, &fake.url).call(PanelCall::LookUp, &record()).await;
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let calls: Vec<_> = text.lines().filter(|line| line.contains("panel called")).collect();
    assert_eq!(calls.len(), 2, "{text}");
    let answered = format!(
        r#"server="{EXTERNAL_ID}" call="suspend" kind="pelican" status=500 observation="unclear" "#
    );
    assert!(calls[0].contains(&answered), "{text}");
    let broken = r#"call="look_up" kind="pelican" failure="broken" observation="unclear" "#;
    assert!(calls[1].contains(broken), "{text}");
    assert!(!text.contains(KEY), "{text}");
}
