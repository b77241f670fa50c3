//! Records that fail without a report of the backend: for their age, or since the producer ends. Each call fails a bounded
//! number of them, so that neither the lock nor a thread is held for long.

use aioproducer_core::backend::{Failure, Status};
use aioproducer_core::{Completed, Instant, RetractError, SlotId};

use super::effects::{Discard, Effects};
use super::shared::{Phase, Shared, State};
use crate::outcome::failures::{ABORTED, CLOSED, OVERDUE, TIMED_OUT, TIMED_OUT_IN_FLIGHT};
use crate::outcome::ticket::Ticket;
use crate::record::OwnedRecord;

/// Records that fail under one hold of the lock, at most.
const FAILED_PER_LOCK: usize = 16;

/// The same on a backend's thread, which has nothing else to do in the end.
const FAILED_PER_LOCK_AT_END: usize = 64;

/// A record that is to fail, and what is left of it.
type Failed = (Completed<Ticket>, Failure, Option<OwnedRecord>);

impl State {
    /// Fails the records that `next` takes, `most` at most; false if there may be more of them.
    #[inline]
    fn fail_at_most(
        &mut self,
        most: usize,
        shared: &Shared,
        effects: &mut Effects,
        mut next: impl FnMut(&mut Self) -> Option<Failed>,
    ) -> bool {
        for _ in 0..most {
            let Some((ended, failure, record)) = next(self) else { return true };
            self.fail(shared, ended, failure, record, effects);
        }
        false
    }

    /// Fails the records whose delivery timeout passed before hand-off; false if there may be more of them.
    #[inline]
    pub(crate) fn expire(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        self.fail_at_most(FAILED_PER_LOCK, shared, effects, |state| {
            let expired = state.machine.poll_expired(now)?;
            Some((expired.ended, TIMED_OUT, Some(expired.record)))
        })
    }

    /// Fails the records that the backend has not reported in time; false if there may be more of them.
    pub(crate) fn give_up_overdue(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        self.fail_at_most(FAILED_PER_LOCK, shared, effects, |state| {
            let overdue = state.machine.poll_overdue(now)?;
            let copy = state.timeouts.remove(overdue.slot);
            Some((overdue, OVERDUE, copy))
        })
    }

    /// Fails the records that were never handed off, when the producer ends; false if there may be more of them.
    pub(crate) fn give_up(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        self.fail_at_most(FAILED_PER_LOCK, shared, effects, |state| {
            let (record, ended) = state.machine.poll_drained()?;
            Some((ended, CLOSED, Some(record)))
        })
    }

    /// Fails the records that an aborted transaction did not hand off; false if there may be more of them.
    pub(crate) fn take_back(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        !self.is_aborting()
            || self.fail_at_most(FAILED_PER_LOCK, shared, effects, |state| {
                let (record, ended) = state.machine.poll_drained()?;
                Some((ended, ABORTED, Some(record)))
            })
    }

    /// Fails the records that are left when the backend is gone, and then ends; false if there may be more of them.
    pub(crate) fn end_some(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        let is_last = self.fail_at_most(FAILED_PER_LOCK_AT_END, shared, effects, |state| {
            if let Some((record, ended)) = state.take_buffered() {
                return Some((ended, CLOSED, Some(record)));
            }
            let ended = state.machine.poll_abandoned()?;
            Some((ended, CLOSED.with_status(Status::PossiblyPersisted), None))
        });
        if is_last {
            self.phase = Phase::Ended;
            effects.discard.extend(self.timeouts.clear().map(Discard::Record));
            self.end_calls(effects);
            effects.wakers.append(&mut self.close_wakers);
            effects.wakers.extend(self.driver.take());
        }
        is_last
    }

    /// Notes a record's own timeout, which passes at `at`.
    pub(crate) fn note_timeout(&mut self, slot: SlotId, at: Instant, effects: &mut Effects) {
        self.timeouts.insert(slot, at);
        if at < self.armed {
            effects.wakers.extend(self.driver.take());
        }
    }

    /// Fails records whose own timeout has passed; false if there may be more of them.
    pub(crate) fn expire_own(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        for _ in 0..FAILED_PER_LOCK {
            let Some((slot, copy)) = self.timeouts.pop_due(now) else { return true };
            match self.machine.retract(slot) {
                Ok((record, ended)) => {
                    effects.discard.extend(copy.map(Discard::Record));
                    self.fail(shared, ended, TIMED_OUT, Some(record), effects);
                }
                Err(RetractError::HandedOff) => {
                    if let Some(ticket) = self.machine.ticket_mut(slot) {
                        let ticket = std::mem::replace(ticket, Ticket::NONE);
                        self.complete_failed(shared, ticket, TIMED_OUT_IN_FLIGHT, None, copy, effects);
                    }
                }
                Err(_) => effects.discard.extend(copy.map(Discard::Record)),
            }
        }
        false
    }
}
