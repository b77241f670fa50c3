//! The runtime's clock, as backends see it.

use std::sync::Arc;

use aioproducer_core::Instant;
use aioproducer_core::backend::{BackgroundTask, Clock};

use super::Runtime;

struct RuntimeClock(Arc<dyn Runtime>);

impl Clock for RuntimeClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, at: Instant) -> BackgroundTask {
        self.0.sleep_until(at)
    }
}

/// The clock of `runtime`.
pub(crate) fn clock(runtime: &Arc<dyn Runtime>) -> Arc<dyn Clock> {
    Arc::new(RuntimeClock(Arc::clone(runtime)))
}
