# Sourced by suites that run real processes: a venue of its own per run (ports, groups, directories),
# started, killed and ended by this shell only. Nothing stays behind, whatever happens.
#
#   venue_wire                          everything below over AF_XDP on a veth pair, not on loopback
#   venue_make LEVEL SESSIONS SYMBOLS   directories and configuration
#   venue_example PATH [TABLES [LINES]] or those of rialto.toml, on the two hosts of venue_wire, by hand:
#                                       example_start [ARGUMENTS]; order USER ...; example_stop
#   exchange_start; exchange_ready; exchange_serves COMMANDS; exchange_kill; exchange_stop
#   brokers_start PROCESSES RATE; feed_start NAME [ARGUMENTS]; witnesses_stop; audit [ARGUMENTS]
set -euo pipefail

profile=${PROFILE:-release}
rialto=${CARGO_TARGET_DIR:-target}/$profile/rialto
venue=""
hot=""
exchange=""
witnesses=()
others=()
mounts=()
inside=""
outside=""
address=127.0.0.1
client=127.0.0.1
# It is noon where a venue of these suites is: none finds at a restart that its day is over.
zone="zone_offset_minutes = $(((43200 - $(date +%s) % 86400) / 60))"

build() {
    if [ "$profile" = release ]; then cargo build --release --quiet; else cargo build --quiet; fi
}

venue_end() {
    local pid
    for pid in "${others[@]}" "${witnesses[@]}" $exchange; do
        kill -CONT "$pid" 2>/dev/null || true
        kill -9 "$pid" 2>/dev/null || true
    done
    for pid in "${mounts[@]}"; do # the place of each, last made first
        fsfreeze -u "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    for pid in "${mounts[@]}"; do
        umount -l "$pid" 2>/dev/null || true
    done
    for pid in $inside $outside; do # the two hosts
        ip netns del "$pid" 2>/dev/null || true
    done
    if [ -n "${KEEP:-}" ]; then
        echo "kept: $venue $hot"
    else
        rm -rf "$venue" "$hot"
    fi
}
trap venue_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now_ns() { date +%s%N; }

# Whole milliseconds, waited.
pause_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

# A seeded number below $1.
below() { RANDOM_NUMBER=$(((RANDOM * 32768 + RANDOM) % $1)); }

# Two hosts and a wire: the exchange on one of them, over AF_XDP, the witnesses on the other. Before
# venue_make.
venue_wire() {
    if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null; then
        echo "SKIPPED: needs root and ip (iproute2)" >&2
        exit 1
    fi
    inside=rialto-in-$$ outside=rialto-out-$$
    address=10.79.0.2 client=10.79.0.1
    EXCHANGE_PREFIX="ip netns exec $inside"
    WITNESS_PREFIX="ip netns exec $outside"
    ip netns add "$inside"
    ip netns add "$outside"
    ip -n "$inside" link add w0 type veth peer name w1 netns "$outside"
    local space link own
    while read -r space link own; do
        ip -n "$space" link set lo up
        ip -n "$space" address add "$own/24" dev "$link"
        ip -n "$space" link set "$link" up
        ip -n "$space" route add 224.0.0.0/4 dev "$link"
    done <<<"$inside w0 $address
$outside w1 $client"
}

venue_make() { # level sessions symbols
    local level=$1 sessions=$2 symbols=$3 i name key
    venue=$(mktemp -d "${VENUE_ROOT:-${TMPDIR:-/tmp}}/rialto-venue-XXXXXX")
    local shm=/dev/shm
    [ -d $shm ] || shm=$venue
    hot=$(mktemp -d "$shm/rialto-venue-XXXXXX")
    local ports
    ports=$(python3 - <<'P'
import random, socket
# Below the range from which the kernel hands out ports: nobody may take one while the exchange is dead.
held = []
while len(held) < 4:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind(("127.0.0.1", random.randrange(20000, 32000)))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
P
    )
    read -r gateway repair line_a line_b <<<"$ports"
    local pair=$(($$ % 250))
    {
        echo "[venue]
name = \"RIALTO\"
data = \"data\"
hot = \"$hot/hot\"
degraded = true
durability = \"$level\"
test_keys = true
$zone

[capacity]
orders_max = 400000
price_pages_max = 256
segment_mib = ${SEGMENT_MIB:-32}
hot_segments_max = ${HOT_SEGMENTS:-16}

[snapshot]
every_seconds = ${SNAPSHOT_SECONDS:-15}

[gateway]
listen = \"$address:$gateway\"

[feed]
interface = \"$address\"
a = \"239.193.$pair.1:$line_a\"
b = \"239.193.$pair.2:$line_b\"
repair = \"$address:$repair\"
repair_bytes_per_second = 50000000"
        [ -z "$inside" ] || printf '\n[network]\npath = "af_xdp"\n'
        for ((i = 0; i < symbols; i++)); do
            printf '\n[[symbol]]\nname = "SYM%03d"\nprotection = "5.00"\n' "$i"
        done
        for ((i = 0; i < sessions; i++)); do
            name=$(printf '%03d' "$i")
            key=$(printf '%02x' $((i + 1)))
            # shellcheck disable=SC2059 # the pair of digits is the format, 32 times
            key=$(printf "$key%.0s" {1..32})
            echo "
[[firm]]
name = \"F$name\"

[[account]]
name = \"A$name\"
firm = \"F$name\"
cash = \"100000000000.00\"
shares = 1000000000
order_quantity_max = 500000

[[session]]
user = \"BRK$name\"
firm = \"F$name\"
account = \"A$name\"
key = \"$key\"
allow = [\"$client\"]
rate = 1000000
burst = 1000000"
        done
    } >"$venue/rialto.toml"
    # Who is on another host names his own interface, and takes his own sockets.
    sed -e "s|^interface = .*|interface = \"$client\"|" -e 's|^path = .*|path = "udp"|' \
        "$venue/rialto.toml" >"$venue/witness.toml"
    sessions_made=$sessions
    : >"$venue/kills"
    : >"$venue/exchange.out"
    : >"$venue/exchange.err"
}

exchange_start() {
    # One log of all lives: what was printed is looked at by its end.
    lives=$(wc -l <"$venue/exchange.out")
    ${EXCHANGE_PREFIX:-} "$rialto" run --config "$venue/rialto.toml" \
        >>"$venue/exchange.out" 2>>"$venue/exchange.err" &
    exchange=$!
}

# Waits for the line that says that it serves, at most $1 (60) seconds.
exchange_ready() {
    local i
    for ((i = 0; i < ${1:-60} * 50; i++)); do
        if tail -n +$((lives + 1)) "$venue/exchange.out" | grep -q '^ready'; then
            return 0
        fi
        if ! kill -0 "$exchange" 2>/dev/null; then
            echo "the exchange did not start:" >&2
            tail -n 5 "$venue/exchange.err" >&2
            return 1
        fi
        sleep 0.02
    done
    echo "the exchange is not ready after ${1:-60} s" >&2
    return 1
}

exchange_kill() {
    local told
    told=$(now_ns)
    kill -9 "$exchange"
    wait "$exchange" 2>/dev/null || true
    echo "kill $told $(now_ns)" >>"$venue/kills"
    exchange=""
}

exchange_stop() {
    kill -TERM "$exchange"
    wait "$exchange" || { echo "the exchange did not end well" >&2; tail -n 5 "$venue/exchange.err" >&2; return 1; }
    exchange=""
}

# A start that must be refused: with exit code 1, and with words that name the reason.
exchange_refused() { # pattern
    local code=0
    timeout 30 "$rialto" run --config "${2:-$venue/rialto.toml}" >"$venue/refused.out" 2>"$venue/refused.err" || code=$?
    if [ $code != 1 ] || ! grep -Eqi "$1" "$venue/refused.err"; then
        echo "a start that must be refused ($1) ended with $code:" >&2
        cat "$venue/refused.err" >&2
        return 1
    fi
    echo "  refused: $(tail -n 1 "$venue/refused.err" | cut -c1-200)"
}

# The process beside the exchange that writes snapshots; fails when there is none.
shadow_pid() { pgrep -P "$(pgrep -P "$exchange" -f ' keeper ')" -f ' shadow '; }

exchange_alive() {
    kill -0 "$exchange" 2>/dev/null || { echo "the exchange ended by itself:" >&2; tail -n 5 "$venue/exchange.err" >&2; return 1; }
}

day_dir() { find "$venue/data" -mindepth 1 -maxdepth 1 -type d -name '2*' | sort | tail -n 1; }

brokers_start() { # processes rate-of-all [arguments]
    local processes=$1 rate=$2 p i users
    shift 2
    for ((p = 0; p < processes; p++)); do
        users=""
        for ((i = p; i < sessions_made; i += processes)); do
            users+=$(printf ',BRK%03d' "$i")
        done
        ${WITNESS_PREFIX:-} "$rialto" witness broker --config "$venue/witness.toml" --out "$venue/evidence" \
            --users "${users#,}" --rate $((rate / processes)) --seed $((${SEED:-1} * 100 + p)) "$@" \
            >>"$venue/witness.out" 2>&1 &
        witnesses+=($!)
    done
}

feed_start() { # name [arguments]
    local name=$1
    shift
    ${WITNESS_PREFIX:-} "$rialto" witness feed --config "$venue/witness.toml" --out "$venue/evidence" --name "$name" "$@" \
        >>"$venue/witness.out" 2>&1 &
    witnesses+=($!)
    local i
    for ((i = 0; i < 250; i++)); do
        [ -e "$venue/evidence/$name.evidence" ] && return 0
        sleep 0.02
    done
}

# What the exchange says of itself now, such as `status mode`.
status() {
    python3 -c '
import json, sys
v = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."): v = v[key]
print(v)' "$(day_dir)/status.json" "$1" 2>/dev/null || echo unknown
}

# Waits until the exchange, which has just begun to serve, has had $1 commands: its brokers are back.
exchange_serves() {
    local found enough=$1
    found=$(status commands_applied)
    flows() { [ "$(status commands_applied)" -ge $((found + enough)) ]; }
    within 60 flows
}

# Waits for what the exchange says of itself at this moment.
status_anew() {
    local file before _
    file=$(day_dir)/status.json
    changed() { [ "$(stat -c %y "$file")" != "$before" ]; }
    for _ in 1 2; do # the first may have been under way
        before=$(stat -c %y "$file")
        within 60 changed
    done
}

# Waits until a command succeeds, at most $1 seconds.
within() {
    local i limit=$1
    shift
    for ((i = 0; i < limit * 10; i++)); do
        "$@" && return 0
        sleep 0.1
    done
    echo "not within $limit s: $*" >&2
    return 1
}

# Brokers stop sending, wait for their answers, write their evidence; then the subscribers.
witnesses_stop() {
    local pid failed=0
    kill -TERM "${witnesses[@]}"
    for pid in "${witnesses[@]}"; do
        wait "$pid" || failed=1
    done
    witnesses=()
    if [ $failed = 1 ]; then
        echo "a witness did not end well:" >&2
        cat "$venue/witness.out" >&2
        return 1
    fi
}

audit() {
    "$rialto" audit "$(day_dir)" "$venue"/evidence/*.evidence --kills "$venue/kills" \
        --json "$venue/verdict.json" "$@"
}

# One figure of the last verdict, such as `figure restart_ms.max`.
figure() {
    python3 -c '
import json, sys
v = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."): v = v[key]
print(v)' "$venue/verdict.json" "$1"
}

# Stops with a message unless a figure is as expected: `expect missing -eq 0`.
expect() {
    local value
    value=$(figure "$1")
    [ "$value" "$2" "$3" ] || { echo "$1 is $value, must be $2 $3" >&2; exit 1; }
}

fail() {
    echo "$0: $*" >&2
    tail -30 "$venue/log" >&2 2>/dev/null || true
    exit 1
}

# Waits for a minute until a command succeeds, as long as the exchange lives.
wait_for() { # what, command...
    local what=$1 i
    shift
    for ((i = 0; i < 600; i++)); do
        "$@" && return
        [ -z "$exchange" ] || kill -0 "$exchange" 2>/dev/null || fail "the exchange ended before: $what"
        sleep 0.1
    done
    fail "in vain for 60 s: $what"
}

# The venue of rialto.toml, in its sandbox; a new day each time. Further tables and further lines of [venue]
# with \n between them.
venue_example() { # path [tables [lines]]
    [ -n "$venue" ] || venue=$(mktemp -d)
    hot=/dev/shm/rialto-example-$$
    rm -rf "$venue/data" "$hot"
    sed -e "s|^data = .*|data = \"$venue/data\"|" -e "s|^hot = .*|hot = \"$hot\"\n$zone\n${3:-}|" \
        -e "s|127\.0\.0\.1\"\]|$client\"]|" -e "s|127\.0\.0\.1|$address|" \
        -e "s|^\[snapshot\]|[network]\npath = \"$1\"\n[host]\nsandbox = \"on\"\n${2:-}\n[snapshot]|" \
        rialto.toml >"$venue/rialto.toml"
}

# Starts it and waits until it serves; its log is of this life alone.
example_start() { # arguments of run
    : >"$venue/log"
    $EXCHANGE_PREFIX "$rialto" run --config "$venue/rialto.toml" "$@" >>"$venue/log" 2>&1 &
    exchange=$!
    wait_for "ready" grep -q '^ready' "$venue/log"
}

# Ends it, which must be in good order, and so must what it said.
example_stop() {
    kill -TERM "$exchange"
    wait "$exchange" || fail "exit code $? at SIGTERM"
    exchange=
    ! grep -E 'panicked|not permitted|denied' "$venue/log" || fail "it told of trouble"
}

# An order by hand, from the other host; what came of it is in $venue/order.
order() { # user, arguments of order
    $WITNESS_PREFIX "$rialto" order --config "$venue/rialto.toml" --timeout-ms 60000 --user "$1" "${@:2}" >"$venue/order" 2>&1 ||
        fail "no answer to an order: $(cat "$venue/order")"
}
