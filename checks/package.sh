#!/usr/bin/env bash
# What a registry would get: every published crate is packaged and built from its packaged sources alone, in dependency order;
# so are its examples. Then crates outside of the repository, which depend on the packaged `aioproducer` alone of these, build
# and run README's example on tokio and on smol, and a runtime and a backend of their own without default features.
# Nothing is fetched that is there already: with all dependencies in cargo's cache it works without a network.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "FAIL $*" >&2
    exit 1
}

root=$PWD
# One place for all builds below, also those elsewhere: librdkafka is built once.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/packaged
export CARGO_TARGET_DIR
# Outside of the repository, where no path leads to it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages"

cargo fetch --quiet --locked 2>/dev/null || echo "nothing could be fetched: what is in cargo's cache has to do"
export CARGO_NET_OFFLINE=true

mapfile -t private < <(grep -lE '^publish = false$' ./*/Cargo.toml ./*/*/Cargo.toml | xargs sed -n 's/^name = "\(.*\)"$/\1/p')
excluded=()
for name in $(cargo tree --workspace --depth 0 --prefix none --format '{p}' | cut -d' ' -f1 | sort -u); do
    for other in "${private[@]}"; do
        [ "$name" = "$other" ] && excluded+=(--exclude "$name")
    done
done
[ ${#excluded[@]} -gt 0 ] || fail "tests and benches should not be published"

# cargo takes a package of a version for what it had of that version before. Ours change without a new one, so what an earlier
# run left of them goes: unpacked sources, and what was built of them. librdkafka stays.
rm -rf "$CARGO_TARGET_DIR/package" "$CARGO_TARGET_DIR"/debug/.fingerprint/{aioproducer,outside-}* \
    "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/aioproducer*-[0-9]*

# There is no address yet that `repository` could name, for which cargo would warn: hence `--no-metadata`.
cargo package --workspace "${excluded[@]}" --allow-dirty --no-metadata 2>&1 | tee "$work/said"
! grep -n '^warning' "$work/said" || fail "cargo package warns"

names=()
for crate in "$CARGO_TARGET_DIR"/package/*.crate; do
    tar -xzf "$crate" -C "$work/packages"
    name=$(basename "$crate" .crate)
    unpacked=$work/packages/$name
    names+=("${name%-*}")
    for file in LICENSE-MIT LICENSE-APACHE README.md; do
        [ -s "$unpacked/$file" ] || fail "$name has no $file"
    done
    for key in description license readme keywords categories rust-version; do
        grep -q "^$key = " "$unpacked/Cargo.toml" || fail "$name has no $key"
    done
    grep -q '^\[package.metadata.docs.rs\]$' "$unpacked/Cargo.toml" || fail "$name has nothing for docs.rs"
    # None of these exists yet.
    ! grep -nE '^(repository|homepage|documentation) = ' "$unpacked/Cargo.toml" || fail "$name names an address"
    echo "PASS $name: packaged and built from its sources alone; with licences, readme and metadata"
done
for name in aioproducer aioproducer-{core,driver,history,rdkafka,sim,smol,tokio}; do
    [[ " ${names[*]} " == *" $name "* ]] || fail "$name was not packaged"
done

patches() {
    local unpacked name
    printf '[patch.crates-io]\n'
    for unpacked in "$work"/packages/*; do
        name=$(basename "$unpacked")
        printf '%s = { path = "%s" }\n' "${name%-*}" "$unpacked"
    done
}

# Examples are in the packages, too, and reach for nothing that is not.
{
    printf '[workspace]\nresolver = "3"\nmembers = ["packages/*"]\n\n'
    patches
} >"$work/Cargo.toml"
cp Cargo.lock "$work/"
(cd "$work" && cargo check --quiet --workspace --examples \
    --features aioproducer/embedded-broker,aioproducer/tracing,aioproducer-tokio/embedded-broker,aioproducer-smol/embedded-broker)
rm "$work/Cargo.toml" "$work/Cargo.lock"
echo "PASS examples: they build from packaged sources"

# outside NAME FEATURES DEPENDENCY SOURCE: a crate with one program, which runs.
outside() {
    local name=$1 features=$2 dependency=$3
    mkdir -p "$work/$name/src"
    cat >"$work/$name/src/main.rs"
    {
        printf '[package]\nname = "outside-%s"\nversion = "0.0.0"\nedition = "2024"\npublish = false\n\n' "$name"
        printf '[workspace]\n\n[dependencies]\n'
        printf 'aioproducer = { version = "0.1.0", default-features = false, features = [%s] }\n%s\n\n' "$features" "$dependency"
        patches
    } >"$work/$name/Cargo.toml"
    cp "$root/Cargo.lock" "$work/$name/"
    (cd "$work/$name" && cargo build --quiet) || fail "outside: $name does not build"
    timeout 60 "$CARGO_TARGET_DIR/debug/outside-$name" || fail "outside: $name ended with $?"
    echo "PASS outside: a crate that depends on the packaged aioproducer builds and runs ($name)"
}

example=$(awk '/^```rust$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md)
[[ $example == *"use aioproducer::"* ]] || fail "README's first example does not use aioproducer"
printf '%s\n' "$example" | outside tokio '"rdkafka", "tokio", "embedded-broker"' 'tokio = { version = "1", features = ["macros", "rt-multi-thread"] }'
outside smol '"rdkafka", "smol", "embedded-broker"' 'smol = "2"' <checks/package/smol.rs
outside neutral '' '' <checks/package/neutral.rs
brought=$(cd "$work/neutral" && cargo tree --quiet --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
[[ $brought == *aioproducer-driver* ]] || fail "cargo tree did not show what aioproducer brings"
! grep -E '^(rdkafka|tokio|smol|async-)' <<<"$brought" || fail "aioproducer brings that without default features"
echo "PASS outside: without default features there is neither a runtime nor librdkafka"
