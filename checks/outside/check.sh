#!/usr/bin/env bash
# Compiles what a user writes, as a crate of its own outside of the workspace: every block of Rust in the README and in the
# guides for those who come from another producer, and calls with anyhow, borrowed records and types of one's own. Runs the
# README's example and those calls.
set -euo pipefail
cd "$(dirname "$0")"

# The versions of the workspace.
cp ../../Cargo.lock .
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target} cargo test
