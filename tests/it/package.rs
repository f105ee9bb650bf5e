//! The Debian package: what is in it, and that it starts as systemd starts it.

use crate::harness::{Backend, Database, binary, block_on, eventually, without_settings};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Makes the package of the server that the tests start, and unpacks it.
fn unpacked(dir: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb");
    let made = Command::new(script).arg(dir).arg(binary()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let root = dir.join("root");
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "deb") {
            let done = Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&root).status();
            assert!(done.unwrap().success());
        }
    }
    root
}

/// The value of a line of the unit.
fn of_unit<'a>(unit: &'a str, name: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in {unit}"))
}

#[test]
fn the_package_starts_as_its_unit_says_and_tells_when_it_is_ready() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let root = unpacked(database.dir());
        let program = root.join("usr/bin/ifmatch-server");
        let symbols = Command::new("readelf").args(["-S", "--wide"]).arg(&program).output();
        let symbols = String::from_utf8(symbols.unwrap().stdout).unwrap();
        assert!(!symbols.contains(".debug_info"), "it is stripped");
        assert!(root.join("usr/lib/debug/.build-id").is_dir());
        let script = root.join("usr/share/bash-completion/completions/ifmatch-server");
        assert!(Command::new("bash").arg("-n").arg(script).status().unwrap().success());
        assert!(root.join("usr/share/man/man1/ifmatch-server.1.gz").is_file());

        let unit = root.join("usr/lib/systemd/system/ifmatch-server.service");
        let unit = fs::read_to_string(unit).unwrap();
        assert_eq!(of_unit(&unit, "Type"), "notify");
        let rooted = |word: &str| match word.strip_prefix('/') {
            Some(path) => root.join(path),
            None => word.into(),
        };
        let mut words = of_unit(&unit, "ExecStart").split(' ').map(rooted);
        let mut command = without_settings(Command::new(words.next().unwrap()));
        let socket = database.dir().join("notify");
        let told = UnixDatagram::bind(&socket).unwrap();
        told.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        command.args(words).current_dir(database.dir()).env("NOTIFY_SOCKET", &socket);
        // The file is the package's own; these two would need root and a free port.
        command.env("IFMATCH_DATABASE_URL", database.url()).env("IFMATCH_LISTEN", "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let next = || {
            let mut message = [0; 100];
            let length = told.recv(&mut message).expect("systemd is told");
            String::from_utf8_lossy(&message[..length]).trim().to_owned()
        };
        assert_eq!(next(), "READY=1");
        assert!(lines.any(|line| line.unwrap().starts_with("listening on http://127.0.0.1:")));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(next(), "STOPPING=1");
        let status = eventually("it stops", async || child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
    });
}
