#!/usr/bin/env bash
# What a running venue can still do: nothing but its own files and datagrams. A venue over AF_XDP in a
# namespace of the test's own: orders flow from the host at the other end of the wire, while no thread
# has a capability, every thread has the filter, and a process inside the same sandbox is refused what
# it tries. Then a day that ends by itself: the process ends with it, and the next one takes over.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
rialto=$(pwd)/${CARGO_TARGET_DIR:-target}/$profile/rialto
[[ ${CARGO_TARGET_DIR:-} != /* ]] || rialto=$CARGO_TARGET_DIR/$profile/rialto
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null; then
    echo "SKIPPED: needs root and ip (iproute2)" >&2
    exit 1
fi
if [ -z "${NO_BUILD:-}" ]; then
    if [ "$profile" = release ]; then cargo build --release --quiet; else cargo build --quiet; fi
fi

work=$(mktemp -d)
inside=rialto-inside-$$ outside=rialto-outside-$$
venue=
end() {
    local code=$?
    [ -z "$venue" ] || kill -9 "$venue" 2>/dev/null || true
    [ -z "$venue" ] || wait "$venue" 2>/dev/null || true
    ip netns del "$inside" 2>/dev/null || true
    ip netns del "$outside" 2>/dev/null || true
    rm -rf "$work" "/dev/shm/rialto-privileges-$$"
    exit $code
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "tests/privileges.sh: $*" >&2
    cat "$work/log" >&2 2>/dev/null || true
    exit 1
}

wait_for() { # what, test...
    local what=$1
    shift
    for ((i = 0; i < 600; i++)); do
        "$@" && return
        [ -z "$venue" ] || kill -0 "$venue" 2>/dev/null || fail "the venue ended before: $what"
        sleep 0.1
    done
    fail "in vain for 60 s: $what"
}

ip netns add "$inside"
ip netns add "$outside"
ip -n "$inside" link add w0 type veth peer name w1 netns "$outside"
for side in "$inside w0 10.78.0.2" "$outside w1 10.78.0.1"; do
    read -r space link address <<<"$side"
    ip -n "$space" link set lo up
    ip -n "$space" address add "$address/24" dev "$link"
    ip -n "$space" link set "$link" up
    ip -n "$space" route add 224.0.0.0/4 dev "$link"
done

config=$work/rialto.toml
write_config() { # further lines of [venue]
    sed -e "s|^data = .*|data = \"$work/data\"|" -e "s|^hot = .*|hot = \"/dev/shm/rialto-privileges-$$\"\n$1|" \
        -e 's|127\.0\.0\.1"\]|10.78.0.1"]|' -e 's|127\.0\.0\.1|10.78.0.2|' \
        -e 's|^\[snapshot\]|[network]\npath = "af_xdp"\n[host]\nsandbox = "on"\n[snapshot]|' rialto.toml >"$config"
}
start() {
    ip netns exec "$inside" "$rialto" run --config "$config" >>"$work/log" 2>&1 &
    venue=$!
    wait_for "ready" grep -q '^ready' "$work/log"
}
order() {
    ip netns exec "$outside" "$rialto" order --config "$config" --user "$1" "${@:2}"
}

echo "== inside, what a venue does not need is refused"
write_config ""
ip netns exec "$inside" "$rialto" run --config "$config" --probe-sandbox | tee "$work/probe" ||
    fail "something inside came out wrong"
for line in 'capabilities: full' 'files: full' 'system_calls: full' \
    'make a file in the data directory: done' \
    'read /etc/passwd: Permission denied' 'a socket (UDP): Operation not permitted' \
    'a socket (AF_XDP): Operation not permitted' 'start a program: Operation not permitted' \
    'a process (std): Operation not permitted' 'bpf: Operation not permitted' \
    'ptrace: Operation not permitted' 'mount: Operation not permitted'; do
    grep -qF "$line" "$work/probe" || fail "the probe does not say: $line"
done

echo "== the same probe without the sandbox goes through: the probe can tell"
sed 's/^sandbox = "on"/sandbox = "off"/' "$config" >"$work/off.toml"
! ip netns exec "$inside" "$rialto" run --config "$work/off.toml" --probe-sandbox >"$work/off" ||
    fail "a process without sandbox is told to be in order"
grep -q 'read /etc/passwd: done: WRONG' "$work/off" || fail "the probe cannot open a file where it may"

echo "== a venue over AF_XDP without privileges"
start
grep '^ready' "$work/log" | grep -q 'af_xdp' || fail "not over AF_XDP: $(grep '^ready' "$work/log")"
order ALFA01 buy ALPH 100 10.00 >"$work/buy" || fail "no order after the drop: $(cat "$work/buy")"
order BRVO01 sell ALPH 40 10.00 >"$work/sell" || fail "no order after the drop: $(cat "$work/sell")"
cat "$work/buy" "$work/sell"
threads=0
for task in /proc/"$venue"/task/*; do
    threads=$((threads + 1))
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        grep -qE "^$set:\s0+$" "$task/status" || fail "$(cat "$task/comm"): $(grep "$set" "$task/status")"
    done
    grep -qE '^NoNewPrivs:\s1$' "$task/status" || fail "$(cat "$task/comm") may gain privileges"
    grep -qE '^Seccomp:\s2$' "$task/status" || fail "$(cat "$task/comm") has no filter"
done
[ "$threads" -ge 5 ] || fail "only $threads threads: has the layout changed?"
echo "$threads threads: no capability, no new privileges, filter on"

status=$work/data/$(ls "$work/data" | grep -m1 '^20')/status.json
value() { python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[k]
print(v)' "$status" "$@"; }
for layer in capabilities files system_calls; do
    [ "$(value sandbox "$layer")" = full ] || fail "status.json: $layer $(value sandbox "$layer")"
done
echo "== its shadow runs, dies and comes back, without a capability"
shadow() { [ "$(value snapshot shadow_pid)" != None ]; }
wait_for "a shadow" shadow
first=$(value snapshot shadow_pid)
grep -qE '^CapEff:\s0+$' "/proc/$first/status" || fail "the shadow has capabilities"
kill -9 "$first"
another() { shadow && [ "$(value snapshot shadow_pid)" != "$first" ]; }
wait_for "another shadow" another

echo "== it stops in good order and resumes"
kill -TERM "$venue"
wait "$venue" || fail "exit code $? at SIGTERM"
venue=
! pgrep -f "shadow $work/data" || fail "a shadow is left behind"
: >"$work/log"
start
order ALFA01 buy ALPH 1 9.00 >"$work/buy" || fail "no order after the restart"
kill -TERM "$venue"
wait "$venue" || fail "exit code $? at SIGTERM"
venue=
! grep -E 'ERROR|panicked|not permitted|denied' "$work/log" || fail "it told of trouble"

echo "== a day that ends by itself ends the process, and the next process has the next day"
rm -rf "$work/data"
write_config 'trial_day_seconds = 3\nlinger_seconds = 1'
for day in 1 2; do
    : >"$work/log"
    start
    code=0
    wait "$venue" || code=$?
    venue=
    [ "$code" = 10 ] || fail "day $day ended with exit code $code"
    grep -q '^ended' "$work/log" || fail "day $day did not end"
done
[ "$(ls "$work/data" | grep -c '^20')" = 2 ] || fail "days: $(ls "$work/data")"
grep -q '^carried' "$work/log" || fail "nothing was carried into the second day"
echo "privileges: all as expected"
