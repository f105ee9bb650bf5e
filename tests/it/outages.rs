//! Databases that misbehave: read-only, full, too slow, deleted or replaced while they are open.

use crate::harness::{
    Api, Backend, Cluster, Database, Server, Settings, block_on, eventually, id, run_to_end,
    sqlite_only, unique, version,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

sqlite_only![
    a_file_that_was_moved_away_takes_no_write_until_it_is_back,
    a_file_that_was_replaced_takes_no_write,
    a_file_without_its_log_takes_no_write,
];

async fn readiness(api: &Api) -> u16 {
    api.without_key().get("/readyz").await.status
}

async fn until_ready(api: &Api) {
    eventually("the server is ready", async || (readiness(api).await == 200).then_some(())).await;
}

/// Asserts that several writes are refused, and that the server then is not ready.
async fn refuses_writes(api: &Api, path: &str, at: i64) {
    for _ in 0..3 {
        let body = json!({"name": unique("refused")});
        api.patch(path, &body).if_match(at).await.problem(503, "TRY_AGAIN");
    }
    assert_eq!(readiness(api).await, 503);
    api.without_key().get("/healthz").await.ok(200);
}

async fn workspace(api: &Api) -> String {
    format!("/v1/workspaces/{}", id(&api.make_workspace(json!({})).await))
}

async fn rename(api: &Api, path: &str, at: i64) -> i64 {
    version(&api.patch(path, &json!({"name": unique("name")})).if_match(at).await.ok(200))
}

#[test]
fn a_postgresql_that_turned_read_only_is_written_to_again_when_it_can_be() {
    block_on(async {
        let cluster = Cluster::create();
        let server = Server::start(Arc::new(Database::create_in(cluster.clone()))).await;
        let api = server.api();
        let path = workspace(&api).await;
        for round in 1..=2 {
            cluster.execute("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
            cluster.execute("postgres", "SELECT pg_reload_conf()");
            eventually("it is known to be read-only", async || {
                (readiness(&api).await == 503).then_some(())
            })
            .await;
            refuses_writes(&api, &path, round).await;
            assert_eq!(version(&api.get(&path).await.ok(200)), round, "reads go on");
            cluster.execute("postgres", "ALTER SYSTEM RESET default_transaction_read_only");
            cluster.execute("postgres", "SELECT pg_reload_conf()");
            until_ready(&api).await;
            assert_eq!(rename(&api, &path, round).await, round + 1);
        }
    });
}

#[test]
fn a_statement_that_takes_too_long_says_try_again() {
    block_on(async {
        let cluster = Cluster::create();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let name = database.name().to_owned();
        let limit = format!("ALTER DATABASE {name} SET statement_timeout = '500ms'");
        cluster.execute("postgres", &limit);
        let server = Server::start(database).await;
        let api = server.api();
        let path = workspace(&api).await;
        for round in 1..=2 {
            let locking = {
                let (cluster, name) = (cluster.clone(), name.clone());
                let lock = "SET statement_timeout = 0; BEGIN; LOCK TABLE workspaces; \
                     SELECT pg_sleep(60)";
                thread::spawn(move || cluster.try_execute(&name, lock))
            };
            let locked = "DO $$ BEGIN ASSERT EXISTS (SELECT FROM pg_stat_activity \
                 WHERE wait_event = 'PgSleep'); END $$";
            eventually("the table is locked", async || {
                cluster.succeeds("postgres", locked).then_some(())
            })
            .await;
            let body = json!({"name": "late"});
            api.patch(&path, &body).if_match(round).await.problem(503, "TRY_AGAIN");
            cluster.end_connections("query LIKE '%pg_sleep(60)' AND wait_event = 'PgSleep'");
            locking.join().unwrap();
            assert_eq!(rename(&api, &path, round).await, round + 1, "at once");
            until_ready(&api).await;
        }
    });
}

#[test]
fn the_first_write_after_idle_connections_died_succeeds() {
    block_on(async {
        let cluster = Cluster::create();
        let server = Server::start(Arc::new(Database::create_in(cluster.clone()))).await;
        let api = server.api();
        let path = workspace(&api).await;
        for round in 1..=3 {
            cluster.end_connections("application_name = 'ifmatch'");
            assert_eq!(rename(&api, &path, round).await, round + 1);
        }
    });
}

#[test]
fn a_sqlite_whose_disk_is_full_is_written_to_again_when_there_is_space() {
    block_on(async {
        let Some(database) = Database::create_on_small_disk(4) else {
            return eprintln!("skipped: this user cannot mount a small disk");
        };
        let file = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        let filler = file.with_file_name("filler");
        let server = Server::start(Arc::new(database)).await;
        let api = server.api();
        let path = workspace(&api).await;
        for round in 1..=2 {
            fill(&filler);
            refuses_writes(&api, &path, round).await;
            assert_eq!(version(&api.get(&path).await.ok(200)), round, "reads go on");
            fs::remove_file(&filler).unwrap();
            until_ready(&api).await;
            assert_eq!(rename(&api, &path, round).await, round + 1);
        }
    });
}

/// Fills a disk with one file.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn file_of(server: &Server) -> PathBuf {
    server.database().url().strip_prefix("sqlite://").unwrap().into()
}

async fn a_file_that_was_moved_away_takes_no_write_until_it_is_back(server: Server) {
    let api = server.api();
    let path = workspace(&api).await;
    let file = file_of(&server);
    let away = file.with_extension("away");
    for round in 1..=2 {
        fs::rename(&file, &away).unwrap();
        refuses_writes(&api, &path, round).await;
        for command in ["doctor", "verify"] {
            let env = [("IFMATCH_DATABASE_URL", server.database().url())];
            run_to_end(server.database(), &[command], &env).await.refused_naming("test.db");
        }
        api.get("/v1/plans?limit=3").await;
        assert!(!file.exists(), "nobody made another file");
        fs::rename(&away, &file).unwrap();
        until_ready(&api).await;
        assert_eq!(rename(&api, &path, round).await, round + 1);
    }
}

async fn a_file_that_was_replaced_takes_no_write(mut server: Server) {
    let api = server.api();
    let path = workspace(&api).await;
    let file = file_of(&server);
    let other = file.with_extension("other");
    fs::copy(&file, &other).unwrap();
    fs::rename(&other, &file).unwrap();
    refuses_writes(&api, &path, 1).await;
    server.kill9().await;
    server.restart().await;
    until_ready(&server.api()).await;
}

async fn a_file_without_its_log_takes_no_write(server: Server) {
    let api = server.api();
    let path = workspace(&api).await;
    let file = file_of(&server);
    let mut log = file.into_os_string();
    log.push("-wal");
    fs::remove_file(log).unwrap();
    refuses_writes(&api, &path, 1).await;
}

/// Settings of a server that changes no schema.
fn no_migrate() -> Settings {
    Settings::args(&["--no-migrate"])
}

#[test]
fn a_role_that_cannot_change_the_schema_can_serve() {
    block_on(async {
        let database = Database::create(Backend::Postgres);
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        run_to_end(&database, &["migrate"], &env).await.succeeded();
        let role = unique("clerk");
        database.execute(&format!(
            "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ));
        let database = Arc::new(database.with_role(&role));
        for settings in [no_migrate(), Settings::default()] {
            let server = Server::start_with(database.clone(), settings).await;
            let api = server.api();
            assert_eq!(readiness(&api).await, 200, "{}", server.log());
            let path = workspace(&api).await;
            assert_eq!(rename(&api, &path, 1).await, 2);
        }
        database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    });
}

#[test]
fn a_server_that_may_not_migrate_needs_a_current_schema() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        block_on(async {
            let database = Database::create(backend);
            let env = [("IFMATCH_DATABASE_URL", database.url())];
            let serve = ["serve", "--no-migrate", "--listen", "127.0.0.1:0"];
            if backend == Backend::Sqlite {
                run_to_end(&database, &serve, &env).await.refused_naming("test.db");
                assert_eq!(database.stored_bytes(), b"", "no file was made");
                fs::write(database.url().strip_prefix("sqlite://").unwrap(), "").unwrap();
            }
            run_to_end(&database, &serve, &env).await.refused_naming("ifmatch-server migrate");
            for command in ["doctor", "verify"] {
                let refused = run_to_end(&database, &[command], &env).await;
                refused.refused_naming("run `ifmatch-server migrate`");
            }
            assert!(!String::from_utf8_lossy(&database.stored_bytes()).contains("diesel"));
            run_to_end(&database, &["migrate"], &env).await.succeeded();
            let server = Server::start_with(Arc::new(database), no_migrate()).await;
            assert_eq!(readiness(&server.api()).await, 200);
        });
    }
}

#[test]
fn a_server_on_a_read_only_database_reads_and_is_not_ready() {
    block_on(async {
        let mut server = Server::start(Arc::new(Database::create(Backend::Postgres))).await;
        let path = workspace(&server.api()).await;
        server.stop().await;
        let database = server.database();
        let name = database.name();
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only");
        database.execute(&format!("{set} = on"));
        let server = Server::start_with(database.clone(), no_migrate()).await;
        let api = server.api();
        assert_eq!(api.get(&path).await.ok(200)["version"], Value::from(1));
        assert_eq!(readiness(&api).await, 503);
        let body = json!({"name": "x"});
        api.patch(&path, &body).if_match(1).await.problem(503, "TRY_AGAIN");
    });
}

#[test]
fn a_server_on_a_standby_reads_and_writes_once_that_is_promoted() {
    block_on(async {
        let primary = Cluster::create();
        let mut first = Server::start(Arc::new(Database::create_in(primary.clone()))).await;
        let path = workspace(&first.api()).await;
        let standby = primary.standby();
        let database = Arc::new(first.database().on_standby(standby.clone()));
        let second = Server::start_with(database, no_migrate()).await;
        let (one, two) = (first.api(), second.api());
        let bought = json!({"amount": 5, "reason": "bought"});
        one.post(&format!("{path}/credits/topups"), &bought).await.ok(201);
        rename(&one, &path, 1).await;
        eventually("the standby has followed", async || {
            (two.get(&path).await.ok(200)["version"] == 2).then_some(())
        })
        .await;
        refuses_writes(&two, &path, 2).await;
        let held = json!({"ttl_ms": 1_000});
        two.post("/v1/locks/job/acquire", &held).await.problem(503, "TRY_AGAIN");
        // Behind the primary, nothing is decided: also not what locks no row and would be refused.
        standby.execute("postgres", "SELECT pg_wal_replay_pause()");
        let credits = format!("{path}/credits");
        let bought = json!({"amount": 900, "reason": "bought"});
        one.post(&format!("{credits}/topups"), &bought).await.ok(201);
        // It needs nothing but the answer to an earlier request, so that it reads without a lock.
        let none = "/v1/reservations/trf_00000000000000000000000000000000/void";
        two.post(none, &json!({})).key("none").await;
        let reserve = two.post(&format!("{credits}/reservations"), &json!({"amount": 500}));
        reserve.await.problem(503, "TRY_AGAIN");
        standby.execute("postgres", "SELECT pg_wal_replay_resume()");
        first.stop().await;
        primary.crash();
        standby.promote();
        until_ready(&two).await;
        assert_eq!(rename(&two, &path, 2).await, 3);
    });
}

#[test]
fn a_database_that_cannot_store_every_text_is_refused_at_start() {
    block_on(async {
        let cluster = Cluster::shared();
        let name = unique("latin");
        cluster.execute(
            "postgres",
            &format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0"),
        );
        let home = Database::create(Backend::Sqlite);
        let url = cluster.url(&name);
        for command in ["serve", "migrate", "doctor", "verify"] {
            let env = [("IFMATCH_DATABASE_URL", url.as_str()), ("IFMATCH_LISTEN", "127.0.0.1:0")];
            run_to_end(&home, &[command], &env).await.refused_naming("LATIN1");
        }
        cluster.execute("postgres", &format!("DROP DATABASE {name}"));
    });
}
