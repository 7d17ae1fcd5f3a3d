#!/usr/bin/env bash
# The real host: doctor looks, configure tunes, doctor sees the difference, configure gives everything back;
# also when it is killed in between, and for a card (a virtual pair in a namespace of its own).
# Changes settings of this machine for some seconds and restores them, also when it dies: it needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
rialto=$(pwd)/target/$profile/rialto
[ -z "${CARGO_TARGET_DIR:-}" ] || rialto=$CARGO_TARGET_DIR/$profile/rialto
if [ "$(id -u)" != 0 ]; then
    echo "SKIPPED: the host's settings belong to root" >&2
    exit 1
fi
if [ -z "${NO_BUILD:-}" ]; then
    if [ "$profile" = release ]; then cargo build --release --quiet; else cargo build --quiet; fi
fi

work=$(mktemp -d)
space=rialto-host-$$
state=$work/configure.json
config=$work/rialto.toml

end() {
    local code=$?
    # Whatever happened: the machine as it was. Twice, as there are two records.
    for record in "$state" "$work/card.json"; do
        [ ! -e "$record" ] || "$rialto" configure fini --config "$config" --state "$record" >&2 || code=1
    done
    ip netns del "$space" 2>/dev/null || true
    rm -rf "$work"
    exit $code
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "tests/host.sh: $*" >&2
    exit 1
}

# The last CPU is the application's, where there are two or more.
last=$(($(nproc) - 1))
[ "$last" -ge 1 ] || fail "needs two CPUs"
{
    sed 's/^# Threads.*//' rialto.toml
    printf '[host]\nstate = "%s"\nhuge_pages = %d\n' "$state" \
        $(($(cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages 2>/dev/null || echo 0) + 4))
    printf '[[thread]]\nagents = ["ingress", "sequencer", "engine", "publisher", "egress", "timer"]\ncpu = %d\n' "$last"
    printf '[[thread]]\nagents = ["replayer", "retransmitter"]\n[[thread]]\nagents = ["archiver"]\n'
} >"$config"

# Every setting that can be written, whether configure names it or not: FILE<TAB>VALUE.
values() {
    {
        find /proc/sys/kernel /proc/sys/vm /proc/sys/net/core /proc/sys/net/ipv4 -type f -perm -u+w 2>/dev/null
        find /proc/irq -name 'smp_affinity*' -o -name default_smp_affinity
        ls /sys/devices/virtual/workqueue/cpumask /sys/kernel/mm/ksm/run /sys/kernel/mm/transparent_hugepage/* \
            /sys/kernel/mm/hugepages/*/nr_hugepages /sys/devices/system/cpu/cpu*/cpuidle/state*/disable \
            /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null || true
    } | sort -u | while read -r file; do
        [ -r "$file" ] || continue
        printf '%s\t%s\n' "$file" "$(cat "$file" 2>/dev/null | tr '\n\t' '  ')"
    done
}

# What differs between two snapshots, but for what changes by itself ($work/moving).
differences() {
    diff "$1" "$2" | sed -n 's/^[<>] //p' | cut -f1 | sort -u | grep -vxFf "$work/moving" || true
}

# State of a row: ok, not_applicable, warn, fail.
row() { # file name
    python3 -c '
import json, sys
rows = [r for r in json.load(open(sys.argv[1]))["rows"] if r["name"] == sys.argv[2]]
assert len(rows) == 1, sys.argv[2]
print(rows[0]["state"])' "$1" "$2"
}

count() { # file state
    python3 -c '
import json, sys
print(sum(r["state"] == sys.argv[2] for r in json.load(open(sys.argv[1]))["rows"]))' "$1" "$2"
}

# The second one falls where interrupts of a profiler take too long.
printf '/proc/sys/kernel/%s\n' ns_last_pid perf_event_max_sample_rate >"$work/moving"
values >"$work/first"
sleep 1
values >"$work/before"
differences "$work/first" "$work/before" >"$work/more"
cat "$work/more" >>"$work/moving"
echo "$(wc -l <"$work/before") settings of this machine, $(wc -l <"$work/moving") of them move by themselves"

"$rialto" doctor --config "$config" | tee "$work/text" || fail "doctor finds a fault where a venue runs"
awk 'length > 100' "$work/text" | grep . && fail "a line is longer than a page"
grep -q "gaps of CPU $last" "$work/text" || fail "no gaps of the application's CPU"
"$rialto" doctor --config "$config" --seconds 0 --json >"$work/doctor-before"

# Demands that this machine cannot meet: the exit code says so.
sed 's/^cpu = .*/cpu = 1000/' "$config" >"$work/bad.toml"
! "$rialto" doctor --config "$work/bad.toml" --seconds 0 >"$work/text" || fail "a CPU that does not exist is no fault?"
grep -q "^FAIL CPUs of \[\[thread\]\] *no CPU 1000" "$work/text" || fail "the missing CPU is not told"

chmod 755 "$work" # for somebody who is not root
install -m 755 "$rialto" "$work/rialto"
! setpriv --reuid 65534 --clear-groups "$work/rialto" configure init --config "$config" 2>"$work/text" ||
    fail "init without root"
grep -q "belong to root" "$work/text" || fail "init without root does not say why"
values >"$work/now"
[ -z "$(differences "$work/before" "$work/now")" ] || fail "doctor changed $(differences "$work/before" "$work/now")"

"$rialto" configure check --config "$config" >"$work/text" && fail "nothing to change on this machine? boot it anew"
"$rialto" configure init --config "$config" | tee "$work/init"
cp "$state" "$work/record"
"$rialto" doctor --config "$config" --seconds 0 --json >"$work/doctor-after"
before=$(count "$work/doctor-before" warn) after=$(count "$work/doctor-after" warn)
[ "$after" -lt "$before" ] || fail "doctor warns of $after rows after init, of $before before"
for name in kernel.timer_migration vm.stat_interval net.core.rmem_max net.core.busy_poll "work queues" \
    "new interrupts" "receive buffer granted" "huge pages of 2 MiB"; do
    case $(row "$work/doctor-after" "$name") in
    ok | not_applicable) ;;
    *) grep -q "not available" "$work/init" || fail "$name is not as wanted after init" ;;
    esac
done
echo "doctor: $before warnings before, $after after"

"$rialto" configure init --config "$config" >"$work/text"
grep -q "[1-9][0-9]* changed" "$work/text" && { cat "$work/text"; fail "a second init changed something"; }
cmp "$state" "$work/record" || fail "a second init changed the record"

"$rialto" configure fini --config "$config" | tee "$work/fini"
values >"$work/now"
[ -z "$(differences "$work/before" "$work/now")" ] || fail "not restored: $(differences "$work/before" "$work/now")"
[ ! -e "$state" ] || fail "the record is still there"
"$rialto" configure fini --config "$config" | grep -q "nothing to restore" || fail "fini twice"

# Killed while it works, ten times later and later.
found=0
for ((round = 1; round <= 10; round++)); do
    timeout -s KILL "0.0$((round * 3 / 10))$((round * 3 % 10))" \
        "$rialto" configure init --config "$config" >/dev/null 2>&1 || true
    [ ! -e "$state" ] || found=$((found + 1))
    "$rialto" configure fini --config "$config" >/dev/null
    values >"$work/now"
    [ -z "$(differences "$work/before" "$work/now")" ] ||
        fail "not restored after kill $round: $(differences "$work/before" "$work/now")"
done
echo "killed ten times, $found of them with values changed: everything restored"

# A card: a virtual pair with four queues and a half-set pair of settings.
ip netns add "$space"
ip -n "$space" link add h0 numrxqueues 4 numtxqueues 4 type veth peer name h1
ip -n "$space" link set h0 up
ip -n "$space" link set h1 up
there() { ip netns exec "$space" "$@"; }
there sh -c 'echo 100000 >/sys/class/net/h0/gro_flush_timeout'
card() {
    there "$rialto" doctor --config "$config" --interface h0 --path auto --seconds 0 --json >"$work/card"
    python3 -c '
import json, sys
for r in json.load(open(sys.argv[1]))["rows"]:
    if r["group"] == "card":
        print(r["name"], r["state"], r["seen"])' "$work/card"
}
card >"$work/card-before"
grep -q "^deferred interrupts warn 0 times, 100000 ns" "$work/card-before" || { cat "$work/card-before"; fail "half a pair"; }
grep -q "^channels warn 4" "$work/card-before" || { cat "$work/card-before"; fail "channels"; }
stages="--stage channels --stage rings --stage coalescing --stage offloads --stage pause --stage napi"
# shellcheck disable=SC2086 # several words
there "$rialto" configure init --config "$config" --interface h0 --path auto --state "$work/card.json" $stages
card >"$work/card-after"
grep -q "^deferred interrupts ok 0 times, 0 ns" "$work/card-after" || { cat "$work/card-after"; fail "half a pair left"; }
grep -q "^channels ok 1" "$work/card-after" || { cat "$work/card-after"; fail "channels left"; }
there "$rialto" configure fini --config "$config" --state "$work/card.json"
card | diff "$work/card-before" - || fail "the card is not as it was"
echo "a card with four queues: tuned and restored"
