//! Isolation of lanes: what each may have of the pool, and what of it the backend may have.
//!
//! The share is a dynamic threshold (Choudhury and Hahne, 1998): a lane may have a multiple of what is free. So a lane that stands
//! still leaves room for the others, however many records it gets, and one lane alone may use the whole pool.

use core::time::Duration;

use super::Producer;
use crate::lanes::{LaneRow, Place};
use crate::slot::NIL;
use crate::storage::Storage;
use crate::{BatchLimits, Instant, Lane, Limits, Record};

/// A lane may have so many times as much as is free,
const SHARE: usize = 8;

/// and an unavailable one as much as this part of what is free.
const UNAVAILABLE: usize = 4;

/// A batch of a lane without a partition has at most this part of the pool's slots: all of it may go to one partition. So large is its
/// least window, too: if the window were smaller, one partition that does not answer could have all of it, and the others none.
const UNNAMED: usize = 16;

/// A lane without a partition gets more once after so small a part of the availability timeout: the backend prefers partitions that have
/// fewer records, and a hand-off shows it that a partition holds others up.
const EARLY: u32 = 10;

/// The bounds of windows, in records.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    /// The least one of a lane that has a partition, or of records with a key,
    least: u32,
    /// and of a lane without a partition.
    unnamed: u32,
    most: u32,
    /// The part of the pool's slots that goes to one partition at most without a look at the others.
    part: u32,
    /// When a lane whose records may go to several partitions gets more for the first time.
    early: Duration,
}

impl Windows {
    pub(super) fn new(limits: &Limits, slots: usize) -> Self {
        let records = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let least = limits.isolation.map_or(1, |isolation| isolation.window.max(1));
        let part = records(slots / UNNAMED);
        let most = records(slots.max(limits.pool_bytes >> 10));
        let early = limits.isolation.map_or(Duration::ZERO, |isolation| isolation.availability_timeout / EARLY);
        Self { least, unnamed: least.max(part), most, part, early }
    }

    /// What the backend may have of the lane at least.
    pub(super) fn least(&self, lane: Lane) -> u32 {
        if lane == Lane::new(lane.topic(), None) { self.unnamed } else { self.least }
    }
}

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// Whether the lane leaves records at the backend without a report, for
    /// [`Isolation::availability_timeout`](crate::Isolation::availability_timeout) at least.
    #[must_use]
    pub fn is_unavailable(&self, lane: Lane) -> bool {
        let row = self.lanes.find(lane).and_then(|at| self.lanes.get(at));
        row.is_some_and(|row| self.lacks_answer(row))
    }

    pub(super) fn lacks_answer(&self, row: &LaneRow) -> bool {
        self.limits.isolation.is_some_and(|isolation| row.is_unavailable(isolation.availability_timeout, self.now))
    }

    /// Whether the lane may have another record that counts for `cost` bytes, as far as the others are concerned. If lanes are
    /// [isolated](crate::Limits::isolation), and there is more than one, a lane may have
    ///
    /// - a quarter of the slots and bytes that are free, if it is [unavailable](Producer::is_unavailable) while another is not:
    ///   something was reported within the availability timeout,
    /// - else 8 times as much as is free, and its first record in any case.
    #[must_use]
    pub fn has_share(&self, lane: Lane, cost: usize) -> bool {
        if self.limits.isolation.is_none() || self.lanes.used() < 2 {
            return true;
        }
        self.lanes.find(lane).and_then(|at| self.lanes.get(at)).is_none_or(|row| self.is_within_share(row, cost))
    }

    fn is_within_share(&self, row: &LaneRow, cost: usize) -> bool {
        let (slots, bytes) = (self.pool.capacity(), self.limits.pool_bytes);
        let free = (slots.saturating_sub(self.pool.in_use), bytes.saturating_sub(self.pool.bytes));
        let has = ((row.buffered + row.handed_off) as usize, row.bytes);
        if has.0 == 0 {
            return true;
        }
        if self.lacks_answer(row) && self.shares_due().is_some() {
            return has.0 < free.0 / UNAVAILABLE && has.1.saturating_add(cost) <= free.1 / UNAVAILABLE;
        }
        has.0 < free.0.saturating_mul(SHARE) && has.1.saturating_add(cost) <= free.1.saturating_mul(SHARE)
    }

    /// When unavailable lanes get the [share](Producer::has_share) of the others, if nothing is reported before: as long as no lane
    /// is answered, there is none to keep room for. `None` if they have it.
    #[must_use]
    pub fn shares_due(&self) -> Option<Instant> {
        let at = self.reported_at + self.limits.isolation?.availability_timeout;
        (self.now < at).then_some(at)
    }

    /// How much of `all`, of which `used` is in use, any lane that is answered may have and be within its share.
    pub(super) fn within_shares(&self, all: usize, used: usize) -> usize {
        let free = all.saturating_sub(used);
        if self.limits.isolation.is_none() || self.lanes.used() < 2 {
            return free;
        }
        free.saturating_mul(SHARE).saturating_sub(used) / (SHARE + 1)
    }

    /// A lane that is held back got a record. While one has more than its share, [`Producer::room`] promises none.
    #[cold]
    pub(super) fn guard(&mut self, lane: u32) {
        if let Some(isolation) = self.limits.isolation
            && self.lanes.used() > 1
            && self.lanes.get(lane).is_some_and(|row| self.lacks_answer(row) && !self.is_within_share(row, 0))
        {
            self.guarded_until = self.now + isolation.availability_timeout;
        }
    }

    /// A record that does not name its partition came to a lane while others of its topic wait that were produced before the number
    /// of partitions was known. Some of those may have its key, so the lane stays behind them. The number is known by now, so the
    /// backend gets all of them.
    #[cold]
    pub(super) fn stay_behind(&mut self, lane: u32) {
        let Some(topic) = self.lanes.get(lane).map(|row| row.lane.topic()) else { return };
        let Some(unplaced) = self.lanes.find(Lane::unplaced(topic)) else { return };
        let Some(row) = self.lanes.get_mut(unplaced).filter(|row| row.waits() && unplaced != lane) else { return };
        row.open();
        self.place(unplaced);
        if let Some(row) = self.lanes.get_mut(lane) {
            row.order = self.next_sequence;
        }
        self.place(lane);
    }

    /// Whether the lane stays behind records of its topic that were produced before the number of partitions was known.
    #[cold]
    pub(super) fn is_behind(&self, row: &LaneRow) -> bool {
        let unplaced = self.lanes.find(Lane::unplaced(row.lane.topic())).and_then(|at| self.lanes.get(at));
        unplaced.is_some_and(|unplaced| unplaced.waits() && unplaced.order < row.order && unplaced.lane != row.lane)
    }

    /// The lanes that stay behind `unplaced` may go on, if nothing waits in it any more. Linear in the lanes that are held back.
    #[cold]
    pub(super) fn let_go_on(&mut self, unplaced: u32) {
        if self.lanes.get(unplaced).is_some_and(LaneRow::waits) {
            return;
        }
        let mut next = self.lanes.first_held();
        while let Some(row) = next.and_then(|at| self.lanes.get(at)) {
            let at = next.unwrap_or(NIL);
            next = (row.links.next != NIL).then_some(row.links.next);
            self.place(at);
        }
    }

    /// Whether the backend may have more of the lane.
    pub(super) fn has_credit(&self, row: &LaneRow) -> bool {
        self.limits.isolation.is_none_or(|_| row.credit(self.windows.least(row.lane)) > 0)
    }

    /// The largest batch that the lane's credit allows.
    pub(super) fn batch_limits(&self, row: &LaneRow) -> BatchLimits {
        let mut limits = self.limits.batch();
        if self.limits.isolation.is_some() {
            limits.records = limits.records.min(row.credit(self.windows.least(row.lane)).max(1));
            if row.lane.partition().is_none() {
                limits.records = limits.records.min(self.windows.part.max(1));
            }
        }
        limits
    }

    /// A report has come, of a record that counts for `cost` bytes, and its lane waits, or has waited since its last batch, for credit.
    #[cold]
    pub(super) fn give_credit(&mut self, lane: u32, cost: usize) {
        let (now, windows) = (self.now, self.windows);
        let Some(row) = self.lanes.get_mut(lane) else { return };
        if let Some(isolation) = self.limits.isolation {
            let again = row.was_silent(isolation.availability_timeout, now);
            row.grow(again, cost, windows.least(row.lane), windows.most);
        }
        row.reported_at = now;
        self.place(lane);
    }

    /// When a lane that is held back gets more credit by itself: others of its records may go to other partitions.
    pub(super) fn relief_due(&self, row: &LaneRow) -> Option<Instant> {
        let isolation = self.limits.isolation.filter(|_| row.lane.partition().is_none())?;
        row.relief_at(self.windows.early, isolation.availability_timeout)
    }

    pub(super) fn relieve(&mut self, lane: u32) {
        let now = self.now;
        if let Some(isolation) = self.limits.isolation
            && let Some(row) = self.lanes.get_mut(lane).filter(|row| row.place == Place::Held)
        {
            row.relieve(self.windows.least, isolation.availability_timeout, now);
        }
    }
}
