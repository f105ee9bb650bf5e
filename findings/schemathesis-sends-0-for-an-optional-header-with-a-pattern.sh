#!/usr/bin/env bash
#
# Schemathesis: the coverage phase sends `0` as a valid value of an optional header, whatever its pattern
#
# Versions
#   schemathesis 4.32.5 from PyPI, Python 3.9 or newer.
#
# Behaviour
#   A header's schema is a string with the pattern `^[a-z]{3}-[0-9]{2}$`. The check
#   `positive_data_acceptance` fails a server that refuses what the document allows.
#   1. If the header is optional, the coverage phase sends `X-Code: 0`, which the pattern does not
#      allow, and counts it as valid. A server that refuses it is reported as
#      "Schema-valid request rejected".
#   2. If the header is required, it is not: the operation passes.
#   3. The same schema on an optional query parameter gets a value that matches.
#
# Why it surprises
#   The tool reads `pattern` everywhere else, and generates values that match. Only whether the header
#   may be left out changes what is sent when it is there.
#
# Who is hurt
#   Whoever documents optional headers with patterns (conditional requests, idempotency keys, trace
#   ids) and runs this check in CI: each operation that takes one fails, and the report blames the
#   document or the server. Removing the pattern does not help, because the server still refuses `0`.
#
# What helps
#   Leave the check out of the coverage phase, or judge its failures by the request that is printed.
#
# What this script does
#   It installs schemathesis into a temporary folder, serves three operations on loopback that accept
#   exactly what their schema allows, and runs the coverage phase against each. It needs bash, Python
#   with venv, and a network for PyPI. It takes about half a minute.
#
# Exit status
#   0: schemathesis behaves as described.  1: it behaves differently.  2: it could not be measured.

set -euo pipefail

version=4.32.5

fail() {
    echo "not measured: $*" >&2
    exit 2
}

command -v python3 >/dev/null || fail "python3 is missing"
folder=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

python3 -m venv python || fail "no virtual environment"
python/bin/pip install --quiet --disable-pip-version-check "schemathesis==$version" ||
    fail "schemathesis $version cannot be installed"

cat >serve.py <<'END'
import http.server, re, urllib.parse

ALLOWED = re.compile(r"^[a-z]{3}-[0-9]{2}$")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(address.query, keep_blank_values=True)
        values = asked.get("code", []) if address.path == "/query" else self.headers.get_all("X-Code", [])
        needed = address.path == "/required-header"
        is_good = all(ALLOWED.match(value) for value in values) and (values or not needed)
        self.send_response(200 if is_good else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
END

# One operation for each way to take the same value.
document() { # NAME IN PARAMETER REQUIRED
    cat >"$1.json" <<END
{"openapi": "3.1.0", "info": {"title": "codes", "version": "1"}, "paths": {"/$1": {"get": {
  "parameters": [{"name": "$3", "in": "$2", "required": $4,
    "schema": {"type": "string", "pattern": "^[a-z]{3}-[0-9]{2}$"}}],
  "responses": {"200": {"description": "accepted"}, "400": {"description": "refused"}}}}}}
END
}
document optional-header header X-Code false
document required-header header X-Code true
document query query code false

python3 serve.py >port &
server=$!
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
[ -s port ] || fail "the server does not start"
url=http://127.0.0.1:$(cat port)

# Prints "rejected" and the request if a valid one was refused, else "passed".
check() {
    python/bin/schemathesis run "$1.json" --url "$url" --phases coverage \
        --checks positive_data_acceptance --no-color >"$1.log" 2>&1 || true
    grep -q 'passed\|failed' "$1.log" || fail "no result for $1: $(tail -n 5 "$1.log")"
    if grep -q 'Schema-valid request rejected' "$1.log"; then
        echo "rejected $(grep -o "X-Code: [^']*" "$1.log" | head -n 1)"
    else
        echo "passed"
    fi
}

echo "schemathesis $version, coverage phase, pattern ^[a-z]{3}-[0-9]{2}\$"
status=0
for expected in "optional-header:rejected X-Code: 0" required-header:passed query:passed; do
    found=$(check "${expected%%:*}")
    printf '  %-16s %s\n' "${expected%%:*}" "$found"
    [ "$found" = "${expected#*:}" ] || status=1
done
exit "$status"
