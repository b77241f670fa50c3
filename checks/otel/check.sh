#!/usr/bin/env bash
# What OpenTelemetry's own SDK exports of a producer's spans: their names, kinds and statuses, and each attribute's name and
# type, by the semantic conventions. The set-up in docs/tracing.md is compiled and run.
set -euo pipefail
cd "$(dirname "$0")"

# The versions of the workspace.
cp ../../Cargo.lock .
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target} cargo test "$@"
