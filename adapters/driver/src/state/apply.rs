//! Effects are applied when the lock is free: the backend is called, tasks are woken, things are dropped.

use super::effects::Effects;
use super::shared::Shared;
use crate::observe::{SUBSCRIBER, lines};
use crate::runtime::paced::STEP;

impl Shared {
    /// Applies the effects, when no lock is held.
    pub(crate) fn apply(&self, effects: &mut Effects) {
        self.observer.emit(&self.topics, &mut effects.notes, &self.panics);
        self.apply_rest(effects);
    }

    /// The same on a thread that must not call subscribers and recorders.
    pub(crate) fn apply_unobserved(&self, effects: &mut Effects) {
        self.observer.defer(&mut effects.notes);
        self.apply_rest(effects);
    }

    fn apply_rest(&self, effects: &mut Effects) {
        if effects.has_any() {
            self.call_and_wake(effects);
        }
        if !effects.discard.is_empty() {
            self.panics.drop_all("what a record, an error or a waker holds", effects.discard.drain(..));
        }
    }

    fn call_and_wake(&self, effects: &mut Effects) {
        if let Some(backend) = self.backend() {
            match effects.workers {
                1 if effects.alone => backend.wake_for_one(),
                workers => (0..workers).for_each(|_| backend.wake()),
            }
            if effects.flush {
                backend.flush();
            }
            if let Some(scope) = effects.purge {
                backend.purge(scope.queued(), scope.in_flight());
            }
            let mut calls = std::mem::take(&mut effects.calls);
            while let Some(request) = calls.iter_mut().find_map(Option::take) {
                let id = request.id;
                if backend.call(request).is_err() {
                    for (call, next) in calls.iter_mut().zip(self.refused(id)) {
                        *call = call.take().or(next);
                    }
                }
            }
            if effects.shut_down {
                backend.shut_down();
            }
        }
        if effects.work {
            self.begin_work();
        }
        for (severity, line) in effects.lines.drain(..) {
            self.panics.catch(SUBSCRIBER, || lines::write(severity, &line));
        }
        self.panics.wake_all(effects.wakers.drain(..));
        if effects.closed {
            self.callbacks.pool.wake_all();
        }
        self.callbacks.follow(self, std::mem::take(&mut effects.runner));
        if !effects.callbacks.is_empty() {
            self.callbacks.forget(effects.callbacks.drain(..));
        }
    }

    /// The backend has something to do: has the driver hold the clock, if it is paused.
    fn begin_work(&self) {
        // The first reading is what others are compared with.
        self.runtime.now();
        if let Some(hold) = self.runtime.hold_clock(STEP) {
            let driver = self.lock().driver.take();
            self.panics.wake_all(driver);
            drop(hold);
        }
    }
}
