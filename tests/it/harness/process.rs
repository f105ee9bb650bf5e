//! The server's binary as a program: where it is and how to run it until it exits.

use super::{Database, Server};
use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// Maximum run time of a command.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The setting that names the bug planted by `tests/mutants`.
pub const MUTANT: &str = "IFMATCH_TEST_MUTANT";

/// A program that has exited.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Everything it printed.
    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Asserts that it exited with 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "should exit with 0: {}", self.output());
        self
    }

    /// Asserts that it failed and named this setting.
    #[track_caller]
    pub fn refused_naming(self, setting: &str) -> Self {
        assert_ne!(self.code, Some(0), "should not exit with 0: {}", self.output());
        let said = self.output().to_lowercase();
        assert!(said.contains(&setting.to_lowercase()), "should name {setting}: {said}");
        self
    }
}

/// The server's binary: `IFMATCH_TEST_SERVER`, else the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("IFMATCH_TEST_SERVER") {
        return path.into();
    }
    let test = env::current_exe().expect("the test knows its own path");
    let beside = test.parent().and_then(|deps| deps.parent()).map(|dir| dir.join("ifmatch-server"));
    match beside {
        Some(path) if path.is_file() => path,
        _ => panic!(
            "no ifmatch-server beside {}: build it first (cargo build -p ifmatch-server), or run tests/run",
            test.display()
        ),
    }
}

/// The binary in the database's directory, without this process's own settings.
pub fn command(database: &Database) -> Command {
    let mut command = without_settings(Command::new(binary()));
    command.current_dir(database.dir()).stdin(Stdio::null());
    // The one test setting that reaches the server, if the server was built for it.
    command.envs(env::var_os(MUTANT).map(|name| (MUTANT, name)));
    command
}

/// A command without this process's own settings.
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("IFMATCH_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary with exactly these arguments and variables until it exits.
pub async fn run_to_end(database: &Database, args: &[&str], env: &[(&str, &str)]) -> Finished {
    let mut command = command(database);
    command.args(args).envs(env.iter().copied());
    finish(database, command).await
}

/// Runs the binary until it exits, with a closed stdout. Only stderr is captured.
pub async fn run_deaf(database: &Database, args: &[&str], env: &[(&str, &str)]) -> Finished {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut command = command(database);
    command.args(args).envs(env.iter().copied());
    finish_into(database, command, writer.into()).await
}

/// Runs an example against a server until it exits, with `typed` as its stdin.
pub async fn run_example(
    name: &str,
    server: &Server,
    args: &[&str],
    typed: &str,
    env: &[(&str, &str)],
) -> Finished {
    let test = env::current_exe().expect("the test knows its own path");
    let examples = test.parent().and_then(|deps| deps.parent()).map(|dir| dir.join("examples"));
    let path = examples.expect("Cargo builds into directories").join(name);
    assert!(path.is_file(), "no example {name}: cargo build --workspace --all-targets");
    let database = server.database();
    let stdin = database.dir().join(super::unique("stdin"));
    fs::write(&stdin, typed).expect("a file can be written");
    let mut command = without_settings(Command::new(path));
    command
        .current_dir(database.dir())
        .args(args)
        .envs(env.iter().copied())
        .stdin(fs::File::open(stdin).expect("it was just written"));
    finish(database, command).await
}

async fn finish(database: &Database, command: Command) -> Finished {
    let stdout = database.dir().join(super::unique("stdout"));
    let file = fs::File::create(&stdout).expect("a file can be made");
    let finished = finish_into(database, command, file.into()).await;
    Finished { stdout: fs::read_to_string(stdout).unwrap(), ..finished }
}

async fn finish_into(database: &Database, mut command: Command, stdout: Stdio) -> Finished {
    let stderr = database.dir().join(super::unique("stderr"));
    let mut child = command
        .stdout(stdout)
        .stderr(fs::File::create(&stderr).expect("a file can be made"))
        .spawn()
        .expect("the program can be started");
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let deadline = tokio::time::Instant::now() + COMMAND_MAX;
    let status = loop {
        ticks.tick().await;
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if tokio::time::Instant::now() > deadline {
            child.kill().and_then(|()| child.wait()).expect("a child can be killed");
            panic!(
                "{command:?} should have ended by itself: {}",
                fs::read_to_string(&stderr).unwrap()
            );
        }
    };
    Finished {
        code: status.code(),
        stdout: String::new(),
        stderr: fs::read_to_string(stderr).unwrap(),
    }
}

/// The first API key in a text.
pub fn find_key(text: &str) -> Option<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .find(|word| word.starts_with("ifm_"))
        .map(str::to_owned)
}
