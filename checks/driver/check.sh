#!/usr/bin/env bash
# Instructions per record of the driver and its caller: without spans and metrics, and with both but no subscriber or recorder.
# The budgets are the measured values plus 3 % for other compilers. 40 instructions count a record's overhead in the pool and
# keep the copy of a record with a timeout of its own, and 65 find its lane, its share of the pool and its credit.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v valgrind >/dev/null; then
    echo "SKIPPED instructions of the driver: there is no valgrind"
    exit 0
fi
# The versions of the workspace.
cp ../../Cargo.lock .
target=${CARGO_TARGET_DIR:-../../target}/driver-cost

counted() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/release/aioproducer-driver-cost" "$1" 2>&1 |
        awk '/Collected : / { print $NF }'
}

# Each case runs twice: the difference is what 10,000 records cost.
check() { # name, budget, features
    CARGO_TARGET_DIR=$target cargo build --release --quiet --features "$3"
    local each=$((($(counted 40) - $(counted 20)) / 10000))
    echo "$1: $each instructions per record, of $2"
    [ "$each" -le "$2" ]
}

check "spans and metrics off" 1196 ""
check "both on, no listener" 1513 observed
