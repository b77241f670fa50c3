//! What follows from a change of the state, to be done when the lock is free.

use std::task::Waker;

use aioproducer_core::PurgeScope;
use aioproducer_core::backend::Severity;

use super::calls::Requests;
use crate::callbacks::{Ended, RunnerSignal};
use crate::observe::Notes;
use crate::outcome::bulk::Members;
use crate::outcome::error::DeliveryError;
use crate::record::{OwnedRecord, Record};

/// What is to be done once the lock is free.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    /// Callbacks whose records have ended.
    pub(crate) callbacks: Vec<Ended>,
    pub(crate) runner: RunnerSignal,
    /// To be dropped, which may run the application's code, such as that of a payload's owner.
    pub(crate) discard: Vec<Discard>,
    pub(crate) notes: Notes,
    /// For the application's operator.
    pub(crate) lines: Vec<(Severity, String)>,
    pub(crate) workers: usize,
    /// There is exactly one record.
    pub(crate) alone: bool,
    pub(super) flush: bool,
    pub(super) purge: Option<PurgeScope>,
    pub(crate) calls: Requests,
    pub(crate) shut_down: bool,
    /// The backend has something to do, and a clock that may be paused is to be held.
    pub(crate) work: bool,
    /// New records are refused from now on.
    pub(crate) closed: bool,
}

/// What no task wants, to be dropped.
pub(crate) enum Discard {
    Error(#[expect(dead_code, reason = "kept to be dropped")] DeliveryError),
    Members(#[expect(dead_code, reason = "kept to be dropped")] Members),
    Record(#[expect(dead_code, reason = "kept to be dropped")] OwnedRecord),
    Returned(#[expect(dead_code, reason = "kept to be dropped")] Record<'static>),
    Waker(#[expect(dead_code, reason = "kept to be dropped")] Waker),
}

impl Effects {
    pub(super) fn has_any(&self) -> bool {
        self.workers > 0
            || self.flush
            || self.shut_down
            || self.closed
            || self.work
            || self.purge.is_some()
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

    pub(crate) fn purge_backend(&mut self, scope: PurgeScope) {
        self.purge = Some(self.purge.map_or(scope, |before| before.and(scope)));
    }

    pub(crate) fn flush_backend(&mut self) {
        self.flush = true;
    }
}
