//! The task on the application's runtime: it has a clock, and ends what is held up.

use std::pin::Pin;
use std::task::{Context, Poll};

use aioproducer_core::Instant;
use aioproducer_core::backend::{Backend, BackgroundTask, Clock};

use crate::signal::Signal;
use crate::sync::{Arc, Mutex, lock};

/// What the task does.
pub(super) trait Work: Send + Sync {
    /// Ends what is held up and whose time is over. Returns when to look again.
    fn look(&self, now: Instant, backend: &dyn Backend) -> Option<Instant>;

    /// Ends all that is held up, for good.
    fn calm(&self, backend: &dyn Backend);

    fn has_ended(&self) -> bool;
}

/// From the task that the runtime gets to the work that it does: the one exists before the other.
#[derive(Default)]
pub(super) struct Start {
    pub(super) signal: Arc<Signal>,
    pub(super) work: Mutex<Option<Running>>,
}

pub(super) struct Running {
    pub(super) work: Arc<dyn Work>,
    pub(super) backend: Arc<dyn Backend>,
}

pub(super) struct ChaosTask {
    clock: Arc<dyn Clock>,
    start: Arc<Start>,
    running: Option<Running>,
    timer: Option<(Instant, BackgroundTask)>,
}

impl ChaosTask {
    pub(super) fn new(clock: Arc<dyn Clock>, start: Arc<Start>) -> Self {
        Self { clock, start, running: None, timer: None }
    }

    /// Whether the time to look again has come.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = self.timer.as_mut().is_some_and(|(_, timer)| timer.as_mut().poll(cx).is_ready());
        if is_due {
            self.timer = None;
        }
        is_due
    }
}

impl Future for ChaosTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.running.is_none() {
            this.running = lock(&this.start.work).take();
        }
        loop {
            let is_called = this.start.signal.take(cx.waker());
            if !this.is_due(cx) && !is_called {
                return Poll::Pending;
            }
            // A producer that did not start has nothing to do.
            let Some(Running { work, backend }) = &this.running else { return Poll::Ready(()) };
            let next = work.look(this.clock.now(), &**backend);
            if work.has_ended() {
                return Poll::Ready(());
            }
            if this.timer.as_ref().map(|(at, _)| *at) != next {
                this.timer = next.map(|at| (at, this.clock.sleep_until(at)));
            }
        }
    }
}

/// Also when the runtime ends before the producer: nothing is held up any more.
impl Drop for ChaosTask {
    fn drop(&mut self) {
        let running = self.running.take().or_else(|| lock(&self.start.work).take());
        if let Some(Running { work, backend }) = running {
            work.calm(&*backend);
        }
    }
}
