#!/usr/bin/env bash
# An engine and a feed subscriber over AF_XDP against a venue over AF_XDP: what docs/connect.md promises to
# whoever links against the broker's and subscriber's side. Orders, reports, both lines and repair, by the
# example `bypass`; with losses at the exchange too. Needs root and ip (iproute2).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/venue.sh
. tests/venue.sh
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null; then
    echo "SKIPPED: needs root and ip (iproute2)" >&2
    exit 1
fi
[ -n "${NO_BUILD:-}" ] || { build; cargo build --release --quiet --example bypass; }
bypass=${CARGO_TARGET_DIR:-target}/release/examples/bypass

venue_wire
venue_make memory 2 2
exchange_start
exchange_ready
tail -n 1 "$venue/exchange.out" | grep -q '(af_xdp:native' || { echo "not over AF_XDP" >&2; exit 1; }
pair=$(($$ % 250))

trade() { # arguments of the example
    timeout 120 ip netns exec "$outside" "$bypass" --interface w1 --gateway "$address:$gateway" \
        --repair "$address:$repair" --feed-a "239.193.$pair.1:$line_a" --feed-b "239.193.$pair.2:$line_b" \
        --symbol SYM000 --user BRK000 --key '01*32' --other BRK001 --other-key '02*32' "$@" | tee "$venue/said"
}

trade --pairs 5000
grep -q '^path af_xdp:native' "$venue/said"
# The day so far comes by repair, to other ports; both sessions take their logins over.
trade --pairs 1000 --ports 20101
grep -qE 'repaired [1-9]' "$venue/said" || { echo "nothing was repaired: the day before was not seen" >&2; exit 1; }
trade --pairs 1000 --path af_xdp:generic
grep -q '^path af_xdp:generic' "$venue/said"
exchange_stop
"$rialto" replay "$venue"/data/2* --verify >/dev/null
echo "clients over AF_XDP: 7,000 pairs traded, reported and seen, the past repaired"
