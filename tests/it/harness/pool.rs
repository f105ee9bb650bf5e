//! PgBouncer in front of a cluster: Debian's, or the one that `IFMATCH_TEST_PGBOUNCER` names.

use super::{Cluster, cluster::free_port};
use std::{
    env, fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const HOW_TO_INSTALL: &str = "pgbouncer was not found: apt-get install pgbouncer, or run tests/run";

/// A pool on a free port of this machine; killed when dropped.
pub struct Pool {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Pool {
    /// Starts a pool in front of all databases of a cluster.
    pub fn start(cluster: &Cluster, mode: &str, size: u32) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (port, file) = (free_port(), dir.path().join("pgbouncer.ini"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             default_pool_size = {size}\n",
            cluster.port()
        );
        fs::write(&file, settings).expect("a file can be written");
        let mut command = cluster.as_user(Command::new(binary()));
        let owner = fs::metadata(cluster.dir()).expect("the cluster has a directory");
        for path in [dir.path(), &file] {
            chown(path, Some(owner.uid()), Some(owner.gid())).expect("root can give it away");
        }
        command.arg(&file).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect(HOW_TO_INSTALL);
        let pool = Self { child, port, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the pool does not start");
        }
        pool
    }

    /// The `--database-url` of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Whether this PgBouncer keeps the prepared statements of its clients apart: from 1.21 on.
    pub fn keeps_statements_apart() -> bool {
        let output = Command::new(binary()).arg("--version").output().expect(HOW_TO_INSTALL);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(1).expect("it says its version");
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        (parts.next(), parts.next()) >= (Some(1), Some(21))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let named = env::var_os("IFMATCH_TEST_PGBOUNCER").map(PathBuf::from);
    let packaged = || Some(Path::new("/usr/sbin/pgbouncer")).filter(|path| path.is_file());
    named.or_else(|| packaged().map(Path::to_owned)).unwrap_or_else(|| "pgbouncer".into())
}
