#!/usr/bin/env bash
#
# serde_json: a number that a double holds exactly is read as the double beside it
#
# Versions
#   The crate serde_json 1.0.154 with its default features, and with `float_roundtrip`.
#
# Behaviour
#   "9007199254740991.0" is 2^53 - 1. A double holds it exactly, and JavaScript, Python and Rust's own
#   `str::parse::<f64>` read it as that. serde_json reads it as 9007199254740990. The text
#   "9007199254740991" without a fraction is read as an integer, and rightly.
#   Of 100,000 integers between 2^52 and 2^53, each written with ".0", about 15 % are read wrongly.
#   With the feature `float_roundtrip` all are right.
#
# Why it surprises
#   The feature's description speaks of floats that are printed and read back, and of "sufficient
#   precision". One expects the last bit of 0.1 + 0.2 to be at stake, not a whole number that needs no
#   rounding at all. The error is one whole unit, in numbers that every JSON guide calls safe.
#
# Who is hurt
#   Servers that accept `5.0` where JSON Schema says "integer" (it allows that), and read it as a double
#   first: amounts, ids and versions of large size change by one. Programs that write integers with a
#   fraction are common: spreadsheets, R, PHP's floats, JavaScript's toFixed.
#
# What helps
#   `serde_json = { version = "1", features = ["float_roundtrip"] }`. Features are the sum over a whole
#   build, so a dependency may have switched it on, or may stop doing so: a test should say it.
set -euo pipefail

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

build() { # build NAME FEATURES
    mkdir -p "$1/src"
    cat > "$1/Cargo.toml" <<TOML
[package]
name = "$1"
version = "0.0.0"
edition = "2021"
[dependencies]
serde_json = { version = "=1.0.154", features = [$2] }
[workspace]
TOML
    cat > "$1/src/main.rs" <<'RUST'
fn main() {
    let read = |text: &str| serde_json::from_str::<f64>(text).unwrap();
    println!("  9007199254740991.0 is read as {:.0}", read("9007199254740991.0"));
    let (mut wrong, mut x) = (0u32, 88_172_645_463_325_252u64);
    for _ in 0..100_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let exact = (1u64 << 52) + (x >> 12);
        let text = format!("{exact}.0");
        assert_eq!(text.parse::<f64>().unwrap() as u64, exact, "Rust's own parser is right");
        wrong += u32::from(read(&text) as u64 != exact);
    }
    println!("  of 100000 whole numbers between 2^52 and 2^53, {wrong} are read wrongly");
}
RUST
    (cd "$1" && cargo run --quiet --release)
}

echo "default features:"
default=$(build plain "")
echo "$default"
echo "float_roundtrip:"
exact=$(build exact '"float_roundtrip"')
echo "$exact"

grep -q "is read as 9007199254740990" <<< "$default" || { echo "changed: the default is exact now"; exit 1; }
! grep -q " 0 are read wrongly" <<< "$default" || { echo "changed: no number is read wrongly"; exit 1; }
grep -q "is read as 9007199254740991" <<< "$exact" || { echo "changed: float_roundtrip is not exact"; exit 1; }
grep -q " 0 are read wrongly" <<< "$exact" || { echo "changed: float_roundtrip is not exact"; exit 1; }
echo "as described"
