//! Batches leave the machine, and what the backend could not queue comes back.

use super::Producer;
use crate::batch::Origin;
use crate::lanes::{LaneRow, Place};
use crate::slot::{Links, NIL, State};
use crate::storage::Storage;
use crate::{Completed, CutReason, Instant, MessageBatch, Record, SlotId};

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Whether [`Producer::poll_batch`] has something to give.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        !self.halted && self.lanes.first_ready().is_some()
    }

    /// Cuts a batch of the lane that has been ready for longest and moves its records, in lane order, to `each`. The
    /// lane is not offered again before [`Producer::handle_settled`].
    ///
    /// The third argument of `each` says whether a copy is wanted, which it then may return. If the record's time passes before its
    /// report arrives, the copy goes back to the caller, by [`Producer::poll_expired`]. A copy is wanted of a record with a
    /// [timeout of its own](Record::timeout), of one that has waited for room, and of one whose lane had no report of late.
    ///
    /// `None` when no lane is due and may hand off more ([`Isolation::window`](crate::Isolation::window)); after the backend refused
    /// a record because its queue was full, until the next report; while it has [no connection](Producer::handle_connected); while
    /// records come back by [`Producer::poll_purged`]; and in the end.
    pub fn poll_batch(
        &mut self,
        now: Instant,
        mut each: impl FnMut(SlotId, R, bool) -> Option<R>,
    ) -> Option<MessageBatch> {
        self.advance(now);
        if self.halted {
            return None;
        }
        let at = self.lanes.first_ready()?;
        let row = self.lanes.get(at)?;
        let lane = row.lane;
        let reason = self.due(row).unwrap_or(CutReason::Flush);
        let number = self.batches + 1;
        let mut index = row.records.head;
        let first = self.pool.get(index)?.sequence;
        let origin = Origin { number, row: at, alone: self.handed_off() == 0, first };
        let mut batch = MessageBatch::begin(origin, lane, reason);
        let wants_copies = self.limits.delivery_timeout.is_some() && row.is_silent(self.now);
        let limits = self.batch_limits(row);
        let mut copies = 0;
        while let Some(slot) = self.pool.get_mut(index)
            && let State::Buffered(links) = &mut slot.state
        {
            if batch.add(limits, lane, slot.size as usize).is_err() {
                links.previous = NIL;
                break;
            }
            let id = SlotId::new(index, slot.generation);
            index = links.next;
            slot.state = State::HandedOff { batch: number as u32 };
            let wants_copy = wants_copies || slot.timer != NIL;
            if let Some(record) = slot.record.take()
                && let Some(copy) = each(id, record, wants_copy)
                && wants_copy
            {
                slot.record = Some(copy);
                copies += 1;
            }
        }
        self.buffered -= batch.len();
        if lane.is_unplaced() {
            self.unplaced = self.unplaced - batch.len() + 1;
        }
        self.batches = number;
        self.lanes.hand_off_first();
        let least = self.limits.isolation.map(|_| self.windows.least(lane));
        let row = self.lanes.get_mut(at)?;
        row.records.head = index;
        if index == NIL {
            row.records.tail = NIL;
        }
        row.buffered -= batch.len() as u32;
        let mut again = false;
        if row.handed_off == 0 {
            again =
                self.limits.isolation.is_some_and(|isolation| row.was_silent(isolation.availability_timeout, self.now));
            row.waiting_since = self.now;
        }
        row.handed_off += batch.len() as u32;
        row.buffered_bytes -= batch.bytes();
        row.refused = 0;
        row.last_refused = NIL;
        row.batch = number;
        if let Some(least) = least {
            row.shrink(again, least);
        }
        if row.buffered == 0 {
            self.lanes.forget(at);
        }
        if copies > 0 {
            self.copies += copies;
            self.watch();
        }
        Some(batch)
    }

    /// Takes back a record of a batch that is out because the backend's queue is full. It keeps its place in its lane
    /// and its time of acceptance. Refused records are given in lane order. A copy of it that [`Producer::poll_batch`] was
    /// given is dropped, unless it was [taken](Producer::take_copy) before.
    ///
    /// # Errors
    /// The record, if it has ended before, as its time has passed; or if `id` names none of a batch that is out, which counts
    /// as stale.
    pub fn handle_refused(&mut self, id: SlotId, record: R) -> Result<(), R> {
        let out = self.pool.named(id).filter(|(_, slot)| self.is_out(slot));
        let Some((index, slot)) = out else {
            self.stale += 1;
            return Err(record);
        };
        if let State::Late { .. } = slot.state {
            self.refuse_late(id);
            return Err(record);
        }
        let (lane, sequence, size) = (slot.lane, slot.sequence, slot.size);
        let Some(row) = self.lanes.get_mut(lane) else { return Err(record) };
        let mut previous = row.last_refused;
        // Only callers that do not keep the order have something to pass by.
        while let Some(slot) = self.pool.get(previous).filter(|slot| slot.sequence > sequence) {
            previous = slot.in_lane().map_or(NIL, |links| links.previous);
        }
        if previous == row.last_refused {
            row.last_refused = index;
        }
        self.drop_copy(index);
        if let Some(slot) = self.pool.get_mut(index) {
            slot.state = State::Buffered(Links::NONE);
            slot.record = Some(record);
        }
        let Some(row) = self.lanes.get_mut(lane) else { return Ok(()) };
        self.pool.link(&mut row.records, index, previous);
        row.refused += 1;
        row.buffered += 1;
        row.handed_off -= 1;
        row.buffered_bytes += size as usize;
        self.buffered += 1;
        self.unplaced += usize::from(row.lane.is_unplaced());
        self.purge_refused(lane);
        Ok(())
    }

    /// Whether the backend has a connection; it counts as connected before this is called. Nothing is handed off without one: what
    /// stays in the machine ends in time and as not persisted, and can be taken back.
    ///
    /// ```
    /// # use aioproducer_core::{Inline, Instant, Lane, Limits, Producer, Record, TopicId};
    /// # struct Reading;
    /// # impl Record for Reading {
    /// #     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
    /// #     fn size(&self) -> usize { 4 }
    /// # }
    /// # let limits = Limits { batch_records: 8, ..Limits::default() };
    /// # let mut machine: Producer<Reading, (), Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
    /// let slot = machine.produce(Instant::ZERO, Reading, ()).ok().unwrap();
    /// machine.handle_connected(false);
    /// assert!(!machine.has_batch());
    /// assert!(machine.retract(slot).is_ok());
    /// ```
    pub fn handle_connected(&mut self, connected: bool) {
        self.connected = connected;
        self.set_halted();
    }

    /// Whether the backend has a connection, as far as is known.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// A batch is settled. `refused` says that the backend's queue is full and that a report will make room.
    #[cold]
    fn settle_watched(&mut self, number: u64, refused: bool) {
        self.settle_purge(number);
        self.set_blocked((self.blocked || refused) && self.handed_off() > 0);
    }

    /// The backend's queue is full, and the record that it did not take has ended before.
    #[cold]
    fn refuse_late(&mut self, id: SlotId) {
        if let Some((lane, cost)) = self.release_ended(id)
            && let Some(row) = self.lanes.get_mut(lane)
        {
            row.refused += 1;
            row.handed_off -= 1;
            row.bytes -= cost;
        }
    }

    /// Ends a hand-off: what was not refused or rejected is in the backend's queue, and the lane may be offered again.
    ///
    /// Returns the batch's first record when waiting is in vain: the backend refused the whole batch though nothing
    /// else was handed off in the meantime either, so that record alone is more than it can ever queue. A batch that is
    /// not out is counted as stale.
    pub fn handle_settled(&mut self, batch: &MessageBatch) -> Option<(R, Completed<T>)> {
        let Origin { number, row: lane, alone, first } = batch.origin();
        let is_out = |row: &&mut LaneRow| row.place == Place::Out && row.batch == number && row.lane == batch.lane();
        let Some(row) = self.lanes.get_mut(lane).filter(is_out) else {
            self.stale += 1;
            return None;
        };
        let (refused, head, is_purged) = (row.refused, row.records.head, row.next_purged != NIL);
        // It was in no list, and is in none yet.
        row.place = Place::Quiet;
        self.unplaced -= usize::from(row.lane.is_unplaced());
        let in_flight = self.handed_off() > 0;
        // Another batch may have filled the queue and left it since; and a record that did not come first was not tried.
        let undisturbed = alone && number == self.batches && !in_flight && !is_purged;
        let hopeless = undisturbed
            && refused as usize == batch.len()
            && self.pool.get(head).is_some_and(|slot| slot.sequence == first);
        if self.watched > 0 || refused > 0 {
            self.settle_watched(number, refused > 0 && in_flight);
        }
        let returned = if hopeless { self.end_buffered(head) } else { None };
        self.place(lane);
        if batch.lane().is_unplaced() {
            self.let_go_on(lane);
        }
        returned
    }
}
