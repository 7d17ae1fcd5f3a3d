#!/usr/bin/env bash
# What the order path asks of the kernel: a venue over AF_XDP, its thread spinning, brokers under load at
# the other end of the wire. strace counts the thread's system calls over many messages: only sendto, the
# kick, may be among them; and a write, the bell that wakes the repair thread, for a repair request that
# came meanwhile. Segments are so small that many end meanwhile. (Its calls of the
# allocator: tests/alloc_nic.rs, none.) Switches and cycles are printed, not judged.
#
#   tests/syscalls.sh
#   RATE=20000 SECONDS_TRACED=20 tests/syscalls.sh
cd "$(dirname "$0")/.."
. tests/venue.sh
command -v strace >/dev/null || { echo "SKIPPED: needs strace" >&2; exit 1; }
[ -n "${NO_BUILD:-}" ] || build

rate=${RATE:-10000}
seconds=${SECONDS_TRACED:-10}

fail() {
    echo "tests/syscalls.sh: $*" >&2
    tail -n 5 "$venue/exchange.err" >&2
    exit 1
}

venue_wire
# 1 MiB: an end of the command log's segment about every second.
SEGMENT_MIB=1 HOT_SEGMENTS=64 venue_make memory 8 10
cat >>"$venue/rialto.toml" <<'T'

[[thread]]
agents = ["ingress", "sequencer", "engine", "publisher", "egress", "timer"]
idle = "spin"

[[thread]]
agents = ["replayer", "retransmitter"]

[[thread]]
agents = ["archiver"]
T
exchange_start
exchange_ready
tail -n 1 "$venue/exchange.out" | grep -q '(af_xdp:native' || fail "not over AF_XDP: $(tail -n 1 "$venue/exchange.out")"
feed_start SUB1
brokers_start 1 "$rate"

thread=""
for task in /proc/"$exchange"/task/*; do
    [ "$(cat "$task/comm")" != rialto-ingress ] || thread=$task
done
[ -n "$thread" ] || fail "no thread of that name"
switches() { awk '/^nonvoluntary/ { print $2 }' "$thread/status"; }
messages() { status agents.gateway_ingress.messages; }
flowing() { [ "$(messages)" != unknown ] && [ "$(messages)" -gt $((2 * rate)) ]; }
within 120 flowing
# Requests that repair has had, whatever it answered.
requests() {
    local of sum=0
    for of in answered malformed beyond not_allowed over_rate over_total table_full; do
        sum=$((sum + $(status agents.retransmitter.$of)))
    done
    echo $sum
}

echo "== $seconds s without strace"
before=$(messages) switched=$(switches)
kicks=$(status agents.nic.kicks)
pause_ms $((seconds * 1000))
kicks=$(($(status agents.nic.kicks) - kicks))
echo "$(($(messages) - before)) messages, $kicks kicks, $(($(switches) - switched)) involuntary switches"
echo "longest cycle $(status threads.rialto-ingress.longest_cycle_ns) ns (since the start)," \
    "longest housekeeping $(status threads.rialto-ingress.longest_housekeeping_ns) ns," \
    "overruns $(status threads.rialto-ingress.overruns) of $(status threads.rialto-ingress.busy_cycles) busy cycles"

echo "== $seconds s with strace on the order path's thread"
before=$(messages) asked=$(requests)
segments=$(status command_log.written)
timeout -s INT "$seconds" strace -c -o "$venue/calls" -p "${thread##*/}" 2>"$venue/strace.err" || true
status_anew
counted=$(($(messages) - before)) asked=$(($(requests) - asked))
cat "$venue/calls"
echo "$counted messages, $asked repair requests, commands $segments to $(status command_log.written)"
exchange_alive
witnesses_stop
exchange_stop
audit
expect faults -eq 0

python3 - "$venue/calls" "$counted" "$asked" <<'P'
import sys
calls = {}
for line in open(sys.argv[1]):
    words = line.split()
    if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
        calls[words[-1]] = int(words[3])
messages, asked = map(int, sys.argv[2:])
assert messages >= 1000, f"only {messages} messages: no load"
assert calls.get("sendto", 0) > 100, f"no kick seen: {calls}"
others = {name: n for name, n in calls.items() if name != "sendto"}
bells = others.pop("write", 0)
assert bells <= asked, f"{bells} calls of write for {asked} repair requests"
assert not others, f"the order path asked the kernel for more than the kick: {others}"
print(f"{messages} messages, {calls['sendto']} kicks, {bells} bells, no other system call")
P
