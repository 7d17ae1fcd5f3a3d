#!/usr/bin/env bash
# One core less: the exchange may only use CPU 0, and shares it with a loop that never sleeps. It is slower
# then; it loses nothing. Latencies are printed, not judged.
#
# The demo starts the exchange; this script sees each life of it and confines it.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${RIALTO_SHARED:-../shared}/data
commands=$data/aapl_2012-06-21_0930-1030_commands.csv.gz
oracle=$data/aapl_2012-06-21_0930-1030_bbo_oracle.csv.gz
if [ ! -f "$commands" ]; then
    echo "SKIPPED: $commands is not there" >&2
    exit 1
fi
if [ "$(nproc)" -lt 2 ]; then
    echo "SKIPPED: one CPU only: the brokers need another one than the exchange" >&2
    exit 1
fi
[ -n "${NO_BUILD:-}" ] || cargo build --release --quiet
rialto=${CARGO_TARGET_DIR:-target}/release/rialto
out=$(mktemp -d)
busy="" demo="" confine=""
end() {
    kill $busy $confine $demo 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$out"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

taskset -c 0 bash -c 'while :; do :; done' &
busy=$!

# Every `rialto run` below the demo, and what it has started, is moved to CPU 0 within some milliseconds.
confine_lives() { # pid of the demo
    local pid below
    while kill -0 "$1" 2>/dev/null; do
        for pid in $(pgrep -P "$1" -f ' run --config ' || true); do
            keeper=$(pgrep -P "$pid" || true)
            for below in "$pid" $keeper $([ -z "$keeper" ] || pgrep -P "$keeper" || true); do
                if [ ! -e "$out/life-$below" ] && taskset -a -c -p 0 "$below" >/dev/null 2>&1; then
                    # Threads made meanwhile by a thread that was not confined yet: once more.
                    taskset -a -c -p 0 "$below" >/dev/null 2>&1 || true
                    : >"$out/life-$below"
                fi
            done
        done
        sleep 0.02
    done
}

confined() { # lives expected; demo's arguments
    local lives=$1
    shift
    rm -f "$out"/life-*
    "$rialto" demo --json "$out/r.json" "$@" >"$out/said" 2>&1 &
    demo=$!
    confine_lives "$demo" &
    confine=$!
    local code=0
    wait "$demo" || code=$?
    wait "$confine" || true
    if [ $code != 0 ]; then
        echo "demo $*: exit code $code" >&2
        cat "$out/said" >&2
        exit 1
    fi
    local seen
    seen=$(find "$out" -name 'life-*' | wc -l)
    [ "$seen" -ge "$lives" ] || { echo "confined $seen lives of $lives: the run proves nothing" >&2; exit 1; }
    python3 - "$out/r.json" "$*" <<'P'
import json, sys
r = json.load(open(sys.argv[1])); what = sys.argv[2] or "default"
assert r["unanswered"] == 0, r
assert r["acks"] + r["rejects"] + r["not_applied"] == r["orders_sent"], r
assert r["feed"]["lost"] == 0 and r["feed"]["book_equal"] is True, r["feed"]
assert r["reports_equal"] is True and r["feed"]["messages_equal"] is True, r
assert r["events_verified"] == r["events"], r
if "--data" in what:
    want = dict(matches=4036, matches_expected=4036, matches_exact=4036, shares=348310, resting=380,
                quotes_expected=23440, quotes_matched=23395)
    for k, v in want.items():
        assert r[k] == v, (k, r[k], v)
us = lambda p: r["latency_ns"]["wire"][p] // 1000
print("demo %s on half a core: %d orders in %.1f s, 0 unanswered, 0 lost, books equal; "
      "not applied %d, repeated %d, feed repaired %d; wire p50 %d us, p99 %d us, max %d us"
      % (what, r["orders_sent"], r["seconds"], r["not_applied"], r["repeated"], r["feed"]["repaired"],
         us("p50"), us("p99"), us("max")))
P
}

confined 1
confined 1 --data "$commands" --bbo "$oracle"
confined 1 --data "$commands" --bbo "$oracle" --loss 0.05
confined 1 --symbols 100 --rate 43000 --seconds "${SECONDS_43000:-8}"
confined 3 --rate 10000 --seconds 8 --crash 2 --signal term
confined 4 --rate 10000 --seconds 8 --crash 3 --seed 2
confined 3 --rate 10000 --seconds 8 --crash 2 --durability disk --seed 3
