//! The measured processes: started, asked for their address, stopped by their id.

use crate::{Failure, options::Options};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Maximum time until a program listens.
const START_MAX: Duration = Duration::from_secs(20);

/// The key that every server accepts.
pub const KEY: &str = "bench-admin-key-0123456789abcdef";

/// A server that accepts requests; killed when dropped.
pub struct Server {
    child: Child,
    /// The address it listens on.
    pub address: SocketAddr,
}

impl Server {
    /// Starts Ifmatch.
    pub fn ifmatch(
        binary: &Path,
        database_url: &str,
        dir: &Path,
        settings: [(&str, String); 2],
    ) -> Result<Self, Failure> {
        let mut command = ifmatch(binary, dir);
        command.args(["--listen", "127.0.0.1:0", "--database-url", database_url]);
        command.env("IFMATCH_ADMIN_KEY", KEY).envs(settings);
        Self::start(command)
    }

    /// Starts the baseline: this same program as another process.
    pub fn baseline(database_url: &str) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--baseline", database_url]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("stdout is a pipe")?;
        for line in BufReader::new(stdout).lines() {
            if let Some(address) = line?.strip_prefix("listening on http://") {
                return Ok(Self { child, address: address.trim().parse()? });
            }
        }
        let _ = child.kill();
        Err(format!("a server did not start: {}", child.wait()?).into())
    }

    /// Starts a program that does not say when it listens, and waits until it does.
    pub fn start_at(mut command: Command, address: SocketAddr) -> Result<Self, Failure> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn()?, address };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("it does not listen: {command:?}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Stops it with SIGTERM and waits.
    pub fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a server ended with {status}").into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the server and returns its path.
pub fn build() -> Result<PathBuf, Failure> {
    if let Some(binary) = Options::server_binary() {
        return Ok(binary.into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--release", "-p", "ifmatch-server"])
        .status()?;
    if !status.success() {
        return Err("the server cannot be built".into());
    }
    let bench = env::current_exe()?;
    let release = bench.parent().and_then(Path::parent).ok_or("the bench is in target/release")?;
    Ok(release.join("ifmatch-server"))
}

/// Runs the server's check of every stored invariant of a database.
pub fn verify(binary: &Path, database_url: &str, dir: &Path) -> Result<(), Failure> {
    let output = ifmatch(binary, dir).args(["verify", "--database-url", database_url]).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("ifmatch-server verify: {}", String::from_utf8_lossy(&said)).into())
}

/// The binary, without this process's own settings.
fn ifmatch(binary: &Path, dir: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(dir);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("IFMATCH_") {
            command.env_remove(name);
        }
    }
    command
}
