#!/usr/bin/env bash
# The declared Rust version (`rust-version` in Cargo.toml) compiles every published crate with its default features, the facade
# on each runtime, and the core with none. librdkafka is not built for it: what is checked is Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$version" ] || { echo "FAIL Cargo.toml declares no rust-version" >&2; exit 1; }

if ! command -v rustup >/dev/null; then
    echo "SKIPPED Rust $version: there is no rustup to install it with"
    exit 0
fi
has() { rustup run "$version" cargo --version >/dev/null 2>&1; }
if ! has; then
    if ! said=$(rustup toolchain install "$version" --profile minimal 2>&1) || ! has; then
        echo "SKIPPED Rust $version: $(printf '%s' "$said" | tail -n 1)"
        exit 0
    fi
fi

# In place of the script that builds librdkafka: nothing is linked.
host=$(rustup run "$version" rustc -vV | sed -n 's/^host: //p')
check() {
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/msrv rustup run "$version" cargo check --quiet --locked \
        --config "target.$host.rdkafka.rustc-link-lib=['rdkafka']" "$@"
}

check -p aioproducer-core -p aioproducer-driver -p aioproducer-history -p aioproducer-rdkafka -p aioproducer-sim -p aioproducer-smol -p aioproducer-tokio -p aioproducer
check -p aioproducer --features history,sim,smol,embedded-broker,tracing,metrics
check -p aioproducer --no-default-features
check -p aioproducer-core --no-default-features
echo "PASS Rust $version: $(rustup run "$version" rustc --version) compiles every published crate"
