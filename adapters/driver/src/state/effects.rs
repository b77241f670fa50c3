//! What follows from a change of the state, to be done when the lock is free.

use std::task::Waker;

use aioproducer_core::backend::Severity;

use crate::api::calls::Requests;
use crate::callbacks::{Ended, RunnerSignal};
use crate::observe::{Notes, SUBSCRIBER, lines};
use crate::outcome::bulk::Members;
use crate::outcome::error::DeliveryError;
use crate::record::{OwnedRecord, Record};
use crate::state::shared::Shared;

/// What a purge is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purged {
    pub(crate) queued: bool,
    pub(crate) in_flight: bool,
}

/// What is to be done once the lock is free.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    /// Callbacks whose records have ended.
    pub(crate) callbacks: Vec<Ended>,
    pub(crate) runner: RunnerSignal,
    /// To be dropped: that may run anybody's code, a payload's owner's for one.
    pub(crate) discard: Vec<Discard>,
    pub(crate) notes: Notes,
    /// For the application's operator.
    pub(crate) lines: Vec<(Severity, String)>,
    pub(crate) workers: usize,
    /// There is one record, and nothing else.
    pub(crate) alone: bool,
    flush: bool,
    purge: Purged,
    pub(crate) calls: Requests,
    pub(crate) shut_down: bool,
    /// The backend has something to do, and a clock that may be paused is to be held.
    pub(crate) work: bool,
    /// New records are refused from now on.
    pub(crate) closed: bool,
}

/// What nobody asked for.
pub(crate) enum Discard {
    Error(#[expect(dead_code, reason = "kept to be dropped")] DeliveryError),
    Members(#[expect(dead_code, reason = "kept to be dropped")] Members),
    Record(#[expect(dead_code, reason = "kept to be dropped")] OwnedRecord),
    Returned(#[expect(dead_code, reason = "kept to be dropped")] Record<'static>),
    Waker(#[expect(dead_code, reason = "kept to be dropped")] Waker),
}

impl Effects {
    fn has_any(&self) -> bool {
        self.workers > 0
            || self.flush
            || self.shut_down
            || self.closed
            || self.work
            || self.purge != Purged::default()
            || !self.wakers.is_empty()
            || self.calls.iter().any(Option::is_some)
            || !self.callbacks.is_empty()
            || !self.lines.is_empty()
            || !matches!(self.runner, RunnerSignal::None)
    }

    /// Begins with lists that are empty.
    pub(crate) fn reusing(wakers: Vec<Waker>, callbacks: Vec<Ended>) -> Self {
        Self { wakers, callbacks, ..Self::default() }
    }

    pub(crate) fn purge_backend(&mut self, what: Purged) {
        self.purge.queued |= what.queued;
        self.purge.in_flight |= what.in_flight;
    }

    pub(crate) fn flush_backend(&mut self) {
        self.flush = true;
    }
}

impl Shared {
    /// Carries the effects out. The lock is free.
    pub(crate) fn apply(&self, effects: &mut Effects) {
        self.observer.tell(&self.topics, &mut effects.notes, &self.panics);
        self.carry_out(effects);
    }

    /// The same on a thread that must not call subscribers and recorders.
    pub(crate) fn apply_unobserved(&self, effects: &mut Effects) {
        self.observer.defer(&mut effects.notes);
        self.carry_out(effects);
    }

    fn carry_out(&self, effects: &mut Effects) {
        if effects.has_any() {
            self.ask_and_wake(effects);
        }
        if !effects.discard.is_empty() {
            self.panics.drop_all("what a record, an error or a waker holds", effects.discard.drain(..));
        }
    }

    fn ask_and_wake(&self, effects: &mut Effects) {
        if let Some(backend) = self.backend() {
            match effects.workers {
                1 if effects.alone => backend.wake_for_one(),
                workers => (0..workers).for_each(|_| backend.wake()),
            }
            if effects.flush {
                backend.flush();
            }
            if effects.purge != Purged::default() {
                backend.purge(effects.purge.queued, effects.purge.in_flight);
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
}
