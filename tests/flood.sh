#!/usr/bin/env bash
# What two well-behaved brokers notice while somebody floods the gateway, 10,000 datagrams a second
# of each kind in turn: their order -> Accepted times quiet, beside the same attacker sending elsewhere,
# and attacked, in one run. Fails on an order without an answer, a hole in the reports or a lost session;
# times are printed, not judged.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet
cargo build --release --quiet -p rialto-bench
home=$(mktemp -d)
hot=$(mktemp -d /dev/shm/rialto-flood-XXXXXX)
venue=
trap '[ -z "$venue" ] || kill "$venue" 2>/dev/null || true; [ -z "$venue" ] || wait "$venue" 2>/dev/null || true; rm -rf "$home" "$hot"' EXIT
port=$((20000 + RANDOM % 12000)) # below those that the kernel hands out
sed -e "s/127.0.0.1:9001/127.0.0.1:$port/; s/127.0.0.1:9103/127.0.0.1:$((port + 1))/" \
    -e "s|^hot = .*|hot = \"$hot/hot\"|" -e "s/:9101/:$((port + 2))/; s/:9102/:$((port + 3))/" rialto.toml >"$home/rialto.toml"
target/release/rialto run --config "$home/rialto.toml" >"$home/log" 2>&1 &
venue=$!
target/release/rialto-bench flood --gateway "127.0.0.1:$port" "$@" || { tail -20 "$home/log"; exit 1; }
