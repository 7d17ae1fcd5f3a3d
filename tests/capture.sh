#!/usr/bin/env bash
# What a capture holds, as tshark reads it. A venue over AF_XDP in a namespace of the test's own, inside
# its sandbox: orders from the host at the other end of the wire, and frames that are no datagrams; every
# frame decodes, both directions are there, what was sent has good UDP checksums, the numbers are the
# counters'. Then the switch at run time; a flow with rings too small for it; a disk that is full, and
# one that stands still, while orders go on. At last the same files over ordinary sockets.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/venue.sh
. tests/venue.sh
command -v tshark >/dev/null || { echo "SKIPPED: needs tshark" >&2; exit 1; }
venue_wire
[ -n "${NO_BUILD:-}" ] || build

trade() { # times
    for ((n = 0; n < $1; n++)); do
        order ALFA01 buy ALPH 100 10.00
        order BRVO01 sell ALPH 100 10.00
    done
}
switch() { # on or off
    "$rialto" capture "$1" --config "$venue/rialto.toml" || fail "the switch"
}
counter() { status "agents.$1.$2"; }

# Reads every file of a directory by tshark; what there is becomes shell variables.
look() { # directory
    local found
    found=$(read_files "$1") || fail "tshark does not read what is in $1"
    eval "$found"
}
read_files() { # directory
    python3 - "$1" <<'P'
import glob, subprocess, sys
# The payload is nobody's but ours: without this tshark guesses, and calls it malformed R-GOOSE when a
# datagram's bytes happen to look like one.
tshark = ["tshark", "-d", "udp.port==0-65535,data"]
fields = ["frame.interface_name", "frame.packet_flags_direction", "eth.type", "udp.dstport",
          "udp.checksum.status", "ip.checksum.status", "frame.time_epoch", "frame.drop_count"]
n = dict(packets=0, received=0, sent=0, kernel=0, bad=0, unchecked=0, foreign=0, udp_sent=0, lost=0, files=0)
last = ""
for path in sorted(glob.glob(sys.argv[1] + "/rialto-*.pcapng")):
    n["files"] += 1
    out = subprocess.run(
        tshark + ["-r", path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
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
    decoded = subprocess.run(tshark + ["-r", path, "-Y", "_ws.malformed && !(udp.srcport == 4000)"],
                             capture_output=True, text=True)
    assert decoded.stdout == "", decoded.stdout[:500]
for k, v in n.items():
    print(f"{k}={v}")
P
}

echo "== over AF_XDP: orders, and frames that are no datagrams"
venue_example af_xdp ""
example_start --pcap "$venue/pcap"
grep '^ready' "$venue/log" | grep -q 'af_xdp' || fail "not over AF_XDP: $(grep '^ready' "$venue/log")"
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
example_stop
grep '^capture: ' "$venue/log" || fail "the end says nothing of the capture"
look "$venue/pcap"
echo "$packets packets of $files file: $received received, $sent sent, $kernel beside the queues"
[ "$bad" = 0 ] || fail "$bad of $udp_sent sent frames have no good checksum"
[ "$received" -gt 40 ] && [ "$sent" -gt 100 ] || fail "too few"
for pair in "frames_received $received" "frames_sent $sent"; do
    read -r name seen <<<"$pair"
    # The last status is from before the end: what was sent between it and the end is in the file only.
    counted=$(counter nic "$name")
    [ "$seen" -ge "$counted" ] && [ "$seen" -le $((counted + 20)) ] || fail "$name: $seen captured, $counted counted"
done
short=$(tshark -r "$venue"/pcap/rialto-000001-*.pcapng -Y 'udp.srcport == 4000' 2>/dev/null | wc -l)
[ "$short" = 5 ] || fail "$short of 5 refused frames are in the capture"
[ "$(stat -c %a "$venue/pcap")" = 700 ] || fail "mode of the directory"
[ -z "$(find "$venue/pcap" -type f ! -perm 600)" ] || fail "mode of the files"
grep -q 'capture: .* 0 lacking' "$venue/log" || fail "frames are lacking"

echo "== the switch, inside the sandbox"
venue_example af_xdp "[capture]\ndirectory = \"$venue/switched\""
example_start
[ "$(status sandbox.files)" = full ] || fail "no sandbox: $(status sandbox.files)"
trade 2
[ -z "$(ls "$venue/switched")" ] || fail "it captures while it is off"
switch on
trade 3
switch off
# Until all that was captured is in the file.
written() { [ "$(counter capture frames_written)" = "$(counter capture frames_captured)" ]; }
wait_for "everything written" written
sleep 0.5
look "$venue/switched"
before=$packets
[ "$received" -gt 5 ] && [ "$sent" -gt 5 ] || fail "$received and $sent packets"
trade 2
sleep 0.5
look "$venue/switched"
[ "$packets" = "$before" ] || fail "it captures on"
switch on
# At once: whoever has switched it is told what he did.
"$rialto" capture status --config "$venue/rialto.toml" | tee "$venue/told"
grep -q 'running, its capture on' "$venue/told" || fail "the status"
trade 1
example_stop
look "$venue/switched"
[ "$files" = 2 ] && [ "$packets" -gt "$before" ] || fail "$files files, $packets packets"
no_switch() { # why
    ! "$rialto" capture on --config "$venue/rialto.toml" 2>"$venue/refused" || fail "a switch where there is none"
    grep -q "$1" "$venue/refused" || fail "$(cat "$venue/refused")"
}
no_switch 'no venue serves here'

echo "== a disk that stands still, then one that is full: orders go on, and what is lacking is told"
dd if=/dev/zero of="$venue/image" bs=1M count=32 status=none
mkfs.ext4 -q "$venue/image"
mkdir "$venue/disk"
mount -o loop "$venue/image" "$venue/disk"
mounts=("$venue/disk")
venue_example af_xdp "[capture]\ndirectory = \"$venue/disk/pcap\"\nring_mib = 1\nfile_mib = 64"
example_start
switch on
mkdir "$venue/evidence"
$WITNESS_PREFIX "$rialto" witness broker --config "$venue/rialto.toml" --out "$venue/evidence" --rate 20000 >>"$venue/flow" 2>&1 &
others=($!)
more() { [ "$(status commands_applied)" -gt $((commands + 10000)) ]; }
lacks() { [ "$(counter capture "$1")" -gt 1000 ]; }
commands=0
wait_for "a flow" more
fsfreeze -f "$venue/disk"
commands=$(status commands_applied)
wait_for "orders go on while the disk stands still" more
wait_for "frames lack while the disk stands still" lacks frames_dropped
wait_for "it is told that frames lack" grep -q 'the capture lacks frames' "$venue/log"
fsfreeze -u "$venue/disk"
echo "frozen: $(($(status commands_applied) - commands)) commands applied, $(counter capture frames_dropped) frames lacking"
fallocate -l 40M "$venue/disk/fill" 2>/dev/null || dd if=/dev/zero of="$venue/disk/fill" bs=64K status=none 2>/dev/null || true
wait_for "a full disk" lacks frames_unwritten
commands=$(status commands_applied)
wait_for "orders go on while the disk is full" more
wait_for "the full disk is told" grep -q 'the capture cannot write: No space left' "$venue/log"
echo "full: $(($(status commands_applied) - commands)) commands applied, $(counter capture frames_unwritten) frames refused"
kill -TERM "${others[0]}"
wait "${others[0]}" || fail "the flow: $(tail -5 "$venue/flow")"
others=()
grep -q 'without a conclusion 0$' "$venue/flow" || fail "the flow: $(tail -5 "$venue/flow")"
rm "$venue/disk/fill"
written=$(counter capture frames_written)
goes_on() { trade 1; [ "$(counter capture frames_written)" -gt "$written" ]; }
wait_for "writing after there is room again" goes_on
example_stop
look "$venue/disk/pcap"
all=$(($(counter capture frames_dropped) + $(counter capture frames_unwritten)))
echo "$files files say that $lost frames are lacking, status.json $all"
[ "$lost" = "$all" ] || fail "the files say that $lost frames are lacking, status.json $all"
grep '^capture: ' "$venue/log"

echo "== over ordinary sockets the same readers work"
venue_example udp ""
example_start --pcap "$venue/udp"
trade 5
example_stop
look "$venue/udp"
echo "$packets packets: $received received, $sent sent"
[ "$foreign" = 0 ] && [ "$bad" = 0 ] && [ "$received" -gt 20 ] && [ "$sent" -gt 40 ] || fail "foreign $foreign, bad $bad"

echo "== a venue without capture says so"
venue_example udp ""
example_start
no_switch 'was started without capture'
example_stop
echo "capture: all as expected"
