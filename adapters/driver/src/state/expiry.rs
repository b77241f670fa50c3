//! Records that fail without a report of the backend: for their age, or since the producer ends. Each call fails a bounded
//! number of them, so that neither the lock nor a thread is held for long.

use aioproducer_core::backend::{Failure, Status};
use aioproducer_core::{Completed, Instant, Phase};

use super::effects::Effects;
use super::shared::{Shared, State};
use crate::outcome::failures::{ABORTED, CLOSED, PURGED, TIMED_OUT, TIMED_OUT_IN_FLIGHT};
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

    /// Fails the records whose delivery timeout or own timeout is over, wherever they are. False if there may be more of them.
    #[inline]
    pub(crate) fn expire(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> bool {
        self.fail_at_most(FAILED_PER_LOCK, shared, effects, |state| {
            let expired = state.machine.poll_expired(now)?;
            let failure = if expired.handed_off { TIMED_OUT_IN_FLIGHT } else { TIMED_OUT };
            Some((expired.ended, failure, expired.record))
        })
    }

    /// Fails the records that a purge gives back, `most` at most; false if there may be more of them.
    pub(crate) fn purge_some(&mut self, most: usize, shared: &Shared, effects: &mut Effects) -> bool {
        self.fail_at_most(most, shared, effects, |state| {
            let (record, ended) = state.machine.poll_purged()?;
            Some((ended, PURGED, Some(record)))
        })
    }

    /// Fails the records that an end does not send, and, when the backend is gone, those that it had; false if there may be more
    /// of them.
    pub(crate) fn give_up(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        self.give_up_at_most(FAILED_PER_LOCK, shared, effects)
    }

    fn give_up_at_most(&mut self, most: usize, shared: &Shared, effects: &mut Effects) -> bool {
        let is_last = self.fail_at_most(most, shared, effects, |state| {
            let unsent = state.machine.poll_unsent()?;
            let status = if unsent.handed_off { Status::PossiblyPersisted } else { Status::NotPersisted };
            Some((unsent.ended, CLOSED.with_status(status), unsent.record))
        });
        if self.machine.phase() == Phase::Ended && !std::mem::replace(&mut self.has_ended, true) {
            self.end_calls(effects);
            effects.wakers.append(&mut self.close_wakers);
            effects.wakers.extend(self.driver.take());
        }
        is_last
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
        self.give_up_at_most(FAILED_PER_LOCK_AT_END, shared, effects) && self.has_ended
    }
}
