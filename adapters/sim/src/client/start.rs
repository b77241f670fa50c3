//! From the task that the runtime gets to the client that runs in it: the one exists before the other.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use aioproducer_core::backend::{BackgroundTask, Clock};

use crate::sync::{Arc, Mutex, lock};

/// The clock, between [`Connect::background`] and [`Connect::connect`], and the task, from there to its first poll.
#[derive(Default)]
pub(super) struct Start {
    pub(super) clock: Mutex<Option<Arc<dyn Clock>>>,
    pub(super) task: Mutex<Option<BackgroundTask>>,
}

/// The task that the runtime gets before the client exists.
pub(super) struct Starting {
    pub(super) start: Arc<Start>,
    pub(super) task: Option<BackgroundTask>,
}

impl Future for Starting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.task.is_none() {
            let task = lock(&self.start.task).take();
            self.task = task;
        }
        // A producer that did not start has no client.
        self.task.as_mut().map_or(Poll::Ready(()), |task| task.as_mut().poll(cx))
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}
