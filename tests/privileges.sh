#!/usr/bin/env bash
# What a running venue can still do: nothing but its own files and datagrams. A venue over AF_XDP in a
# namespace of the test's own: orders flow from the host at the other end of the wire, while no thread
# has a capability, every thread has the filter, and a process inside the same sandbox is refused what
# it tries. Then a day that ends by itself: the process ends with it, and the next one takes over.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/venue.sh
. tests/venue.sh
venue_wire
[ -n "${NO_BUILD:-}" ] || build

echo "== inside, what a venue does not need is refused"
venue_example af_xdp
$EXCHANGE_PREFIX "$rialto" run --config "$venue/rialto.toml" --probe-sandbox | tee "$venue/probe" ||
    fail "something inside came out wrong"
for line in 'capabilities: full' 'files: full' 'system_calls: full' \
    'make a file in the data directory: done' \
    'read /etc/passwd: Permission denied' 'a socket (UDP): Operation not permitted' \
    'a socket (AF_XDP): Operation not permitted' 'start a program: Operation not permitted' \
    'a process (std): Operation not permitted' 'bpf: Operation not permitted' \
    'ptrace: Operation not permitted' 'mount: Operation not permitted'; do
    grep -qF "$line" "$venue/probe" || fail "the probe does not say: $line"
done

echo "== the same probe without the sandbox goes through: the probe can tell"
sed 's/^sandbox = "on"/sandbox = "off"/' "$venue/rialto.toml" >"$venue/off.toml"
! $EXCHANGE_PREFIX "$rialto" run --config "$venue/off.toml" --probe-sandbox >"$venue/off" ||
    fail "a process without sandbox is told to be in order"
grep -q 'read /etc/passwd: done: WRONG' "$venue/off" || fail "the probe cannot open a file where it may"

echo "== a venue over AF_XDP without privileges"
example_start
grep '^ready' "$venue/log" | grep -q 'af_xdp' || fail "not over AF_XDP: $(grep '^ready' "$venue/log")"
order ALFA01 buy ALPH 100 10.00
order BRVO01 sell ALPH 40 10.00
cat "$venue/order"
threads=0
for task in /proc/"$exchange"/task/*; do
    threads=$((threads + 1))
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        grep -qE "^$set:\s0+$" "$task/status" || fail "$(cat "$task/comm"): $(grep "$set" "$task/status")"
    done
    grep -qE '^NoNewPrivs:\s1$' "$task/status" || fail "$(cat "$task/comm") may gain privileges"
    grep -qE '^Seccomp:\s2$' "$task/status" || fail "$(cat "$task/comm") has no filter"
done
[ "$threads" -ge 5 ] || fail "only $threads threads: has the layout changed?"
echo "$threads threads: no capability, no new privileges, filter on"

for layer in capabilities files system_calls; do
    [ "$(status "sandbox.$layer")" = full ] || fail "status.json: $layer $(status "sandbox.$layer")"
done
echo "== its shadow runs, dies and comes back, without a capability and behind a filter"
shadow() { [ "$(status snapshot.shadow_pid)" != None ]; }
wait_for "a shadow" shadow
first=$(status snapshot.shadow_pid)
grep -qE '^CapEff:\s0+$' "/proc/$first/status" || fail "the shadow has capabilities"
confined() { grep -qE '^Seccomp:\s2$' "/proc/$first/status"; }
wait_for "the shadow's filter" confined
kill -9 "$first"
another() { shadow && [ "$(status snapshot.shadow_pid)" != "$first" ]; }
wait_for "another shadow" another

echo "== it stops in good order and resumes"
example_stop
! pgrep -f "shadow $venue/data" || fail "a shadow is left behind"
example_start
order ALFA01 buy ALPH 1 9.00
example_stop
! grep ERROR "$venue/log" || fail "it told of trouble"

echo "== a day that ends by itself ends the process, and the next process has the next day"
venue_example af_xdp "" 'trial_day_seconds = 3\nlinger_seconds = 1'
for day in 1 2; do
    example_start
    code=0
    wait "$exchange" || code=$?
    exchange=
    [ "$code" = 10 ] || fail "day $day ended with exit code $code"
    grep -q '^ended' "$venue/log" || fail "day $day did not end"
done
[ "$(ls "$venue/data" | grep -c '^20')" = 2 ] || fail "days: $(ls "$venue/data")"
grep -q '^carried' "$venue/log" || fail "nothing was carried into the second day"
echo "privileges: all as expected"
