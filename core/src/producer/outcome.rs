//! Reports: a record's end, also if there is none.

use super::Producer;
use crate::slot::State;
use crate::storage::Storage;
use crate::{Completed, Instant, Record, SlotId};

/// Late records that one call counts as overdue at most.
const GIVEN_UP: usize = 64;

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// The outcome of a handed-off record is known: its slot returns to the pool.
    ///
    /// `None` for a report that is stale: of a record that has ended, was never handed off, or never was. It is
    /// counted, and changes nothing. And `None` for a record that ended before its report, because its time had
    /// [passed](Producer::poll_expired): the slot returns.
    ///
    /// A copy of the record, if [`Producer::poll_batch`] was given one, is dropped, unless it was
    /// [taken](Producer::take_copy) before.
    pub fn handle_report(&mut self, id: SlotId) -> Option<Completed<T>> {
        if self.watched > 0 {
            return self.report_watched(id);
        }
        let released =
            self.pool.release(id.to_index(), |slot| slot.is_handed_off() && slot.generation == id.generation());
        let Some(released) = released else {
            self.report_again(id);
            return None;
        };
        self.reported_at = self.now;
        let lane = self.let_go_of_one(released.lane, released.cost)?;
        Some(released.completed(lane))
    }

    /// The same while there are own timeouts, flushes, or something else that is rare.
    #[cold]
    fn report_watched(&mut self, id: SlotId) -> Option<Completed<T>> {
        let completed = self.complete(id.to_index(), |slot| slot.generation == id.generation());
        if completed.is_some() {
            self.reported_at = self.now;
        } else {
            self.report_again(id);
        }
        completed
    }

    /// A report arrived of a record that has ended before, or is not known.
    #[cold]
    fn report_again(&mut self, id: SlotId) {
        match self.release_ended(id) {
            Some((lane, cost)) => {
                self.reported_at = self.now;
                self.let_go(lane, cost);
            }
            None => self.stale += 1,
        }
    }

    /// Whether the machine has a copy of any record that the backend has.
    #[inline]
    #[must_use]
    pub const fn has_copies(&self) -> bool {
        self.copies > 0
    }

    /// When the first of the records' own timeouts passes, if any record has one. A record that has waited for room has one.
    #[inline]
    #[must_use]
    pub fn first_own_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|first| first.at)
    }

    /// The copy of a handed-off record that [`Producer::poll_batch`] was given, for callers that need it, or that would
    /// rather not have it dropped by [`Producer::handle_report`] or [`Producer::handle_refused`].
    #[inline]
    pub fn take_copy(&mut self, id: SlotId) -> Option<R> {
        if !self.has_copies() {
            return None;
        }
        let (index, slot) = self.pool.named(id)?;
        if !slot.is_handed_off() {
            return None;
        }
        self.drop_copy(index)
    }

    /// The copy of a record that the backend has, which the slot has no more.
    pub(super) fn drop_copy(&mut self, index: u32) -> Option<R> {
        let copy = self.pool.get_mut(index)?.record.take()?;
        self.copies -= 1;
        self.watch();
        Some(copy)
    }

    fn count_overdue(&mut self) {
        self.overdue += 1;
        // No report is on its way that would clear it.
        self.set_blocked(self.blocked && self.handed_off() > 0);
    }

    /// Counts late records as overdue whose reports have not arrived: those of a lane that are overdue use none of its credit.
    #[cold]
    pub(super) fn give_up_late(&mut self) {
        for _ in 0..GIVEN_UP {
            if self.late_due().is_none_or(|at| at > self.now) {
                return;
            }
            let Some(lane) = self.pool.give_up_late() else { return };
            self.late -= 1;
            self.count_overdue();
            self.watch();
            if let Some(row) = self.lanes.get_mut(lane) {
                row.lost += 1;
                self.place(lane);
            }
        }
    }

    /// When the report of the record that is late for longest is overdue. A batch that is out is not waited for yet.
    pub(super) fn late_due(&self) -> Option<Instant> {
        let timeout = self.limits.report_timeout?;
        let first = self.pool.first_late().filter(|slot| !self.is_out(slot))?;
        Some(first.accepted_at + timeout)
    }

    /// The backend has let go of a record that has ended before; returns its lane and its cost.
    pub(super) fn release_ended(&mut self, id: SlotId) -> Option<(u32, usize)> {
        let (lane, cost, was_late) = self.pool.release_ended(id)?;
        if was_late {
            self.late -= 1;
            self.watch();
        } else {
            self.overdue -= 1;
        }
        if let Some(row) = self.lanes.get_mut(lane) {
            row.ended -= 1;
            row.lost -= u32::from(!was_late);
        }
        Some((lane, cost))
    }

    /// Whether a record is in a batch that is not settled.
    pub(super) fn is_out(&self, slot: &crate::slot::Slot<R, T>) -> bool {
        let (State::HandedOff { batch } | State::Late { batch }) = slot.state else { return false };
        let row = self.lanes.get(slot.lane);
        row.is_some_and(|row| row.place == crate::lanes::Place::Out && row.batch as u32 == batch)
    }
}
