#!/usr/bin/env bash
# Hostile Ethernet frames at a venue over AF_XDP: `rialto-bench frames` at the other end of its wire hears
# honest brokers, with and without packet MAC, and sends mutants of their frames under their eyes. They
# trade on; what they wrote down is the evidence that nothing came into their sessions that they did not
# say, and nothing they said was lost. TCP and ping through the same interface are watched meanwhile.
#
#   tests/frames.sh
#   COUNT=1000000 SEED=7 tests/frames.sh
cd "$(dirname "$0")/.."
. tests/venue.sh
bench=${CARGO_TARGET_DIR:-target}/$profile/rialto-bench
if [ -z "${NO_BUILD:-}" ]; then
    build
    if [ "$profile" = release ]; then cargo build --release --quiet -p rialto-bench; else cargo build --quiet -p rialto-bench; fi
fi

fail() {
    echo "tests/frames.sh: $*" >&2
    tail -n 5 "$venue/exchange.err" >&2
    exit 1
}

venue_wire
# Who may speak ARP on this wire could be anybody: the hosts know each other beforehand.
for way in "$inside w0 $outside w1 $client" "$outside w1 $inside w0 $address"; do
    read -r here link there peer ip <<<"$way"
    mac=$(ip -n "$there" -o link show dev "$peer" | grep -o 'link/ether [0-9a-f:]*' | cut -d' ' -f2)
    ip -n "$here" neighbour replace "$ip" lladdr "$mac" dev "$link" nud permanent
done
SEGMENT_MIB=8 venue_make memory 4 5
exchange_start
exchange_ready
tail -n 1 "$venue/exchange.out" | grep -q '(af_xdp:native' || fail "not over AF_XDP: $(tail -n 1 "$venue/exchange.out")"
# Longer frames than the venue's own: what a switch with jumbo frames on would let through to it. The
# attacker's end takes more than the wire does.
mtu=3000
ip -n "$inside" link set w0 mtu $mtu
ip -n "$outside" link set w1 mtu 3400
ip netns exec "$inside" "$bench" frames-echo --ip "$address" >"$venue/echo" &
others+=($!)
within 60 test -s "$venue/echo"
within 60 test -s "$(day_dir)/status.json"

ip netns exec "$outside" "$bench" frames --interface w1 --client "$client" --mtu $mtu \
    --gateway "$address:$gateway" --repair "$address:$repair" --echo "$address:$(cat "$venue/echo")" \
    --inside "$inside" --inside-interface w0 --status "$(day_dir)/status.json" --quiet "$venue/quiet" \
    --sessions 4 --count "${COUNT:-10000000}" --seed "${SEED:-1}" >"$venue/frames" 2>&1 &
attacker=$!
others+=("$attacker")
listening() { grep -qs '^listening' "$venue/frames" || ! kill -0 "$attacker" 2>/dev/null; }
within 120 listening
feed_start SUB1
for part in "BRK000,BRK001 --mac" "BRK002,BRK003"; do
    # shellcheck disable=SC2086 # words
    ip netns exec "$outside" "$rialto" witness broker --config "$venue/witness.toml" --out "$venue/evidence" \
        --rate $((${RATE:-1000} / 2)) --seed ${#part} --users $part >>"$venue/witness.out" 2>&1 &
    witnesses+=($!)
done
over() { grep -q '^the attack is over' "$venue/frames" || ! kill -0 "$attacker" 2>/dev/null; }
until over; do
    exchange_alive
    sleep 0.5
done
witnesses_stop
: >"$venue/quiet"
code=0
wait "$attacker" || code=$?
grep -v '^listening\|^the attack is over' "$venue/frames"
[ $code = 0 ] || fail "the attack came out wrong"
exchange_alive
! grep -E 'panicked|ERROR' "$venue/exchange.err" || fail "the exchange told of trouble"
exchange_stop
audit
for figure in faults missing doubled without_conclusion; do
    expect "$figure" -eq 0
done
expect sessions -eq 4
expect logins -eq 4
expect acknowledged -ge 1000
echo "$(figure messages) honest messages meanwhile: each in the log once, as it was sent, and no other"
