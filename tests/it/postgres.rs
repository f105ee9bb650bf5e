//! PostgreSQL as operators have it: schemas, defaults of the database, several hosts, other engines.

use crate::harness::{
    Cluster, Database, Server, Settings, block_on, eventually, id, run_to_end, unique,
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[test]
fn two_schemas_of_a_database_are_two_installations() {
    block_on(async {
        let cluster = Cluster::shared();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let mut servers = Vec::new();
        for schema in ["shop_a", "shop_b"] {
            let settings = Settings::args(&["--schema", schema]);
            servers.push(Server::start_with(Arc::clone(&database), settings).await);
        }
        for server in &servers {
            let api = server.api();
            api.make_plan(json!({"code": "the-same-code"})).await;
            assert_eq!(api.list("/v1/plans").await.len(), 1);
            let events = api.get("/v1/events?type=plan.created").await.ok(200);
            assert_eq!(events["items"].as_array().unwrap().len(), 1);
        }
        for schema in ["shop_a", "shop_b"] {
            let plans =
                cluster.ask(database.name(), &format!("SELECT count(*) FROM {schema}.plans"));
            assert_eq!(plans, "1");
            let env = [("IFMATCH_DATABASE_URL", database.url()), ("IFMATCH_SCHEMA", schema)];
            for command in ["doctor", "verify", "migrate"] {
                run_to_end(&database, &[command], &env).await.succeeded();
            }
        }
        let nothing = cluster.ask(database.name(), "SELECT to_regclass('public.plans') IS NULL");
        assert_eq!(nothing, "t");
        let other = [("IFMATCH_DATABASE_URL", database.url())];
        let args = ["serve", "--no-migrate", "--schema", "shop_c"];
        run_to_end(&database, &args, &other).await.refused_naming("ifmatch-server migrate");
    });
}

#[test]
fn a_database_that_does_not_wait_for_its_disk_by_default_does_for_a_write() {
    block_on(async {
        let database = Arc::new(Database::create_in(Cluster::shared()));
        let name = database.name();
        database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
        let server = Server::start(Arc::clone(&database)).await;
        database.execute(
            "CREATE TABLE noted (setting text); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
             CREATE TRIGGER note AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION note()",
        );
        server.api().make_workspace(json!({})).await;
        let noted = Cluster::shared().ask(name, "SELECT DISTINCT setting FROM noted");
        assert_eq!(noted, "on");
    });
}

#[test]
fn the_primary_is_found_among_several_hosts() {
    block_on(async {
        let primary = Cluster::create();
        let first = Database::create_in(primary.clone());
        let standby = primary.standby();
        let url = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
            standby.port(),
            primary.port(),
            first.name()
        );
        let server = Server::start(Arc::new(first.with_url(url))).await;
        let api = server.api();
        let path = format!("/v1/workspaces/{}", id(&api.make_workspace(json!({})).await));
        eventually("the standby has followed", async || {
            let kept = format!("SELECT 1 FROM workspaces WHERE id = '{}'", &path[15..]);
            standby.succeeds(server.database().name(), &kept).then_some(())
        })
        .await;
        primary.crash();
        standby.promote();
        eventually("the new primary takes a write", async || {
            let body = json!({"name": unique("name")});
            let answer = api.patch(&path, &body).if_match(1).await;
            (answer.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn a_migration_says_that_it_waits_for_another_one() {
    block_on(async {
        let cluster = Cluster::shared();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let (name, other) = (database.name().to_owned(), cluster.clone());
        let holder = std::thread::spawn(move || {
            other.execute(&name, "BEGIN; SELECT pg_advisory_xact_lock(7301240954), pg_sleep(2)");
        });
        eventually("the lock is held", async || {
            let held = "SELECT 1 / count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND \
                 database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            cluster.succeeds(database.name(), held).then_some(())
        })
        .await;
        let server = Server::start(Arc::clone(&database)).await;
        assert!(server.log().contains("another process migrates this database"));
        holder.join().unwrap();
    });
}

#[test]
fn a_cluster_that_distributes_rows_is_refused() {
    block_on(async {
        let cluster = Cluster::shared();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        run_to_end(&database, &["migrate"], &env).await.succeeded();
        // What Citus keeps about its tables, by its documentation.
        database.execute(
            "CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod \"char\"); \
             CREATE TABLE pg_dist_shard (logicalrelid regclass, shardid bigint); \
             CREATE TABLE pg_dist_placement (shardid bigint, groupid int); \
             CREATE TABLE pg_dist_local_group (groupid int); \
             INSERT INTO pg_dist_local_group VALUES (0); \
             INSERT INTO pg_dist_partition VALUES ('events', 'n'); \
             INSERT INTO pg_dist_shard VALUES ('events', 7); \
             INSERT INTO pg_dist_placement VALUES (7, 0)",
        );
        run_to_end(&database, &["doctor"], &env).await.succeeded();
        database.execute("UPDATE pg_dist_placement SET groupid = 2");
        for command in ["doctor", "serve", "migrate"] {
            let finished = run_to_end(&database, &[command, "--listen", "127.0.0.1:0"], &env).await;
            finished.refused_naming("connect to the node that holds the schema");
        }
        database.execute("UPDATE pg_dist_partition SET partmethod = 'h'");
        run_to_end(&database, &["doctor"], &env).await.refused_naming("by a column");
    });
}

#[test]
fn doctor_tells_when_the_rules_of_text_have_changed_under_the_indexes() {
    block_on(async {
        let cluster = Cluster::shared();
        let database = Arc::new(Database::create_in(cluster.clone()));
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        run_to_end(&database, &["migrate"], &env).await.succeeded();
        let name = database.name();
        let tells = "SELECT count(*) FROM pg_attribute WHERE attname = 'datcollversion'";
        if cluster.ask(name, tells) == "0" {
            run_to_end(&database, &["doctor"], &env).await.succeeded();
            return;
        }
        let healthy = run_to_end(&database, &["doctor"], &env).await.succeeded();
        assert!(healthy.output().contains("text order"), "{}", healthy.output());
        let outdate = "UPDATE pg_database SET datcollversion = '0' WHERE datname = ";
        cluster.execute("postgres", &format!("{outdate}'{name}'"));
        run_to_end(&database, &["doctor"], &env).await.refused_naming("REFRESH COLLATION VERSION");
    });
}

#[test]
fn a_server_stops_in_time_although_its_database_does_not_answer() {
    block_on(async {
        let cluster = Cluster::create();
        let mut server = Server::start(Arc::new(Database::create_in(cluster.clone()))).await;
        let api = server.api();
        let path = format!("/v1/workspaces/{}", id(&api.make_workspace(json!({})).await));
        let frozen = cluster.freeze();
        let writing = tokio::spawn(async move {
            let _ = api.patch(&path, &json!({"name": "x"})).if_match(1).send().await;
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let told_at = Instant::now();
        server.terminate();
        let status = server.ended().await;
        drop(frozen);
        assert!(told_at.elapsed() < Duration::from_secs(30), "{:?}", told_at.elapsed());
        // 1 if something was not answered. A write whose connection was cut before that is.
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        writing.abort();
    });
}

/// A primary whose commits wait for a standby, and that standby.
fn with_standby() -> (Arc<Cluster>, Arc<Cluster>) {
    let primary = Cluster::create();
    let standby = primary.standby();
    primary.execute("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.execute("postgres", "SELECT pg_reload_conf()");
    (primary, standby)
}

/// What an operator does to a commit that waits for its standby.
const CUTS: [&str; 2] = ["pg_cancel_backend", "pg_terminate_backend"];

#[test]
fn a_commit_that_its_standby_does_not_have_is_not_acknowledged() {
    for cut in CUTS {
        block_on(async {
            let (primary, standby) = with_standby();
            let server = Server::start(Arc::new(Database::create_in(primary.clone()))).await;
            let api = server.api();
            let path = format!("/v1/workspaces/{}", id(&api.make_workspace(json!({})).await));
            let frozen = standby.freeze();
            let write = api.patch(&path, &json!({"name": "Written"})).if_match(1);
            let writing = tokio::spawn(write.send());
            let waiting = "wait_event = 'SyncRep'";
            eventually("the commit waits for the standby", async || {
                let ask = format!("SELECT 1 / count(*)::int FROM pg_stat_activity WHERE {waiting}");
                primary.succeeds("postgres", &ask).then_some(())
            })
            .await;
            // From now on the commit stays on the primary, and PostgreSQL says so in a warning only.
            let end = format!("SELECT {cut}(pid) FROM pg_stat_activity WHERE {waiting}");
            let name = server.database().name().to_owned();
            eventually("the primary has it", async || {
                // The commit of another lane may have been the first to wait.
                primary.execute("postgres", &end);
                let ask = "SELECT 1 / count(*)::int FROM workspaces WHERE name = 'Written'";
                primary.succeeds(&name, ask).then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert!(!writing.is_finished(), "{cut}: it was answered without its standby");
            drop(frozen);
            let answer = writing.await.unwrap().unwrap();
            assert_eq!(answer.status, 200, "{cut}");
            primary.crash();
            standby.promote();
            let kept = standby.ask(&name, "SELECT max(version) FROM workspaces");
            assert_eq!(kept, "2");
        });
    }
}

#[test]
fn a_role_that_cannot_see_the_standbys_writes_nothing() {
    block_on(async {
        let (primary, _standby) = with_standby();
        let database = Database::create_in(primary.clone());
        let name = database.name().to_owned();
        primary.execute("postgres", "CREATE ROLE app LOGIN");
        primary.execute("postgres", &format!("ALTER DATABASE {name} OWNER TO app"));
        let database = database.with_role("app");
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        run_to_end(&database, &serve, &env).await.refused_naming("GRANT pg_read_all_stats");
        run_to_end(&database, &["doctor"], &env).await.refused_naming("GRANT pg_read_all_stats");
        primary.execute("postgres", "GRANT pg_read_all_stats TO app");
        let mut server = Server::start(Arc::new(database)).await;
        server.api().make_workspace(json!({})).await;
        server.stop().await;
    });
}
