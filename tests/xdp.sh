#!/usr/bin/env bash
# AF_XDP over veth pairs in namespaces of the test's own (crate af_xdp). Needs root and `ip`; what
# is skipped for want of them is a failure here.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test -p af_xdp --test veth 2>&1 | tee "$output"
if grep "SKIPPED" "$output"; then
    echo "run as root, with iproute2 installed" >&2
    exit 1
fi
