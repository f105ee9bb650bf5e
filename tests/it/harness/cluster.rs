//! PostgreSQL clusters for the tests, made with `initdb` in a temporary directory.
//!
//! A small shell watches each one. It stops the cluster and removes its files when this process
//! closes a pipe, which also happens on a panic or a kill. PostgreSQL refuses to run as root; the
//! shell then runs as the user `postgres`, else as `nobody`.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

const HOW_TO_INSTALL: &str =
    "PostgreSQL's initdb and postgres were not found: apt-get install postgresql, or run tests/run";

const KEEPER: &str = r#"
trap '' INT TERM
bin=$1 dir=$2 port=$3
shift 3
"$bin/postgres" -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=200 -c timezone=UTC "$@" \
    >>"$dir/log" 2>&1 </dev/null &
postgres=$!
read -r last_wish
kill -QUIT $postgres
wait $postgres
[ "$last_wish" = keep ] || rm -rf "$dir"
"#;

/// A PostgreSQL cluster on a free port of this machine.
pub struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    keeper: Mutex<Option<(Child, ChildStdin)>>,
}

impl Cluster {
    /// The cluster that the tests of this process share. It orders text as most managed databases
    /// do, by the rules of a language, where PostgreSQL can (from 15 on). The others order by bytes.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Cluster>> = OnceLock::new();
        let create = || Self::start_new(Vec::new(), |cluster| cluster.init(cluster.language()));
        SHARED.get_or_init(create).clone()
    }

    /// A cluster for one test, which may stop or crash it.
    pub fn create() -> Arc<Self> {
        Self::create_with(&[])
    }

    /// A cluster with additional settings, each as `name=value`.
    pub fn create_with(settings: &[&str]) -> Arc<Self> {
        let settings = settings.iter().map(|setting| format!("-c{setting}")).collect();
        Self::start_new(settings, |cluster| cluster.init(&[]))
    }

    /// A hot standby of this cluster, which follows it until it is promoted.
    pub fn standby(&self) -> Arc<Self> {
        Self::start_new(Vec::new(), |standby| {
            let source = self.url("postgres");
            let copied = standby
                .client("pg_basebackup")
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname"])
                .arg(source)
                .arg("--pgdata")
                .arg(standby.dir.join("data"))
                .output()
                .expect("pg_basebackup can be run");
            assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        })
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        self.execute("postgres", "SELECT pg_promote()");
    }

    fn start_new(settings: Vec<String>, fill: impl FnOnce(&Self)) -> Arc<Self> {
        let bin = find_binaries().expect(HOW_TO_INSTALL);
        let user = rustix::process::getuid().is_root().then(unprivileged_user);
        let dir = tempfile::Builder::new()
            .prefix("ifmatch-postgres-")
            .tempdir()
            .expect("a directory can be made")
            .keep();
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid)).expect("root can give a directory away");
        }
        // Another program may take the port before PostgreSQL does. Then another port is tried.
        let mut cluster = Self { bin, dir, port: 0, user, settings, keeper: Mutex::new(None) };
        fill(&cluster);
        for _ in 0..5 {
            cluster.port = free_port();
            if cluster.try_start() {
                return Arc::new(cluster);
            }
        }
        panic!("PostgreSQL does not start: {}", cluster.log());
    }

    /// The `--database-url` of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The directory of its files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file into the directory of its data, readable by its user only.
    pub fn put_file(&self, name: &str, content: &str) {
        let path = self.dir.join("data").join(name);
        fs::write(&path, content).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).expect("root can give a file away");
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops all its processes where they are, until the result is dropped. Connections stay open,
    /// and nothing answers.
    pub fn freeze(self: &Arc<Self>) -> Frozen {
        self.signal(Signal::STOP);
        Frozen(Arc::clone(self))
    }

    /// Signals all its processes.
    fn signal(&self, signal: Signal) {
        let Some(first) = self.first_process() else { return };
        let number = first.as_raw_nonzero();
        // Stopped, it makes no more of them, and they are still known as its children.
        let _ = kill_process(first, Signal::STOP);
        let children = fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
        let children = children.unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // One that has just ended needs no signal.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
        }
        let _ = kill_process(first, signal);
    }

    /// The process that makes all others, if there is one.
    fn first_process(&self) -> Option<Pid> {
        let file = fs::read_to_string(self.dir.join("data/postmaster.pid")).ok()?;
        Pid::from_raw(file.lines().next()?.parse().ok()?)
    }

    /// Runs one statement.
    pub fn execute(&self, database: &str, sql: &str) {
        let output = self.psql(database, sql);
        assert!(
            output.status.success(),
            "{sql}: {}{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
    }

    /// Runs one statement and ignores a failure.
    pub fn try_execute(&self, database: &str, sql: &str) {
        self.psql(database, sql);
    }

    /// Whether one statement succeeds.
    pub fn succeeds(&self, database: &str, sql: &str) -> bool {
        self.psql(database, sql).status.success()
    }

    /// Ends the connections that meet a condition on `pg_stat_activity`, and waits until they ended.
    pub fn end_connections(&self, condition: &str) {
        // PostgreSQL 13 cannot wait for the end by itself.
        let end = format!(
            "DO $$ DECLARE ended int[]; BEGIN \
             SELECT array_agg(pid) INTO ended FROM pg_stat_activity WHERE {condition}; \
             PERFORM pg_terminate_backend(pid) FROM unnest(ended) AS pid; \
             WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY (ended)) LOOP \
             PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
        );
        self.execute("postgres", &end);
    }

    /// The one value that a query returns.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        self.ask_at(&self.url(database), sql)
    }

    /// The one value that a query returns, by another URL than the cluster's own.
    pub fn ask_at(&self, url: &str, sql: &str) -> String {
        let mut psql = self.client("psql");
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]);
        let output = psql.arg(url).output().expect("psql can be run");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A dump of one database, as text.
    pub fn dump(&self, database: &str) -> Vec<u8> {
        let output = self.client("pg_dump").arg(self.url(database)).output();
        let output = output.expect("pg_dump can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Stops the cluster as a crash does: every connection ends at once.
    pub fn crash(&self) {
        let keeper = self.keeper.lock().unwrap().take();
        let (mut child, mut pipe) = keeper.expect("the cluster is running");
        pipe.write_all(b"keep\n").expect("the keeper listens");
        drop(pipe);
        child.wait().expect("the keeper ends");
    }

    /// Kills all its processes.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.crash();
    }

    /// Stops it as `pg_ctl stop` does: all sessions end, and standbys get everything.
    pub fn stop_fast(&self) {
        let file = self.dir.join("data/postmaster.pid");
        let first = self.first_process().expect("it is running");
        kill_process(first, Signal::INT).expect("it is ours");
        let deadline = Instant::now() + Duration::from_secs(20);
        while file.exists() {
            assert!(Instant::now() < deadline, "it does not stop: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.crash();
    }

    /// Starts it again on the same port.
    pub fn start(&self) {
        assert!(self.try_start(), "PostgreSQL does not start again: {}", self.log());
    }

    /// The options of `initdb` for a cluster that orders text by the rules of a language.
    fn language(&self) -> &'static [&'static str] {
        let help = self.client("initdb").arg("--help").output().expect("initdb can be run");
        let known = String::from_utf8_lossy(&help.stdout).contains("--icu-locale");
        if known { &["--locale-provider=icu", "--icu-locale=en-US"] } else { &[] }
    }

    fn init(&self, order: &[&str]) {
        let output = self
            .client("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(order)
            .args(["--no-sync", "-D"])
            .arg(self.dir.join("data"))
            .output()
            .expect("initdb can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn try_start(&self) -> bool {
        let mut command = self.as_user(Command::new("sh"));
        command.args(["-c", KEEPER, "keeper"]).arg(&self.bin).arg(&self.dir);
        command.arg(self.port.to_string()).args(&self.settings).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sh can be run");
        let mut pipe = child.stdin.take().expect("stdin is a pipe");
        let deadline = Instant::now() + Duration::from_secs(60);
        let data = self.dir.join("data");
        while Instant::now() < deadline {
            if self.psql("postgres", "SELECT 1").status.success()
                && data.join("postmaster.pid").exists()
            {
                *self.keeper.lock().unwrap() = Some((child, pipe));
                return true;
            }
            if self.log().contains("could not create any TCP/IP sockets") {
                break;
            }
        }
        let _ = pipe.write_all(b"keep\n");
        drop(pipe);
        let _ = child.wait();
        let _ = fs::rename(self.dir.join("log"), self.dir.join("log.previous"));
        false
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        self.client("psql")
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql])
            .arg(self.url(database))
            .output()
            .expect("psql can be run")
    }

    fn client(&self, program: &str) -> Command {
        let beside = self.bin.join(program);
        let program = if beside.is_file() { beside } else { program.into() };
        self.as_user(Command::new(program))
    }

    /// A command without settings of PostgreSQL's clients, as the user that runs the cluster.
    pub(super) fn as_user(&self, mut command: Command) -> Command {
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir(&self.dir).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// A cluster whose processes are stopped where they are.
pub struct Frozen(Arc<Cluster>);

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self.keeper.lock().ok().and_then(|mut keeper| keeper.take());
        match keeper {
            Some((mut child, pipe)) => {
                drop(pipe);
                let _ = child.wait();
            }
            None => {
                let _ = fs::remove_dir_all(&self.dir);
            }
        }
    }
}

/// The directory with `initdb` and `postgres`: from PATH, from `pg_config`, or Debian's newest.
fn find_binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    packaged.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    env::split_paths(&path)
        .filter_map(|dir| dir.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned))
        .chain(configured)
        .chain(packaged.into_iter().rev())
        .find(|dir: &PathBuf| dir.join("initdb").is_file() && dir.join("postgres").is_file())
}

/// The user that runs PostgreSQL when the tests run as root.
fn unprivileged_user() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("there is a list of users");
    let find = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?, fields.next()?);
            (name == wanted).then_some((uid.parse().ok()?, gid.parse().ok()?))
        })
    };
    find("postgres").or_else(|| find("nobody")).expect("there is a user without privileges")
}

/// A port that is free now.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_crashed_comes_back_with_what_was_committed() {
        let cluster = Cluster::create();
        cluster.execute("postgres", "CREATE TABLE kept AS SELECT 1");
        cluster.crash();
        assert!(!cluster.psql("postgres", "SELECT * FROM kept").status.success());
        cluster.start();
        cluster.execute("postgres", "SELECT * FROM kept");
        let dir = cluster.dir.clone();
        drop(cluster);
        assert!(!dir.exists(), "its files are removed with it");
    }
}
