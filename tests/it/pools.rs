//! Pools between the server and PostgreSQL.
//!
//! `tests/pools` runs these scenarios with a newer PgBouncer than Debian 12 has.

use crate::harness::{
    Backend, Cluster, Database, Pool, Server, Settings, block_on, id, run_to_end, together, unique,
};
use serde_json::json;
use std::sync::Arc;

/// A new database, and a database of the tests that reaches it through a pool.
fn behind(pool: &Pool, database: Database) -> Database {
    let url = pool.url(database.name());
    database.with_url(url)
}

/// A trigger that notes the settings under which an event is committed.
const NOTE_SETTINGS: &str = "CREATE TABLE noted (setting text); \
     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     INSERT INTO noted SELECT name || '=' || setting FROM pg_settings WHERE name IN \
     ('synchronous_commit', 'plan_cache_mode', 'enable_seqscan', 'lock_timeout'); \
     RETURN NULL; END $$; \
     CREATE TRIGGER note AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION note()";

/// Writes by many clients at once. Each must succeed.
async fn write_much(server: &Server) {
    let api = server.api();
    let workspace = api.make_workspace(json!({})).await;
    let path = format!("/v1/workspaces/{}", id(&workspace));
    together(40, |number| {
        let (api, path) = (api.clone(), path.clone());
        async move {
            api.make_plan(json!({"code": unique("plan")})).await;
            for _ in 0..5 {
                let body = json!({"metadata": {format!("k{number}"): unique("v")}});
                let force = api.patch(&format!("{path}?force=true"), &body);
                force.header("X-Force-Reason", "to write much").await.ok(200);
                api.get(&path).await.ok(200);
                api.get("/v1/plans?limit=3").await.ok(200);
            }
        }
    })
    .await;
}

#[test]
fn writes_behind_a_pool_keep_their_settings_and_leave_none_behind() {
    block_on(async {
        let cluster = Cluster::create_with(&["synchronous_commit=off"]);
        let pool = Pool::start(&cluster, "transaction", 20);
        let database = behind(&pool, Database::create_in(cluster.clone()));
        let name = database.name().to_owned();
        if !Pool::keeps_statements_apart() {
            let env = [("IFMATCH_DATABASE_URL", database.url())];
            let serve = ["serve", "--listen", "127.0.0.1:0"];
            run_to_end(&database, &serve, &env).await.refused_naming("mixes up its clients");
            assert_eq!(cluster.ask(&name, "SELECT to_regclass('events') IS NULL"), "t");
            return;
        }
        let database = Arc::new(database);
        let mut server = Server::start(Arc::clone(&database)).await;
        cluster.execute(&name, NOTE_SETTINGS);
        write_much(&server).await;
        let noted = "SELECT string_agg(DISTINCT setting, ' ' ORDER BY setting) FROM noted";
        // The plan of a statement that commits itself is made before its settings.
        assert_eq!(
            cluster.ask(&name, noted),
            "enable_seqscan=off enable_seqscan=on lock_timeout=20 lock_timeout=2000 plan_cache_mode=auto \
             plan_cache_mode=force_generic_plan synchronous_commit=on"
        );
        let settings = "SELECT current_setting('synchronous_commit'), \
             current_setting('plan_cache_mode'), current_setting('statement_timeout'), pg_sleep(0.3)";
        let asking = (0..16).map(|_| {
            let (cluster, url) = (Arc::clone(&cluster), pool.url(&name));
            std::thread::spawn(move || cluster.ask_at(&url, settings))
        });
        for answer in asking.collect::<Vec<_>>() {
            assert_eq!(answer.join().unwrap(), "off|auto|0|");
        }
        server.stop().await;
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        run_to_end(&database, &["doctor"], &env).await.succeeded();
        run_to_end(&database, &["verify"], &env).await.succeeded();
    });
}

#[test]
fn a_pool_of_sessions_works() {
    block_on(async {
        let cluster = Cluster::create();
        let pool = Pool::start(&cluster, "session", 40);
        let database = behind(&pool, Database::create_in(cluster.clone()));
        let mut server = Server::start(Arc::new(database)).await;
        write_much(&server).await;
        server.stop().await;
    });
}

#[test]
fn a_pool_that_cannot_be_worked_with_is_refused_at_start() {
    block_on(async {
        let cluster = Cluster::create();
        for (mode, size, expected) in
            [("statement", 20, "pool_mode=transaction"), ("session", 4, "3 connections at a time")]
        {
            let pool = Pool::start(&cluster, mode, size);
            let database = behind(&pool, Database::create_in(cluster.clone()));
            let env = [("IFMATCH_DATABASE_URL", database.url())];
            let serve = ["serve", "--listen", "127.0.0.1:0"];
            run_to_end(&database, &serve, &env).await.refused_naming(expected);
        }
    });
}

#[test]
fn behind_a_pool_the_role_chooses_the_schema() {
    block_on(async {
        let cluster = Cluster::create();
        let pool = Pool::start(&cluster, "session", 40);
        let direct = Database::create_in(cluster.clone());
        let name = direct.name().to_owned();
        let database = behind(&pool, direct);
        let env = [("IFMATCH_DATABASE_URL", database.url())];
        let migrate = ["migrate", "--schema", "shop"];
        let refused = run_to_end(&database, &migrate, &env).await;
        refused.refused_naming("SET search_path = shop");
        let choose = format!("ALTER ROLE postgres IN DATABASE {name} SET search_path = shop");
        cluster.execute("postgres", &choose);
        drop(pool);
        let pool = Pool::start(&cluster, "session", 40);
        let url = pool.url(&name);
        let home = Database::create(Backend::Sqlite).with_url(url);
        let args = Settings::args(&["--schema", "shop"]);
        let mut server = Server::start_with(Arc::new(home), args).await;
        server.api().make_workspace(json!({})).await;
        server.stop().await;
        assert_eq!(cluster.ask(&name, "SELECT count(*) FROM shop.workspaces"), "1");
    });
}
