#!/usr/bin/env bash
# The Debian package: built, installed, run as its own user with the unit's capabilities, removed, purged. The root
# it is installed into is this machine's own under an overlay, in namespaces of its own: what the package leaves
# is what the overlay has, and nothing of this machine changes. Needs root, a Debian host, apt for what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
    echo "SKIPPED: a package is installed by root" >&2
    exit 1
fi

fail() {
    echo "tests/package.sh: $*" >&2
    exit 1
}

if [ "${1:-}" != inside ]; then
    if ! command -v systemd-analyze >/dev/null || ! command -v man >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends systemd man-db
    fi
    [ -n "${NO_BUILD:-}" ] || sysconfig/package.sh
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp target/package/*.deb "$work/rialto.deb"
    # Mounts, addresses and processes end with it, however it ends.
    unshare --mount --net --pid --fork --kill-child "$0" inside "$work"
    exit
fi

work=$2
mount -t proc proc /proc
mount -t tmpfs tmpfs "$work" -o size=2G 2>/dev/null && cp target/package/*.deb "$work/rialto.deb"
mkdir "$work/upper" "$work/inner" "$work/root"
# By another mount of the root file system, so that nothing else that is mounted shows.
mkdir "$work/lower"
mount --bind / "$work/lower"
mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/inner" "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
ip link set lo up
mv "$work/rialto.deb" "$root/tmp/"
in_root() { chroot "$root" "$@"; }

users() { cat "$root"/etc/passwd "$root"/etc/group "$root"/etc/shadow "$root"/etc/gshadow; }
users >"$work/users"
in_root dpkg -s rialto >/dev/null 2>&1 && fail "this machine has the package already"

echo "--- install"
in_root dpkg -i /tmp/rialto.deb
in_root getent passwd rialto || fail "no user"
[ "$(stat -c '%U %a' "$root/etc/rialto/rialto.toml" 2>/dev/null)" ] || fail "no configuration"
[ "$(in_root stat -c '%U:%G %a' /etc/rialto/rialto.toml)" = "rialto:rialto 600" ] || fail "who can read the keys?"
[ "$(in_root stat -c '%U:%G %a' /var/lib/rialto)" = "rialto:rialto 750" ] || fail "data directory"
# Without --man=no it formats the pages that the units name, and man keeps them.
in_root systemd-analyze verify --man=no /usr/lib/systemd/system/rialto.service /usr/lib/systemd/system/rialto-configure.service \
    >"$work/verify" 2>&1 || { cat "$work/verify"; fail "units"; }
! grep -i rialto "$work/verify" || fail "units: a warning"
in_root systemd-analyze security --offline=true /usr/lib/systemd/system/rialto.service 2>/dev/null | tail -1 || true
# From a copy: man keeps what it has formatted of pages in their place.
mkdir "$root/tmp/man"
cp "$root"/usr/share/man/man1/rialto*.1.gz "$root/tmp/man/"
for page in rialto rialto-run rialto-doctor rialto-configure-init rialto-order-buy; do
    in_root man --warnings -l "/tmp/man/$page.1.gz" >"$work/page" 2>"$work/warnings" || fail "manual $page"
    [ -s "$work/page" ] && [ ! -s "$work/warnings" ] || { cat "$work/warnings"; fail "manual $page"; }
done
rm -r "$root/tmp/man"
in_root bash -n /usr/share/bash-completion/completions/rialto
for file in operate.md connect.md sysconfig.md sysconfig/grub.d-rialto.cfg copyright; do
    [ -s "$root/usr/share/doc/rialto/$file" ] || fail "no $file"
done

echo "--- the service, as the unit says"
unit=$root/usr/lib/systemd/system/rialto.service
line() { sed -n "s/^$1=//p" "$unit"; }
capabilities=$(line AmbientCapabilities | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
# A machine without CAP_SYS_RESOURCE (some containers) keeps its limits: CAP_IPC_LOCK does instead.
limits=(prlimit "--memlock=$(line LimitMEMLOCK | sed 's/infinity/unlimited/')" "--rtprio=$(line LimitRTPRIO)")
if ! "${limits[@]}" true 2>/dev/null; then
    echo "this machine lets nobody raise limits: LimitMEMLOCK is not tried"
    limits=()
fi
become_unit() { # takes the place of the shell
    exec "${limits[@]}" chroot "$root" setpriv --reuid "$(line User)" \
        --regid "$(line Group)" --init-groups --no-new-privs --bounding-set "-all,$capabilities" \
        --inh-caps "-all,$capabilities" --ambient-caps "-all,$capabilities" \
        env -C "$(line WorkingDirectory)" HOME=/nonexistent "$@"
}
as_unit() { (become_unit "$@"); }
# shellcheck disable=SC2046 # a command line of several words
as_unit $(line ExecStartPre) >"$work/check" || { cat "$work/check"; fail "ExecStartPre"; }
# shellcheck disable=SC2046
become_unit $(line ExecStart) >"$work/out" 2>"$work/err" &
child=$!
for ((i = 0; i < 600; i++)); do
    grep -qs '^ready' "$work/out" && break
    kill -0 $child 2>/dev/null || { cat "$work/out" "$work/err"; fail "the venue does not start"; }
    sleep 0.1
done
grep '^ready' "$work/out" || fail "the venue is not ready after a minute"
uid=$(in_root id -u rialto)
grep -E "^(Uid|Cap|NoNewPrivs)" "/proc/$child/status"
grep -qP "^Uid:\t$uid\t$uid\t$uid\t$uid$" "/proc/$child/status" || fail "it does not run as its own user"
# The unit bounds it (bits 12, 13, 14, 23, 39); what it was given it has given away by the time it is ready.
grep -qP "^CapBnd:\t0000008000807000$" "/proc/$child/status" || fail "CapBnd"
for set in CapInh CapPrm CapEff CapAmb; do
    grep -qP "^$set:\t0000000000000000$" "/proc/$child/status" || fail "$set: the venue keeps capabilities"
done
[ ${#limits[@]} = 0 ] || grep -q "Max locked memory *unlimited" "/proc/$child/limits" || fail "locked memory"
order() { as_unit /usr/bin/rialto order --config /etc/rialto/rialto.toml "$@"; }
order buy ALPH 100 10.00
order sell ALPH 40 10.00 --user BRVO01 | tee "$work/sell"
grep -qi "executed\|traded" "$work/sell" || fail "40 shares should trade"
as_unit /usr/bin/rialto doctor --config /etc/rialto/rialto.toml --path af_xdp --seconds 0 --json >"$work/doctor" || true
python3 - "$work/doctor" <<'P' || fail "AF_XDP with the unit's capabilities"
import json, sys
rows = {r["name"]: r for r in json.load(open(sys.argv[1]))["rows"]}
for name in ("AF_XDP", "capabilities", "locked memory"):
    print(name, rows[name]["state"], rows[name]["seen"])
    assert rows[name]["state"] == "ok", name
P
kill -TERM $child
wait $child || fail "SIGTERM: exit code $?"
ls "$root/var/lib/rialto"

echo "--- installed again: the operator's configuration stays"
echo "# mine" >>"$root/etc/rialto/rialto.toml"
in_root dpkg -i --force-confdef /tmp/rialto.deb >/dev/null
tail -1 "$root/etc/rialto/rialto.toml" | grep -qx "# mine" || fail "configuration overwritten"

echo "--- remove: program gone, days stay"
in_root dpkg -r rialto
[ ! -e "$root/usr/bin/rialto" ] && [ ! -e "$unit" ] || fail "program or unit still there"
[ -e "$root/etc/rialto/rialto.toml" ] && ls "$root"/var/lib/rialto/* >/dev/null || fail "remove took the days along"

echo "--- purge: nothing stays"
in_root dpkg -P rialto
in_root dpkg -s rialto >/dev/null 2>&1 && fail "dpkg still knows it"
users | diff "$work/users" - || fail "a user or group stays"
left=$(find "$work/upper" "$root/run" "$root/dev/shm" "$root/tmp" -iname '*rialto*' ! -path "$root/tmp/rialto.deb")
[ -z "$left" ] || fail "left: $left"
# The rest of the overlay: bookkeeping of dpkg and its triggers, and files that are as they were.
find "$work/upper" -type f | while read -r file; do
    path=${file#"$work/upper"}
    case $path in
    /var/lib/dpkg/* | /var/log/* | /var/cache/* | /etc/*- | /etc/.pwd.lock | /etc/ld.so.cache) ;;
    *) cmp -s "$file" "$work/lower$path" || echo "$path" ;;
    esac
done >"$work/left"
find "$work/upper" -type c >>"$work/left" # a file of this machine that was removed
[ ! -s "$work/left" ] || { cat "$work/left"; fail "changed on this machine"; }
echo "package: installed, ran, removed, purged without a trace"
