#!/usr/bin/env bash
# 100 symbols at 43,000 orders a second, open loop.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
cargo run --release --quiet -- demo --symbols 100 --rate 43000 --seconds 20 --json "$out"
python3 - "$out" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["orders_sent"] >= 860000, r["orders_sent"]
assert r["acks"] + r["rejects"] + r["not_applied"] == r["orders_sent"], r
assert r["unanswered"] == 0 and r["rejects"] <= r["orders_sent"] / 100, r
assert r["executions"] >= r["orders_sent"] * 0.05, r["executions"]
assert r["seconds"] <= 22, r["seconds"]
assert r["feed"]["book_equal"] is True and r["feed"]["lost"] == 0, r["feed"]
print("43,000 orders/s: all figures as expected")
P
