//! The seam to a runtime: a clock, a timer and a place to run tasks. An application does not need it; an adapter for a
//! runtime implements [`Runtime`].

pub(crate) mod panics;
pub(crate) mod sync;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub use aioproducer_core::Instant;

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
/// use aioproducer_driver::{Instant, Runtime, Task};
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

    /// Runs `task` to its end beside everything else. If the runtime ends first it drops the task, and the producer
    /// takes that as its own end.
    fn spawn(&self, task: Task);

    /// Whether the runtime has what a producer needs; asked when one is started.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    fn check(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Takes one from the budget that the runtime gives the task that runs now. When it is spent, this wakes the task and is
    /// pending, and the caller returns to the runtime before it does anything. `None` if there is no budget here: then the
    /// producer counts by itself, and has each thread return to its executor after 128 calls that were ready at once.
    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let _ = cx;
        None
    }

    /// Whether the clock may be paused, as in tests. Asked when a producer starts: if not, [`Runtime::hold_clock`] is never
    /// called.
    fn can_pause(&self) -> bool {
        false
    }

    /// Keeps a clock that is paused from going on by itself, for `at_most` of real time, or until the answer is dropped: a
    /// backend is at work, for which real time passes. `None` if the clock is not paused. To be called on any thread.
    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        let _ = at_most;
        None
    }
}

/// As long as there is one, a paused clock does not go on by itself. Dropping it lets the clock go.
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

/// Refuses a runtime that drops what it is to run.
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

/// Calls that are ready at once, one after the other on a thread, before a task lets others have their turn.
const TURN: u32 = 128;

/// Outcomes that are read for what one call costs.
const OUTCOMES: u32 = 8;

thread_local! {
    /// Calls since the last turn.
    static CALLS: Cell<u32> = const { Cell::new(0) };

    /// Outcomes that were looked at.
    static READ: Cell<u32> = const { Cell::new(0) };
}

/// Whether to look at an outcome counts as a call: one in 8 does.
#[inline]
pub(crate) fn counts_as_call() -> bool {
    let read = READ.get().wrapping_add(1);
    READ.set(read);
    read.is_multiple_of(OUTCOMES)
}

/// Each future asks it at a poll that may be ready at once, before it does anything: a task that makes such calls in a loop
/// would never let others have their turn. Pending, the task is woken.
#[inline]
pub(crate) fn poll_turn(runtime: &dyn Runtime, cx: &mut Context<'_>) -> Poll<()> {
    match runtime.poll_budget(cx) {
        Some(turn) => turn,
        None => count(cx),
    }
}

/// The same for what awaits other futures.
pub(crate) async fn turn(runtime: &dyn Runtime) {
    poll_fn(|cx| poll_turn(runtime, cx)).await;
}

#[inline]
fn count(cx: &Context<'_>) -> Poll<()> {
    let calls = CALLS.get();
    if calls < TURN {
        CALLS.set(calls + 1);
        return Poll::Ready(());
    }
    CALLS.set(0);
    cx.waker().wake_by_ref();
    Poll::Pending
}
