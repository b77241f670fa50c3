//! The seam to a runtime: a clock, a timer and a place to run one task.

use std::future::Future;
use std::pin::Pin;

use aioproducer_core::Instant;

/// A boxed future that any thread may poll.
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
}
