//! Reverse proxies in front of the server, each with its configuration in `docs/proxies`.
//!
//! `tests/proxies` installs them and runs these scenarios. They are not part of CI.

use crate::harness::{
    ADMIN_KEY, Api, Backend, Database, EventStream, Server, Settings, block_on, id, unique,
};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A proxy: its configuration, and how it is started in a directory.
struct Proxy {
    config: String,
    start: fn(&Path, &str) -> Command,
}

macro_rules! proxies {
    ($($name:ident: $config:literal, $for_http2:expr, $start:expr;)*) => {
        $(
            mod $name {
                use super::*;

                const CONFIG: &str = include_str!(concat!("../../docs/proxies/", $config));

                #[test]
                #[ignore = "tests/proxies runs it"]
                fn http1() {
                    block_on(passes_everything(Proxy { config: CONFIG.to_owned(), start: $start }));
                }

                #[test]
                #[ignore = "tests/proxies runs it"]
                fn http2() {
                    let (from, to) = $for_http2;
                    assert!(CONFIG.contains(from));
                    let config = CONFIG.replacen(from, to, 1);
                    block_on(speaks_http2(Proxy { config, start: $start }));
                }
            }
        )*
    };
}

proxies! {
    nginx: "nginx.conf", ("8000;", "8000 http2;"), |dir, config| {
        let main = format!(
            "daemon off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {0}/b;\nproxy_temp_path {0}/p;\n\
             fastcgi_temp_path {0}/f;\nuwsgi_temp_path {0}/u;\nscgi_temp_path {0}/s;\n\
             gzip on;\ngzip_proxied any;\ngzip_min_length 1;\ngzip_types application/json;\n{config}\n}}\n",
            dir.display(),
        );
        run("nginx", &["-c"], dir, &main)
    };
    apache: "apache.conf", ("ProxyPreserveHost On", "ProxyPreserveHost On\nProtocols h2c"), |dir, config| {
        let modules =
            ["mpm_event", "proxy", "proxy_http", "http2", "authz_core", "deflate", "filter"];
        let modules = modules.map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let main = format!(
            "ServerRoot {0}\nServerName test\nPidFile {0}/pid\nErrorLog {0}/error\n{1}\
             AddOutputFilterByType DEFLATE application/json\n{config}",
            dir.display(),
            modules.concat(),
        );
        run("apache2", &["-D", "FOREGROUND", "-f"], dir, &main)
    };
    haproxy: "haproxy.cfg", ("bind 127.0.0.1:8000", "bind 127.0.0.1:8000 proto h2"), |dir, config| run("haproxy", &["-db", "-f"], dir, config);
    caddy: "Caddyfile", ("# A site", "# A site"), |dir, config| {
        // Without TLS, HTTP/2 is off by default.
        let http2 = "servers {\n\t\tprotocols h1 h2 h2c\n\t}";
        let main = format!("{{\n\tadmin off\n\tauto_https off\n\t{http2}\n}}\n{config}");
        run("caddy", &["run", "--adapter", "caddyfile", "--config"], dir, &main)
    };
    varnish: "varnish.vcl", ("# A configuration", "# A configuration"), |dir, config| {
        let port = config.rsplit("http://127.0.0.1:").next().unwrap_or_default();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let mut command = run("varnishd", &["-f"], dir, config);
        let address = format!("127.0.0.1:{port}");
        command.args(["-F", "-p", "feature=+http2", "-a", &address, "-n"]).arg(dir.join("work"));
        command
    };
}

/// A command that ends with the path of a configuration file in this directory.
fn run(program: &str, args: &[&str], dir: &Path, config: &str) -> Command {
    let file = dir.join("config");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.args(args).arg(file).current_dir(dir);
    command
}

/// A running proxy; killed when dropped.
struct Running {
    child: Child,
    url: String,
    dir: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Proxy {
    /// Starts it on this port in front of a server.
    fn start(&self, port: u16, server: &Server) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let own = server.url().rsplit(':').next().unwrap();
        let config = self.config.replace("8080", own).replace("8000", &port.to_string());
        let mut command = (self.start)(dir.path(), &config);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("tests/proxies installs it");
        let running = Running { child, url: format!("http://127.0.0.1:{port}/api"), dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(running.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "it does not start: {}", log());
            sleep(Duration::from_millis(20));
        }
        running
    }
}

/// A server with a proxy in front.
async fn behind(proxy: Proxy) -> (Server, Running) {
    let port = free_port();
    let public_url = format!("http://127.0.0.1:{port}/api");
    let settings =
        Settings::args(&["--behind-proxy", "--rate-limit", "0", "--public-url", &public_url]);
    let database = Arc::new(Database::create(Backend::Sqlite));
    let server = Server::start_with(database, settings).await;
    let running = proxy.start(port, &server);
    (server, running)
}

/// Renames a workspace, whatever its version, so that an event tells the new name.
async fn rename(direct: &Api, path: &str, name: &str) {
    let path = format!("{path}?force=true");
    let renamed = direct.patch(&path, &json!({"name": name}));
    renamed.header("X-Force-Reason", "to be streamed").await.ok(200);
}

/// What clients need to get through a proxy unchanged.
async fn passes_everything(proxy: Proxy) {
    let (server, running) = behind(proxy).await;
    let public_url = &running.url;
    let api = Api::new(&running.url, Some(ADMIN_KEY));
    let direct = server.api();

    // A new object is where its `Location` says.
    let body = json!({"name": "Acme", "metadata": {"long": "x".repeat(400)}});
    let made = api.post("/v1/workspaces", &body).await;
    let location = made.header("location").unwrap().to_owned();
    let path = format!("/v1/workspaces/{}", id(&made.ok(201)));
    assert_eq!(location, format!("{public_url}{path}"));
    let followed = reqwest::Client::new().get(&location).bearer_auth(ADMIN_KEY).send().await;
    assert_eq!(followed.unwrap().status(), 200);

    // A tag that came with a compressed answer names its version.
    let read = || {
        let request = reqwest::Client::new().get(&location).bearer_auth(ADMIN_KEY);
        request.header("Accept-Encoding", "gzip")
    };
    let compressed = read().send().await.unwrap();
    let tag = compressed.headers()["etag"].to_str().unwrap().to_owned();
    let same = read().header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(same.status(), 304, "{tag}");
    let write = api.patch(&path, &json!({"name": "Changed"})).header("If-Match", &tag);
    assert_eq!(write.await.status, 200, "{tag}");
    let stale = api.patch(&path, &json!({"name": "Stale"})).header("If-Match", &tag).await;
    assert_eq!(stale.conflict(412)["current_version"], 2);

    // The request's id, and bodies that the server refuses itself.
    let named = api.get(&path).header("X-Request-Id", "through-the-proxy").await;
    assert_eq!(named.header("x-request-id"), Some("through-the-proxy"));
    let large = json!({"name": "x".repeat(100_000)});
    api.patch(&path, &large).if_match(2).await.problem(413, "PAYLOAD_TOO_LARGE");

    // An event arrives at once, and a quiet stream stays open.
    let mut stream = EventStream::new(api.get("/v1/events/stream").open().await);
    for _ in 0..2 {
        let name = unique("streamed");
        let sent_at = Instant::now();
        rename(&direct, &path, &name).await;
        while !stream.next().await.1.to_string().contains(&name) {}
        assert!(sent_at.elapsed() < Duration::from_millis(900), "{:?}", sent_at.elapsed());
        tokio::time::sleep(Duration::from_secs(6)).await;
    }

    // A long poll is waited for.
    let began = Instant::now();
    let lock = api.post("/v1/locks/job/acquire", &json!({"ttl_ms": 60_000})).await.ok(201);
    let wait = json!({"ttl_ms": 1_000, "wait_ms": 8_000});
    api.post("/v1/locks/job/acquire", &wait).await.problem(409, "LOCK_TIMEOUT");
    assert!(began.elapsed() >= Duration::from_secs(8) && lock["fence"].is_i64());

    // One effect for each request, also when many are sent at once.
    for _ in 0..30 {
        api.post(
            "/v1/plans",
            &json!({"code": unique("plan"), "name": "Basic", "currency": "USD",
            "amount": 1, "interval": "month"}),
        )
        .await
        .ok(201);
    }
    assert_eq!(direct.list("/v1/plans").await.len(), 30);
}

/// curl, with HTTP/2 from the first byte on and without TLS.
fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--http2-prior-knowledge"]);
    command.args(["-H", &format!("Authorization: Bearer {ADMIN_KEY}"), url]);
    command
}

/// Sends one request with curl. Returns its status, headers and body.
fn exchange(url: &str, args: &[&str]) -> (u16, String, serde_json::Value) {
    let output = curl(url).args(["-i"]).args(args).output().expect("curl");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.strip_prefix("HTTP/2 ").unwrap_or_else(|| panic!("not HTTP/2: {text}"));
    let status = status.get(..3).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

/// The same as over HTTP/1.1 where HTTP/2 could make a difference.
async fn speaks_http2(proxy: Proxy) {
    let (server, running) = behind(proxy).await;
    let direct = server.api();
    let json = "Content-Type: application/json";
    let workspaces = format!("{}/v1/workspaces", running.url);
    let create = ["-H", json, "-H", "Idempotency-Key: one", "-d", r#"{"name":"Acme"}"#];
    let (status, head, made) = exchange(&workspaces, &create);
    let path = format!("/v1/workspaces/{}", id(&made));
    let location = format!("{}{path}", running.url);
    assert_eq!(status, 201, "{head}");
    assert!(head.contains(&format!("location: {location}").to_lowercase()), "{head}");
    let (status, head, again) = exchange(&workspaces, &create);
    assert_eq!((status, again), (201, made), "{head}");
    assert!(head.contains("idempotency-replayed: true"), "{head}");

    let (status, head, _) = exchange(&location, &["-H", "If-None-Match: \"1\""]);
    assert_eq!(status, 304, "{head}");
    let edit = ["-X", "PATCH", "-H", json, "-H", "If-Match: \"1\"", "-d", r#"{"name":"Changed"}"#];
    let (status, head, _) = exchange(&location, &edit);
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("etag: \"2\""), "{head}");
    let (status, head, problem) = exchange(&location, &edit);
    assert_eq!((status, &problem["current_version"]), (412, &json!(2)), "{head}");

    // An event arrives at once.
    let mut stream = curl(&format!("{}/v1/events/stream", running.url));
    let mut stream = stream.arg("-N").stdout(Stdio::piped()).spawn().expect("curl");
    let mut lines = BufReader::new(stream.stdout.take().unwrap()).lines();
    // Something comes every three seconds, so the stream is open then.
    lines.next().unwrap().unwrap();
    let name = unique("streamed");
    let sent_at = Instant::now();
    rename(&direct, &path, &name).await;
    assert!(lines.any(|line| line.unwrap().contains(&name)));
    let elapsed = sent_at.elapsed();
    let _ = stream.kill();
    let _ = stream.wait();
    assert!(elapsed < Duration::from_millis(900), "{elapsed:?}");

    // One effect for each of many requests at once. Each has its own connection: curl 7.88 fails when
    // it sends a second request on one, whatever the server.
    let plans = format!("{}/v1/plans", running.url);
    let mut many: Vec<Child> = Vec::new();
    for number in 0..30 {
        let body = json!({"code": format!("plan-{number}"), "name": "Basic", "currency": "USD",
            "amount": 1, "interval": "month"});
        let body = body.to_string();
        let args = ["--fail", "-H", json, "-d", &body, "-o", "/dev/null"];
        many.push(curl(&plans).args(args).spawn().expect("curl"));
    }
    for mut one in many {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(direct.list("/v1/plans").await.len(), 30);
}
