//! The clock of the application's runtime.

use super::BackgroundTask;
use crate::Instant;

/// The clock and the timer of the application's runtime, for a backend that works in [background tasks](super::Connect::background)
/// instead of threads. It is read on the runtime's threads only.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use aioproducer_core::backend::{BackgroundTask, Clock};
///
/// /// A task that does something each second.
/// fn each_second(clock: Arc<dyn Clock>, what: impl Fn() + Send + 'static) -> BackgroundTask {
///     Box::pin(async move {
///         loop {
///             clock.sleep_until(clock.now() + Duration::from_secs(1)).await;
///             what();
///         }
///     })
/// }
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time; it never goes back.
    fn now(&self) -> Instant;

    /// Ends at `at` on the same clock, or at once if that has passed.
    fn sleep_until(&self, at: Instant) -> BackgroundTask;
}
