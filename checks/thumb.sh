#!/bin/sh
# The core builds for a microcontroller: no operating system, no std, no allocator.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=thumbv7em-none-eabihf
cd "$root"

has_target() {
    libs=$(rustc --print target-libdir --target "$target" 2>/dev/null) && ls "$libs"/libcore-*.rlib >/dev/null 2>&1
}

if ! has_target; then
    if ! said=$(rustup target add "$target" 2>&1) || ! has_target; then
        echo "SKIPPED thumbv7em: $(echo "${said:-rustup added it, but rustc does not find it}" | tail -n 1)"
        exit 0
    fi
fi
cargo build --quiet -p aioproducer-core --no-default-features --target "$target"
echo "PASS thumbv7em: the core builds with no std and no allocator"
