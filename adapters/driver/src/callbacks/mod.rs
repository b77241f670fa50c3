//! Callbacks: kept in a pool until their record's outcome is known, then run on the runtime.
//!
//! ```text
//! produce_with ──▶ pool: a place for the closure          report ──▶ queue: a line for each partition
//!                                                                      │ a runner takes a line, some outcomes at once
//!                                                                      ▼
//!                                                         runner: a task; calls the closures, one after the other
//! ```
//!
//! A line is one runner's at a time, so callbacks of a partition run in order; lines are run in parallel. A callback that
//! does not come to its end holds up its own line and its runner; the others find another one.

mod pool;
mod queue;
mod runner;
mod vacant;
mod waits;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::{Instant, TopicId};

pub(crate) use self::pool::{Acquired, Asynchronous, Callback, CallbackRef, Pool, Synchronous};
pub(crate) use self::queue::{Counts, Ended, RunnerSignal};
use self::queue::{Line, Queue};
pub(crate) use self::runner::Runner;
pub(crate) use self::waits::WaitId;
use crate::observe::SUBSCRIBER;
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::runtime::panics::Panics;
use crate::runtime::sync::{Mutex, lock};
use crate::state::shared::Shared;

/// What a callback is called with.
pub(crate) type Outcome = Result<DeliveryReport, DeliveryError>;

/// The partition of records that ended without one.
pub(crate) const NO_PARTITION: i32 = -1;

/// The callbacks of one producer.
pub(crate) struct Callbacks {
    pub(crate) pool: Pool,
    queue: Mutex<Queue>,
    /// A runner that is busy for longer has stalled.
    patience: Duration,
    panics: Arc<Panics>,
    /// Somebody waits for some callbacks.
    awaited: AtomicBool,
}

impl Callbacks {
    /// `places` callbacks wait for their outcome or their turn, `runners` run at the same time, at most.
    pub(crate) fn new(places: usize, runners: usize, patience: Duration, panics: Arc<Panics>) -> Self {
        let pool = Pool::new(places, Arc::clone(&panics));
        Self { pool, queue: Mutex::new(Queue::new(runners)), patience, panics, awaited: AtomicBool::new(false) }
    }

    /// Has the callbacks of records that have ended wait for their turn, under the producer's lock: so nobody takes the
    /// producer for done before they have. What is left of `ended` nobody will call, for want of a runtime.
    pub(crate) fn push(&self, ended: &mut Vec<Ended>) -> RunnerSignal {
        if ended.is_empty() { RunnerSignal::None } else { lock(&self.queue).push(ended) }
    }

    /// Whether no callback waits for its turn or runs. If not, whoever waits for the producer's end is woken when it is so.
    pub(crate) fn is_idle_or_tells(&self) -> bool {
        lock(&self.queue).is_idle_or_tells()
    }

    /// Begins to wait for the callbacks of these lines that are to run, or do; `None` if there are none.
    pub(crate) fn begin_wait(&self, concerns: impl Fn(Key) -> bool, waker: Waker) -> Option<WaitId> {
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

    /// One callback of a line has come to its end. Unless somebody waits for some, they are counted when their runner goes on.
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
        lock(&self.queue).watch(now, self.patience)
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.queue).counts()
    }

    /// Does what [`Callbacks::push`] asks for, without a lock.
    pub(crate) fn follow(&self, shared: &Shared, call: RunnerSignal) {
        match call {
            RunnerSignal::None => {}
            RunnerSignal::Wake(waker) => self.panics.wake_all([waker]),
            RunnerSignal::Spawn(number) => {
                let Some(shared) = shared.me() else { return };
                // A runtime that panics is asked once more. If that fails, too, it is taken for gone.
                for is_last in [false, true] {
                    let runner = Box::pin(Runner::new(shared.clone(), number, is_last));
                    if self.panics.catch("the runtime's spawn", || shared.runtime.spawn(runner)).is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// Drops callbacks that nobody will call.
    pub(crate) fn forget(&self, ended: impl Iterator<Item = Ended>) {
        let callbacks = self.discard(ended);
        self.pool.give_back(callbacks.len(), callbacks);
    }

    /// The same, but for their places, which it returns.
    fn discard(&self, ended: impl Iterator<Item = Ended>) -> Vec<CallbackRef> {
        let mut callbacks = Vec::new();
        for Ended { callback, outcome, trace, .. } in ended {
            self.panics.catch(SUBSCRIBER, || trace.outcome(&outcome));
            self.panics.drop_all(SUBSCRIBER, [trace]);
            self.panics.drop_all("what a record holds", [outcome]);
            self.panics.catch("a callback that is dropped", || self.pool.discard(callback));
            callbacks.push(callback);
        }
        callbacks
    }

    /// The runtime has dropped a runner: it will run no other.
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

/// Whose callbacks run one after the other.
pub(crate) type Key = (TopicId, i32);

thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a callback. It must not wait for callbacks then.
pub(crate) fn is_calling() -> bool {
    CALLING.get()
}

/// Marks the thread as inside a callback, until it is dropped.
struct InsideCallback(bool);

impl InsideCallback {
    fn begin() -> Self {
        Self(CALLING.replace(true))
    }
}

impl Drop for InsideCallback {
    fn drop(&mut self) {
        CALLING.set(self.0);
    }
}
