#!/usr/bin/env bash
# A service of one's own, in a crate of its own, with the tests that docs/testing.md shows: they pass, and take less than
# 5 seconds after the build. They should take about one; this is the only place where a test's time is asserted.
set -euo pipefail
cd "$(dirname "$0")"

# The versions of the workspace.
cp ../../Cargo.lock .
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target}
cargo test --no-run

now() { echo "${EPOCHREALTIME//[!0-9]/}"; }
begin=$(now)
cargo test
took=$((($(now) - begin) / 1000))
echo "five tests of a service: $took ms, of 5000"
[ "$took" -le 5000 ]
