#!/usr/bin/env bash
# The exchange is killed under flow, again and again, and started again. What is held against its logs
# at the end is what brokers and subscribers wrote down themselves, in processes of their own.
#
#   tests/crash.sh                 the whole suite
#   KILLS_MEMORY=5 KILLS_DISK=2 SEED=7 tests/crash.sh
cd "$(dirname "$0")/.."
. tests/venue.sh
[ -n "${NO_BUILD:-}" ] || build

rate=${RATE:-20000}

# One round: level, kills, seed. At level `disk` the memory files go with the process.
round() {
    local level=$1 kills=$2 SEED=$3 i
    RANDOM=$SEED
    # Snapshots so often that starts find none, one, or one that was being written.
    SNAPSHOT_SECONDS=2 venue_make "$level" 16 20
    exchange_start
    exchange_ready
    feed_start SUB1
    feed_start SUB2 --loss-ppm 1000
    brokers_start 2 "$rate"
    pause_ms 1000
    for ((i = 1; i <= kills; i++)); do
        exchange_alive
        exchange_kill
        [ "$level" = disk ] && rm -rf "$hot/hot"
        exchange_start
        below 4
        if [ "$RANDOM_NUMBER" = 0 ] && [ $i -lt "$kills" ]; then
            # It dies in the middle of coming back.
            below 300
            pause_ms "$RANDOM_NUMBER"
            continue
        fi
        exchange_ready
        # Every other life that lives so long is one that brokers notice, however slow this host is.
        [ $((i % 2)) = 1 ] || exchange_serves 100
        if [ "$level" = memory ] && [ $((i % 16)) = 8 ]; then
            # The whole process stands still, then goes on as if nothing had been.
            pause_ms 300
            kill -STOP "$exchange"
            echo "freeze $(now_ns)" >>"$venue/kills"
            pause_ms 2000
            kill -CONT "$exchange"
        fi
        below 1000
        pause_ms $((200 + RANDOM_NUMBER))
        if [ $((i % 8)) = 4 ]; then
            kill -9 $(shadow_pid || true) 2>/dev/null || true
        fi
    done
    # The way an operator ends it.
    exchange_stop
    exchange_start
    exchange_ready
    pause_ms 500
    exchange_alive
    witnesses_stop
    exchange_stop
    audit
    expect faults -eq 0
    expect kills -eq "$kills"
    expect missing -eq 0
    expect doubled -eq 0
    expect without_conclusion -eq 0
    expect acknowledged -ge $((kills * 100))
    expect restart_ms.samples -ge $((kills / 4))
    "$rialto" replay "$(day_dir)" --verify >/dev/null
    echo "level $level: $kills kills, $(figure messages) messages, missing 0, doubled 0, feed contiguous and unchanged, replay agrees; restart_ms p50 $(figure restart_ms.p50) max $(figure restart_ms.max)"
    [ -n "${KEEP:-}" ] && echo "kept: $venue $hot" || rm -rf "$venue" "$hot"
}

round memory "${KILLS_MEMORY:-50}" "${SEED:-1}"
round disk "${KILLS_DISK:-20}" "${SEED:-2}"

# The demo's own crashes: a newcomer's first look at it.
"$rialto" demo --rate 10000 --seconds 4 --crash 2 | tail -n 3
