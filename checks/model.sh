#!/bin/sh
# The model test itself under test: it has to turn red for a core that was broken on purpose, once for each bug below.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
CARGO_TARGET_DIR=$target/planted
PROPTEST_CASES=${PROPTEST_CASES:-50000}
PROPTEST_MAX_SHRINK_ITERS=0
RUST_BACKTRACE=0
export CARGO_TARGET_DIR PROPTEST_CASES PROPTEST_MAX_SHRINK_ITERS RUST_BACKTRACE
work=$CARGO_TARGET_DIR/work
origin=$root/core/src
copy=$work/src
only=${1:-}
. "$here/planting.sh"

# A copy of core outside of the workspace, with the model test: what it inherits is written out.
rm -rf "$work"
mkdir -p "$work/tests"
cp -r "$root/core/src" "$work/src"
cp -r "$root/core/tests/model" "$work/tests/model"
cp "$root/Cargo.lock" "$work/"
{
    printf '[package]\nname = "aioproducer-core"\nversion = "0.1.0"\nedition = "2024"\n'
    printf '[workspace]\n[features]\nalloc = []\n[dependencies]\n'
    grep '^heapless = ' "$root/Cargo.toml"
    printf '[dev-dependencies]\naioproducer-core = { path = ".", features = ["alloc"] }\n'
    grep '^proptest = ' "$root/Cargo.toml"
} >"$work/Cargo.toml"

run() {
    cargo test --quiet --release --manifest-path "$work/Cargo.toml" --test model 2>&1
}

# Where it turned red.
noticed() {
    red=$(echo "$2" | grep -A 1 '^thread .* panicked at ' | sed -n 2p)
    [ -n "$red" ] || return 1
    echo "PASS planted: $1: $red"
}

PROPTEST_CASES=1000 run >/dev/null || { echo "FAIL planted: the model test is red for an unchanged copy" >&2; exit 1; }
echo "PASS planted: an unchanged copy is green"

planted "a timeout that fires a tick early" producer/deadline.rs \
    's|if at <= self.now { self.expire(slot) }|if at.as_nanos() <= self.now.as_nanos() + 1 { self.expire(slot) }|'
planted "an eviction of the newest instead of the oldest" producer/admission.rs \
    's|self.end_buffered(self.lanes.get(lane)?.records.head)|self.end_buffered(self.lanes.get(lane)?.records.tail)|'
planted "a scoped flush that counts a later record" flushes/points.rs \
    's|if point.position > sequence {|if point.position >= sequence {|'
planted "a flush that does not hear of its end" flushes/points.rs \
    's|let is_first = .*|let is_first = false;|'
planted "a purge that forgets what waits for room in the backend" producer/hand_off.rs \
    's|self.purge_refused(lane);||'
planted "a purge of the backend before the hand-offs under way" producer/purge.rs \
    's|if self.purge.out > 0 { None } else|if false { None } else|'
planted "a close that ends before its deadline" producer/close.rs \
    's|(deadline <= self.now|(deadline.as_nanos() <= self.now.as_nanos() + 1|'
planted "a late record whose slot is given away" pool.rs \
    's|slot.state = State::Late { batch };|slot.state = State::Overdue;|'
planted "a share that is not given back" producer/mod.rs \
    's|        row.bytes -= cost;||'
planted "a lane that stays unavailable after it answered" producer/credit.rs \
    's|        row.reported_at = now;||'
planted "credit that a report does not give" producer/credit.rs \
    's|row.grow(.*|let _ = (again, cost, windows);|'
planted "a placed record that overtakes unplaced ones" producer/mod.rs \
    's|_ if self.unplaced > 0 .*||'
planted "lanes that stay behind for ever" producer/credit.rs \
    's|            self.place(at);||'
planted "unplaced records that wait for a report that does not come" producer/credit.rs \
    's|row.lane.partition().is_none())?|row.lane == Lane::new(row.lane.topic(), None))?|'
planted "a window that stays in a row for another lane" lanes.rs \
    's|        row.forget_reports();||'

planted_all
