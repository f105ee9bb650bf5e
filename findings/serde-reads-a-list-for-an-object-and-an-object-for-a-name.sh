#!/usr/bin/env bash
#
# serde: a derived struct is also read from a list, and a variant's name also from an object
#
# Versions
#   The crates serde 1.0.229 with its derive macros, and serde_json 1.0.154.
#
# Behaviour
#   A struct with `#[derive(Deserialize)]` and `#[serde(deny_unknown_fields)]` is read from
#   `["seats", 5]` as from `{"code": "seats", "limit": 5}`: the list has the fields' values in the order
#   of their declaration. If all fields have defaults, `[]` is read as well. This also holds for a
#   struct within another one.
#   An enum without data is read from `{"create": null}` as from `"create"`.
#
# Why it surprises
#   A document that is generated from the same type says `type: object`, or lists the names. The strictest
#   attribute refuses unknown fields, but not a value without any field names. In a list, the order in
#   which the fields are declared becomes part of the format: to move one changes what is read.
#
# Who is hurt
#   Services that look at a body before they read it: to find what it refers to, to see whether it asks
#   for something costly, to compare it with a schema. They look for members and names, find none, and
#   the body is read all the same. Formats such as bincode need lists of values; JSON does not.
#
# What helps
#   Reading through a deserializer that accepts only objects for structs and only strings for names, or
#   checking the body against the schema first.
set -euo pipefail

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "spellings"
version = "0.0.0"
edition = "2021"
[dependencies]
serde = { version = "=1.0.229", features = ["derive"] }
serde_json = "=1.0.154"
[workspace]
TOML
cat > src/main.rs <<'RUST'
use serde::{de::DeserializeOwned, Deserialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Grant {
    code: String,
    limit: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Package {
    grants: Vec<Grant>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code)]
struct Options {
    databases: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Create,
}

fn read<T: DeserializeOwned + std::fmt::Debug>(text: &str) {
    match serde_json::from_str::<T>(text) {
        Ok(read) => println!("{text} is read as {read:?}"),
        Err(error) => println!("{text} is refused: {error}"),
    }
}

fn main() {
    read::<Grant>(r#"{"code": "seats", "limit": 5, "other": 1}"#);
    read::<Grant>(r#"["seats", 5]"#);
    read::<Package>(r#"{"grants": [["seats", 5]]}"#);
    read::<Options>("[]");
    read::<Operation>(r#""create""#);
    read::<Operation>(r#"{"create": null}"#);
}
RUST
seen=$(cargo run --quiet)
echo "$seen"

expect() { # expect LINE
    grep -qF "$1" <<< "$seen" || { echo "changed: no longer \"$1\""; exit 1; }
}
expect '"other": 1} is refused'
expect '["seats", 5] is read as Grant { code: "seats", limit: Some(5) }'
expect '{"grants": [["seats", 5]]} is read as Package'
expect '[] is read as Options { databases: 0 }'
expect '{"create": null} is read as Create'
echo "as described"
