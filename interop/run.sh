#!/bin/sh
# Puts the witnesses around a running exchange: starts it, captures loopback, follows the feed with
# moldudp (packets withheld), records the day with our own subscriber, trades in slouch's words, and
# compares everything with everything. Ends with 0 when nothing differs.
#
#   interop/run.sh                       the venue of rialto.toml, on loopback
#   ROUNDS=2000 DROP_EVERY=4 interop/run.sh
#
# Needs: cargo, tshark (apt-get install --no-install-recommends tshark) and the right to capture,
# python3 with venv (or ITCHFEED_PYTHON, a python that has itchfeed). What is absent is said, and
# ends the suite unless ALLOW_SKIP=1.
set -eu
cd "$(dirname "$0")/.."

CONFIG=${CONFIG:-rialto.toml}
GATEWAY=${GATEWAY:-127.0.0.1:9001}
GROUP_A=${GROUP_A:-239.192.0.1:9101}
GROUP_B=${GROUP_B:-239.192.0.2:9102}
REPAIR=${REPAIR:-127.0.0.1:9103}
INTERFACE=${INTERFACE:-127.0.0.1}
CAPTURE=${CAPTURE:-lo}
SESSION=${SESSION:-RIALTOA$(date -u +%j)}
BUYER=${BUYER:-ALFA01:0101010101010101010101010101010101010101010101010101010101010101}
SELLER=${SELLER:-BRVO01:0303030303030303030303030303030303030303030303030303030303030303}
SYMBOL=${SYMBOL:-ALPH}
PRICE=${PRICE:-100000}
LOT=${LOT:-1}
ROUNDS=${ROUNDS:-200}
DROP_EVERY=${DROP_EVERY:-7}
# `feed` records until it is told to stop; other shapes of that command go here.
RECORD=${RECORD:-feed --config $CONFIG --record DAY --from 1 --quiet}
ALLOW_SKIP=${ALLOW_SKIP:-0}
TARGET=${CARGO_TARGET_DIR:-target}/${PROFILE:-debug}
OUT=${OUT:-$(mktemp -d)}

say() { printf '%s\n' "$*"; }
fail() { say "interop: FAILED: $*"; exit 1; }
skip() {
    [ "$ALLOW_SKIP" = 1 ] || fail "$* (ALLOW_SKIP=1 goes on without)"
    say "SKIPPED: $*"
}
port() { printf '%s' "${1##*:}"; }

PIDS=
started() { PIDS="$PIDS $1"; }
stop_all() {
    for pid in $PIDS; do kill "$pid" 2>/dev/null || true; done
}
trap stop_all EXIT
trap 'exit 1' INT TERM

# Waits up to $2 seconds for the file $1 to hold the text $3.
wait_for() {
    n=0
    until grep -q "$3" "$1" 2>/dev/null; do
        n=$((n + 1))
        [ "$n" -le "$(($2 * 10))" ] || { cat "$1" >&2; fail "no \"$3\" in $1 after $2 s"; }
        sleep 0.1
    done
}

if [ -z "${SKIP_BUILD:-}" ]; then
    case ${PROFILE:-debug} in
    release) cargo build --release -q -p rialto -p rialto-interop ;;
    *) cargo build -q -p rialto -p rialto-interop ;;
    esac
fi
RIALTO=${RIALTO:-$TARGET/rialto}
WITNESS=$TARGET/rialto-interop
say "output in $OUT"

# 1. Capture, from before the exchange runs.
PCAP=
if command -v tshark >/dev/null; then
    PCAP=$OUT/loopback.pcap
    FILTER="udp port $(port "$GATEWAY") or udp port $(port "$GROUP_A")"
    FILTER="$FILTER or udp port $(port "$GROUP_B") or udp port $(port "$REPAIR")"
    tshark -q -B 64 -i "$CAPTURE" -F pcap -w "$PCAP" -f "$FILTER" >"$OUT/tshark.log" 2>&1 &
    TSHARK=$!
    started "$TSHARK"
    wait_for "$OUT/tshark.log" 60 Capturing
    sleep 1
else
    skip "no tshark here"
fi

# 2. The exchange, unless one is running already.
if [ -z "${RUNNING:-}" ]; then
    "$RIALTO" run --config "$CONFIG" >"$OUT/exchange.log" 2>&1 &
    started $!
    wait_for "$OUT/exchange.log" 60 ready
fi

# 3. Those who watch.
"$WITNESS" feed --group "$GROUP_A" --interface "$INTERFACE" --request "$REPAIR" \
    --session "$SESSION" --drop-every "$DROP_EVERY" --idle-s 15 --silence-s 60 --out "$OUT/moldudp.day" \
    >"$OUT/moldudp.log" 2>&1 &
MOLDUDP=$!
started "$MOLDUDP"
# shellcheck disable=SC2046,SC2086 # words on purpose
"$RIALTO" $(printf '%s' "$RECORD" | sed "s|DAY|$OUT/own.day|") >"$OUT/record.log" 2>&1 &
RECORDER=$!
started "$RECORDER"
sleep 1

# 4. Trade.
"$WITNESS" trade --gateway "$GATEWAY" --buyer "$BUYER" --seller "$SELLER" --symbol "$SYMBOL" \
    --price "$PRICE" --lot "$LOT" --rounds "$ROUNDS" || fail "trade"

# 5. The witness of the feed stops when nothing more comes.
wait "$MOLDUDP" || { cat "$OUT/moldudp.log"; fail "moldudp"; }
cat "$OUT/moldudp.log"
kill -INT "$RECORDER" 2>/dev/null || true
wait "$RECORDER" || { cat "$OUT/record.log"; fail "recorder"; }
if [ -n "$PCAP" ]; then
    sleep 1
    kill -INT "$TSHARK"
    wait "$TSHARK" || true
fi

# 6. Compare.
"$WITNESS" same "$OUT/own.day" "$OUT/moldudp.day" || fail "recordings differ"
"$WITNESS" compare "$OUT/own.day" "$OUT/moldudp.day" || fail "itch5, itchy"

PYTHON=${ITCHFEED_PYTHON:-}
if [ -z "$PYTHON" ]; then
    VENV=${VENV:-$TARGET/itchfeed}
    if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import itch' 2>/dev/null; then
        { python3 -m venv "$VENV" && "$VENV/bin/pip" install -q -r interop/python/requirements.txt; } \
            >"$OUT/pip.log" 2>&1 || true
    fi
    PYTHON=$VENV/bin/python
fi
if "$PYTHON" -c 'import itch' 2>/dev/null; then
    ITCH_NO_CPP=1 "$PYTHON" interop/python/itchfeed_dump.py "$OUT/own.day" >"$OUT/itchfeed.jsonl"
    "$WITNESS" itchfeed "$OUT/own.day" "$OUT/itchfeed.jsonl" || fail "itchfeed"
else
    skip "no itchfeed here (pip install itchfeed)"
fi

if [ -n "$PCAP" ]; then
    "$WITNESS" tshark "$PCAP" --port "$(port "$GATEWAY")" --port "$(port "$GROUP_A")" \
        --port "$(port "$GROUP_B")" --port "$(port "$REPAIR")" || fail "tshark"
    "$WITNESS" ouch "$PCAP" --port "$(port "$GATEWAY")" || fail "slouch, capture"
fi
say "interop: every witness agrees"
