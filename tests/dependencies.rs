//! The licences and sources of all dependencies, judged by the lists in `deny.toml`.
//!
//! Nothing is downloaded, so every run of the tests judges them. `cargo deny`, where `tests/run` can
//! get it, also judges crates of other platforms, and advisories.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop there and say so"
)]

use serde_json::Value;
use std::{iter::Peekable, process::Command};
use toml::Table;

/// A list of `deny.toml`, such as `licenses.allow`.
fn list(section: &str, name: &str) -> Vec<String> {
    let rules: Table = include_str!("../deny.toml").parse().unwrap();
    let list = rules[section][name].as_array().unwrap();
    list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// All crates that are built on this machine. They are downloaded already.
fn crates() -> Vec<Value> {
    let run = |program: &str, args: &[&str]| {
        let told = Command::new(program).args(args).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap()
    };
    let host = run(&std::env::var("RUSTC").unwrap_or("rustc".to_owned()), &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let asked = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"];
    let metadata = run(env!("CARGO"), &[&asked[..], &[&host]].concat());
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with these licences alone.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    // Old crates write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_met(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression} is not an SPDX expression");
    met
}

/// Alternatives. `AND` binds more tightly than `OR`.
fn any_met<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    let mut met = all_met(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_met(words, allowed);
    }
    met
}

fn all_met<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    let mut met = one_met(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one_met(words, allowed);
    }
    met
}

fn one_met<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &[String]) -> bool {
    let first = words.next().expect("an expression does not end with an operator");
    if first == "(" {
        let met = any_met(words, allowed);
        assert_eq!(words.next(), Some(")"), "a bracket is closed");
        return met;
    }
    let licence = match words.next_if_eq(&"WITH") {
        Some(_) => format!("{first} WITH {}", words.next().expect("WITH names an exception")),
        None => first.to_owned(),
    };
    allowed.contains(&licence)
}

#[test]
fn each_crate_has_an_allowed_licence() {
    let allowed = list("licenses", "allow");
    let crates = crates();
    assert!(crates.len() > 100, "all crates are judged");
    let refused = crates.iter().filter(|one| {
        let expression = one["license"].as_str();
        !expression.is_some_and(|expression| is_met(expression, &allowed))
    });
    let refused =
        refused.map(|one| format!("{} {}: {}", one["name"], one["version"], one["license"]));
    assert_eq!(refused.collect::<Vec<_>>(), [""; 0], "deny.toml does not allow these licences");
}

#[test]
fn each_crate_comes_from_an_allowed_source() {
    let registries =
        list("sources", "allow-registry").into_iter().map(|url| format!("registry+{url}"));
    let gits = list("sources", "allow-git").into_iter().map(|url| format!("git+{url}"));
    let allowed: Vec<String> = registries.chain(gits).collect();
    let lock: Table = include_str!("../Cargo.lock").parse().unwrap();
    let mut refused = Vec::new();
    for one in lock["package"].as_array().unwrap() {
        // A crate of this workspace has no source.
        let Some(source) = one.get("source") else { continue };
        // `git+URL?branch=main#commit`
        let place = source.as_str().unwrap().split(['?', '#']).next().unwrap();
        if !allowed.iter().any(|source| source == place) {
            refused.push(format!("{}: {source}", one["name"]));
        }
    }
    assert_eq!(refused, [""; 0], "deny.toml does not allow these sources");
}

#[test]
fn an_expression_is_met_by_the_licences_that_it_needs() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, is_allowed) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("Unlicense/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND ISC", true),
        ("GPL-3.0 AND ISC OR MIT", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("MIT WITH LLVM-exception", false),
    ] {
        assert_eq!(is_met(expression, &allowed), is_allowed, "{expression}");
    }
}
