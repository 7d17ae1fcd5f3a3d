#!/usr/bin/env bash
# Builds the Debian package: target/debian/rialto_VERSION_ARCH.deb. What goes in stands in Cargo.toml,
# [package.metadata.deb]; what has to be made first is made here: manual pages, completions, the
# configuration with the package's data directory.
set -euo pipefail
cd "$(dirname "$0")/.."
version=3.8.0 # of cargo-deb; MIT; 90 s to build on two cores

if ! cargo deb --version 2>/dev/null | grep -qF "$version"; then
    cargo install cargo-deb --version "$version" --locked --no-default-features
fi
cargo build --release
rialto=${CARGO_TARGET_DIR:-target}/release/rialto
made=target/package
rm -rf "$made"
mkdir -p "$made/completions"
"$rialto" man "$made/man"
# Commands of the suites are hidden in the help, and have no page either.
gzip -9n "$made"/man/*.1
"$rialto" completions bash >"$made/completions/rialto.bash"
"$rialto" completions zsh >"$made/completions/_rialto"
"$rialto" completions fish >"$made/completions/rialto.fish"
sed -e 's|^data = "data".*|data = "/var/lib/rialto"  # day directories with the logs|' \
    -e 's|^# Start it with:.*|# Start it with:  systemctl enable --now rialto-configure rialto|' \
    -e 's|`rialto config check rialto.toml`|`rialto config check /etc/rialto/rialto.toml`|' \
    rialto.toml >"$made/rialto.toml"
grep -q '^data = "/var/lib/rialto"' "$made/rialto.toml"
cargo deb --no-build --quiet --output "$made/"
ls "$made"/*.deb
