//! TLS to PostgreSQL: certificates that are accepted and refused, channel binding.
//!
//! `tests/run` builds the server with the feature `postgres-tls`. One without it refuses to start.

use crate::harness::{Cluster, Database, Finished, Server, block_on, run_to_end};
use serde_json::json;
use std::{env, fs, path::Path, process::Command, sync::Arc};
use tempfile::TempDir;

/// Set if the server was built with TLS to PostgreSQL, so that it must not refuse it.
const HAS_TLS: &str = "IFMATCH_TEST_POSTGRES_TLS";

/// A cluster that accepts TLS only, with a certificate for `localhost` of an authority of its own.
struct Guarded {
    cluster: Arc<Cluster>,
    database: Database,
    dir: TempDir,
}

impl Guarded {
    fn create() -> Self {
        let cluster = Cluster::create();
        let dir = tempfile::tempdir().unwrap();
        authority(dir.path(), "ours");
        authority(dir.path(), "other");
        let path = |name: &str| dir.path().join(name).display().to_string();
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &path("server.key"),
            "-out",
            &path("server.csr"),
        ]);
        openssl(&[
            "x509",
            "-req",
            "-copy_extensions",
            "copy",
            "-days",
            "2",
            "-in",
            &path("server.csr"),
            "-CA",
            &path("ours.pem"),
            "-CAkey",
            &path("ours.key"),
            "-CAcreateserial",
            "-out",
            &path("server.pem"),
        ]);
        for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
            cluster.put_file(to, &fs::read_to_string(dir.path().join(from)).unwrap());
        }
        let database = Database::create_in(cluster.clone());
        cluster.execute("postgres", "CREATE ROLE app LOGIN PASSWORD 'canary'");
        let own = format!("ALTER DATABASE {} OWNER TO app", database.name());
        cluster.execute("postgres", &own);
        cluster.execute("postgres", "ALTER SYSTEM SET ssl = on");
        cluster.put_file(
            "pg_hba.conf",
            "hostssl all app 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n",
        );
        cluster.execute("postgres", "SELECT pg_reload_conf()");
        Self { cluster, database, dir }
    }

    /// A URL of the role that must use TLS. Certificates are in the parameters as `{NAME.pem}`.
    fn url(&self, host: &str, parameters: &str) -> String {
        let parameters = parameters.replace('{', &format!("{}/", self.dir.path().display()));
        let (port, name) = (self.cluster.port(), self.database.name());
        format!("postgres://app:canary@{host}:{port}/{name}?{}", parameters.replace('}', ""))
    }

    async fn doctor(&self, host: &str, parameters: &str) -> Finished {
        let url = self.url(host, parameters);
        let finished =
            run_to_end(&self.database, &["doctor"], &[("IFMATCH_DATABASE_URL", &url)]).await;
        assert!(!finished.output().contains("canary"), "{}", finished.output());
        finished
    }
}

/// An authority that signs certificates: `NAME.pem` and `NAME.key`.
fn authority(dir: &Path, name: &str) {
    let path = |suffix: &str| dir.join(format!("{name}.{suffix}")).display().to_string();
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &format!("/CN={name}"),
        "-keyout",
        &path("key"),
        "-out",
        &path("pem"),
    ]);
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output();
    let output = output.expect("apt-get install openssl, or run tests/run");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn postgresql_is_reached_over_tls_only_with_the_right_certificate() {
    block_on(async {
        let guarded = Guarded::create();
        let right = "sslmode=verify-full&sslrootcert={ours.pem}";
        if env::var_os(HAS_TLS).is_none() {
            let refused = guarded.doctor("localhost", right).await;
            refused.refused_naming("postgres-tls");
            return;
        }
        for (host, parameters, expected) in [
            ("localhost", "sslmode=disable", "no encryption"),
            ("localhost", "sslmode=verify-full&sslrootcert={other.pem}", "verify failed"),
            ("127.0.0.1", right, "does not match host name \"127.0.0.1\""),
        ] {
            guarded.doctor(host, parameters).await.refused_naming(expected);
        }
        for parameters in [
            right,
            "sslmode=require&channel_binding=require",
            "sslmode=verify-ca&sslrootcert={ours.pem}&channel_binding=require",
        ] {
            let url = guarded.url("localhost", parameters);
            let env = [("IFMATCH_DATABASE_URL", url.as_str())];
            run_to_end(&guarded.database, &["migrate"], &env).await.succeeded();
            guarded.doctor("localhost", parameters).await.succeeded();
        }
        let system = guarded.url("localhost", "sslrootcert=system");
        for (file, works) in [("ours.pem", true), ("other.pem", false)] {
            let file = guarded.dir.path().join(file).display().to_string();
            let env = [("IFMATCH_DATABASE_URL", system.as_str()), ("SSL_CERT_FILE", &file)];
            let finished = run_to_end(&guarded.database, &["doctor"], &env).await;
            if works {
                finished.succeeded()
            } else {
                finished.refused_naming("verify failed")
            };
        }
        let url = guarded.url("localhost", right);
        let Guarded { cluster, database, dir } = guarded;
        let mut server = Server::start(Arc::new(database.with_url(url))).await;
        server.api().make_workspace(json!({})).await;
        let unencrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE usename = 'app' AND NOT ssl";
        assert_eq!(cluster.ask("postgres", unencrypted), "0");
        server.stop().await;
        drop(dir);
    });
}
