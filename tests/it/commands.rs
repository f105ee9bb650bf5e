//! The subcommands an operator uses.

use crate::harness::{
    Api, Backend, Database, Finished, Server, Settings, block_on, both_databases, eventually,
    find_key, id, run_to_end,
};
use serde_json::{Value, json};

both_databases![
    keys_are_made_listed_and_revoked_on_the_command_line,
    a_key_of_the_command_line_can_expire,
    a_key_is_replaced_on_the_command_line,
    migrating_twice_changes_nothing,
    the_doctor_finds_a_healthy_database_healthy,
    verify_accepts_what_the_api_wrote,
    what_the_command_line_does_is_on_record,
];

async fn command(database: &Database, args: &[&str]) -> Finished {
    run_to_end(database, args, &[("IFMATCH_DATABASE_URL", database.url())]).await
}

async fn keys_are_made_listed_and_revoked_on_the_command_line(server: Server) {
    let database = server.database();
    let args = ["keys", "create", "--name", "from-the-shell", "--role", "agent"];
    let made = command(database, &args).await.succeeded();
    let key = find_key(&made.stdout).unwrap_or_else(|| panic!("no key: {}", made.output()));
    let api = server.api().with_key(&key);
    let workspace = eventually("the running server knows the key", async || {
        let answer = api.post("/v1/workspaces", &json!({"name": "x"})).await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    assert_eq!(workspace["updated_by"], "from-the-shell");
    api.get("/v1/api-keys").await.problem(403, "FORBIDDEN");

    let listed = command(database, &["keys", "list"]).await.succeeded();
    assert!(listed.stdout.contains("from-the-shell"), "{}", listed.stdout);
    assert!(!listed.output().contains(&key), "a key is shown once");
    let keys = server.api().list("/v1/api-keys").await;
    let made = keys.iter().find(|key| key["name"] == "from-the-shell").unwrap();
    assert!(listed.stdout.contains(id(made)), "{}", listed.stdout);
    command(database, &args).await.refused_naming(&format!("{} already has this name", id(made)));
    command(database, &["keys", "revoke", id(made)]).await.succeeded();
    eventually("the running server refuses the key", async || {
        (api.get("/v1/plans").await.status == 401).then_some(())
    })
    .await;
    let unknown = format!("key_{}", "0".repeat(32));
    command(database, &["keys", "revoke", &unknown]).await.refused_naming(&unknown);
    let wrong = ["keys", "create", "--name", "x", "--role", "owner"];
    command(database, &wrong).await.refused_naming("owner");
}

async fn a_key_of_the_command_line_can_expire(server: Server) {
    let database = server.database();
    let args = ["keys", "create", "--name", "short", "--role", "viewer", "--expires-in"];
    command(database, &[&args[..], &["1h"]].concat()).await.succeeded();
    let keys = server.api().list("/v1/api-keys").await;
    let made = keys.iter().find(|key| key["name"] == "short").unwrap();
    let expires: jiff::Timestamp = made["expires_at"].as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3_400..=3_600).contains(&left), "{left} seconds are left");
    command(database, &[&args[..], &["soon"]].concat()).await.refused_naming("soon");
}

async fn a_key_is_replaced_on_the_command_line(server: Server) {
    let (database, api) = (server.database(), server.api());
    let (holder, old) = api.make_named_key("viewer").await;
    let rotate = ["keys", "rotate", id(&old), "--overlap"];
    let made = command(database, &[&rotate[..], &["1h"]].concat()).await.succeeded();
    let key = find_key(&made.stdout).unwrap_or_else(|| panic!("no key: {}", made.output()));
    assert_eq!(made.output().matches(&key).count(), 1, "the key is shown once");
    let new = api.with_key(&key);
    eventually("the running server knows the new key", async || {
        (new.get("/v1/plans").await.status == 200).then_some(())
    })
    .await;
    holder.get("/v1/plans").await.ok(200);

    let keys = api.list("/v1/api-keys").await;
    let listed = |wanted: &str| keys.iter().find(|key| id(key) == wanted).expect("it is listed");
    let (old, new) = (listed(id(&old)), listed(listed(id(&old))["rotated_to"].as_str().unwrap()));
    for same in ["name", "role", "workspace_id", "acting_for"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert!(made.output().contains(id(old)) && made.output().contains(id(new)));
    let end: jiff::Timestamp = old["expires_at"].as_str().unwrap().parse().unwrap();
    let left = end.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3_400..=3_600).contains(&left), "{left} seconds are left");
    assert_eq!(new["expires_at"], Value::Null);
    let audit = api.audit("api_key_rotated", id(old)).await;
    assert_eq!(audit[0]["actor"], "cli");

    let again = command(database, &rotate[..3]).await;
    again.refused_naming("already replaced");
    let long = ["keys", "rotate", id(new), "--overlap", "31days"];
    command(database, &long).await.refused_naming("overlap");
    let unknown = format!("key_{}", "0".repeat(32));
    command(database, &["keys", "rotate", &unknown]).await.refused_naming(&unknown);

    command(database, &["keys", "rotate", id(new)]).await.succeeded();
    eventually("without an overlap the old key ends", async || {
        (api.with_key(&key).get("/v1/plans").await.status == 401).then_some(())
    })
    .await;
}

async fn migrating_twice_changes_nothing(mut server: Server) {
    let fresh = Database::create(server.database().backend());
    command(&fresh, &["migrate"]).await.succeeded();
    command(&fresh, &["migrate"]).await.succeeded();
    let workspace = server.api().make_workspace(json!({})).await;
    server.stop().await;
    command(server.database(), &["migrate"]).await.succeeded();
    server.restart().await;
    assert_eq!(server.api().read("workspaces", &workspace).await, workspace);
}

async fn the_doctor_finds_a_healthy_database_healthy(server: Server) {
    let said = command(server.database(), &["doctor"]).await.succeeded().output().to_lowercase();
    for checked in ["database", "migration", "clock"] {
        assert!(said.contains(checked), "{checked} is not in {said}");
    }
}

async fn verify_accepts_what_the_api_wrote(server: Server) {
    let api = server.api();
    let invoice = api.make_open_invoice(json!({})).await;
    api.pay(&invoice, 400).await.ok(201);
    let subscription = api.make_subscription(json!({})).await;
    api.change("subscriptions", &subscription, json!({"status": "canceled"})).await;
    let workspace = api.make_workspace(json!({})).await;
    api.delete(&format!("/v1/workspaces/{}", id(&workspace))).if_match(1).await.ok(200);
    command(server.database(), &["verify"]).await.succeeded();
}

async fn what_the_command_line_does_is_on_record(server: Server) {
    let args = ["keys", "create", "--name", "recorded", "--role", "viewer"];
    command(server.database(), &args).await.succeeded();
    let records = server.api().list("/v1/audit").await;
    let recorded = |record: &Value| record.to_string().contains("recorded");
    assert!(records.iter().any(recorded), "{records:?}");
}

#[test]
fn the_openapi_command_prints_what_the_server_serves() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let printed = command(&database, &["openapi"]).await.succeeded();
        let printed: Value = serde_json::from_str(&printed.stdout).expect("it is JSON");
        let server = Server::start(database.into()).await;
        let served = server.api().without_key().get("/openapi.json").await.ok(200);
        assert_eq!(printed, served);
    });
}

#[test]
fn the_doctor_names_what_is_wrong() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let away = [("IFMATCH_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")];
        run_to_end(&database, &["doctor"], &away).await.refused_naming("database");
        let refused = run_to_end(&database, &["verify"], &away).await.refused_naming("refused");
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    });
}

#[test]
fn the_manual_page_is_whole_and_printed_with_a_wrong_setting() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let page = run_to_end(&database, &["man"], &[("IFMATCH_FOO", "1")]).await.succeeded();
        assert!(!page.stdout.contains("(1)"), "it refers to no other page: {}", page.stdout);
        for told in ["keys rotate", "\\-\\-overlap", "IFMATCH_DATABASE_URL", "IFMATCH_ADMIN_KEY"] {
            assert!(page.stdout.contains(told), "{told} is not in {}", page.stdout);
        }
    });
}

/// A newer program has migrated the database. What it stores may be read wrongly here.
#[test]
fn a_database_of_a_newer_version_is_refused() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        block_on(async {
            let database = Database::create(backend);
            command(&database, &["migrate"]).await.succeeded();
            database.execute(
                "INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')",
            );
            for args in [
                &["serve", "--listen", "127.0.0.1:0"][..],
                &["serve", "--no-migrate", "--listen", "127.0.0.1:0"],
                &["migrate"],
                &["doctor"],
                &["verify"],
                &["restored"],
                &["keys", "list"],
                &["keys", "create", "--name", "x", "--role", "viewer"],
            ] {
                command(&database, args).await.refused_naming("20990101000000");
            }
        });
    }
}

#[test]
fn commands_about_existing_keys_make_no_database() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        let key = "key_00000000000000000000000000000000";
        for args in [&["keys", "list"][..], &["keys", "rotate", key], &["keys", "revoke", key]] {
            command(&database, args).await.refused_naming("test.db");
            assert_eq!(database.stored_bytes(), b"", "{args:?}");
        }
        let create = ["keys", "create", "--name", "first", "--role", "admin"];
        let made = command(&database, &create).await.succeeded();
        assert!(made.output().contains("made a new database"), "{}", made.output());
        let made = command(&database, &["keys", "create", "--name", "b", "--role", "viewer"]).await;
        assert!(!made.succeeded().output().contains("made a new database"));
    });
}

#[test]
fn a_key_made_before_the_first_start_is_the_only_one() {
    block_on(async {
        let database = Database::create(Backend::Sqlite);
        command(&database, &["migrate"]).await.succeeded();
        let args = ["keys", "create", "--name", "first", "--role", "admin"];
        let made = command(&database, &args).await.succeeded();
        let key = find_key(&made.stdout).expect("it is printed");
        let settings = Settings::without("IFMATCH_ADMIN_KEY");
        let server = Server::start_with(database.into(), settings).await;
        let api = Api::new(server.url(), Some(&key));
        assert_eq!(api.list("/v1/api-keys").await.len(), 1);
        assert!(find_key(&format!("{}{}", server.stdout(), server.log())).is_none());
    });
}
