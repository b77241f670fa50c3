//! Which records find room, and which others make way for them.

use aioproducer_core::{AdmitDecision, Instant, Lane, Overflow, Phase, Refusal, SlotId};

use super::{Accepted, At, Model};
use crate::Item;

impl Model {
    pub(super) fn has_pool_room(&self, size: usize) -> bool {
        self.held().count() < self.slots && self.bytes() + size <= self.limits.pool_bytes
    }

    pub(crate) fn has_room(&self, lane: Lane, size: usize) -> bool {
        self.has_pool_room(size) && self.has_row(lane) && self.has_share(lane, size)
    }

    pub(super) fn has_row(&self, lane: Lane) -> bool {
        let lanes = self.lanes();
        lanes.contains(&lane) || lanes.len() < self.rows
    }

    /// Records of a lane that hold a slot, and their bytes.
    pub(super) fn held_by(&self, lane: Lane) -> (usize, usize) {
        let of_lane = self.held().filter(|entry| entry.lane == lane);
        of_lane.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.item.size))
    }

    /// Records of a lane at the backend whose report is expected.
    pub(super) fn in_flight(&self, lane: Lane) -> usize {
        let live = self.live.iter().filter(|entry| entry.lane == lane && entry.batch.is_some()).count();
        live + self.kept.iter().filter(|kept| kept.entry.lane == lane && kept.late.is_some()).count()
    }

    pub(crate) fn is_unavailable(&self, lane: Lane) -> bool {
        self.in_flight(lane) > 0 && self.windows.is_silent(lane, self.now)
    }

    pub(crate) fn shares_due(&self) -> Option<Instant> {
        self.windows.shares_due(self.now)
    }

    pub(super) fn has_share(&self, lane: Lane, size: usize) -> bool {
        if self.limits.isolation.is_none() || self.windows.known() < 2 {
            return true;
        }
        let (count, bytes) = self.held_by(lane);
        let free = (self.slots - self.held().count(), self.limits.pool_bytes - self.bytes());
        let is_less = self.is_unavailable(lane) && self.shares_due().is_some();
        let share = if is_less { (free.0 / 4, free.1 / 4) } else { (8 * free.0, 8 * free.1) };
        count == 0 || count < share.0 && bytes + size <= share.1
    }

    /// How many more records the backend may have of a lane.
    pub(super) fn credit(&self, lane: Lane) -> usize {
        let flying = self.in_flight(lane);
        let (count, bytes) = self.held_by(lane);
        self.windows.credit(lane, flying, bytes / count.max(1) * flying)
    }

    pub(crate) fn refusal(&self, item: &Item) -> Option<Refusal> {
        let limit = self.limits.record_bytes;
        if self.phase != Phase::Open {
            Some(Refusal::Closed)
        } else if item.size > limit {
            Some(Refusal::TooLarge { size: item.size, limit })
        } else {
            (!(self.has_pool_room(item.size) && self.has_row(item.lane))).then_some(Refusal::Full)
        }
    }

    pub(crate) fn accept(&mut self, id: SlotId, item: Item, since: Instant) {
        assert!(id.index() < self.slots);
        assert!(self.held().all(|entry| entry.id.index() != id.index()), "a slot given twice");
        let timed = item.own.is_some() || since < self.youngest;
        self.youngest = self.youngest.max(since);
        let lane = item.lane;
        let waits = self.waits(Lane::unplaced(lane.topic()));
        self.windows.add(&item, waits);
        self.live.push(Accepted { item, id, lane, accepted_at: since, timed, batch: None, copied: false });
        self.acquired += 1;
        self.high_water = self.high_water.max(self.held().count());
    }

    /// Checks what becomes of a record that wants to be accepted, and which others make way for it.
    pub(crate) fn admit(
        &mut self,
        step: usize,
        item: &Item,
        first: bool,
        admission: AdmitDecision,
        evicted: Vec<Item>,
    ) {
        let Item { lane, size, .. } = *item;
        let limit = self.limits.pool_bytes;
        let policy = self.limits.overflow;
        let expected = if self.phase != Phase::Open {
            AdmitDecision::Refuse(Refusal::Closed)
        } else if size > limit {
            AdmitDecision::Refuse(Refusal::AbovePool { cost: size, limit })
        } else if first && self.has_room(lane, size) {
            AdmitDecision::Enter
        } else if let Overflow::Wait | Overflow::WaitFor(_) = policy {
            AdmitDecision::Wait
        } else if policy == Overflow::Fail {
            AdmitDecision::Refuse(if self.has_share(lane, size) { Refusal::Full } else { Refusal::LaneFull })
        } else {
            let lacks_row = self.has_pool_room(size) && !self.has_row(lane);
            let evicts = policy == Overflow::DropOldest && !lacks_row;
            for old in &evicted {
                assert!(evicts && !self.has_room(lane, size), "evicted without need");
                if self.has_share(lane, size) {
                    self.check_is_next(old, "evicted");
                } else {
                    assert!(!self.is_out(lane), "its batch is out");
                    let first = self.buffered(lane).first().map(|entry| entry.item.number);
                    assert_eq!(first, Some(old.number), "a lane that has its share makes room for itself");
                }
                self.end(old.number);
                self.dropped += 1;
                self.note_places(step);
            }
            let enters = policy == Overflow::DropOldest && !lacks_row && self.has_room(lane, size);
            let has_own = !self.is_out(lane) && !self.buffered(lane).is_empty();
            let could = if self.has_share(lane, size) { !self.placed.is_empty() } else { has_own };
            assert!(enters || !evicts || !could, "it stopped too early");
            self.dropped += u64::from(!enters);
            assert_eq!(admission, if enters { AdmitDecision::Enter } else { AdmitDecision::Drop });
            return;
        };
        assert_eq!((admission, evicted), (expected, vec![]));
    }

    /// Checks that a record is the oldest of the lane that has waited longest, among those whose batch is not out. A lane
    /// that lingers may have been ready for a moment within a step, so how long it lingers is not known here.
    pub(crate) fn check_is_next(&self, item: &Item, why: &str) {
        let lane = self.lane(item.number);
        let oldest = self.buffered(lane).first().map(|entry| entry.item.number);
        assert_eq!(oldest, Some(item.number), "{why}: not the oldest of its lane");
        let place = self.placed.iter().find(|placed| placed.lane == lane).expect("its batch is out");
        for other in &self.placed {
            assert!(other.at >= place.at, "{why}: another lane comes first");
            let same = other.at == place.at && place.at != At::Lingering;
            assert!(!same || place.since <= other.since, "{why}: another lane waited longer");
        }
    }
}
