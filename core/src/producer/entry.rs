//! Commands: what the application wants.

use core::fmt;

use super::Producer;
use crate::lanes::{LaneRow, Place};
use crate::pool::Entry;
use crate::slot::State;
use crate::storage::Storage;
use crate::{Completed, Instant, Lane, Record, SlotId};

/// Why a record was not accepted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No slot, no bytes or no lane is left: try again after an outcome.
    Full,
    /// The producer is closed.
    Closed,
    /// The record is larger than any may be.
    TooLarge {
        /// The record's size in bytes.
        size: usize,
        /// The largest size.
        limit: usize,
    },
    /// The record counts for more than the whole pool has.
    AbovePool {
        /// What it counts for, in bytes.
        cost: usize,
        /// The pool's bytes.
        limit: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the pool is full"),
            Self::Closed => f.write_str("the producer is closed"),
            Self::TooLarge { size, limit } => {
                write!(f, "the record has {size} bytes, more than the {limit} that one may have")
            }
            Self::AbovePool { cost, limit } => {
                write!(f, "the record counts for {cost} bytes, more than the {limit} of the whole pool")
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// A record that was not accepted, back with its ticket.
#[derive(Debug)]
pub struct Refused<R, T> {
    /// Why.
    pub reason: Refusal,
    /// The record, unchanged.
    pub record: R,
    /// Its ticket.
    pub ticket: T,
}

/// Why a record cannot be taken back.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetractError {
    /// It is in the backend's hands.
    HandedOff,
    /// It has ended.
    Ended,
}

/// How much more the machine accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Records.
    pub slots: usize,
    /// Bytes that records count for.
    pub bytes: usize,
    /// Lanes that no outstanding record belongs to.
    pub lanes: usize,
}

impl Room {
    /// Nothing.
    pub const NONE: Self = Self { slots: 0, bytes: 0, lanes: 0 };
}

/// A moment between two acceptances: everything accepted before it, and nothing after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushPoint(u64);

impl FlushPoint {
    /// Whether it comes after the record of this [`Completed::sequence`].
    #[must_use]
    pub const fn covers(self, sequence: u64) -> bool {
        sequence < self.0
    }
}

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// Accepts a record, which then has exactly one outcome.
    ///
    /// # Errors
    /// [`Refused`] hands record and ticket back, with the reason; nothing else changed.
    pub fn produce(&mut self, now: Instant, record: R, ticket: T) -> Result<SlotId, Refused<R, T>> {
        let now = self.advance(now);
        let (lane, size, overhead) = (record.lane(), record.size(), record.overhead());
        let cost = size.saturating_add(overhead as usize);
        let reason = if self.closed {
            Refusal::Closed
        } else if size > self.limits.record_bytes {
            Refusal::TooLarge { size, limit: self.limits.record_bytes }
        } else if self.pool.has_free()
            && self.fits(cost)
            && let Some(at) = self.lanes.find_or_add(lane)
            && let Some(index) = self.pool.vacant()
            && let Some(row) = self.lanes.get_mut(at)
        {
            let urgent = record.is_urgent();
            let entry = Entry { lane: at, sequence: self.next_sequence, accepted_at: now, size, overhead };
            let id = self.pool.occupy(index, &mut row.records, entry, record, ticket);
            self.next_sequence += 1;
            self.buffered += 1;
            row.buffered += 1;
            row.buffered_bytes += size;
            // A lane that was ready stays it, and one whose batch is out waits whatever it holds.
            if row.place != Place::Ready && (row.place != Place::Out || row.buffered == 1) {
                self.follow(at);
            }
            if urgent {
                self.hurry(at);
            }
            return Ok(id);
        } else if cost > self.limits.pool_bytes {
            Refusal::AbovePool { cost, limit: self.limits.pool_bytes }
        } else {
            Refusal::Full
        };
        Err(Refused { reason, record, ticket })
    }

    /// Puts a lane that got one more record where it belongs, and notes the deadline of its first.
    fn follow(&mut self, lane: u32) {
        let Some(row) = self.lanes.get(lane) else { return };
        let stays = row.stays(&self.limits, self.now);
        if row.buffered == 1
            && let Some(patience) = self.patience
        {
            self.lanes.note_fresh(lane, self.now + patience);
        }
        if !stays {
            self.place(lane);
        }
    }

    /// Cuts the linger of what the lane holds.
    fn hurry(&mut self, lane: u32) {
        let below = self.next_sequence;
        if let Some(row) = self.lanes.get_mut(lane) {
            row.flush_below = below;
            self.place(lane);
        }
    }

    fn fits(&self, cost: usize) -> bool {
        self.pool.bytes.checked_add(cost).is_some_and(|bytes| bytes <= self.limits.pool_bytes)
    }

    /// Whether a record that counts for `cost` bytes would be accepted for `lane` now, apart from its own limits.
    #[must_use]
    pub fn has_room(&self, lane: Lane, cost: usize) -> bool {
        self.pool.has_free() && self.fits(cost) && self.lanes.has_room_for(lane)
    }

    /// Whether `count` more records that count for `bytes` in all fit the pool now, `lanes` of which
    /// [need a lane](Producer::needs_lane).
    #[must_use]
    pub fn has_room_for(&self, count: usize, bytes: usize, lanes: usize) -> bool {
        self.pool.in_use.saturating_add(count) <= self.pool.capacity()
            && self.fits(bytes)
            && self.lanes.spare() >= lanes
    }

    /// Whether a record for `lane` takes up one of the lanes that [`Room::lanes`] counts: no outstanding record has it.
    #[must_use]
    pub fn needs_lane(&self, lane: Lane) -> bool {
        let row = self.lanes.find(lane).and_then(|at| self.lanes.get(at));
        row.is_none_or(|row| matches!(row.place, Place::Vacant | Place::Idle))
    }

    /// What is left of slots, bytes and lanes: records within all three will be accepted, whatever their lanes are.
    #[must_use]
    pub fn room(&self) -> Room {
        if self.closed {
            return Room::NONE;
        }
        Room {
            slots: self.pool.capacity().saturating_sub(self.pool.in_use),
            bytes: self.limits.pool_bytes.saturating_sub(self.pool.bytes),
            lanes: self.lanes.spare(),
        }
    }

    /// Takes back a record that was not handed off. Its neighbours keep their order.
    ///
    /// # Errors
    /// [`RetractError`] when it is too late; the record goes its way.
    pub fn retract(&mut self, id: SlotId) -> Result<(R, Completed<T>), RetractError> {
        let (index, lane) = match self.pool.named(id).map(|(index, slot)| (index, slot.lane, slot.state)) {
            Some((index, lane, State::Buffered(_))) => (index, lane),
            Some((_, _, State::HandedOff { .. })) => return Err(RetractError::HandedOff),
            Some((_, _, State::Vacant | State::Overdue)) | None => return Err(RetractError::Ended),
        };
        let ended = self.end_buffered(index);
        self.place(lane);
        ended.ok_or(RetractError::Ended)
    }

    /// Cuts the linger of everything accepted so far. The point can be asked for with [`Producer::is_flushed`].
    pub fn flush(&mut self) -> FlushPoint {
        self.flush_below = self.next_sequence;
        while let Some(lane) = self.lanes.first_lingering() {
            self.lanes.move_to(lane, Place::Ready);
        }
        FlushPoint(self.next_sequence)
    }

    /// Cuts the linger of everything accepted so far in the lanes that `matches` names.
    pub fn flush_lanes(&mut self, matches: impl Fn(Lane) -> bool) -> FlushPoint {
        for at in 0..self.lanes.used() {
            if self.lanes.get(at).is_some_and(|row| row.place != Place::Vacant && matches(row.lane)) {
                self.hurry(at);
            }
        }
        FlushPoint(self.next_sequence)
    }

    /// Cuts the linger of everything accepted so far in one lane.
    pub fn flush_lane(&mut self, lane: Lane) -> FlushPoint {
        if let Some(at) = self.lanes.find(lane) {
            self.hurry(at);
        }
        FlushPoint(self.next_sequence)
    }

    /// Whether every record accepted before `point` has ended.
    #[must_use]
    pub fn is_flushed(&self, point: FlushPoint) -> bool {
        self.pool.get(self.pool.eldest()).is_none_or(|oldest| oldest.sequence >= point.0)
    }

    /// How many records of `lane` have not ended.
    #[must_use]
    pub fn len_of(&self, lane: Lane) -> usize {
        self.lanes.find(lane).and_then(|at| self.lanes.get(at)).map_or(0, LaneRow::len)
    }

    /// How many records of the lanes that `matches` names have not ended. Linear in the lanes.
    #[must_use]
    pub fn len_in(&self, matches: impl Fn(Lane) -> bool) -> usize {
        let rows = (0..self.lanes.used()).filter_map(|at| self.lanes.get(at));
        rows.filter(|row| row.place != Place::Vacant && matches(row.lane)).map(LaneRow::len).sum()
    }

    /// The record that was not handed off and whose ticket `matches`, for [`Producer::retract`]. Linear in the lanes and
    /// in the records that were not handed off.
    #[must_use]
    pub fn find_buffered(&self, mut matches: impl FnMut(&T) -> bool) -> Option<SlotId> {
        for at in 0..self.lanes.used() {
            let mut index = self.lanes.get(at)?.records.head;
            while let Some(slot) = self.pool.get(index) {
                if slot.ticket.as_ref().is_some_and(&mut matches) {
                    return Some(SlotId::new(index, slot.generation));
                }
                index = slot.in_lane()?.next;
            }
        }
        None
    }

    /// The ticket of a record that has not ended, to put another one in its place.
    pub fn ticket_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let (index, _) = self.pool.named(id)?;
        self.pool.get_mut(index)?.ticket.as_mut()
    }

    /// Refuses new records from now on and cuts the linger of the others.
    pub fn close(&mut self) -> FlushPoint {
        self.closed = true;
        self.flush()
    }

    /// Whether [`Producer::poll_drained`] has something to give.
    #[must_use]
    pub fn can_drain(&self) -> bool {
        self.lanes.first_ready().or_else(|| self.lanes.first_lingering()).is_some()
    }

    /// Takes back one record that was not handed off, the oldest of some lane. `None` when only lanes whose batch is out may
    /// have more: some of that batch may come back, and they are older.
    pub fn poll_drained(&mut self) -> Option<(R, Completed<T>)> {
        let lane = self.lanes.first_ready().or_else(|| self.lanes.first_lingering())?;
        self.take_first(lane)
    }

    /// Takes back the oldest record of `lane` that was not handed off, also while the lane's batch is out.
    pub fn poll_lane(&mut self, lane: Lane) -> Option<(R, Completed<T>)> {
        self.take_first(self.lanes.find(lane)?)
    }

    fn take_first(&mut self, lane: u32) -> Option<(R, Completed<T>)> {
        let taken = self.end_buffered(self.lanes.get(lane)?.records.head);
        self.place(lane);
        taken
    }

    /// Gives up one record that is handed off, as if it had been reported, for a backend that is gone. `None` when none is
    /// left among the oldest records: nothing is buffered any more then.
    pub fn poll_abandoned(&mut self) -> Option<Completed<T>> {
        self.complete(self.pool.eldest(), |_| true)
    }
}
