#!/usr/bin/env bash
# A restart late in the day takes as long as one in the morning: a day of LENGTH commands is made, then the
# exchange is killed under flow. Times are those of the brokers: kill to first acknowledgement.
#
#   tests/long_day.sh                      2 million commands
#   LENGTH=30000000 tests/long_day.sh      a long day; takes two minutes and 10 GB of disk
#
# TAIL commands stand behind the newest snapshot: 15 s at 43,000 a second unless told otherwise.
cd "$(dirname "$0")/.."
. tests/venue.sh
[ -n "${NO_BUILD:-}" ] || build

length=${LENGTH:-2000000}
kills=${KILLS:-6}
level=${LEVEL:-memory}
tail=${TAIL:-$((length / 3 < 645000 ? length / 3 : 645000))}
RANDOM=${SEED:-1}

venue_make "$level" 16 20
began=$SECONDS
"$rialto" fill --config "$venue/rialto.toml" --commands "$length" --tail "$tail" | tail -n 2
echo "a day of $length commands, made in $((SECONDS - began)) s"
exchange_start
exchange_ready
feed_start SUB1 --from 0
brokers_start 2 "${RATE:-20000}" --live
pause_ms 1500
for ((i = 1; i <= kills; i++)); do
    exchange_alive
    exchange_kill
    [ "$level" = disk ] && rm -rf "$hot/hot"
    exchange_start
    exchange_ready
    exchange_serves 100
    below 3000
    pause_ms $((1500 + RANDOM_NUMBER))
done
exchange_alive
witnesses_stop
exchange_stop
grep '^ready' "$venue/exchange.out" | sed 's/.*, \([0-9,]* commands\)/  \1/'
# Dying again and again does not keep the venue from making snapshots.
spared() { grep '^ready' "$venue/exchange.out" | sed -n 's/.*(\([0-9,]*\) of a snapshot.*/\1/p' | tr -d , | "$@"; }
first=$(spared head -n 1)
last=$(spared tail -n 1)
[ "$last" -gt "$first" ] || { echo "no snapshot was made in $kills lives: still $first" >&2; exit 1; }
audit --partial
expect faults -eq 0
expect missing -eq 0
expect doubled -eq 0
expect restart_ms.samples -eq "$kills"
echo "after $length commands at level $level: $kills kills, missing 0, doubled 0; restart_ms p50 $(figure restart_ms.p50) max $(figure restart_ms.max)"
