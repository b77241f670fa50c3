//! Reports: a record's end, also if there is none.

use super::Producer;
use crate::slot::State;
use crate::storage::Storage;
use crate::{Completed, Instant, Record, SlotId, Unreported};

/// Late records that one call counts as overdue at most.
const GIVEN_UP: usize = 64;

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// The outcome of a handed-off record is known: its slot returns to the pool.
    ///
    /// `None` for a report that is stale: of a record that has ended, was never handed off, or never was. It is
    /// counted, and changes nothing. And `None` for a record that ended before its report, because its own timeout had
    /// [passed](Producer::poll_expired) or the report was [overdue](Producer::poll_overdue): the slot returns.
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
        let lane = self.let_go_of_one(released.lane)?;
        Some(released.completed(lane))
    }

    /// The same while there are own timeouts, flushes, or something else that is rare.
    #[cold]
    fn report_watched(&mut self, id: SlotId) -> Option<Completed<T>> {
        let completed = self.complete(id.to_index(), |slot| slot.generation == id.generation());
        if completed.is_none() {
            self.report_again(id);
        }
        completed
    }

    /// A report arrived of a record that has ended before, or is not known.
    #[cold]
    fn report_again(&mut self, id: SlotId) {
        match self.release_ended(id) {
            Some(lane) => drop(self.let_go(lane)),
            None => self.stale += 1,
        }
    }

    /// Whether any record has a timeout of its own that has not passed.
    #[inline]
    #[must_use]
    pub const fn has_own_timeouts(&self) -> bool {
        self.timers.len() > 0
    }

    /// When the first of the records' own timeouts passes, if any record has one.
    #[inline]
    #[must_use]
    pub fn first_own_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|first| first.at)
    }

    /// The copy of a handed-off record that [`Producer::poll_batch`] was given, for callers that need it, or that would
    /// rather not have it dropped by [`Producer::handle_report`] or [`Producer::handle_refused`].
    #[inline]
    pub fn take_copy(&mut self, id: SlotId) -> Option<R> {
        if !self.has_own_timeouts() {
            return None;
        }
        let (index, slot) = self.pool.named(id)?;
        if !slot.is_handed_off() {
            return None;
        }
        self.pool.get_mut(index)?.record.take()
    }

    /// Moves time on: ends the oldest record, if it was handed off and its report is overdue. Its slot stays in use until
    /// the report arrives after all, since the backend may use what it was given until then; [`Producer::len`] and flushes
    /// do not count it any more. Whether the record is in the log is not known.
    ///
    /// Records that ended by their own timeout count as overdue, too, when their reports have not arrived after as long
    /// again. They are not returned. A call counts at most 64 of them.
    pub fn poll_overdue(&mut self, now: Instant) -> Option<Unreported<R, T>> {
        self.advance(now);
        self.give_up_late();
        let (slot, at) = self.report_due()?;
        if at > self.now {
            return None;
        }
        let index = u32::try_from(slot.index()).ok()?;
        let record = self.pool.get_mut(index)?.record.take();
        let given_up = self.pool.end_overdue(index)?;
        self.note_end(index, given_up.lane, given_up.sequence);
        self.count_overdue();
        let row = self.lanes.get_mut(given_up.lane)?;
        row.ended += 1;
        let lane = row.lane;
        Some(Unreported { record, ended: given_up.completed(lane), handed_off: true })
    }

    fn count_overdue(&mut self) {
        self.overdue += 1;
        // No report is on its way that would clear it.
        self.set_blocked(self.blocked && self.handed_off() > 0);
    }

    fn give_up_late(&mut self) {
        for _ in 0..GIVEN_UP {
            if self.late_due().is_none_or(|at| at > self.now) || self.pool.give_up_late().is_none() {
                return;
            }
            self.late -= 1;
            self.count_overdue();
            self.watch();
        }
    }

    /// The oldest record, if it is handed off, and when its report is overdue. A batch that is out is not waited for yet.
    pub(super) fn report_due(&self) -> Option<(SlotId, Instant)> {
        let timeout = self.limits.report_timeout?;
        let index = self.pool.eldest();
        let oldest = self.pool.get(index).filter(|slot| slot.is_handed_off() && !self.is_out(slot))?;
        Some((SlotId::new(index, oldest.generation), oldest.accepted_at + timeout))
    }

    /// When the report of a record is overdue that ended by its own timeout.
    pub(super) fn late_due(&self) -> Option<Instant> {
        let timeout = self.limits.report_timeout?;
        let first = self.pool.first_late().filter(|slot| !self.is_out(slot))?;
        Some(first.accepted_at + timeout)
    }

    /// The backend has let go of a record that has ended before; returns its lane.
    pub(super) fn release_ended(&mut self, id: SlotId) -> Option<u32> {
        let (lane, was_late) = self.pool.release_ended(id)?;
        if was_late {
            self.late -= 1;
            self.watch();
        } else {
            self.overdue -= 1;
        }
        if let Some(row) = self.lanes.get_mut(lane) {
            row.ended -= 1;
        }
        Some(lane)
    }

    /// Whether a record is in a batch that is not settled.
    pub(super) fn is_out(&self, slot: &crate::slot::Slot<R, T>) -> bool {
        let (State::HandedOff { batch } | State::Late { batch }) = slot.state else { return false };
        let row = self.lanes.get(slot.lane);
        row.is_some_and(|row| row.place == crate::lanes::Place::Out && row.batch as u32 == batch)
    }
}
