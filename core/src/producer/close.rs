//! The phases of an end, and what the backend is asked to do.

use core::time::Duration;

use super::Producer;
use super::pending::Actions;
use crate::flushes::{FlushPoint, FlushScope};
use crate::lanes::Place;
use crate::storage::Storage;
use crate::{Action, Instant, Phase, Record, Unreported};

/// Slots of late records that one call takes back at most.
const TAKEN_BACK: usize = 64;

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Refuses new records from now on and flushes the others, which have `within` to come to their ends. When all have, or
    /// the time is over, the backend is asked to shut down ([`Action::ShutDown`]), and not before.
    ///
    /// A close while one is under way changes the deadline if it is an earlier one.
    pub fn close(&mut self, now: Instant, within: Duration) -> FlushPoint {
        let deadline = self.advance(now) + within;
        match self.phase {
            Phase::Open => self.phase = Phase::Closing(deadline),
            Phase::Closing(before) => self.phase = Phase::Closing(before.min(deadline)),
            Phase::Ending | Phase::Ended => {}
        }
        // It counts what is watched, too.
        let point = self.flush(FlushScope::All);
        self.actions.flush |= matches!(self.phase, Phase::Closing(_));
        point
    }

    /// Ends at once, like a close without time.
    pub fn end(&mut self) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        self.phase = Phase::Ending;
        self.end_purge();
        self.flush(FlushScope::All);
        self.actions = Actions { flush: false, shut_down: true };
    }

    /// The backend has ended: nothing that it has comes back any more, and batches that are out are not settled.
    /// [`Producer::poll_unsent`] gives back all that is left. Linear in the lanes.
    pub fn handle_backend_ended(&mut self) {
        self.end();
        self.backend_gone = true;
        self.set_blocked(false);
        for lane in 0..self.lanes.used() {
            if let Some(row) = self.lanes.get(lane).filter(|row| row.place == Place::Out) {
                let is_unplaced = row.lane.is_unplaced();
                self.unplaced -= usize::from(is_unplaced);
                self.lanes.move_to(lane, Place::Quiet);
                self.place(lane);
                if is_unplaced {
                    self.let_go_on(lane);
                }
            }
        }
    }

    /// How far the producer has come in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether new records are refused.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// What the backend is to do next. `settled` says that nothing else is under way that a close waits for, a call of a
    /// [`Transaction`](crate::Transaction) for one.
    ///
    /// Ends a close that has nothing more to wait for, or no more time: the latest one that the machine knows counts.
    pub fn poll_action(&mut self, settled: bool) -> Option<Action> {
        if let Phase::Closing(deadline) = self.phase
            && (deadline <= self.now || settled && self.is_empty())
        {
            self.end();
        }
        if let Some(scope) = self.due_purge() {
            return Some(Action::Purge(scope));
        }
        if core::mem::take(&mut self.actions.flush) {
            return Some(Action::Flush);
        }
        core::mem::take(&mut self.actions.shut_down).then_some(Action::ShutDown)
    }

    /// Gives back the next record that a producer does not send that is [ending](Phase::Ending): those that were not handed
    /// off, each lane's in order; and when the backend [has ended](Producer::handle_backend_ended) those that it had.
    ///
    /// `None` while only lanes whose batch is out may have more: some of that batch may come back, and they are older.
    /// Returns `None` as well when it has taken back 64 slots of records that had ended before; all is over when the
    /// phase is [`Phase::Ended`].
    pub fn poll_unsent(&mut self) -> Option<Unreported<R, T>> {
        if self.phase != Phase::Ending {
            return None;
        }
        if let Some((record, ended)) = self.poll_drained() {
            return Some(Unreported { record: Some(record), ended, handed_off: false });
        }
        if !self.backend_gone {
            return None;
        }
        let eldest = self.pool.eldest();
        let record = self.drop_copy(eldest);
        if let Some(ended) = self.complete(eldest, |_| true) {
            return Some(Unreported { record, ended, handed_off: true });
        }
        for _ in 0..TAKEN_BACK {
            let Some(late) = self.pool.first_late_id() else {
                self.phase = Phase::Ended;
                return None;
            };
            if let Some((lane, cost)) = self.release_ended(late) {
                self.let_go(lane, cost);
            }
        }
        None
    }
}
