//! The seam to a runtime: a clock, a timer and a place to run tasks. An application does not need it; an adapter for a
//! runtime implements [`Runtime`].
//!
//! Inside of the crate it is the lowest room: turns of tasks, a paused clock beside real time, locks and atomics, caught panics,
//! and a slab. Nothing here knows what a record is, and nothing here takes a producer's lock.

mod clock;
pub(crate) mod paced;
pub(crate) mod panics;
pub(crate) mod slab;
pub(crate) mod sync;
mod turns;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub use aioproducer_core::Instant;

pub(crate) use self::clock::clock;
pub(crate) use self::turns::{counts_as_call, poll_turn, turn};

/// A boxed future that any thread may poll.
///
/// ```
/// use aioproducer_driver::runtime::Task;
///
/// let task: Task = Box::pin(async { println!("done") });
/// # drop(task);
/// ```
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a producer needs of an executor. An adapter implements it in a few lines.
///
/// ```
/// use aioproducer_driver::{Runtime, runtime::{Instant, Task}};
///
/// /// A clock that stands still and an executor that runs nothing: enough to look at what a producer buffers.
/// struct Frozen;
///
/// impl Runtime for Frozen {
///     fn now(&self) -> Instant { Instant::ZERO }
///     fn sleep_until(&self, _at: Instant) -> Task { Box::pin(std::future::pending()) }
///     fn spawn(&self, task: Task) { std::mem::forget(task) }
/// }
/// # let _: &dyn Runtime = &Frozen;
/// ```
pub trait Runtime: Send + Sync + 'static {
    /// The time on the runtime's own clock; it never goes back. A runtime whose clock can be paused in tests reports
    /// paused time.
    fn now(&self) -> Instant;

    /// Ends at `at` on the same clock, or at once if that has passed.
    fn sleep_until(&self, at: Instant) -> Task;

    /// Runs `task` to its end, concurrently with everything else. If the runtime ends first it drops the task, and the producer
    /// ends, too.
    fn spawn(&self, task: Task);

    /// Checks that the runtime has what a producer needs. It is called when a producer starts.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    fn check(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Takes one unit of the current task's budget. When the budget is spent, this wakes the task and is pending, and the caller
    /// returns to the runtime before it does anything. `None` if the runtime has no budgets: then the producer counts by itself,
    /// and a thread returns to its executor after 128 calls that were ready at once.
    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let _ = cx;
        None
    }

    /// Whether the clock may be paused, as in tests. It is called when a producer starts; if the clock may not be paused,
    /// [`Runtime::hold_clock`] is never called.
    fn can_pause(&self) -> bool {
        false
    }

    /// Keeps a paused clock from advancing by itself for `at_most` of real time, or until the returned hold is dropped: real time
    /// passes for a backend that is at work. `None` if the clock is not paused. It may be called on any thread.
    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        let _ = at_most;
        None
    }
}

/// While one exists, a paused clock does not advance by itself.
///
/// ```
/// use aioproducer_driver::runtime::ClockHold;
///
/// /// A hold that a clock sees by the count of references.
/// fn hold(holds: &std::sync::Arc<()>) -> ClockHold {
///     Box::new(std::sync::Arc::clone(holds))
/// }
/// ```
pub type ClockHold = Box<dyn Any + Send + Sync>;

/// Why a runtime cannot run a producer.
///
/// ```
/// use aioproducer_driver::runtime::RuntimeError;
///
/// let error = RuntimeError::new("the runtime has no timers: enable them on its builder");
/// assert_eq!(error.to_string(), "the runtime has no timers: enable them on its builder");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeError {
    reason: &'static str,
}

impl RuntimeError {
    /// `reason` names what is wrong with which runtime, and what to do.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for RuntimeError {}

/// Rejects a runtime that drops the tasks that it is given.
pub(crate) fn takes_tasks(runtime: &dyn Runtime) -> Result<(), RuntimeError> {
    /// Notes that it is dropped before it has run.
    struct Probe(Option<Arc<AtomicBool>>);

    impl Probe {
        fn run(mut self) {
            self.0 = None;
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            if let Some(refused) = &self.0 {
                refused.store(true, Ordering::Release);
            }
        }
    }

    let refused = Arc::new(AtomicBool::new(false));
    let probe = Probe(Some(Arc::clone(&refused)));
    runtime.spawn(Box::pin(async move { probe.run() }));
    if refused.load(Ordering::Acquire) {
        return Err(RuntimeError::new(
            "the runtime has ended, and drops the tasks that it is given: start on one that runs",
        ));
    }
    Ok(())
}
