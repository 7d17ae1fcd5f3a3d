#!/usr/bin/env bash
# The exchange over AF_XDP is killed under flow, again and again. Each death must take the program off
# the interface at once; each restart finds the queue still being closed, and serves. What the brokers at
# the other end of the wire wrote down is held against the logs. Times are printed, not judged.
#
#   tests/xdp_crash.sh
#   KILLS=5 RATE=2000 SEED=7 tests/xdp_crash.sh
cd "$(dirname "$0")/.."
. tests/venue.sh
[ -n "${NO_BUILD:-}" ] || build

kills=${KILLS:-20}
SEED=${SEED:-1}
RANDOM=$SEED

# The program on the exchange's interface: "" when there is none.
program() { ip -n "$inside" -d link show dev w0 | grep -o 'prog/xdp id [0-9]*' || true; }

fail() {
    echo "tests/xdp_crash.sh: $*" >&2
    tail -n 5 "$venue/exchange.err" >&2
    exit 1
}

venue_wire
SNAPSHOT_SECONDS=2 venue_make memory 8 10
exchange_start
exchange_ready
feed_start SUB1
brokers_start 2 "${RATE:-4000}"
pause_ms 2000
detached_ms_max=0
last=""
for ((i = 1; i <= kills; i++)); do
    exchange_alive
    tail -n 1 "$venue/exchange.out" | grep -q '(af_xdp:native' || fail "not over AF_XDP: $(tail -n 1 "$venue/exchange.out")"
    now=$(program)
    [ -n "$now" ] || fail "no program while the exchange serves: it cannot be seen to go"
    [ "$now" != "$last" ] || fail "the program of the life before still stands: $now"
    last=$now
    exchange_kill
    now=$(program)
    [ -z "$now" ] || fail "the exchange is dead and its program is not: $now"
    read -r _ told _ < <(tail -n 1 "$venue/kills")
    took_ms=$((($(now_ns) - told) / 1000000))
    [ $took_ms -le $detached_ms_max ] || detached_ms_max=$took_ms
    exchange_start
    exchange_ready
    exchange_serves 100
    below 700
    pause_ms $((1500 + RANDOM_NUMBER))
done
exchange_alive
witnesses_stop
exchange_stop
[ -z "$(program)" ] || fail "the exchange ended and its program did not"
audit
expect faults -eq 0
expect kills -eq "$kills"
expect missing -eq 0
expect doubled -eq 0
expect without_conclusion -eq 0
expect acknowledged -ge $((kills * 100))
expect restart_ms.samples -eq "$kills"
"$rialto" replay "$(day_dir)" --verify >/dev/null
echo "$kills kills over AF_XDP: told to die -> dead, detached and seen to be, at most $detached_ms_max ms;" \
    "$(figure messages) messages, missing 0, doubled 0, feed contiguous, replay agrees;" \
    "restart_ms p50 $(figure restart_ms.p50) max $(figure restart_ms.max)"
