//! Callbacks: kept in a pool until their record's outcome is known, then run on the runtime.
//!
//! ```text
//! produce_with ──▶ pool: a place for the closure          report ──▶ queue: a line for each partition
//!                                                                      │ a runner takes some outcomes of a line
//!                                                                      ▼
//!                                                         runner: a task; calls the closures, one after the other
//! ```
//!
//! One runner at a time works on a line, so callbacks of a partition run in order; lines run in parallel. A callback that does
//! not end holds up its own line and its runner; the other lines find another runner.
//!
//! Nothing here knows the producer's shared state: a runner gets what it needs by the trait [`Host`]. No lock of this room is
//! held while a callback runs or is dropped.

mod free_blocks;
mod inside;
mod pool;
mod queue;
mod runner;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::{Delivered, Failure};

pub(crate) use self::inside::is_inside_callback;
pub(crate) use self::pool::{Acquired, Asynchronous, Callback, Outcome, Pool, Synchronous};
pub(crate) use self::queue::{Ended, RunnerSignal};
use self::queue::{Line, Queue};
pub(crate) use self::runner::Host;
pub(crate) use self::waits::WaitId;
use crate::observe::SUBSCRIBER;
use crate::observe::counts::CallbackCounts;
use crate::outcome::error::DeliveryError;
use crate::outcome::ticket::CallbackRef;
use crate::record::Record;
use crate::record::topics::TopicPartition;
use crate::runtime::panics::Panics;
use crate::runtime::sync::{Mutex, lock};

/// The callbacks of one producer.
pub(crate) struct Callbacks {
    pub(crate) pool: Pool,
    queue: Mutex<Queue>,
    /// A runner that is busy for longer has stalled.
    stall_limit: Duration,
    panics: Arc<Panics>,
    /// A task waits for some callbacks.
    awaited: AtomicBool,
}

impl Callbacks {
    /// `places` callbacks wait for their outcome or their turn, `runners` run at the same time, at most.
    pub(crate) fn new(places: usize, runners: usize, stall_limit: Duration, panics: Arc<Panics>) -> Self {
        let pool = Pool::new(places, Arc::clone(&panics));
        Self { pool, queue: Mutex::new(Queue::new(runners)), stall_limit, panics, awaited: AtomicBool::new(false) }
    }

    /// Queues the callbacks of records that have ended. It is called under the state lock, so that no task takes the producer
    /// for done before that. What is left in `ended` will never run, since the runtime is gone.
    pub(crate) fn push(&self, ended: &mut Vec<Ended>) -> RunnerSignal {
        if ended.is_empty() { RunnerSignal::None } else { lock(&self.queue).push(ended) }
    }

    /// Whether no callback waits for its turn or runs. If not, [`Host::wake`] is called once that is so.
    pub(crate) fn is_idle_or_notifies(&self) -> bool {
        lock(&self.queue).is_idle_or_notifies()
    }

    /// Begins to wait for the callbacks of these lines that have not ended; `None` if there are none.
    pub(crate) fn begin_wait(&self, concerns: impl Fn(TopicPartition) -> bool, waker: Waker) -> Option<WaitId> {
        let begun = {
            let queue = &mut *lock(&self.queue);
            let mut left = Vec::new();
            left.extend(queue.unfinished().filter(|(key, _)| concerns(*key)));
            let begun = queue.waits.begin(left.into_iter(), waker);
            self.awaited.store(!queue.waits.is_empty(), Ordering::Relaxed);
            begun
        };
        begun.ok()
    }

    /// One callback of a line has ended. Unless a task waits for callbacks, they are counted at their runner's next turn.
    fn one_ran(&self, line: &Line) {
        if self.awaited.load(Ordering::Relaxed) {
            let mut wakers = Vec::new();
            {
                let queue = &mut *lock(&self.queue);
                queue.one_ran(line, &mut wakers);
                self.awaited.store(!queue.waits.is_empty(), Ordering::Relaxed);
            }
            self.panics.wake_all(wakers);
        }
    }

    /// How many callbacks of a wait are left, `None` if it is over.
    pub(crate) fn poll_wait(&self, id: WaitId, waker: Waker) -> Option<usize> {
        let (left, _unused) = lock(&self.queue).waits.poll(id, waker);
        left
    }

    pub(crate) fn leave_wait(&self, id: WaitId) {
        let _unused = lock(&self.queue).waits.leave(id);
    }

    /// Counts runners that have stalled; returns when to look again.
    pub(crate) fn watch(&self, now: Instant) -> Instant {
        lock(&self.queue).watch(now, self.stall_limit)
    }

    pub(crate) fn counts(&self) -> CallbackCounts {
        lock(&self.queue).counts()
    }

    /// Drops callbacks that will never run.
    pub(crate) fn forget(&self, ended: impl Iterator<Item = Ended>) {
        let callbacks = self.discard(ended);
        self.pool.give_back(callbacks.len(), callbacks);
    }

    /// The same, but returns their places instead of giving them back.
    fn discard(&self, ended: impl Iterator<Item = Ended>) -> Vec<CallbackRef> {
        let mut callbacks = Vec::new();
        for Ended { callback, outcome, trace, .. } in ended {
            self.panics.catch(SUBSCRIBER, || trace.ended(summary(&outcome)));
            self.panics.drop_all(SUBSCRIBER, [trace]);
            self.panics.drop_all("what a record holds", [outcome]);
            self.panics.catch("a callback that is dropped", || self.pool.discard(callback));
            callbacks.push(callback);
        }
        callbacks
    }

    /// The runtime has dropped a runner, so it will run no other.
    fn halt(&self) {
        let mut wakers = Vec::new();
        let left = lock(&self.queue).halt(&mut wakers);
        self.forget(left);
        self.panics.wake_all(wakers);
    }

    /// Nothing comes any more: runners that have nothing to do end.
    pub(crate) fn end(&self) {
        let mut wakers = Vec::new();
        lock(&self.queue).wake_parked(&mut wakers);
        self.panics.wake_all(wakers);
    }
}

/// What a span says of an outcome.
fn summary(outcome: &Result<Delivered, DeliveryError>) -> Result<Delivered, (Option<&str>, Option<i32>, &Failure)> {
    match outcome {
        Ok(at) => Ok(*at),
        Err(error) => {
            let record = error.record();
            Err((record.map(Record::topic), record.and_then(Record::get_partition), error.failure()))
        }
    }
}
