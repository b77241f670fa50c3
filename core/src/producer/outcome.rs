//! Reports: a record's end, also if there is none.

use super::Producer;
use crate::storage::Storage;
use crate::{Instant, Lane, Record, SlotId};

/// A record that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed<T> {
    /// The slot that it had.
    pub slot: SlotId,
    /// What its caller left with it.
    pub ticket: T,
    /// Where it went.
    pub lane: Lane,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// How many records were accepted before it; see [`FlushPoint::covers`](crate::FlushPoint::covers).
    pub sequence: u64,
}

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// The outcome of a handed-off record is known: its slot returns to the pool.
    ///
    /// `None` for a report that is stale: of a record that has ended, was never handed off, or never was. It is
    /// counted, and changes nothing. And `None` for one that was [overdue](Producer::poll_overdue): the slot returns.
    pub fn handle_report(&mut self, id: SlotId) -> Option<Completed<T>> {
        let index = u32::try_from(id.index()).ok();
        let completed = index.and_then(|index| self.complete(index, |slot| slot.generation == id.generation()));
        if completed.is_none() && !self.end_overdue(id) {
            self.stale += 1;
        }
        completed
    }

    /// Moves time on: ends the oldest record, if it was handed off and its report is overdue. Its slot stays in use until
    /// the report comes after all, since the backend may use what it was given until then; [`Producer::len`] and flushes do
    /// not count it any more. Whether the record is in the log is not known.
    pub fn poll_overdue(&mut self, now: Instant) -> Option<Completed<T>> {
        self.advance(now);
        let (slot, at) = self.report_due()?;
        if at > self.now {
            return None;
        }
        let given_up = self.pool.give_up(u32::try_from(slot.index()).ok()?)?;
        self.overdue += 1;
        // No report is on its way that would clear it.
        self.blocked &= self.handed_off() > 0;
        let row = self.lanes.get_mut(given_up.lane)?;
        row.overdue += 1;
        let lane = row.lane;
        Some(given_up.completed(lane))
    }

    /// The oldest record, if it is handed off, and when its report is overdue. A batch that is out is not waited for yet.
    pub(super) fn report_due(&self) -> Option<(SlotId, Instant)> {
        let timeout = self.limits.report_timeout?;
        let index = self.pool.eldest();
        let oldest = self.pool.get(index).filter(|slot| slot.is_handed_off() && !self.is_out(slot))?;
        Some((SlotId::new(index, oldest.generation), oldest.accepted_at + timeout))
    }

    /// The report of an overdue record came; false if `id` names none.
    #[cold]
    fn end_overdue(&mut self, id: SlotId) -> bool {
        let Some(at) = self.pool.release_overdue(id) else { return false };
        self.overdue -= 1;
        if let Some(row) = self.lanes.get_mut(at) {
            row.overdue -= 1;
        }
        self.let_go(at).is_some()
    }
}
