#!/usr/bin/env bash
# The exchange is ended under flow and started again. What is held against its log at the end is
# the brokers' own record of every report and the subscribers' own record of every feed message.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
try() { # signal durability crashes seed
    cargo run --release --quiet -- demo --rate 10000 --seconds 8 --crash "$3" --signal "$1" \
        --durability "$2" --seed "$4" --json "$out"
    python3 - "$out" "$@" <<'P'
import json, sys
r = json.load(open(sys.argv[1])); signal, durability, crashes, seed = sys.argv[2:]
assert r["restarts"] == int(crashes), r["restarts"]
assert r["unanswered"] == 0, r
assert r["acks"] + r["rejects"] + r["not_applied"] == r["orders_sent"], r
assert r["feed"]["lost"] == 0 and r["feed"]["book_equal"] is True, r["feed"]
assert r["reports_equal"] is True and r["feed"]["messages_equal"] is True, r
assert r["events_verified"] == r["events"], r
print("%s x %s at level %s: nothing acknowledged is missing, every report and message as logged"
      % (signal, crashes, durability))
P
}
try term memory 2 1
try kill memory 5 2
try kill memory 5 3
try kill disk 3 4
