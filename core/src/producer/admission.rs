//! Records come in, and some go back to their callers.

use core::fmt;
use core::time::Duration;

use super::Producer;
use crate::lanes::Place;
use crate::pool::SlotInit;
use crate::slot::State;
use crate::storage::Storage;
use crate::timers::Timer;
use crate::{Completed, Instant, Lane, Overflow, Record, SlotId};

/// Records that make way for one, at most: neither a lock nor a thread is held for long.
const EVICTED: usize = 64;

/// Why a record was not accepted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No slot, no bytes or no lane is left: try again after an outcome.
    Full,
    /// The lane has its [share](Producer::has_share) of the pool: try again after an outcome of the lane.
    LaneFull,
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
            Self::LaneFull => f.write_str("the records of this partition have their share of the pool"),
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

/// What a record does that wants to be accepted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdmitDecision {
    /// It is produced now: there is room.
    Enter,
    /// It waits for room.
    Wait,
    /// It is refused.
    Refuse(Refusal),
    /// It is dropped: accepted in its caller's eyes, and failed at once.
    Drop,
}

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

impl<R, T> fmt::Display for Refused<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<R: fmt::Debug, T: fmt::Debug> core::error::Error for Refused<R, T> {}

/// Why it is too late to take a record back.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetractError {
    /// It was handed off to the backend.
    HandedOff,
    /// It has ended.
    Ended,
}

impl fmt::Display for RetractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandedOff => "the record was handed off to the backend",
            Self::Ended => "the record has ended",
        })
    }
}

impl core::error::Error for RetractError {}

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

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Accepts a record, which then has exactly one outcome.
    ///
    /// # Errors
    /// [`Refused`] hands record and ticket back, with the reason; nothing else changed.
    pub fn produce(&mut self, now: Instant, record: R, ticket: T) -> Result<SlotId, Refused<R, T>> {
        self.produce_since(now, now, record, ticket)
    }

    /// The same for a record that has waited for room since `since`: its timeout and its linger count from there.
    ///
    /// # Errors
    /// As [`Producer::produce`].
    #[inline]
    pub fn produce_since(
        &mut self,
        now: Instant,
        since: Instant,
        record: R,
        ticket: T,
    ) -> Result<SlotId, Refused<R, T>> {
        let asked = now;
        let now = self.advance(now);
        let (lane, size, overhead) = (record.lane(), record.size(), record.overhead());
        let is_unnamed = record.is_placed() || lane.partition().is_none();
        let cost = size.saturating_add(overhead as usize);
        let reason = if self.is_closed() {
            Refusal::Closed
        } else if size > self.limits.record_bytes {
            Refusal::TooLarge { size, limit: self.limits.record_bytes }
        } else if self.pool.has_free()
            && self.fits(cost)
            && let Some(at) = self.lanes.find_or_add(lane)
            && let Some(index) = self.pool.vacant()
            && let Some(row) = self.lanes.get_mut(at)
        {
            let (urgent, own) = (record.is_urgent(), record.timeout());
            let accepted_at = if since < asked { since } else { now };
            // The largest record has 32 bits.
            let init = SlotInit { lane: at, sequence: self.next_sequence, accepted_at, size: size as u32, overhead };
            let id = self.pool.occupy(index, &mut row.records, init, record, ticket);
            self.next_sequence += 1;
            self.buffered += 1;
            if lane.is_unplaced() {
                self.unplaced += 1;
                row.order = if row.waits() { row.order } else { self.next_sequence };
            }
            row.buffered += 1;
            row.buffered_bytes += size;
            row.bytes += cost;
            // A lane that was ready stays it, and one whose batch is out waits whatever it holds.
            if !matches!(row.place, Place::Ready | Place::Out) {
                self.follow(at, accepted_at);
            }
            if urgent {
                self.hurry(at);
            }
            if self.unplaced > 0 && is_unnamed {
                self.stay_behind(at);
            }
            if own.is_some() || accepted_at < self.youngest {
                self.note_own_timeout(index, accepted_at, own);
            } else {
                self.youngest = accepted_at;
            }
            return Ok(id);
        } else if cost > self.limits.pool_bytes {
            Refusal::AbovePool { cost, limit: self.limits.pool_bytes }
        } else {
            Refusal::Full
        };
        Err(Refused { reason, record, ticket })
    }

    /// Notes the deadline of a record that does not end in the order of acceptance: it has a timeout of its own, or has waited
    /// for room.
    #[inline(never)]
    fn note_own_timeout(&mut self, slot: u32, accepted_at: Instant, own: Option<Duration>) {
        self.youngest = self.youngest.max(accepted_at);
        if let Some(timeout) = own.into_iter().chain(self.limits.delivery_timeout).min() {
            self.timers.insert(&mut self.pool, Timer { at: accepted_at + timeout, slot });
            self.watch();
        }
    }

    /// What a record for `lane` that counts for `cost` bytes does now, by the [overflow policy](crate::Limits::overflow);
    /// `first` says that no other waits for room before it. Records that make way for it go to `evicted`, at most 64 of
    /// them; then there is room, or it is dropped.
    ///
    /// ```
    /// # use aioproducer_core::{AdmitDecision, Inline, Instant, Lane, Limits, Overflow, Producer, Record, TopicId};
    /// # struct Reading;
    /// # impl Record for Reading {
    /// #     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
    /// #     fn size(&self) -> usize { 4 }
    /// # }
    /// let limits = Limits { batch_records: 1, overflow: Overflow::DropOldest, ..Limits::default() };
    /// let mut machine: Producer<Reading, &str, Inline<1, 1>> = Producer::new(limits, Inline::new()).unwrap();
    /// machine.produce(Instant::ZERO, Reading, "old").ok().unwrap();
    ///
    /// let mut dropped = None;
    /// let admission = machine.admit(Reading.lane(), 4, true, |_, ended| dropped = Some(ended.ticket));
    /// assert_eq!((admission, dropped), (AdmitDecision::Enter, Some("old")));
    /// machine.produce(Instant::ZERO, Reading, "new").ok().unwrap();
    /// ```
    pub fn admit(
        &mut self,
        lane: Lane,
        cost: usize,
        first: bool,
        mut evicted: impl FnMut(R, Completed<T>),
    ) -> AdmitDecision {
        if self.is_closed() {
            return AdmitDecision::Refuse(Refusal::Closed);
        }
        if cost > self.limits.pool_bytes {
            return AdmitDecision::Refuse(Refusal::AbovePool { cost, limit: self.limits.pool_bytes });
        }
        if first && self.has_room(lane, cost) {
            return AdmitDecision::Enter;
        }
        let overflow = self.limits.overflow;
        match overflow {
            Overflow::Wait | Overflow::WaitFor(_) => AdmitDecision::Wait,
            Overflow::Fail if self.has_share(lane, cost) => AdmitDecision::Refuse(Refusal::Full),
            Overflow::Fail => AdmitDecision::Refuse(Refusal::LaneFull),
            Overflow::DropOldest if self.make_room(lane, cost, &mut evicted) => AdmitDecision::Enter,
            Overflow::DropOldest | Overflow::DropNewest => {
                self.dropped += 1;
                AdmitDecision::Drop
            }
        }
    }

    /// Evicts records until there is room for one more; whether there is.
    fn make_room(&mut self, lane: Lane, cost: usize, evicted: &mut impl FnMut(R, Completed<T>)) -> bool {
        // If only lanes are short, no record makes way: that need not leave one.
        let lacks_lane = self.pool.has_free() && self.fits(cost) && !self.lanes.has_room_for(lane);
        for _ in 0..EVICTED {
            if lacks_lane || self.has_room(lane, cost) {
                return !lacks_lane;
            }
            // A lane that has its share makes room for itself.
            let next = if self.has_share(lane, cost) { self.poll_drained() } else { self.drain_lane(lane) };
            let Some((record, ended)) = next else { return false };
            self.dropped += 1;
            evicted(record, ended);
        }
        self.has_room(lane, cost)
    }

    /// Puts a lane that got one more record where it belongs, and notes the end of its first one's linger.
    fn follow(&mut self, lane: u32, accepted_at: Instant) {
        let Some(row) = self.lanes.get(lane) else { return };
        if row.place == Place::Held {
            return self.guard(lane);
        }
        let stays = row.stays(&self.limits, self.now);
        // That of a record that has waited for room is not in order.
        if row.buffered == 1 && !self.limits.linger.is_zero() && accepted_at == self.now {
            self.lanes.note_fresh(lane, self.now + self.limits.linger);
        }
        if !stays {
            self.place(lane);
        }
    }

    fn fits(&self, cost: usize) -> bool {
        self.pool.bytes.checked_add(cost).is_some_and(|bytes| bytes <= self.limits.pool_bytes)
    }

    /// Whether a record that counts for `cost` bytes would be accepted for `lane` now, apart from its own limits.
    #[must_use]
    pub fn has_room(&self, lane: Lane, cost: usize) -> bool {
        self.pool.has_free() && self.fits(cost) && self.lanes.has_room_for(lane) && self.has_share(lane, cost)
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
        if self.is_closed() || self.now < self.guarded_until {
            return Room::NONE;
        }
        let (slots, bytes) = (self.pool.capacity(), self.limits.pool_bytes);
        Room {
            slots: self.within_shares(slots, self.pool.in_use),
            bytes: self.within_shares(bytes, self.pool.bytes),
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
            Some((_, _, State::Vacant | State::Late { .. } | State::Overdue)) | None => {
                return Err(RetractError::Ended);
            }
        };
        let ended = self.end_buffered(index);
        self.place(lane);
        ended.ok_or(RetractError::Ended)
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

    /// Whether [`Producer::poll_drained`] has something to give.
    #[must_use]
    pub fn can_drain(&self) -> bool {
        self.first_drained().is_some()
    }

    fn first_drained(&self) -> Option<u32> {
        let due = self.lanes.first_held().or_else(|| self.lanes.first_ready());
        due.or_else(|| self.lanes.first_lingering())
    }

    /// Takes back one record that was not handed off, the oldest of the lane that has waited longest, for credit before others.
    /// `None` when only lanes whose batch is out may have more: some of that batch may come back, and they are older.
    pub fn poll_drained(&mut self) -> Option<(R, Completed<T>)> {
        let lane = self.first_drained()?;
        self.drain_row(lane)
    }

    fn drain_lane(&mut self, lane: Lane) -> Option<(R, Completed<T>)> {
        let lane = self.lanes.find(lane)?;
        self.lanes.get(lane).filter(|row| row.place != Place::Out)?;
        self.drain_row(lane)
    }

    fn drain_row(&mut self, lane: u32) -> Option<(R, Completed<T>)> {
        let drained = self.end_buffered(self.lanes.get(lane)?.records.head);
        self.place(lane);
        drained
    }
}
