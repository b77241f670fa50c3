//! Batches leave the machine, and what the backend could not queue comes back.

use super::Producer;
use crate::lanes::{LaneRow, Place};
use crate::slot::{NIL, State};
use crate::storage::Storage;
use crate::{CutReason, Instant, MessageBatch, Record, SlotId};

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
        let mut batch = MessageBatch::begin(self.batches + 1, lane, reason);
        let mut index = row.first_buffered;
        let begin = self.pool.get(index)?.sequence;
        let limits = self.limits.batch();
        while let Some(slot) = self.pool.get_mut(index) {
            let next = slot.in_lane.next;
            if slot.state == State::Buffered {
                if batch.add(limits, lane, slot.size).is_err() {
                    break;
                }
                slot.state = State::HandedOff;
                if let Some(record) = slot.record.take() {
                    each(SlotId::new(index, slot.generation), record);
                }
            }
            index = next;
        }
        let alone = self.handed_off == 0;
        self.handed_off += batch.len();
        self.buffered = self.buffered.saturating_sub(batch.len());
        self.batches += 1;
        self.lanes.move_to(at, Place::Out);
        let row = self.lanes.get_mut(at)?;
        row.first_buffered = index;
        row.buffered = row.buffered.saturating_sub(batch.len() as u32);
        row.buffered_bytes = row.buffered_bytes.saturating_sub(batch.bytes());
        row.refused = 0;
        row.alone = alone;
        row.batch = batch.number();
        row.batch_begin = begin;
        Some(batch)
    }

    /// Takes back a record of a batch that is out because the backend's queue is full. It keeps its place in its lane
    /// and its time of acceptance. Refused records are given in lane order.
    ///
    /// # Errors
    /// The record, if `id` names none of a batch that is out; counted as stale.
    pub fn handle_refused(&mut self, id: SlotId, record: R) -> Result<(), R> {
        let live = self.pool.live(id, State::HandedOff);
        let (lane, sequence) =
            live.and_then(|index| self.pool.get(index)).map_or((NIL, 0), |slot| (slot.lane, slot.sequence));
        let out = |row: &&mut LaneRow| row.place == Place::Out && sequence >= row.batch_begin;
        let (Some(index), Some(row)) = (live, self.lanes.get_mut(lane).filter(out)) else {
            self.stale += 1;
            return Err(record);
        };
        let first = self.pool.get(row.first_buffered).map_or(u64::MAX, |slot| slot.sequence);
        row.refused += 1;
        row.buffered += 1;
        self.handed_off = self.handed_off.saturating_sub(1);
        self.buffered += 1;
        if let Some(slot) = self.pool.get_mut(index) {
            slot.state = State::Buffered;
            slot.record = Some(record);
            row.buffered_bytes = row.buffered_bytes.saturating_add(slot.size);
        }
        if sequence < first {
            row.first_buffered = index;
            if let Some(deadline) = self.deadline_of(lane) {
                self.lanes.heap_note(lane, deadline);
            }
        }
        Ok(())
    }

    /// Ends a hand-off: what was not refused or rejected is in the backend's queue, and the lane may be offered again.
    ///
    /// Returns the batch's first record when waiting is in vain: the backend refused the whole batch though nothing
    /// else was handed off in the meantime either, so that record alone is more than it can ever queue. A batch that is
    /// not out is counted as stale.
    pub fn handle_settled(&mut self, batch: &MessageBatch) -> Option<(R, T)> {
        let is_out = |row: &LaneRow| row.place == Place::Out && row.batch == batch.number();
        let out = self.lanes.find(batch.lane()).filter(|lane| self.lanes.get(*lane).is_some_and(is_out));
        let Some(lane) = out else {
            self.stale += 1;
            return None;
        };
        let row = self.lanes.get(lane)?;
        let (refused, first) = (row.refused, row.first_buffered);
        // Another batch may have filled the queue and left it since; and a record that did not come first was not tried.
        let undisturbed = row.alone && row.batch == self.batches && self.handed_off == 0;
        let tried = self.pool.get(first).is_some_and(|slot| slot.sequence == row.batch_begin);
        let hopeless = undisturbed && tried && refused as usize == batch.len();
        self.blocked = (self.blocked || refused > 0) && self.handed_off > 0;
        let returned = if hopeless { self.end(first) } else { (None, None) };
        self.lanes.move_to(lane, Place::Quiet);
        self.place(lane);
        returned.0.zip(returned.1)
    }
}
