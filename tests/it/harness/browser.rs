//! A browser driven by a scenario: headless Chromium over the WebDriver protocol.
//!
//! The protocol is JSON over HTTP. A scenario needs a dozen of its calls, which is less code than a
//! client library would bring.

use super::{Server, api::plain_client, eventually};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use tempfile::TempDir;

const HOW_TO_INSTALL: &str = "no chromedriver: install Chromium and its driver (apt-get install chromium chromium-driver), or run tests/run";
/// Maximum time until the driver listens.
const START_MAX: Duration = Duration::from_secs(60);
/// High enough that no element has to be scrolled into view.
const WINDOW: &str = "--window-size=1280,2400";
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// The member that holds an element reference in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with an empty profile and one page. Closed when dropped.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    page: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens the server's console.
    pub async fn open(server: &Server) -> Self {
        Self::open_at(server.url()).await
    }

    /// Opens the console at `url`, the address of the server or of a proxy before it.
    pub async fn open_at(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a directory can be made");
        let mut flags: Vec<_> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.extend([WINDOW.to_owned(), format!("--user-data-dir={}", profile.path().display())]);
        let http = plain_client();
        let (driver, session) = start_driver();
        let mut browser =
            Self { driver, http, session, page: format!("{url}/console"), _profile: profile };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
            "unhandledPromptBehavior": "ignore",
        } } });
        let made = browser.call(Method::POST, "/session", wanted).await;
        let made = made.unwrap_or_else(|error| panic!("no browser: {error}"));
        let id = made["sessionId"].as_str().expect("a session has an id");
        browser.session = format!("{}/session/{id}", browser.session);
        let page = json!({ "url": browser.page });
        browser.call(Method::POST, "/url", page).await.expect("the page can be opened");
        browser
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let request = self.http.request(method.clone(), format!("{}{path}", self.session));
        let request = match method {
            Method::POST => request.body(body.to_string()),
            _ => request,
        };
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let ok = answer.status().is_success();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let mut body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if ok { Ok(body["value"].take()) } else { Err(text) }
    }

    async fn find(&self, css: &str) -> Option<String> {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.call(Method::POST, "/element", wanted).await.ok()?;
        Some(format!("/element/{}", found[ELEMENT].as_str()?))
    }

    /// Acts on the element of this selector, as soon as it is ready.
    async fn act(&self, css: &str, action: &str, body: Value) {
        let mut last_error = String::new();
        eventually(&format!("{action} of {css} is possible"), async || {
            let element = self.find(css).await?;
            let done = self.call(Method::POST, &format!("{element}/{action}"), body.clone()).await;
            if let Err(error) = &done
                && format!("{error:?}") != last_error
            {
                last_error = format!("{error:?}");
                eprintln!("{action} of {css}: {last_error}");
            }
            done.ok()
        })
        .await;
    }

    /// Clicks the element.
    pub async fn click(&self, css: &str) {
        self.act(css, "click", json!({})).await;
    }

    /// Replaces the element's text.
    pub async fn fill(&self, css: &str, text: &str) {
        self.act(css, "clear", json!({})).await;
        self.act(css, "value", json!({ "text": text })).await;
    }

    /// Selects an option of a list.
    pub async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value=\"{value}\"]")).await;
    }

    /// The element's text, as soon as the element exists.
    pub async fn text(&self, css: &str) -> String {
        eventually(&format!("there is {css}"), async || {
            let element = self.find(css).await?;
            let text =
                self.call(Method::GET, &format!("{element}/text"), Value::Null).await.ok()?;
            text.as_str().map(str::to_owned)
        })
        .await
    }

    /// Waits until the element's text contains `part`.
    pub async fn see(&self, css: &str, part: &str) -> String {
        eventually(&format!("{css} says {part:?}"), async || {
            let element = self.find(css).await?;
            let text =
                self.call(Method::GET, &format!("{element}/text"), Value::Null).await.ok()?;
            text.as_str().filter(|text| text.contains(part)).map(str::to_owned)
        })
        .await
    }

    /// Whether the page has this element now.
    pub async fn has(&self, css: &str) -> bool {
        self.find(css).await.is_some()
    }

    /// The current value of an input.
    pub async fn value(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0]).value";
        let value = self.run(script, json!([css])).await;
        value.as_str().expect("an input has a value").to_owned()
    }

    /// Goes to an address of the console, as a link does.
    pub async fn visit(&self, path: &str) {
        self.run("location.hash = arguments[0]", json!([path])).await;
    }

    /// The current address: the part after `#`.
    pub async fn place(&self) -> String {
        let hash = self.run("return location.hash", json!([])).await;
        hash.as_str().expect("a hash is a text").trim_start_matches('#').to_owned()
    }

    /// Runs a script in the page and returns its result. Waits if that is a promise.
    pub async fn run(&self, script: &str, args: Value) -> Value {
        let body = json!({ "script": script, "args": args });
        let answer = self.call(Method::POST, "/execute/sync", body).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Answers the open dialog and returns its text.
    pub async fn answer_dialog(&self, yes: bool) -> String {
        let text = eventually("the page asks", async || {
            self.call(Method::GET, "/alert/text", Value::Null).await.ok()
        })
        .await;
        let answer = if yes { "/alert/accept" } else { "/alert/dismiss" };
        self.call(Method::POST, answer, json!({})).await.expect("a dialog can be answered");
        text.as_str().unwrap_or_default().to_owned()
    }

    pub async fn sign_in(&self, key: &str) {
        self.fill("#key", key).await;
        self.click("form.sign-in button").await;
        self.see("nav.side", "Plans").await;
    }

    /// Closes the browser. Panics if a page violated its policy or a script failed.
    pub async fn close(self) {
        let kind = json!({ "type": "browser" });
        let log = self.call(Method::POST, "/se/log", kind).await.expect("the browser keeps a log");
        let refusal = |entry: &Value| {
            entry["source"] == "network"
                && entry["message"].as_str().is_some_and(|text| {
                    text.contains("Failed to load resource") && text.contains("/v1/")
                })
        };
        let entries = log.as_array().expect("a log is a list");
        let unexpected: Vec<_> = entries.iter().filter(|entry| !refusal(entry)).collect();
        assert!(unexpected.is_empty(), "the browser complains: {unexpected:#?}");
        self.call(Method::DELETE, "", Value::Null).await.expect("a browser can be closed");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        end(&mut self.driver);
    }
}

/// Starts a driver on a free port and waits until it listens.
fn start_driver() -> (Child, String) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect(HOW_TO_INSTALL);
    let stdout = driver.stdout.take().expect("stdout is a pipe");
    let (sender, started) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let _ = sender.send(port.trim().trim_end_matches('.').to_owned());
            }
        }
    });
    match started.recv_timeout(START_MAX) {
        Ok(port) => (driver, format!("http://127.0.0.1:{port}")),
        Err(_) => {
            end(&mut driver);
            panic!("chromedriver did not start");
        }
    }
}

/// Ends a driver and its browser. They are one process group.
fn end(driver: &mut Child) {
    let _ = kill_process_group(Pid::from_child(driver), Signal::KILL);
    let _ = driver.wait();
}
