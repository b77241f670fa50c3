//! Batches leave the machine, and what the backend could not queue comes back.

use super::Producer;
use crate::batch::Origin;
use crate::lanes::{LaneRow, Place};
use crate::slot::{Links, NIL, Slot, State};
use crate::storage::Storage;
use crate::{Completed, CutReason, Instant, MessageBatch, Record, SlotId};

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// Whether [`Producer::poll_batch`] has something to give.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        !self.blocked && self.lanes.first_ready().is_some()
    }

    /// Cuts a batch of the lane that has been ready for longest and moves its records, in lane order, to `each`. The
    /// lane is not offered again before [`Producer::handle_settled`].
    ///
    /// `None` when no lane is due, and, after the backend refused a record because its queue was full, until the next
    /// report.
    pub fn poll_batch(&mut self, now: Instant, mut each: impl FnMut(SlotId, R)) -> Option<MessageBatch> {
        self.advance(now);
        if self.blocked {
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
        let limits = self.limits.batch();
        while let Some(slot) = self.pool.get_mut(index)
            && let State::Buffered(links) = &mut slot.state
        {
            if batch.add(limits, lane, slot.size).is_err() {
                links.previous = NIL;
                break;
            }
            let id = SlotId::new(index, slot.generation);
            index = links.next;
            slot.state = State::HandedOff { batch: number as u32 };
            if let Some(record) = slot.record.take() {
                each(id, record);
            }
        }
        self.buffered -= batch.len();
        self.batches = number;
        self.lanes.move_to(at, Place::Out);
        let row = self.lanes.get_mut(at)?;
        row.records.head = index;
        if index == NIL {
            row.records.tail = NIL;
        }
        row.buffered -= batch.len() as u32;
        row.handed_off += batch.len() as u32;
        row.buffered_bytes -= batch.bytes();
        row.refused = 0;
        row.last_refused = NIL;
        row.batch = number;
        if row.buffered == 0 {
            self.lanes.forget(at);
        }
        Some(batch)
    }

    /// Takes back a record of a batch that is out because the backend's queue is full. It keeps its place in its lane
    /// and its time of acceptance. Refused records are given in lane order.
    ///
    /// # Errors
    /// The record, if `id` names none of a batch that is out; counted as stale.
    pub fn handle_refused(&mut self, id: SlotId, record: R) -> Result<(), R> {
        let out = self.pool.named(id).filter(|(_, slot)| self.is_out(slot));
        let Some((index, slot)) = out else {
            self.stale += 1;
            return Err(record);
        };
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
        if let Some(slot) = self.pool.get_mut(index) {
            slot.state = State::Buffered(Links::NONE);
            slot.record = Some(record);
        }
        self.pool.link(&mut row.records, index, previous);
        row.refused += 1;
        row.buffered += 1;
        row.handed_off -= 1;
        row.buffered_bytes += size;
        self.buffered += 1;
        if previous == NIL {
            self.note_deadline(lane);
        }
        Ok(())
    }

    /// Whether a record is in a batch that is not settled.
    pub(super) fn is_out(&self, slot: &Slot<R, T>) -> bool {
        let State::HandedOff { batch } = slot.state else { return false };
        self.lanes.get(slot.lane).is_some_and(|row| row.place == Place::Out && row.batch as u32 == batch)
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
        let (refused, head) = (row.refused, row.records.head);
        self.lanes.move_to(lane, Place::Quiet);
        let in_flight = self.handed_off() > 0;
        // Another batch may have filled the queue and left it since; and a record that did not come first was not tried.
        let undisturbed = alone && number == self.batches && !in_flight;
        let hopeless = undisturbed
            && refused as usize == batch.len()
            && self.pool.get(head).is_some_and(|slot| slot.sequence == first);
        self.blocked = (self.blocked || refused > 0) && in_flight;
        let returned = if hopeless { self.end_buffered(head) } else { None };
        self.place(lane);
        returned
    }
}
