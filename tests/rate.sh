#!/usr/bin/env bash
# 100 symbols at 43,000 orders a second, open loop; over sockets, and as root over AF_XDP.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
paths=udp
[ "$(id -u)" != 0 ] || paths="udp af_xdp:native:copy"
for path in $paths; do
    cargo run --release --quiet -- demo --symbols 100 --rate 43000 --seconds 20 --path $path --json "$out"
    python3 - "$out" $path <<'P'
import json, sys
r = json.load(open(sys.argv[1])); path = sys.argv[2]
assert r["path"] == path, r["path"]
assert r["orders_sent"] >= 860000, r["orders_sent"]
assert r["acks"] + r["rejects"] + r["not_applied"] == r["orders_sent"], r
assert r["unanswered"] == 0 and r["rejects"] <= r["orders_sent"] / 100, r
assert r["executions"] >= r["orders_sent"] * 0.05, r["executions"]
assert r["feed"]["book_equal"] is True and r["feed"]["lost"] == 0, r["feed"]
print("43,000 orders/s over %s: all figures as expected in %.1f s" % (path, r["seconds"]))
P
done
