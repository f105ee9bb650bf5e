//! etcd and Redis, from the distribution's packages, as processes of this benchmark only.

use crate::{Failure, process::Server, system::System};
use std::{net::TcpListener, path::Path, process::Command};
use tempfile::TempDir;

/// A running etcd or Redis with its own empty directory. Stopped when dropped.
pub struct Service {
    pub server: Server,
    _dir: TempDir,
}

impl Service {
    /// The program that a system needs, and the package that has it.
    pub fn package_of(system: System) -> Option<(&'static Path, &'static str)> {
        match system {
            System::Etcd => Some((Path::new("/usr/bin/etcd"), "etcd-server")),
            System::Redis => Some((Path::new("/usr/bin/redis-server"), "redis-server")),
            _ => None,
        }
    }

    /// Starts a system on free ports.
    pub fn start(system: System) -> Result<Self, Failure> {
        let (program, _) = Self::package_of(system).ok_or("a system with a package")?;
        let dir = crate::database::fresh_dir()?;
        let mut command = Command::new(program);
        command.current_dir(dir.path());
        let port = free_port()?;
        if system == System::Etcd {
            let (clients, peers) = (url(port), url(free_port()?));
            command.args(["--data-dir", "data", "--logger", "zap", "--log-level", "error"]);
            command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
            command.args(["--listen-peer-urls", &peers]);
            command.args(["--initial-advertise-peer-urls", &peers]);
            command.args(["--initial-cluster", &format!("default={peers}")]);
        } else {
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let server = Server::start_at(command, ([127, 0, 0, 1], port).into())?;
        Ok(Self { server, _dir: dir })
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A port that was free just now. These programs cannot be asked for the one they chose.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
