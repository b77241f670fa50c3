//! A clock that tests may pause, beside a backend for which real time passes.
//!
//! A paused clock leaps to the next timer as soon as its runtime is idle. A runtime that waits for a broker is idle, so each
//! record would time out at once. Therefore the clock is held while the backend is at work, and released for as much time as
//! has really passed. If the clock leaps all the same, by a test's hand for example, the producer does not count the leap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{self, Duration};

use aioproducer_core::Instant;

use super::sync::{Mutex, lock};
use super::{ClockHold, Runtime, RuntimeError, Task};

/// How far a paused clock goes at a time while the backend is at work.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// A runtime whose clock does not gain on real time while the backend is at work.
pub(crate) struct Paced {
    inner: Box<dyn Runtime>,
    working: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The inner clock, when it was last read since the work began, and a real time before that.
    last: Option<(Instant, time::Instant)>,
    /// What the inner clock has gained on real time while the backend was at work.
    leapt: Duration,
    /// The last time that was returned: time never goes back.
    returned: Instant,
}

impl Paced {
    pub(crate) fn new(inner: impl Runtime) -> Arc<Self> {
        Arc::new(Self { inner: Box::new(inner), working: AtomicBool::new(false), seen: Mutex::new(Seen::default()) })
    }

    pub(crate) fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// Notes whether the backend is at work.
    pub(crate) fn set_working(&self, working: bool) {
        lock(&self.seen).last = None;
        self.working.store(working, Ordering::Relaxed);
    }
}

impl Runtime for Arc<Paced> {
    fn now(&self) -> Instant {
        // Real time is read around the other, so a clock that runs as real time does never seems to leap.
        let earlier = self.is_working().then(time::Instant::now);
        let now = self.inner.now();
        let mut seen = lock(&self.seen);
        if let Some(earlier) = earlier {
            if let Some((last, real)) = seen.last {
                seen.leapt = seen.leapt.saturating_add((now - last).saturating_sub(real.elapsed()));
            }
            if seen.last.is_none_or(|(last, _)| last < now) {
                seen.last = Some((now, earlier));
            }
        }
        seen.returned = seen.returned.max(Instant::after_origin(now - Instant::after_origin(seen.leapt)));
        seen.returned
    }

    fn sleep_until(&self, at: Instant) -> Task {
        let leapt = lock(&self.seen).leapt;
        self.inner.sleep_until(at + leapt)
    }

    fn spawn(&self, task: Task) {
        self.inner.spawn(task);
    }

    fn check(&self) -> Result<(), RuntimeError> {
        self.inner.check()
    }

    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        self.inner.poll_budget(cx)
    }

    fn can_pause(&self) -> bool {
        self.inner.can_pause()
    }

    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        self.inner.hold_clock(at_most)
    }
}
