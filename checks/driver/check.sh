#!/usr/bin/env bash
# Instructions per record of the driver, its caller's included: without spans and metrics, and with both, without a
# subscriber or a recorder. The budgets are what was reached, and 3 % for other compilers. 40 of them are for what a record counts for in the
# pool beyond its bytes, and for the copy that is kept of a record with a timeout of its own.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v valgrind >/dev/null; then
    echo "SKIPPED instructions of the driver: there is no valgrind"
    exit 0
fi
# The versions that everything else has.
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

check "spans and metrics off" 1130 ""
check "both on, no listener" 1430 observed
