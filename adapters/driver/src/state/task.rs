//! The driver task, which the producer runs on the application's runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aioproducer_core::{Instant, Phase};

use super::effects::Discard;
use super::shared::Shared;
use crate::runtime::paced::STEP;
use crate::runtime::{ClockHold, Task};

/// Sleeps until the machine's next deadline and advances its time. If it is dropped before the producer's end, its runtime has
/// ended. It ends the producer then, so that no delivery waits for a clock that stands still.
pub(crate) struct DriverTask {
    shared: Arc<Shared>,
    timer: Option<(Instant, Task)>,
    /// Of a paused clock, while the backend is at work.
    hold: Option<ClockHold>,
}

enum Next {
    /// Poll again at once, after other tasks.
    Again,
    At(Instant),
    Ended,
}

impl DriverTask {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, timer: None, hold: None }
    }

    /// While the backend is at work a paused clock goes on step by step.
    fn paced(&mut self, next: Next) -> Next {
        let shared = &self.shared;
        let working = shared.pace.as_ref().is_some_and(|pace| pace.is_working());
        self.hold = if working { shared.runtime.hold_clock(STEP) } else { None };
        match next {
            Next::At(at) if self.hold.is_some() => Next::At(at.min(shared.runtime.now() + STEP)),
            next => next,
        }
    }

    fn tick(&self, cx: &Context<'_>) -> Next {
        let shared = &self.shared;
        let now = shared.runtime.now();
        let mut waker = Some(cx.waker().clone());
        shared.with(|state, effects| {
            if state.machine.phase() == Phase::Ended {
                // A close that waits for callbacks does so until its deadline, and it may come after the end.
                let idle = shared.callbacks.is_idle_or_notifies();
                if idle || state.close_by <= now {
                    effects.wakers.append(&mut state.close_wakers);
                }
                if idle {
                    return Next::Ended;
                }
                let before = std::mem::replace(&mut state.driver, waker.take());
                effects.discard.extend(before.map(Discard::Waker));
                return Next::At(if state.close_by <= now { Instant::MAX } else { state.close_by });
            }
            if !state.give_up(shared, effects) || !state.take_back(shared, effects) {
                return Next::Again;
            }
            if !state.expire(shared, now, effects) {
                return Next::Again;
            }
            let at = state.machine.poll_timeout().map_or(Instant::MAX, |timeout| timeout.at);
            let at = at.min(state.wake_old_waiters(shared, now, effects));
            let at = at.min(state.sample_due(now));
            let at = at.min(shared.callbacks.watch(now));
            state.armed = at;
            let before = std::mem::replace(&mut state.driver, waker.take());
            effects.discard.extend(before.map(Discard::Waker));
            Next::At(at)
        })
    }
}

impl Future for DriverTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.shared.sample_health();
            let next = self.tick(cx);
            match self.paced(next) {
                Next::Ended => return Poll::Ready(()),
                Next::Again => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::At(Instant::MAX) => {
                    self.timer = None;
                    return Poll::Pending;
                }
                Next::At(at) => {
                    if self.timer.as_ref().is_none_or(|(armed, _)| *armed != at) {
                        self.timer = Some((at, self.shared.runtime.sleep_until(at)));
                    }
                    if let Some((_, timer)) = &mut self.timer
                        && timer.as_mut().poll(cx).is_pending()
                    {
                        return Poll::Pending;
                    }
                    self.timer = None;
                }
            }
        }
    }
}

impl Drop for DriverTask {
    fn drop(&mut self) {
        self.shared.abort_here();
    }
}
