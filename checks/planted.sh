#!/bin/sh
# The simulation's scenario catalogue under test: it has to find each bug that is planted in core, driver, and simulated cluster.
#
#   checks/planted.sh             all of them, as a table; minutes
#   checks/planted.sh "a share"   those with this in their name
#   checks/planted.sh --canary    one of them; it fails if that is not found
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
CARGO_TARGET_DIR=$target/planted-sim
# A bug may leave something unused.
RUSTFLAGS="--cap-lints warn"
CARGO_INCREMENTAL=1
CARGO_PROFILE_DEV_DEBUG=0
CARGO_PROFILE_TEST_DEBUG=0
RUST_BACKTRACE=0
export CARGO_TARGET_DIR RUSTFLAGS CARGO_INCREMENTAL CARGO_PROFILE_DEV_DEBUG CARGO_PROFILE_TEST_DEBUG RUST_BACKTRACE
unset AIOPRODUCER_SIM_SEED AIOPRODUCER_SIM_SEEDS AIOPRODUCER_SIM_SECONDS AIOPRODUCER_SIM_JOBS

only=${1:-}
[ "$only" != --canary ] || only="a slot that is free before the client lets go"

# A copy of the workspace, whose files are all new to cargo.
origin=$root
copy=$CARGO_TARGET_DIR/work
. "$here/planting.sh"
rm -rf "$copy"
mkdir -p "$copy"
tar -C "$origin" --exclude=target --exclude=.git -cf - . | tar -C "$copy" -xmf -
# It is compiled for each bug, and runs for a moment.
sed -i 's/opt-level = 3/opt-level = 1/' "$copy/Cargo.toml"

# The tests whose names have one of the arguments. None takes half a minute.
run() {
    timeout 300 cargo test --quiet --manifest-path "$copy/Cargo.toml" -p aioproducer-sim --test catalogue -- "$@" 2>&1
}

# The first test that failed, and the seed with which it did.
noticed() {
    found=$(echo "$2" | awk '
        /^thread .* panicked at / { split($0, parts, "\047"); test = parts[2] }
        /^seed [0-9]+: / { sub(":", "", $2); print test, $2; exit }
        /^in [0-9]+ runs never: / { print test, "all"; exit }')
    [ -n "$found" ] || return 1
    printf '%-60s %-84s %4s %4s s\n' "$1" "${found% *}" "${found##* }" "$3"
}

core=core/src
driver=adapters/driver/src
sim=adapters/sim/src

if ! said=$(run s01); then
    echo "FAIL planted: the catalogue is red for an unchanged copy: $said" >&2
    exit 1
fi
printf '%-60s %-84s %4s %6s\n' "bug" "found by" "seed" "time"

# Core: batches and time.
planted "a linger that later records push back" $core/producer/deadline.rs \
    's|let oldest = self.pool.get(row.records.head)?;|let oldest = self.pool.get(row.records.tail)?;|' s11_later
planted "a timeout that is a tick late" $core/producer/deadline.rs \
    's/eldest_at().map(|at| at + timeout)/eldest_at().map(|at| at + timeout + core::time::Duration::from_nanos(1))/' s17_a_record_ends
planted "a timeout that is a tick early" $core/producer/deadline.rs \
    's/eldest_at().map(|at| at + timeout)/eldest_at().map(|at| at + timeout - core::time::Duration::from_nanos(1))/' s17_a_record_ends
planted "a close that ends early" $core/producer/close.rs \
    's|let deadline = self.advance(now) + within;|let deadline = self.advance(now) + within / 2;|' s25_a_close_ends

# Core: slots and reports.
planted "a slot that is free before the client lets go" $core/producer/deadline.rs \
    's/let late = self.pool.end_late(index, self.now);/let late = self.pool.release(index, |_| true);/; s/^        self.late += 1;$//' \
    s21_a_late_record
planted "a report whose generation is not checked" $core/producer/outcome.rs \
    's/ && slot.generation == id.generation()//; s/|slot| slot.generation == id.generation()/|_| true/' s21_a_second_report
planted "a stale report that ends another record" $core/slot.rs \
    's/self.generation = self.generation.wrapping_add(1);//' s21_a_second_report

# Core: order.
planted "two batches of a lane out at once" $core/producer/hand_off.rs \
    's/self.lanes.hand_off_first();/if self.lanes.get(at).is_none_or(|row| row.buffered as usize <= batch.len()) { & }/' s18_two_workers
planted "refused records that change their order" $core/producer/hand_off.rs \
    's/            row.last_refused = index;//' s18_a_full_queue
planted "keys that pass by those of before the partitions were known" $core/producer/mod.rs \
    's/            _ if self.unplaced > 0 .*//' s18_keys
planted "a full queue that is never tried again" $core/producer/mod.rs \
    's/^        self.set_blocked(false);$//' s16_

# Core: flush, purge, shares.
planted "a flush that later records end" $core/flushes/points.rs \
    's/if point.position > sequence {/if point.position >= sequence {/' s23_later
planted "a purge that forgets what lingers" $core/producer/purge.rs \
    's/if scope.queued() && row.buffered > 0 {/if scope.queued() \&\& row.place == Place::Ready {/' s24_
planted "a share that is never given back" $core/producer/mod.rs \
    's/^        row.bytes -= cost;$//' s16_a_share
planted "a leader that stays passed over after it answered" $core/producer/credit.rs \
    's/^        row.reported_at = now;$//' s16_a_leader

# Driver: tasks that wait.
planted "a record that passes by tasks that wait for room" $driver/admission/lane_waiters.rs \
    's/None => self.common.is_empty() && .*/None => true,/' s01_
planted "a place in the line that outlives its future" $driver/api/produce.rs \
    's/if let Some(place) = self.place {/if let Some(place) = self.place.filter(|_| false) {/' s05_
planted "a waiter that is skipped: it is not woken" $driver/admission/waiters.rs \
    's/^                wakers.push(waker);$/                drop(waker);/' s01_
planted "a lost wake of the client" $driver/state/transition.rs \
    's/effects.workers += 1;//' s50_
planted "a lost wake of the driver's task, for an earlier deadline" $driver/state/transition.rs \
    's/timeout.at < self.armed)/timeout.at < self.armed \&\& timeout.at == Instant::ZERO)/' s11_many_lanes

# Driver: outcomes.
planted "a late record that is said to be unsent" $driver/state/expiry.rs \
    's/if expired.handed_off { TIMED_OUT_IN_FLIGHT } else { TIMED_OUT }/TIMED_OUT/' s17_during
planted "a refused record that is sent twice" $driver/state/driver.rs \
    's/let stale = state.machine.handle_refused(slot, record).err();/let ticket = state.machine.ticket_mut(slot).copied(); let (again, now) = (record.clone(), state.machine.now()); & if let Some(ticket) = ticket.filter(|_| slot == SlotId::new(5, 0)) { let _ = state.machine.produce(now, again, ticket); }/' \
    s16_a_full_queue
planted "a record that is taken back and leaves a copy" $driver/state/retract.rs \
    's/let (record, ended) = state.machine.retract(slot).ok()?;/& let now = state.machine.now(); let _ = state.machine.produce(now, record.clone(), ended.ticket);/' \
    s06_
planted "a purge that forgets the client's queue" $driver/state/apply.rs \
    's/backend.purge(scope.queued(), scope.in_flight());/backend.purge(false, scope.in_flight());/' s24_each_stage
planted "a close that keeps what it could not send" $driver/state/outcomes.rs \
    's/Some(record) => unsent.push(.*/Some(_) => {}/' s25_a_close_ends
planted "outcomes of produce_all in the order of their reports" $driver/outcome/bulk.rs \
    's/bulk.members.set(index as usize, outcome);/bulk.members.set(bulk.settled, outcome);/' s07_
planted "a callback that is not called" $driver/state/driver.rs \
    's/effects.callbacks.push(Ended { callback, key, outcome: Ok(at), trace });/drop((callback, key, trace));/' s20_each_callback
planted "callbacks of a partition out of order" $driver/callbacks/queue.rs \
    's/line.ended.push_back(next);/line.ended.push_front(next);/' s20_each_callback

# Core: transactions.
planted "a commit that does not wait for its records" $core/transaction.rs \
    's/if self.phase == Phase::Draining && idle {/if self.phase == Phase::Draining {/' s37_
planted "a commit in doubt that is taken for a failed one" $core/transaction.rs \
    's/(Phase::Committing, CallOutcome::Retry) => .*/(Phase::Committing, CallOutcome::Retry) => self.failed_phase(),/' s37_
planted "a dropped transaction that is not aborted" $core/transaction.rs \
    '/^    pub fn abandon/,/^    }$/ s/self.phase = Phase::Aborting;/self.phase = Phase::Ready;/' s36_
planted "an abort that first sends what it had" $core/transaction.rs \
    's/Phase::Aborting => Step::Abort,/Phase::Aborting if idle => Step::Abort,/' s38_

# The simulated cluster and its client.
planted "a broker without its check for duplicates" $sim/log/partition.rs \
    's/if let Some((.., base)) = same {/if let Some((.., base)) = same.filter(|_| false) {/; s/if first != known.next {/if false {/' s18_tasks
planted "a client that forgets that an answer was lost" $sim/client/requests.rs \
    's/batch.may_be_appended |= .*//' s18_a_batch_that_is_given_up
planted "a client that takes though it was not woken" $sim/client/task.rs \
    's/if is_woken {/if true {/' s50_
planted "keys that choose a partition by turns" $sim/client/requests.rs \
    's/let keyed = || topic.partition_of(record.key()?);/let keyed = || None::<i32>;/' s18_keys
planted "a client that sends what an abort has to take back" $sim/client/transactions.rs \
    's/!self.must_abort && !is_aborting/!self.must_abort/; s/is_open, is_aborting }/is_open, is_aborting: false }/; s/return step.is_abort();/return false;/; s/^        is_abort$/        false/' s38_
planted "a coordinator that does not fence" $sim/cluster/coordinator.rs \
    's/if entry.identity.epoch == identity.epoch { Ok/if true { Ok/' s40_
planted "offsets that an abort commits" $sim/cluster/coordinator.rs \
    's/if is_commit && let Some(open)/if let Some(open)/' s36_

planted_all
