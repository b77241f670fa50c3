#!/usr/bin/env bash
# The backend's tests under valgrind's memcheck: no invalid access, no payload freed before its report. By default the
# tests whose records expire, are purged, or are in flight when everything ends; CI_LONG=1 runs all.
set -euo pipefail
cd "$(dirname "$0")/.."

filter=(--test ending)
[ -n "${CI_LONG:-}" ] && filter=(--tests)
mapfile -t binaries < <(
    cargo test -p aioproducer-rdkafka "${filter[@]}" --no-run --message-format=json 2>/dev/null |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
)
[ ${#binaries[@]} -gt 0 ] || { echo "no test binary was built"; exit 1; }
for binary in "${binaries[@]}"; do
    printf 'valgrind %s\n' "$(basename "$binary")"
    valgrind --quiet --error-exitcode=99 --leak-check=no --fair-sched=yes "$binary" --test-threads=1
done
