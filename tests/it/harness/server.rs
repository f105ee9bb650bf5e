//! A running server: the real binary on port 0, with its log kept for failing tests.

use super::{Api, Database, healthy_panel, process};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tokio::time::{Instant, interval, timeout};

/// The admin key of every server that a scenario starts.
pub const ADMIN_KEY: &str = "test-admin-key-0123456789abcdef";

/// Maximum time until a server accepts requests, or until it has stopped.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);

/// A server's settings beside the database, the port and the admin key.
#[derive(Clone, Default)]
pub struct Settings {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The tests' own settings to leave out: `--listen`, `--database-url`, `IFMATCH_ADMIN_KEY`
    /// or `IFMATCH_PANEL_URL`.
    pub omit: Vec<&'static str>,
}

impl Settings {
    /// Leaves one of the tests' settings out, so that the server uses its own.
    pub fn without(omit: &'static str) -> Self {
        Self { omit: vec![omit], ..Self::default() }
    }

    /// Adds only command-line arguments.
    pub fn args(args: &[&str]) -> Self {
        Self { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..Self::default() }
    }
}

/// A server process; killed when dropped.
pub struct Server {
    child: Option<Child>,
    url: String,
    database: Arc<Database>,
    settings: Settings,
    stdout: Arc<Mutex<String>>,
    log: PathBuf,
}

impl Server {
    /// Starts a server with the tests' settings.
    pub async fn start(database: Arc<Database>) -> Self {
        Self::start_with(database, Settings::default()).await
    }

    /// Starts a server with additional settings.
    pub async fn start_with(database: Arc<Database>, settings: Settings) -> Self {
        let log = database.dir().join(super::unique("server-log"));
        let mut server = Self {
            child: None,
            url: String::new(),
            database,
            settings,
            stdout: Arc::default(),
            log,
        };
        server.launch().await;
        server
    }

    /// Starts another process on the same database.
    pub async fn sibling(&self) -> Self {
        Self::start_with(self.database.clone(), self.settings.clone()).await
    }

    async fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = process::command(&self.database);
        let own = |name| !self.settings.omit.contains(&name);
        if own("--log-format") {
            command.args(["--log-format", "json"]);
        }
        if own("--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if own("--database-url") {
            command.args(["--database-url", self.database.url()]);
        }
        if own("IFMATCH_ADMIN_KEY") {
            command.env("IFMATCH_ADMIN_KEY", ADMIN_KEY);
        }
        if own("IFMATCH_PANEL_URL") {
            command.envs(healthy_panel::settings());
        }
        command.args(&self.settings.args).envs(self.settings.env.iter().cloned());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server's binary can be started");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        self.child = Some(child);
        let (sender, started) = tokio::sync::oneshot::channel();
        let lines = self.stdout.clone();
        thread::spawn(move || read_lines(stdout, &lines, sender));
        match timeout(START_MAX, started).await {
            Ok(Ok(url)) => self.url = url,
            _ => panic!("the server did not start: {}{}", self.stdout(), self.log()),
        }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// A client with the admin key.
    pub fn api(&self) -> Api {
        Api::new(&self.url, Some(ADMIN_KEY))
    }

    /// The most memory that the process has had, in MB.
    pub fn memory_mb(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(path).expect("the server is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse().ok());
        kilobytes.map_or_else(|| panic!("no VmHWM in {status}"), |kilobytes: u64| kilobytes / 1_000)
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = Api::new(&self.url, None).get("/metrics").await.text;
        let of = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        text.lines().filter_map(of).sum()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the server is running");
        Pid::from_child(child)
    }

    /// Freezes it with SIGSTOP, and waits until each of its threads has stopped.
    pub async fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the server can be frozen");
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        super::eventually("every thread has stopped", async || {
            let threads = fs::read_dir(&tasks).expect("the server is there");
            let mut stats = threads.map(|thread| fs::read_to_string(thread?.path().join("stat")));
            // The state stands behind the name, which is in parentheses.
            stats.all(|stat| stat.is_ok_and(|stat| stat.contains(") T "))).then_some(())
        })
        .await;
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the server can go on");
    }

    /// Sends SIGTERM, without waiting.
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the server can be signalled");
    }

    /// Sends SIGINT, as Ctrl-C does, without waiting.
    pub fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).expect("the server can be signalled");
    }

    /// Stops it with SIGTERM and expects exit code 0.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "SIGTERM should end in exit 0: {}", self.log());
    }

    /// Waits until it exits.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server is running");
        let deadline = Instant::now() + STOP_MAX;
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if Instant::now() > deadline {
                child.kill().and_then(|()| child.wait()).expect("a child can be killed");
                panic!("the server did not stop: {}", self.log());
            }
        }
    }

    /// Kills it with SIGKILL and waits.
    pub async fn kill9(&mut self) {
        kill_process(self.pid(), Signal::KILL).expect("the server can be killed");
        self.ended().await;
    }

    /// Starts it again on the same database after it exited. The port changes.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "stop or kill it first");
        self.launch().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().count().saturating_sub(30);
            let tail: Vec<_> = log.lines().skip(tail).collect();
            eprintln!("--- end of the server's log ---\n{}\n---", tail.join("\n"));
        }
    }
}

/// Keeps what the server prints, and sends its address as soon as it is printed.
fn read_lines(
    stdout: ChildStdout,
    kept: &Mutex<String>,
    started: tokio::sync::oneshot::Sender<String>,
) {
    let mut started = Some(started);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        kept.lock().unwrap().push_str(&format!("{line}\n"));
        if let Some(url) = line.strip_prefix("listening on ")
            && let Some(started) = started.take()
        {
            let _ = started.send(url.trim().to_owned());
        }
    }
}
