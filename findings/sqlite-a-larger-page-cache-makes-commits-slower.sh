#!/usr/bin/env bash
#
# SQLite: a commit that split a page walks the whole page cache, so a larger cache makes commits slower
#
# Versions
#   SQLite 3.54.1, in the PyPI package apsw 3.54.1.0. VERSION=3.51.3.0 in the environment takes
#   SQLite 3.51.3, which behaves the same.
#
# Behaviour
#   A database in WAL mode has a table of 600,000 rows with random keys, some 58,000 pages. One
#   connection writes 25 rows in each transaction, once with a cache of 500 pages and once with a cache
#   that holds the whole database. Only COMMIT is timed, and nothing waits for a disk.
#   1. If the rows are updated in their places, COMMIT takes about the same time with both caches.
#   2. If they are inserted, so that some page is split, COMMIT takes several times as long with the large
#      cache. It writes the same pages to the log in both cases.
#   3. All in all, a transaction of 25 inserts is slower with the large cache, which reads nothing from
#      the file, than with the small one, which reads nearly every page again.
#
# Why it surprises
#   `cache_size` is the first thing that is raised to make a database faster, up to gigabytes, and a cache
#   is thought to cost memory only. But when a b-tree is balanced, its pages are put in order, and for a
#   moment a page has a number far beyond the end of the file. At the end of the transaction SQLite drops
#   what is cached beyond the end of the file. Since it has seen such a number, it visits every page that
#   is cached. The price of a commit is then a matter of the cache, and not of the transaction.
#
# Who is hurt
#   Programs with many small transactions that insert, and a large cache: queues, event logs, servers with
#   one writer. With a million cached pages (4 GB), such a commit takes ten milliseconds and more.
#
# What helps
#   A small cache on the connection that writes (the operating system has the file in memory anyway),
#   large ones on connections that read. More rows in a transaction.
#
# What this script does
#   It installs apsw in a virtual environment in a temporary folder, makes the two databases there
#   (300 MB in all, one after the other), prints the medians and removes everything. It needs bash and
#   Python 3.9 or newer with venv. It takes about 40 seconds.
#
# Exit status
#   0: SQLite behaves as described.  1: it behaves differently.  2: it could not be measured.

set -euo pipefail

version=${VERSION:-3.54.1.0}

fail() {
    echo "not measured: $*" >&2
    exit 2
}

for tool in python3 timeout mktemp; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python || fail "no virtual environment"
timeout 120 python/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    "apsw==$version" || fail "pip could not install apsw $version"

cat >measure.py <<'MEASURE'
import os
import random
import statistics
import sys
import time

import apsw

ROWS = 600_000
LENGTH = 300
IN_A_TRANSACTION = 25
TRANSACTIONS = 400
SMALL, LARGE = 500, 100_000


def key(numbers):
    return f"{numbers.getrandbits(64):016x}"


def timed(connection, statements):
    """The median times of a whole transaction and of its COMMIT, in microseconds."""
    wholes, commits = [], []
    for rows in statements:
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for statement, values in rows:
            connection.execute(statement, values)
        ready = time.perf_counter()
        connection.execute("COMMIT")
        ended = time.perf_counter()
        wholes.append((ended - began) * 1e6)
        commits.append((ended - ready) * 1e6)
    return statistics.median(wholes), statistics.median(commits)


def measure(cache):
    numbers = random.Random(7)
    connection = apsw.Connection("measured.db")
    for pragma in (
        "page_size = 4096",
        "journal_mode = WAL",
        "synchronous = OFF",
        "wal_autocheckpoint = 0",
        f"cache_size = {cache}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE items (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
    connection.execute("BEGIN")
    made = [key(numbers) for _ in range(ROWS)]
    connection.executemany("INSERT INTO items VALUES (?, ?)", ((one, "a" * LENGTH) for one in made))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    # All pages are read, and those that fit stay in the cache.
    connection.execute("SELECT sum(length(value)) FROM items").fetchall()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    update = "UPDATE items SET value = ? WHERE key = ?"
    insert = "INSERT INTO items VALUES (?, ?)"
    updates = timed(
        connection,
        (
            [(update, ("b" * LENGTH, numbers.choice(made))) for _ in range(IN_A_TRANSACTION)]
            for _ in range(TRANSACTIONS)
        ),
    )
    inserts = timed(
        connection,
        (
            [(insert, (key(numbers), "a" * LENGTH)) for _ in range(IN_A_TRANSACTION)]
            for _ in range(TRANSACTIONS)
        ),
    )
    connection.close()
    for name in os.listdir("."):
        if name.startswith("measured.db"):
            os.unlink(name)
    print(f"  cache of {cache:7,} pages, database of {pages:,}:")
    for what, (whole, commit) in (("updates", updates), ("inserts", inserts)):
        print(f"    25 {what}: {whole:8.0f} µs, of it COMMIT {commit:8.0f} µs")
    return updates, inserts


print(f"SQLite {apsw.sqlite_lib_version()}, medians of {TRANSACTIONS} transactions")
small_updates, small_inserts = measure(SMALL)
large_updates, large_inserts = measure(LARGE)
by_cache = large_updates[1] / small_updates[1]
print(f"COMMIT of updates, large cache against small: {by_cache:.2f} times as long")
of_splits = large_inserts[1] / small_inserts[1]
print(f"COMMIT of inserts, large cache against small: {of_splits:.2f} times as long")
in_all = large_inserts[0] / small_inserts[0]
print(f"25 inserts in all, large cache against small: {in_all:.2f} times as long")
differences = []
if by_cache > 1.6:
    differences.append("COMMIT of updates depends on the cache, too")
if of_splits < 2:
    differences.append("COMMIT of inserts does not depend on the cache")
if in_all < 1.2:
    differences.append("inserts are not slower with a large cache")
for difference in differences:
    print(f"differs: {difference}")
sys.exit(3 if differences else 0)
MEASURE

status=0
timeout 300 python/bin/python measure.py || status=$?
case $status in
0) echo "as described" ;;
3) exit 1 ;;
*) fail "the measurement ended with status $status" ;;
esac
