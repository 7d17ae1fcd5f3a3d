#!/usr/bin/env bash
# The recorded hour through gateway, exchange and multicast, then the same with 5% loss; over sockets,
# and as root over AF_XDP.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${RIALTO_SHARED:-../shared}/data
commands=$data/aapl_2012-06-21_0930-1030_commands.csv.gz
oracle=$data/aapl_2012-06-21_0930-1030_bbo_oracle.csv.gz
if [ ! -f "$commands" ]; then
    echo "SKIPPED: $commands is not there" >&2
    exit 1
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
paths=udp
[ "$(id -u)" != 0 ] || paths="udp af_xdp:native:copy"
for path in $paths; do for loss in 0 0.05; do
    cargo run --release --quiet -- demo --data "$commands" --bbo "$oracle" --loss $loss --path $path --json "$out/r.json"
    python3 - "$out/r.json" $loss $path <<'P'
import json, sys
r = json.load(open(sys.argv[1])); loss = float(sys.argv[2])
want = dict(matches=4036, matches_expected=4036, matches_exact=4036, shares=348310, resting=380,
            quotes_expected=23440, quotes_matched=23395, unanswered=0, path=sys.argv[3])
for k, v in want.items():
    assert r[k] == v, (k, r[k], v)
assert r["feed"]["lost"] == 0 and r["feed"]["book_equal"] is True, r["feed"]
assert r["acks"] + r["rejects"] + r["not_applied"] == r["orders_sent"], r
assert (r["feed"]["repaired"] > 0) == (loss > 0), r["feed"]
print("hour over %s with loss %g: all figures as expected in %.1f s" % (sys.argv[3], loss, r["seconds"]))
P
done; done
