//! A clock that tests may pause, beside a backend for which real time passes.
//!
//! A paused clock leaps to the next timer as soon as its runtime has nothing to do, and to wait for a broker is nothing: each
//! record would be late at once. So while the backend is at work the clock is held, and let go for as much as real time has
//! passed. A leap that comes all the same, by hand for one, does not count for the producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{self, Duration};

use aioproducer_core::Instant;

use crate::runtime::sync::{Mutex, lock};
use crate::runtime::{ClockHold, Runtime, RuntimeError, Task};
use crate::state::shared::{Phase, Shared, State};

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
    /// The last time that was told: it never goes back.
    told: Instant,
}

impl Paced {
    pub(crate) fn new(inner: impl Runtime) -> Arc<Self> {
        Arc::new(Self { inner: Box::new(inner), working: AtomicBool::new(false), seen: Mutex::new(Seen::default()) })
    }

    pub(crate) fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    fn set_working(&self, working: bool) {
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
        seen.told = seen.told.max(Instant::after_origin(now - Instant::after_origin(seen.leapt)));
        seen.told
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

impl State {
    /// Notes whether the backend is at work, for whose sake a clock that can be paused must not leap. Returns whether the work
    /// begins, which [`Shared::begin_work`] is to be told of when nothing is locked.
    pub(crate) fn note_work(&mut self, pace: &Paced) -> bool {
        let working = self.has_batch()
            || self.awake_workers > 0
            || self.completing > 0
            || self.machine.stats().handed_off > 0
            || self.calls.is_out()
            || self.phase == Phase::Ending;
        if working == pace.is_working() {
            return false;
        }
        pace.set_working(working);
        working
    }
}

impl Shared {
    /// The same with a runtime that is paced.
    pub(crate) fn paced(mut self, pace: Arc<Paced>) -> Self {
        self.pace = Some(pace);
        self
    }

    /// The backend has something to do: has the driver hold the clock, if it is paused.
    pub(crate) fn begin_work(&self) {
        // The first reading is what others are compared with.
        self.runtime.now();
        if let Some(hold) = self.runtime.hold_clock(STEP) {
            let driver = self.lock().driver.take();
            self.panics.wake_all(driver);
            drop(hold);
        }
    }
}
