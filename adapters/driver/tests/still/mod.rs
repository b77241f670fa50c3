//! A runtime whose time stands still and a backend that ignores all calls: for tests that work by hand, on one thread.

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Backend, Placement};
use aioproducer_driver::Runtime;
use aioproducer_driver::runtime::{Instant, Task};

pub(crate) struct Still;

impl Runtime for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _at: Instant) -> Task {
        Box::pin(std::future::pending())
    }

    /// Keeps the task, so that the producer does not take its runtime for gone.
    fn spawn(&self, task: Task) {
        std::mem::forget(task);
    }
}

impl Backend for Still {
    fn place(&self, _topic: TopicId, _key: Option<&[u8]>, _value: Option<&[u8]>) -> Placement {
        Placement::Any
    }

    fn wake(&self) {}
    fn flush(&self) {}
    fn purge(&self, _queued: bool, _in_flight: bool) {}
    fn shut_down(&self) {}
}
