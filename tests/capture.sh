#!/usr/bin/env bash
# What a capture holds, as tshark reads it. A venue over AF_XDP in a namespace of the test's own, inside
# its sandbox: orders from the host at the other end of the wire, and frames that are no datagrams; every
# frame decodes, both directions are there, what was sent has good UDP checksums, the numbers are the
# counters'. Then the switch at run time; a flow with rings too small for it; a disk that is full, and
# one that stands still, while orders go on. At last the same files over ordinary sockets.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
rialto=$(pwd)/${CARGO_TARGET_DIR:-target}/$profile/rialto
[[ ${CARGO_TARGET_DIR:-} != /* ]] || rialto=$CARGO_TARGET_DIR/$profile/rialto
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null || ! command -v tshark >/dev/null; then
    echo "SKIPPED: needs root, ip (iproute2) and tshark" >&2
    exit 1
fi
if [ -z "${NO_BUILD:-}" ]; then
    if [ "$profile" = release ]; then cargo build --release --quiet; else cargo build --quiet; fi
fi

work=$(mktemp -d)
inside=rialto-cap-in-$$ outside=rialto-cap-out-$$
venue= flow=
mounted=()
end() {
    local code=$? pid place
    for place in "${mounted[@]}"; do fsfreeze -u "$place" 2>/dev/null || true; done
    for pid in $flow $venue; do kill -9 "$pid" 2>/dev/null || true; done
    for pid in $flow $venue; do wait "$pid" 2>/dev/null || true; done
    for place in "${mounted[@]}"; do umount -l "$place" 2>/dev/null || true; done
    ip netns del "$inside" 2>/dev/null || true
    ip netns del "$outside" 2>/dev/null || true
    rm -rf "$work" "/dev/shm/rialto-capture-$$"
    exit $code
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "tests/capture.sh: $*" >&2
    tail -30 "$work/log" >&2 2>/dev/null || true
    exit 1
}

wait_for() { # what, test...
    local what=$1
    shift
    for ((i = 0; i < 300; i++)); do
        "$@" && return
        [ -z "$venue" ] || kill -0 "$venue" 2>/dev/null || fail "the venue ended before: $what"
        sleep 0.1
    done
    fail "in vain for 30 s: $what"
}

ip netns add "$inside"
ip netns add "$outside"
ip -n "$inside" link add w0 type veth peer name w1 netns "$outside"
for side in "$inside w0 10.79.0.2" "$outside w1 10.79.0.1"; do
    read -r space link address <<<"$side"
    ip -n "$space" link set lo up
    ip -n "$space" address add "$address/24" dev "$link"
    ip -n "$space" link set "$link" up
    ip -n "$space" route add 224.0.0.0/4 dev "$link"
done

config=$work/rialto.toml
write_config() { # path, further tables
    sed -e "s|^data = .*|data = \"$work/data\"|" -e "s|^hot = .*|hot = \"/dev/shm/rialto-capture-$$\"|" \
        -e 's|127\.0\.0\.1"\]|10.79.0.1"]|' -e 's|127\.0\.0\.1|10.79.0.2|' \
        -e "s|^\[snapshot\]|[network]\npath = \"$1\"\n[host]\nsandbox = \"on\"\n$2\n[snapshot]|" \
        rialto.toml >"$config"
    rm -rf "$work/data" "/dev/shm/rialto-capture-$$"
}
start() { # arguments of run
    : >"$work/log"
    ip netns exec "$inside" "$rialto" run --config "$config" "$@" >>"$work/log" 2>&1 &
    venue=$!
    wait_for "ready" grep -q '^ready' "$work/log"
}
stop() {
    kill -TERM "$venue"
    wait "$venue" || fail "exit code $? at SIGTERM"
    venue=
    ! grep -E 'panicked|not permitted|denied' "$work/log" || fail "it told of trouble"
}
order() {
    ip netns exec "$outside" "$rialto" order --config "$config" --user "$1" "${@:2}" >"$work/order" ||
        fail "no answer to an order: $(cat "$work/order")"
}
trade() { # times
    for ((n = 0; n < $1; n++)); do
        order ALFA01 buy ALPH 100 10.00
        order BRVO01 sell ALPH 100 10.00
    done
}
switch() { # on or off
    "$rialto" capture "$1" --config "$config" || fail "the switch"
}
value() { # keys of status.json
    python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[k]
print(v)' "$(ls "$work"/data/20*/status.json | tail -1)" "$@"
}
counter() { value agents "$@"; }

# Reads every file of a directory by tshark; what there is becomes shell variables.
look() { # directory
    local found
    found=$(read_files "$1") || fail "tshark does not read what is in $1"
    eval "$found"
}
read_files() { # directory
    python3 - "$1" <<'P'
import glob, subprocess, sys
fields = ["frame.interface_name", "frame.packet_flags_direction", "eth.type", "udp.dstport",
          "udp.checksum.status", "ip.checksum.status", "frame.time_epoch", "frame.drop_count"]
n = dict(packets=0, received=0, sent=0, kernel=0, bad=0, unchecked=0, foreign=0, udp_sent=0, lost=0, files=0)
last = ""
for path in sorted(glob.glob(sys.argv[1] + "/rialto-*.pcapng")):
    n["files"] += 1
    out = subprocess.run(
        ["tshark", "-r", path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
         "-T", "fields", "-E", "separator=|"] + [a for f in fields for a in ("-e", f)],
        capture_output=True, text=True)
    assert out.returncode == 0 and "malformed" not in out.stderr.lower(), (path, out.stderr)
    for line in out.stdout.splitlines():
        name, direction, ether, port, udp, ip, time, lost = line.split("|")
        n["packets"] += 1
        n["lost"] += int(lost or 0)
        assert time >= last, (path, time, last)
        last = time
        direction = int(direction, 0)
        assert direction in (1, 2), line
        if name.endswith("-kernel"):
            n["kernel"] += 1
        else:
            n["received" if direction == 1 else "sent"] += 1
        if ether != "0x0800" or not port:
            n["foreign"] += 1
        elif direction == 2:
            n["udp_sent"] += 1
            # 1 = good (packet-udp.c); 0 = bad, 2 = not checked.
            n["bad"] += udp != "1" or ip != "1"
    decoded = subprocess.run(["tshark", "-r", path, "-Y", "_ws.malformed && !(udp.srcport == 4000)"],
                             capture_output=True, text=True)
    assert decoded.stdout == "", decoded.stdout[:500]
for k, v in n.items():
    print(f"{k}={v}")
P
}

echo "== over AF_XDP: orders, and frames that are no datagrams"
write_config af_xdp ""
start --pcap "$work/pcap"
grep '^ready' "$work/log" | grep -q 'af_xdp' || fail "not over AF_XDP: $(grep '^ready' "$work/log")"
trade 10
# The program lets pass what is not for the venue, so what the receiving duty refuses is addressed to
# it: a datagram with a wrong length, sent raw.
ip netns exec "$outside" python3 - <<'P'
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for _ in range(5):
    s.sendto(struct.pack("!HHHH", 4000, 9001, 400, 0) + b"shorter than it says", ("10.79.0.2", 0))
P
refused() { [ "$(counter nic frames_refused)" -ge 5 ]; }
wait_for "five refused frames" refused
stop
grep '^capture: ' "$work/log" || fail "the end says nothing of the capture"
look "$work/pcap"
echo "$packets packets of $files file: $received received, $sent sent, $kernel beside the queues"
[ "$bad" = 0 ] || fail "$bad of $udp_sent sent frames have no good checksum"
[ "$received" -gt 40 ] && [ "$sent" -gt 100 ] || fail "too few"
for pair in "frames_received $received" "frames_sent $sent"; do
    read -r name seen <<<"$pair"
    # The last status is from before the end: what was sent between it and the end is in the file only.
    counted=$(counter nic "$name")
    [ "$seen" -ge "$counted" ] && [ "$seen" -le $((counted + 20)) ] || fail "$name: $seen captured, $counted counted"
done
short=$(tshark -r "$work"/pcap/rialto-000001-*.pcapng -Y 'udp.srcport == 4000' 2>/dev/null | wc -l)
[ "$short" = 5 ] || fail "$short of 5 refused frames are in the capture"
[ "$(stat -c %a "$work/pcap")" = 700 ] || fail "mode of the directory"
[ -z "$(find "$work/pcap" -type f ! -perm 600)" ] || fail "mode of the files"
grep -q 'capture: .* 0 lacking' "$work/log" || fail "frames are lacking"

echo "== the switch, inside the sandbox"
write_config af_xdp "[capture]\ndirectory = \"$work/switched\""
start
[ "$(value sandbox files)" = full ] || fail "no sandbox: $(value sandbox files)"
trade 2
[ -z "$(ls "$work/switched")" ] || fail "it captures while it is off"
switch on
trade 3
switch off
sleep 0.5
look "$work/switched"
before=$packets
[ "$received" -gt 5 ] && [ "$sent" -gt 5 ] || fail "$received and $sent packets"
trade 2
sleep 0.5
look "$work/switched"
[ "$packets" = "$before" ] || fail "it captures on"
switch on
# At once: whoever has switched it is told what he did.
"$rialto" capture status --config "$config" | tee "$work/told"
grep -q 'running, its capture on' "$work/told" || fail "the status"
trade 1
stop
look "$work/switched"
[ "$files" = 2 ] && [ "$packets" -gt "$before" ] || fail "$files files, $packets packets"
no_switch() { # why
    ! "$rialto" capture on --config "$config" 2>"$work/refused" || fail "a switch where there is none"
    grep -q "$1" "$work/refused" || fail "$(cat "$work/refused")"
}
no_switch 'no venue serves here'

echo "== a disk that stands still, then one that is full: orders go on, and what is lacking is told"
dd if=/dev/zero of="$work/image" bs=1M count=32 status=none
mkfs.ext4 -q "$work/image"
mkdir "$work/disk"
mount -o loop "$work/image" "$work/disk"
mounted+=("$work/disk")
write_config af_xdp "[capture]\ndirectory = \"$work/disk/pcap\"\nring_mib = 1\nfile_mib = 64"
start
switch on
mkdir "$work/evidence"
ip netns exec "$outside" "$rialto" witness broker --config "$config" --out "$work/evidence" --rate 20000 >>"$work/flow" 2>&1 &
flow=$!
applied() { # how many commands in so many seconds
    local before
    before=$(value commands_applied)
    sleep "$1"
    echo $(($(value commands_applied) - before))
}
wait_for "a flow" eval '[ "$(value commands_applied)" -gt 1000 ]'
fsfreeze -f "$work/disk"
commands=$(applied 3)
lacking=$(counter capture frames_dropped)
fsfreeze -u "$work/disk"
echo "frozen: $commands commands applied in 3 s, $lacking frames lacking"
[ "$commands" -gt 15000 ] || fail "the order path stood still with the disk"
[ "$lacking" -gt 1000 ] || fail "nothing is lacking although the disk stood still"
grep -q 'the capture lacks frames' "$work/log" || fail "nothing is told of it"
fallocate -l 40M "$work/disk/fill" 2>/dev/null || dd if=/dev/zero of="$work/disk/fill" bs=64K status=none 2>/dev/null || true
full() { [ "$(counter capture frames_unwritten)" -gt 1000 ]; }
wait_for "a full disk" full
commands=$(applied 2)
echo "full: $commands commands applied in 2 s, $(counter capture frames_unwritten) frames refused"
[ "$commands" -gt 10000 ] || fail "the order path stood still with a full disk"
grep -q 'the capture cannot write: No space left' "$work/log" || fail "the full disk is not told"
kill -TERM "$flow"
wait "$flow" || fail "the flow: $(tail -5 "$work/flow")"
flow=
grep -q 'without a conclusion 0$' "$work/flow" || fail "the flow: $(tail -5 "$work/flow")"
rm "$work/disk/fill"
written=$(counter capture frames_written)
goes_on() { trade 1; [ "$(counter capture frames_written)" -gt "$written" ]; }
wait_for "writing after there is room again" goes_on
stop
look "$work/disk/pcap"
all=$(($(counter capture frames_dropped) + $(counter capture frames_unwritten)))
echo "$files files say that $lost frames are lacking, status.json $all"
[ "$lost" = "$all" ] || fail "the files say that $lost frames are lacking, status.json $all"
grep '^capture: ' "$work/log"

echo "== over ordinary sockets the same readers work"
write_config udp ""
start --pcap "$work/udp"
trade 5
stop
look "$work/udp"
echo "$packets packets: $received received, $sent sent"
[ "$foreign" = 0 ] && [ "$bad" = 0 ] && [ "$received" -gt 20 ] && [ "$sent" -gt 40 ] || fail "foreign $foreign, bad $bad"

echo "== a venue without capture says so"
write_config udp ""
start
no_switch 'was started without capture'
stop
echo "capture: all as expected"
