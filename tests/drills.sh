#!/usr/bin/env bash
# What a host does to a venue: a full disk, a frozen one, one that may not be written, memory files that
# vanish, a second venue on the same data, a shadow that dies. Under flow, each against the evidence of brokers and subscribers.
# Disks are small mounts of this script: it needs root.
#
#   tests/drills.sh                all
#   tests/drills.sh read_only      one of them
cd "$(dirname "$0")/.."
. tests/venue.sh
[ -n "${NO_BUILD:-}" ] || build

rate=${RATE:-10000}

open_day() { # level
    venue_make "$1" 8 10
    mkdir -p "$venue/data"
}

serve() {
    exchange_start
    exchange_ready
    feed_start SUB1
    brokers_start 1 "$rate"
    pause_ms "${1:-1500}"
}

close_day() { # what was shown
    exchange_alive
    witnesses_stop
    exchange_stop
    audit >"$venue/audit.out" || { cat "$venue/audit.out" >&2; exit 1; }
    expect faults -eq 0
    expect missing -eq 0
    expect doubled -eq 0
    expect acknowledged -ge 1000
    echo "$1: $(figure messages) messages, missing 0, doubled 0, feed and replay agree"
    local place
    for place in "${mounts[@]}"; do umount "$place"; done
    mounts=()
    rm -rf "$venue" "$hot"
}

small_disk() { # megabytes
    mount -t tmpfs -o "size=$1m" tmpfs "$venue/data"
    mounts+=("$venue/data")
}

archive_waits() { [ "$(status archive_waits)" != None ] && [ "$(status archive_waits)" != unknown ]; }

if ! (venue=$(mktemp -d) && mount -t tmpfs tmpfs "$venue" && umount "$venue" && rmdir "$venue") 2>/dev/null; then
    echo "SKIPPED: a small disk cannot be mounted: run as root" >&2
    exit 1
fi

# Two on one directory: the second is refused and the first notices nothing.
second_venue() {
    open_day memory
    serve 500
    sed -E "s/127\.0\.0\.1:($gateway|$repair)/127.0.0.1:0/" "$venue/rialto.toml" >"$venue/second.toml"
    sed -i -E "s/listen = .*/listen = \"127.0.0.1:$((gateway - 1))\"/; s/repair = .*/repair = \"127.0.0.1:$((repair - 1))\"/" "$venue/second.toml"
    exchange_refused "another|in use|lock|running" "$venue/second.toml"
    pause_ms 500
    close_day "a second venue on the same data"
}

# The memory files vanish under the running exchange, then it dies: at level disk that is nothing.
memory_gone_disk() {
    open_day disk
    serve
    rm -rf "$hot/hot"
    pause_ms 700
    exchange_kill
    exchange_start
    exchange_ready
    pause_ms 700
    close_day "memory files deleted under flow, then kill -9, level disk"
}

# The same at level memory: what had left cannot be proven. Refused until the operator says so.
memory_gone_memory() {
    open_day memory
    serve 700
    rm -rf "$hot/hot"
    pause_ms 300
    exchange_kill
    exchange_refused "incarnation"
    kill -9 "${witnesses[@]}"
    wait "${witnesses[@]}" 2>/dev/null || true
    witnesses=()
    echo "memory files deleted under flow, then kill -9, level memory: refused until the incarnation is changed"
    rm -rf "$venue" "$hot"
}

# The data directory may not be written at the start.
read_only() {
    open_day memory
    serve 700
    exchange_kill
    mount --bind "$venue/data" "$venue/data" && mount -o remount,bind,ro "$venue/data"
    mounts+=("$venue/data")
    exchange_refused "read-only"
    umount "$venue/data"
    mounts=()
    exchange_start
    exchange_ready
    pause_ms 700
    close_day "a data directory that may not be written"
}

# A full disk at level memory: it trades on, then takes cancels only; dies; starts; goes on when there is room.
full_memory() {
    SEGMENT_MIB=2 HOT_SEGMENTS=16 open_day memory
    small_disk 24
    serve 500
    within 300 archive_waits
    pause_ms 500
    exchange_kill
    exchange_start
    exchange_ready
    pause_ms 1500
    exchange_kill
    mount -o remount,size=1g "$venue/data"
    exchange_start
    exchange_ready
    pause_ms 2000
    archive_goes_on() { [ "$(status archive_waits)" = None ]; }
    within 60 archive_goes_on
    close_day "a full disk, killed twice, level memory"
}

# A full disk at level disk: nothing is committed, nothing is lost; it goes on by itself when there is room.
full_disk() {
    SEGMENT_MIB=2 HOT_SEGMENTS=16 open_day disk
    small_disk 24
    serve 500
    within 300 archive_waits
    pause_ms 1000
    mount -o remount,size=1g "$venue/data"
    pause_ms 1500
    exchange_kill
    exchange_start
    exchange_ready
    pause_ms 700
    close_day "a full disk that is given room, level disk"
}

# A disk that stands still for three seconds. At level memory orders go on meanwhile.
frozen() { # level
    open_day "$1"
    truncate -s 512M "$venue/disk.img"
    mkfs.ext4 -q "$venue/disk.img"
    if ! mount -o loop "$venue/disk.img" "$venue/data" 2>/dev/null; then
        echo "SKIPPED: frozen disk: no loop device on this host" >&2
        rm -rf "$venue" "$hot"
        return 0
    fi
    mounts+=("$venue/data")
    serve
    fsfreeze -f "$venue/data"
    local at
    at=$(now_ns)
    echo "kill $at $at" >"$venue/freezes"
    pause_ms 3000
    fsfreeze -u "$venue/data"
    pause_ms 1000
    # Frozen again and killed: it cannot die before the disk moves.
    fsfreeze -f "$venue/data"
    pause_ms 300
    local told
    told=$(now_ns)
    kill -9 "$exchange"
    pause_ms 500
    fsfreeze -u "$venue/data"
    wait "$exchange" 2>/dev/null || true
    echo "kill $told $(now_ns)" >>"$venue/kills"
    exchange_start
    exchange_ready
    pause_ms 1000
    close_frozen "$1"
}

close_frozen() {
    exchange_alive
    witnesses_stop
    exchange_stop
    "$rialto" audit "$(day_dir)" "$venue"/evidence/*.evidence --kills "$venue/freezes" \
        --json "$venue/verdict.json" >"$venue/audit.out" || { cat "$venue/audit.out" >&2; exit 1; }
    local first
    first=$(figure restart_ms.max)
    if [ "$1" = memory ]; then expect restart_ms.max -lt 2900; else expect restart_ms.max -ge 2000; fi
    umount "$venue/data"
    mounts=()
    echo "a frozen disk, then killed on it, level $1: $(figure messages) messages, missing 0, doubled 0; first answer $first ms after the freeze of 3 s began"
    rm -rf "$venue" "$hot"
}

# The shadow dies: another one is started; the exchange and its brokers notice nothing. The exchange dies: the
# shadow goes with it, and the next start takes the snapshot.
shadow_dies() {
    SNAPSHOT_SECONDS=1 open_day memory
    serve
    local first second
    within 60 shadow_pid >/dev/null
    first=$(shadow_pid)
    kill -9 "$first"
    another() { second=$(shadow_pid) && [ "$second" != "$first" ]; }
    within 60 another
    # Not the draft of one.
    snapshot() { compgen -G "$(day_dir)/snapshot-*[0-9]" >/dev/null; }
    within 120 snapshot
    exchange_kill
    gone() { ! kill -0 "$second" 2>/dev/null; }
    within 60 gone
    exchange_start
    exchange_ready
    tail -n 1 "$venue/exchange.out" | grep -q '(0 of a snapshot)' && { echo "no snapshot was taken" >&2; exit 1; }
    pause_ms 700
    close_day "the shadow killed, then the exchange"
}

frozen_memory() { frozen memory; }
frozen_disk() { frozen disk; }

for drill in ${*:-second_venue memory_gone_disk memory_gone_memory read_only full_memory full_disk frozen_memory frozen_disk shadow_dies}; do
    $drill
done
