#!/usr/bin/env bash
# The benchmark's presets against the totals of the workload's specification.
set -euo pipefail
cd "$(dirname "$0")/.."
check() { # preset fills volume notional fill_digest book_digest
    cargo run --release --quiet -p rialto-bench -- core --preset "$1" --reps 1 --json - 2>/dev/null |
        python3 -c '
import json, sys
rows = json.load(sys.stdin)
fills, volume, notional, fill_digest, book_digest = sys.argv[2:]
assert {r["scope"] for r in rows} == {"matching", "core"}, rows
for r in rows:
    got = (str(r["fills"]), str(r["volume"]), str(r["notional"]), r["fill_digest"], r["book_digest"])
    want = (fills, volume, notional, fill_digest, book_digest)
    assert got == want, (r["scope"], got, want)
    print("%s %s: totals and digests agree, %.1f ns/op" % (sys.argv[1], r["scope"], r["ns_per_op"]))
' "$@"
}
check single 559356 16981395 342669870148 be8cd302edcaa382 412468bfca0f48f7
check multi 652621 19121678 382447977982 e3c3708ba0f6b0eb b5185c211e2580e5
