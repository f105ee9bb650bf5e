use super::*;
use crate::log::LogFormat;
use ifmatch_types::Role;
use secrecy::ExposeSecret;
use std::time::Duration;

const KEY: &str = "an-admin-key-of-24-chars";

/// Reads a command line, an environment of `NAME=value` and the content of `app.toml`.
fn try_read(args: &str, env: &[&str], file: &str) -> Result<(Task, Config), ConfigError> {
    let arguments = std::iter::once("ifmatch-server").chain(args.split_whitespace());
    let environment = env.iter().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    read(arguments, environment, |path| match path.to_str() {
        Some("app.toml") => Ok(file.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

fn config(args: &str, env: &[&str], file: &str) -> Config {
    try_read(args, env, file).unwrap().1
}

fn sentence(args: &str, env: &[&str], file: &str) -> String {
    match try_read(args, env, file) {
        Err(ConfigError::Setting(sentence)) => sentence,
        other => panic!("{args} {env:?} {file}: {other:?}"),
    }
}

#[test]
fn without_a_word_it_serves_on_loopback() {
    let (action, config) = try_read("", &[], "").unwrap();
    assert_eq!(action, Task::Serve);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(Ok(&config.database_url), "sqlite://ifmatch.db".parse().as_ref());
    assert_eq!((config.lanes(), config.queue, config.batch_max), (1, 4096, 512));
    assert_eq!((config.panel_timeout_ms, config.settle_ms), (40_000, 60_000));
    assert_eq!((config.absent_gap_ms, config.reconcile_ms), (30_000, 30_000));
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(config.admin_key.is_none() && config.tls().is_none() && !config.behind_proxy);
    assert_eq!((config.requests_per_s(), config.keep_alive_s), (0, 130));
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let env = ["IFMATCH_LANES=2", "IFMATCH_QUEUE=20"];
    let file = "lanes = 3\nqueue = 30\nbatch_max = 300\nlog_format = \"json\"";
    let config = config("--config app.toml --lanes 1", &env, file);
    assert_eq!((config.lanes, config.queue, config.batch_max), (Some(1), 20, 300));
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.log_level, "info");
}

#[test]
fn every_setting_can_be_said_in_the_environment_and_in_the_file() {
    for setting in SETTINGS {
        let value = match setting.key {
            // Only with others.
            "tls_cert" | "tls_key" | "panel_url" | "panel_key" | "trusted_proxies" | "schema" => {
                continue;
            }
            "public_url" => "https://billing.example.com",
            "rate_limit" | "lanes" | "http_threads" | "connections" | "connections_per_address" => {
                "7"
            }
            "admin_key" | "secret" => KEY,
            _ => setting.default.unwrap(),
        };
        assert!(try_read("", &[&format!("{}={value}", setting.env)], "").is_ok(), "{value}");
        let file = format!("{} = \"{value}\"", setting.key);
        assert!(try_read("--config app.toml", &[], &file).is_ok(), "{file}");
    }
    let env = ["IFMATCH_PANEL_URL=https://p.example/", "IFMATCH_PANEL_KEY=ptla_x"];
    assert_eq!(config("", &env, "").panel_url.unwrap(), "https://p.example");
}

#[test]
fn behind_a_proxy_there_is_a_rate_limit_also_on_loopback() {
    assert_eq!(config("--behind-proxy", &[], "").requests_per_s(), 500);
    assert_eq!(config("--behind-proxy --rate-limit 0", &[], "").requests_per_s(), 0);
}

#[test]
fn an_address_has_a_share_of_the_connections() {
    let of = |args| {
        let config = config(args, &[], "");
        (config.connections(), config.connections_per_address())
    };
    assert_eq!(of("--connections 100"), (100, 25));
    assert_eq!(of("--connections 2"), (2, 1));
    assert_eq!(of("--connections 9000"), (9_000, 256));
    assert_eq!(of("--connections 100 --connections-per-address 0"), (100, 0));
    assert!(of("").0 > 1);
}

#[test]
fn proxies_are_trusted_only_behind_one() {
    let local = "127.0.0.1".parse().unwrap();
    let other = "10.1.2.3".parse().unwrap();
    assert!(!config("", &[], "").trusted_proxies().contain(local));
    let by_default = config("--behind-proxy", &[], "").trusted_proxies();
    assert!(by_default.contain(local) && !by_default.contain(other));
    let named = config("--behind-proxy --trusted-proxies 10.0.0.0/8", &[], "").trusted_proxies();
    assert!(named.contain(other) && !named.contain(local));
    assert_eq!(
        sentence("--trusted-proxies 10.0.0.0/8", &[], ""),
        "trusted_proxies: it is set and behind_proxy is not"
    );
}

#[test]
fn names_are_written_one_way() {
    for (place, setting) in SETTINGS.iter().enumerate() {
        assert!(setting.env.starts_with(PREFIX), "{}", setting.env);
        assert!(SETTINGS[place + 1..].iter().all(|other| other.env != setting.env));
        let usual = format!("{PREFIX}{}", setting.key.to_uppercase());
        assert!(setting.env == usual || setting.env == "IFMATCH_LOG", "{}", setting.env);
    }
    command().debug_assert();
}

#[test]
fn flags_may_stand_before_and_after_the_subcommand() {
    let (action, config) = try_read("--lanes 2 doctor --queue 9", &[], "").unwrap();
    assert_eq!(action, Task::Doctor);
    assert_eq!((config.lanes, config.queue), (Some(2), 9));
}

#[test]
fn subcommands() {
    let action = |args| try_read(args, &[], "").unwrap().0;
    let rotate = |overlap_s| {
        let overlap = Duration::from_secs(overlap_s);
        Task::Keys(KeysTask::Rotate { id: "key_1".to_owned(), overlap })
    };
    for (name, expected) in [
        ("serve", Task::Serve),
        ("migrate", Task::Migrate),
        ("openapi", Task::Openapi),
        ("verify", Task::Verify),
        ("restored", Task::Restored),
        ("keys list", Task::Keys(KeysTask::List)),
        ("keys rotate key_1", rotate(0)),
        ("keys rotate key_1 --overlap 1h", rotate(3_600)),
        ("keys revoke key_1", Task::Keys(KeysTask::Revoke { id: "key_1".to_owned() })),
    ] {
        assert_eq!(action(name), expected);
    }
    let create = KeysTask::Create {
        name: "ci".to_owned(),
        role: Role::Agent,
        workspace: None,
        acting_for: None,
        expires_in: Some(Duration::from_secs(90 * 24 * 3_600)),
    };
    assert_eq!(action("keys create --name ci --role agent --expires-in 90d"), Task::Keys(create));
    let scoped = KeysTask::Create {
        name: "ann".to_owned(),
        role: Role::Viewer,
        workspace: Some("wsp_1".to_owned()),
        acting_for: Some("ann".to_owned()),
        expires_in: None,
    };
    let args = "keys create --name ann --role viewer --workspace wsp_1 --acting-for ann";
    assert_eq!(action(args), Task::Keys(scoped));
}

#[test]
fn a_command_line_that_cannot_be_read_exits_with_2_and_help_with_0() {
    for args in ["--lanez 2", "frobnicate", "keys create --name x --role king", "--admin-key x"] {
        let error = try_read(args, &[], "").unwrap_err();
        assert!(matches!(&error, ConfigError::Usage(usage) if usage.exit_code() == 2), "{args}");
    }
    let help = try_read("--help", &[], "").unwrap_err();
    assert!(matches!(&help, ConfigError::Usage(usage) if usage.exit_code() == 0));
    let text = help.to_string();
    for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
        assert!(text.contains(&setting.flag()) && text.contains(setting.env), "{text}");
    }
}

#[test]
fn a_bad_value_is_named_by_where_it_was_said() {
    assert_eq!(
        sentence("", &["IFMATCH_LISTEN=x"], ""),
        "IFMATCH_LISTEN: `x` is not an address such as 127.0.0.1:8080"
    );
    // It would be taken for the name of a target, and nothing would be logged.
    for silent in ["warning", "verbose", "hyper", "warning,hyper=off"] {
        let text = sentence(&format!("--log-level {silent}"), &[], "");
        assert!(text.contains(&format!("`{silent}` is not a log filter")), "{text}");
    }
    assert_eq!(sentence("--lanes 0", &[], ""), "--lanes: `0` is not a whole number from 1 to 64");
    assert_eq!(
        sentence("--config app.toml", &[], "log_format = 7"),
        "app.toml: log_format: `7` is not text or json"
    );
    for (env, start) in [
        ("IFMATCH_DATABASE_URL=mysql://x", "IFMATCH_DATABASE_URL: `mysql://x` is not"),
        ("IFMATCH_DATABASE_URL=mysql://u:pw@x", "IFMATCH_DATABASE_URL: the value is not"),
        ("IFMATCH_DATABASE_URL=mysql://x?password=pw", "IFMATCH_DATABASE_URL: the value is not"),
        ("IFMATCH_LOG=info,=/=", "IFMATCH_LOG: `info,=/=` is not"),
        ("IFMATCH_RATE_LIMIT=-1", "IFMATCH_RATE_LIMIT: `-1` is not"),
        ("IFMATCH_BEHIND_PROXY=yes", "IFMATCH_BEHIND_PROXY: `yes` is not true or false"),
        ("IFMATCH_SETTLE_MS=0", "IFMATCH_SETTLE_MS: `0` is not"),
        ("IFMATCH_HISTORY_DAYS=2", "IFMATCH_HISTORY_DAYS: `2` is not 0, or a whole number of days"),
    ] {
        let text = sentence("", &[env], "");
        assert!(text.starts_with(start), "{text}");
    }
    assert_eq!(config("--history-days 3", &[], "").history_days, 3);
}

#[test]
fn unknown_names_are_errors() {
    let text = sentence("", &["IFMATCH_LISTN=127.0.0.1:1"], "");
    assert_eq!(text, "IFMATCH_LISTN: there is no such setting");
    let text = sentence("--config app.toml", &[], "listn = 1");
    assert_eq!(text, "app.toml: `listn` is not a setting");
    let text = sentence("--config app.toml", &[], "[listen]\nport = 1");
    assert!(text.starts_with("app.toml: `listen` is not an address"), "{text}");
}

#[test]
fn what_is_the_same_with_all_settings_is_printed_with_a_wrong_one() {
    for args in ["settings", "man", "completions bash"] {
        assert!(try_read(args, &["IFMATCH_LISTN=127.0.0.1:1"], "").is_ok(), "{args}");
    }
}

#[test]
fn names_of_clients_and_tests_are_left_alone() {
    let env = ["IFMATCH_URL=http://x", "IFMATCH_KEY=k", "IFMATCH_TEST_PG=1", "HOME=/x"];
    assert!(try_read("", &env, "").is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    assert!(sentence("--config no.toml", &[], "").starts_with("no.toml: it cannot be read"));
    assert!(sentence("", &["IFMATCH_CONFIG=no.toml"], "").starts_with("no.toml: "));
    let text = sentence("--config app.toml", &[], "lanes = 1\nadmin_key = hunter2hunter2");
    assert!(text.starts_with("app.toml: line 2 is not TOML"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn other_machines_are_served_only_over_tls() {
    let text = sentence("--listen 0.0.0.0:8080", &[], "");
    assert!(text.starts_with("listen: 0.0.0.0:8080 can be reached"), "{text}");
    assert!(sentence("--listen [::]:0", &[], "").contains("--behind-proxy"));
    let proxied = config("--listen 0.0.0.0:8080 --behind-proxy", &[], "");
    assert!(proxied.behind_proxy);
    assert_eq!(proxied.requests_per_s(), 500);
    let tls = config("--listen 0.0.0.0:443 --tls-cert c --tls-key k --rate-limit 0", &[], "");
    assert_eq!(tls.tls(), Some((Path::new("c"), Path::new("k"))));
    assert_eq!(tls.requests_per_s(), 0);
    assert!(config("--listen [::1]:0", &["IFMATCH_BEHIND_PROXY=false"], "").listen.port() == 0);
}

#[test]
fn halves_of_pairs_are_errors() {
    assert!(sentence("--tls-cert c", &[], "").starts_with("tls_cert, tls_key: "));
    assert!(sentence("", &["IFMATCH_PANEL_URL=http://x"], "").starts_with("panel_url, panel_key"));
}

#[test]
fn secrets_are_long_enough_and_never_repeated() {
    let short = "IFMATCH_ADMIN_KEY=only-23-characters-long";
    let text = sentence("", &[short], "");
    assert_eq!(text, "IFMATCH_ADMIN_KEY: the value is not a key of 24 to 255 visible characters");
    let env = [
        &format!("IFMATCH_ADMIN_KEY={KEY}"),
        "IFMATCH_SECRET=canary-canary-canary-canary",
        "IFMATCH_PANEL_URL=http://x",
        "IFMATCH_PANEL_KEY=canary",
        "IFMATCH_DATABASE_URL=postgres://me:canary@host/db?password=canary",
    ];
    let config = config("", &env, "");
    let shown = format!("{config:?}");
    assert!(!shown.contains("canary") && !shown.contains(KEY), "{shown}");
    assert!(shown.contains("postgres://…host/db"), "{shown}");
    assert_eq!(config.admin_key.unwrap().expose_secret(), KEY);
    assert_eq!(
        config.database_url,
        "postgres://me:canary@host/db?password=canary".parse().unwrap()
    );
}

#[test]
fn a_database_url_that_fails_at_the_first_connection_is_refused_before_it() {
    let of = |url: &str| sentence("", &[&format!("IFMATCH_DATABASE_URL={url}")], "");
    assert_eq!(
        of("postgres://db/x?schema=shop"),
        "database_url: PostgreSQL knows no parameter `schema`; set the schema with --schema"
    );
    for url in ["postgres://me:p@canary@db/x", "host=db password=canary", "me:canary@db"] {
        assert!(!of(url).contains("canary"), "{url}");
    }
}

#[test]
fn a_schema_belongs_to_postgresql() {
    assert!(sentence("--schema shop", &[], "").starts_with("schema: SQLite has no schemas"));
    let postgres = "IFMATCH_DATABASE_URL=postgres://db/x";
    assert!(sentence("--schema Shop", &[postgres], "").starts_with("schema: a schema is named"));
    assert_eq!(config("--schema shop", &[postgres], "").schema.as_deref(), Some("shop"));
}

#[test]
fn a_public_url_is_an_address_without_a_slash_at_its_end() {
    let config = config("--public-url https://billing.example.com/api/", &[], "");
    assert_eq!(config.public_url.as_deref(), Some("https://billing.example.com/api"));
    assert!(sentence("--public-url billing.example.com", &[], "").starts_with("--public-url: "));
}
