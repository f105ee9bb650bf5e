//! The process: its start-up line, its settings and their sources, its log.

use crate::harness::{
    ADMIN_KEY, Api, Backend, Database, Finished, Server, Settings, block_on, both_databases,
    eventually, find_key, id, run_deaf, run_to_end, unique,
};
use serde_json::{Value, json};
use std::{fs, sync::Arc};

both_databases![
    the_start_up_line_says_where_it_listens,
    the_log_is_one_json_object_a_line,
    a_technical_failure_is_in_the_log_by_its_request_id,
    the_admin_key_stays_the_same_across_starts,
    the_first_start_without_keys_makes_an_admin_key_and_prints_it_once,
    health_needs_no_key,
    it_can_be_stopped_as_soon_as_it_says_that_it_listens,
    it_is_not_ready_before_it_stops_taking_requests,
    links_lead_to_the_public_url,
];

async fn the_start_up_line_says_where_it_listens(server: Server) {
    let lines: Vec<_> = server.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines, [format!("listening on {}", server.url())]);
    let port = server.url().rsplit(':').next().unwrap();
    assert_ne!(port, "0");
    server.api().without_key().get("/healthz").await.ok(200);
}

async fn links_lead_to_the_public_url(server: Server) {
    let plan = || {
        json!({"code": unique("plan"), "name": "Basic", "currency": "USD", "amount": 1,
            "interval": "month"})
    };
    let relative = server.api().post("/v1/plans", &plan()).await;
    assert!(relative.header("location").unwrap().starts_with("/v1/plans/pln_"));
    let settings = Settings::args(&["--public-url", "https://billing.example.com/api/"]);
    let public = Server::start_with(Arc::clone(server.database()), settings).await;
    let api = public.api();
    let (key, body) = (unique("key"), plan());
    for _ in 0..2 {
        // Also of an answer that was kept.
        let made = api.post("/v1/plans", &body).key(&key).await;
        let location = made.header("location").unwrap().to_owned();
        let id = id(&made.ok(201)).to_owned();
        assert_eq!(location, format!("https://billing.example.com/api/v1/plans/{id}"));
    }
    let document = api.without_key().get("/openapi.json").await.ok(200);
    assert_eq!(document["servers"][0]["url"], "https://billing.example.com/api");
    let document = server.api().without_key().get("/openapi.json").await.ok(200);
    assert_eq!(document["servers"][0]["url"], "/");
}

async fn the_log_is_one_json_object_a_line(mut server: Server) {
    let api = server.api();
    api.get("/v1/plans").header("X-Request-Id", "find-me-in-the-log").await.ok(200);
    server.stop().await;
    let log = server.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(entry.is_object(), "{line}");
    }
}

/// The log lines about a technical failure of this request.
async fn failures(server: &Server, request_id: &str) -> Vec<String> {
    eventually("the failure is in the log by its request id", async || {
        let log = server.log();
        let tells = |line: &&str| {
            line.contains(request_id) && ["ERROR", "WARN"].iter().any(|level| line.contains(level))
        };
        let lines: Vec<String> = log.lines().filter(tells).map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    })
    .await
}

async fn a_technical_failure_is_in_the_log_by_its_request_id(server: Server) {
    let in_text = Settings::without("--log-format");
    let in_text = Server::start_with(Arc::clone(server.database()), in_text).await;
    let plan = server.api().make_plan(json!({})).await;
    server.database().execute("ALTER TABLE plans RENAME TO plans_elsewhere");
    let one = format!("/v1/plans/{}", id(&plan));
    for server in [&server, &in_text] {
        let api = server.api();
        let list = api.get("/v1/plans?limit=7").header("X-Request-Id", "the-failed-list");
        list.await.problem(500, "INTERNAL");
        let read = api.get(&one).header("X-Request-Id", "the-failed-read");
        read.await.problem(500, "INTERNAL");
        let write = api.patch(&one, &json!({"name": "x", "version": 1}));
        write.header("X-Request-Id", "the-failed-write").await.problem(500, "INTERNAL");
        for (request_id, method, route) in [
            ("the-failed-list", "GET", "/v1/plans"),
            ("the-failed-read", "GET", "/v1/plans/{id}"),
            ("the-failed-write", "PATCH", "/v1/plans/{id}"),
        ] {
            for line in failures(server, request_id).await {
                assert!(line.contains(method) && line.contains(route), "{line}");
                assert!(!line.contains("limit=7") && !line.contains(ADMIN_KEY), "{line}");
            }
        }
    }
    let line: Value = serde_json::from_str(&failures(&server, "the-failed-list").await[0]).unwrap();
    let expected = [
        ("request_id", "the-failed-list"),
        ("method", "GET"),
        ("route", "/v1/plans"),
        ("actor", "admin"),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name} of {line}");
    }
}

async fn the_admin_key_stays_the_same_across_starts(mut server: Server) {
    let ids = async |server: &Server| -> Vec<Value> {
        let keys = server.api().list("/v1/api-keys").await;
        keys.iter().map(|key| key["id"].clone()).collect()
    };
    let before = ids(&server).await;
    server.stop().await;
    server.restart().await;
    assert_eq!(ids(&server).await, before, "no second one is made");
}

async fn the_first_start_without_keys_makes_an_admin_key_and_prints_it_once(server: Server) {
    let database = Arc::new(Database::create(server.database().backend()));
    let mut first = Server::start_with(database, Settings::without("IFMATCH_ADMIN_KEY")).await;
    let printed = format!("{}{}", first.stdout(), first.log());
    let key = find_key(&printed).unwrap_or_else(|| panic!("no key was printed: {printed}"));
    assert_eq!(printed.matches(&key).count(), 1);
    let api = Api::new(first.url(), Some(&key));
    api.get("/v1/api-keys").await.ok(200);
    first.stop().await;
    first.restart().await;
    let printed = format!("{}{}", first.stdout(), first.log());
    assert_eq!(printed.matches(&key).count(), 1, "it is not printed again: {printed}");
    assert!(find_key(&printed.replace(&key, "")).is_none(), "no other key is printed: {printed}");
    api.at(first.url()).get("/v1/api-keys").await.ok(200);
}

async fn it_can_be_stopped_as_soon_as_it_says_that_it_listens(mut server: Server) {
    for _ in 0..5 {
        server.stop().await;
        server.restart().await;
    }
    for _ in 0..5 {
        server.interrupt();
        assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
        server.restart().await;
    }
}

async fn it_is_not_ready_before_it_stops_taking_requests(server: Server) {
    let settings =
        Settings { args: vec!["--drain-ms".into(), "3000".into()], ..Default::default() };
    let database = Arc::new(Database::create(server.database().backend()));
    let mut server = Server::start_with(database, settings).await;
    let api = server.api();
    api.without_key().get("/readyz").await.ok(200);
    server.terminate();
    let mut readiness = 200;
    for _ in 0..100 {
        readiness = api.without_key().get("/readyz").await.status;
        if readiness == 503 {
            break;
        }
    }
    assert_eq!(readiness, 503);
    api.make_workspace(json!({})).await;
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}

async fn health_needs_no_key(server: Server) {
    let api = server.api().without_key();
    api.get("/healthz").await.ok(200);
    api.get("/readyz").await.ok(200);
}

/// Starts the server with settings that it should refuse, on an empty SQLite database.
async fn start(args: &[&str], env: &[(&str, &str)]) -> Finished {
    let database = Database::create(Backend::Sqlite);
    let defaults = [("IFMATCH_ADMIN_KEY", ADMIN_KEY), ("IFMATCH_DATABASE_URL", database.url())];
    let env: Vec<_> = defaults
        .into_iter()
        .filter(|(name, _)| !env.iter().any(|(other, _)| other == name))
        .chain(env.iter().copied())
        .collect();
    let listens =
        args.contains(&"--listen") || env.iter().any(|(name, _)| *name == "IFMATCH_LISTEN");
    let listen = if listens { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    run_to_end(&database, &[listen, args].concat(), &env).await
}

#[test]
fn wrong_settings_are_named_at_start() {
    block_on(async {
        start(&[], &[("IFMATCH_FOO", "1")]).await.refused_naming("IFMATCH_FOO");
        start(&["--frobnicate"], &[]).await.refused_naming("frobnicate");
        start(&["frobnicate"], &[]).await.refused_naming("frobnicate");
        start(&["--listen", "nowhere"], &[]).await.refused_naming("listen");
        start(&[], &[("IFMATCH_LISTEN", "nowhere")]).await.refused_naming("listen");
        start(&["--database-url", "mysql://x/y"], &[]).await.refused_naming("database");
        start(&["--log-format", "xml"], &[]).await.refused_naming("log");
        start(&["--rate-limit", "many"], &[]).await.refused_naming("rate");
        start(&[], &[("IFMATCH_RATE_LIMIT", "-1")]).await.refused_naming("rate");
        start(&["--config", "no-such.toml"], &[]).await.refused_naming("no-such.toml");
        let panel = [("IFMATCH_PANEL_URL", "http://127.0.0.1/api"), ("IFMATCH_PANEL_KEY", "key")];
        let refused = start(&[], &panel).await.refused_naming("panel_url: leave out /api");
        assert_eq!(refused.code, Some(2), "systemd does not start it again");
    });
}

#[test]
fn an_admin_key_that_is_too_short_is_refused_and_not_repeated() {
    block_on(async {
        let short = "canary-of-23-characters";
        assert_eq!(short.len(), 23);
        let refused = start(&[], &[("IFMATCH_ADMIN_KEY", short)]).await;
        assert!(!refused.output().contains(short), "the value is a secret");
        refused.refused_naming("IFMATCH_ADMIN_KEY");
    });
}

#[test]
fn a_database_that_cannot_be_opened_is_named() {
    block_on(async {
        let nowhere = "sqlite:///no/such/directory/test.db";
        start(&["--database-url", nowhere], &[]).await.refused_naming("database");
        let database = Database::create(Backend::Sqlite);
        let directory = format!("sqlite://{}", database.dir().display());
        start(&["--database-url", &directory], &[]).await.refused_naming("is a directory");
    });
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        for args in
            [&["migrate"][..], &["migrate"], &["doctor"], &["openapi"], &["verify"], &["restored"]]
        {
            let finished = run_deaf(&database, args, &env).await.succeeded();
            assert_eq!(finished.stderr, "", "{args:?}");
        }
        // A new key whose text nobody could read is useless, so this command fails.
        let create = ["keys", "create", "--name", "lost", "--role", "agent"];
        run_deaf(&database, &create, &env).await.refused_naming("stdout");
    });
}

#[test]
fn servers_that_start_at_once_on_a_new_file_all_start() {
    block_on(async {
        for _ in 0..4 {
            let database = Arc::new(Database::create(Backend::Sqlite));
            let starting = (0..4).map(|_| tokio::spawn(Server::start(database.clone())));
            for server in starting.collect::<Vec<_>>() {
                let server = server.await.expect("the server started");
                server.api().make_workspace(json!({})).await;
            }
        }
    });
}

#[test]
fn a_port_in_use_is_named() {
    block_on(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let refused = start(&["--listen", &address], &[]).await.refused_naming(&address);
        refused.refused_naming("choose another --listen");
    });
}

/// Starts a server with a different database file per source of settings. Returns the one opened.
async fn database_opened(flag: bool, env: bool, file: bool) -> String {
    let database = Arc::new(Database::create(Backend::Sqlite));
    let dir = database.dir().to_owned();
    let url = |name: &str| format!("sqlite://{}", dir.join(name).display());
    let config = dir.join("ifmatch.toml");
    let line =
        if file { format!("database_url = \"{}\"\n", url("file.db")) } else { String::new() };
    fs::write(&config, line).unwrap();
    let mut settings = Settings::args(&["--config", config.to_str().unwrap()]);
    settings.omit = vec!["--database-url"];
    if env {
        settings.env.push(("IFMATCH_DATABASE_URL".to_owned(), url("env.db")));
    }
    if flag {
        settings.args.extend(["--database-url".to_owned(), url("flag.db")]);
    }
    let server = Server::start_with(database, settings).await;
    server.api().make_workspace(json!({})).await;
    let names = ["flag.db", "env.db", "file.db", "ifmatch.db"];
    let opened: Vec<_> = names.into_iter().filter(|name| dir.join(name).exists()).collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    opened[0].to_owned()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    block_on(async {
        assert_eq!(database_opened(true, true, true).await, "flag.db");
        assert_eq!(database_opened(false, true, true).await, "env.db");
        assert_eq!(database_opened(false, false, true).await, "file.db");
        assert_eq!(database_opened(false, false, false).await, "ifmatch.db");
    });
}

#[test]
fn an_unknown_name_in_the_config_file_is_named() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let config = database.dir().join("wrong.toml");
        fs::write(&config, "listen = \"127.0.0.1:0\"\nfrobnicate = 1\n").unwrap();
        let args = ["--config", config.to_str().unwrap()];
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        run_to_end(&database, &args, &env).await.refused_naming("frobnicate");
    });
}

#[test]
fn by_default_it_listens_on_port_8080_of_loopback() {
    block_on(async {
        let database = Arc::new(Database::create(Backend::Sqlite));
        let free = std::net::TcpListener::bind("127.0.0.1:8080").is_ok();
        if free {
            let server = Server::start_with(database, Settings::without("--listen")).await;
            assert_eq!(server.url(), "http://127.0.0.1:8080");
        } else {
            let env = [("IFMATCH_DATABASE_URL", database.url())];
            run_to_end(&database, &[], &env).await.refused_naming("127.0.0.1:8080");
        }
    });
}

#[test]
fn sqlite_is_durable_and_in_one_file_that_is_created() {
    block_on(async {
        let database = Arc::new(Database::create(Backend::Sqlite));
        assert!(!database.dir().join("test.db").exists());
        let mut server = Server::start(database.clone()).await;
        let workspace = server.api().make_workspace(json!({})).await;
        assert!(database.dir().join("test.db-wal").exists(), "it writes ahead");
        server.kill9().await;
        server.restart().await;
        assert_eq!(server.api().read("workspaces", &workspace).await, workspace);
        assert!(id(&workspace).starts_with("wsp_"));
    });
}
