//! The lane table: a row for each (topic, partition) with records, found by hash, ordered by deadline.
//!
//! Each row also hosts a bucket of the hash and a cell of the deadline heap, so one fixed table is all there is. There are
//! as many buckets as rows were ever in use (linear hashing: each row that is added splits one bucket), so rows that are
//! not needed are never touched, and take no memory where memory is committed by the page.

mod credit;
mod deadlines;

use self::deadlines::Noted;
use crate::slot::{Links, List, NIL};
use crate::storage::Table;
use crate::{CutReason, Instant, Lane, Limits, TopicId};

/// Which list a lane is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// No lane yet.
    Vacant,
    /// No record belongs to it: its row may be given to another lane.
    Idle,
    /// No record is buffered, some are handed off.
    Quiet,
    /// Its records linger.
    Lingering,
    /// A batch could be cut, and the backend has as many of the lane's records as it may.
    Held,
    /// A batch can be cut.
    Ready,
    /// A batch is out and not yet settled.
    Out,
}

/// A row of the lane table: three cache lines, the last of which is rarely looked at.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct LaneRow {
    pub(crate) lane: Lane,
    /// The lane's buffered records in order.
    pub(crate) records: List,
    pub(crate) buffered_bytes: usize,
    /// What its records count for in the pool.
    pub(crate) bytes: usize,
    pub(crate) buffered: u32,
    pub(crate) handed_off: u32,
    /// When the last report came, zero if none did.
    pub(crate) reported_at: Instant,
    /// The number of its batch that is out, or was last.
    pub(crate) batch: u64,
    pub(crate) place: Place,
    /// Records wait, or have waited since the last batch, for credit.
    pub(crate) is_limited: bool,
    /// The records that the backend may have, as far as that was learned.
    window: u32,
    pub(crate) links: Links,
    /// Of the records that the backend has, those that have ended without a report.
    pub(crate) ended: u32,
    /// Of those, the ones whose report is overdue.
    pub(crate) lost: u32,
    /// When the backend got a record while it had none of the lane.
    pub(crate) waiting_since: Instant,
    /// Records of the batch that is out that the backend refused.
    pub(crate) refused: u32,
    /// The last of them that is still buffered.
    pub(crate) last_refused: u32,
    /// One more than a sequence: of a lane for unplaced records, that of the first since it last was empty; of others, that of the
    /// last record that stays behind those.
    pub(crate) order: u64,
    next_in_bucket: u32,
    bucket: u32,
    noted: Noted,
    /// Its records below this sequence do not linger.
    pub(crate) flush_below: u64,
    /// A cell of the deadline heap: when, and which lane.
    heap_at: Instant,
    heap_lane: u32,
    /// The root of its flush points.
    pub(crate) points: u32,
    /// The cell of its topic's flush points, `NIL` if there are none.
    pub(crate) topic: u32,
    /// The next lane with records to be purged, itself for the last, `NIL` if it is none of them.
    pub(crate) next_purged: u32,
    /// The last report, or hand-off of a first record, after which a part of the availability timeout has brought relief.
    relieved: Instant,
}

const _: () = assert!(size_of::<LaneRow>() == 192);

impl LaneRow {
    const VACANT: Self = Self {
        lane: Lane::new(TopicId(0), None),
        records: List::EMPTY,
        buffered_bytes: 0,
        bytes: 0,
        buffered: 0,
        handed_off: 0,
        reported_at: Instant::ZERO,
        place: Place::Vacant,
        is_limited: false,
        relieved: Instant::MAX,
        order: 0,
        window: 0,
        links: Links::NONE,
        ended: 0,
        lost: 0,
        waiting_since: Instant::ZERO,
        refused: 0,
        last_refused: NIL,
        batch: 0,
        flush_below: 0,
        points: NIL,
        topic: NIL,
        next_purged: NIL,
        next_in_bucket: NIL,
        noted: Noted::Nowhere,
        bucket: NIL,
        heap_at: Instant::MAX,
        heap_lane: NIL,
    };
}

impl LaneRow {
    /// Its records that have not ended.
    pub(crate) fn len(&self) -> usize {
        (self.buffered + self.handed_off - self.ended) as usize
    }

    /// Whether records of it are on this side, or on their way to the backend.
    pub(crate) fn waits(&self) -> bool {
        self.buffered > 0 || self.place == Place::Out
    }

    /// Whether its records fill a batch.
    pub(crate) const fn full(&self, limits: &Limits) -> Option<CutReason> {
        if self.buffered >= limits.batch_records {
            Some(CutReason::Count)
        } else if self.buffered_bytes >= limits.batch_bytes {
            Some(CutReason::Bytes)
        } else {
            None
        }
    }

    /// Whether the lane is where it belongs though it got one more record at `now`.
    pub(crate) fn stays(&self, limits: &Limits, now: Instant) -> bool {
        match self.place {
            Place::Ready | Place::Out | Place::Held => true,
            // No flush to ask about: it leaves no lane lingering.
            Place::Lingering => self.full(limits).is_none() && self.bound().is_some_and(|bound| now < bound),
            Place::Vacant | Place::Idle | Place::Quiet => false,
        }
    }
}

pub(crate) struct Lanes<L> {
    rows: L,
    /// One less than a power of two: the rows so far, rounded up.
    mask: u32,
    idle: List,
    lingering: List,
    ready: List,
    held: List,
    idle_len: u32,
    /// Lanes whose deadline was not corrected yet, earliest first.
    fresh: List,
    heap_len: u32,
    /// The lane asked for last: streams of records tend to stay in one.
    last: u32,
}

impl<L: Table<LaneRow>> Lanes<L> {
    pub(crate) fn new(rows: L) -> Self {
        Self {
            rows,
            mask: 0,
            idle: List::EMPTY,
            lingering: List::EMPTY,
            ready: List::EMPTY,
            held: List::EMPTY,
            fresh: List::EMPTY,
            idle_len: 0,
            heap_len: 0,
            last: NIL,
        }
    }

    /// Rows that were ever in use, by index.
    pub(crate) fn used(&self) -> u32 {
        self.rows.values().len() as u32
    }

    pub(crate) fn get(&self, index: u32) -> Option<&LaneRow> {
        self.rows.values().get(index as usize)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut LaneRow> {
        self.rows.values_mut().get_mut(index as usize)
    }

    /// Partitions of a topic have neighbouring buckets: they tend to be looked for one after the other.
    fn bucket_of(&self, lane: Lane) -> u32 {
        let bucket = lane.hash() & self.mask;
        // Buckets that are not there yet are still part of those that they will be split from.
        if bucket < self.used() { bucket } else { bucket & (self.mask >> 1) }
    }

    pub(crate) fn find(&self, lane: Lane) -> Option<u32> {
        if self.get(self.last).is_some_and(|row| row.lane == lane) {
            return Some(self.last);
        }
        let mut at = self.get(self.bucket_of(lane))?.bucket;
        while let Some(row) = self.get(at) {
            if row.lane == lane {
                return Some(at);
            }
            at = row.next_in_bucket;
        }
        None
    }

    /// Whether [`Lanes::find_or_add`] would succeed.
    pub(crate) fn has_room_for(&self, lane: Lane) -> bool {
        self.spare() > 0 || self.find(lane).is_some()
    }

    /// How many more lanes there are rows for.
    pub(crate) fn spare(&self) -> usize {
        self.rows.capacity() - self.rows.values().len() + self.idle_len as usize
    }

    pub(crate) fn find_or_add(&mut self, lane: Lane) -> Option<u32> {
        let found = match self.find(lane) {
            Some(found) => found,
            None => self.add(lane)?,
        };
        self.last = found;
        Some(found)
    }

    fn add(&mut self, lane: Lane) -> Option<u32> {
        let at = self.used();
        let at = if self.rows.push(LaneRow::VACANT).is_ok() {
            self.split(at);
            at
        } else {
            let evicted = self.idle.head;
            self.get(evicted)?;
            self.evict(evicted);
            evicted
        };
        let home = self.bucket_of(lane);
        let next_in_bucket = core::mem::replace(&mut self.get_mut(home)?.bucket, at);
        let row = self.get_mut(at)?;
        row.lane = lane;
        row.place = Place::Quiet;
        row.next_in_bucket = next_in_bucket;
        row.forget_reports();
        Some(at)
    }

    /// Fills the bucket `new`, which has just been added, from the one that it was part of.
    fn split(&mut self, new: u32) {
        if new > self.mask {
            self.mask = self.mask * 2 + 1;
        }
        let (old, mask) = (new & (self.mask >> 1), self.mask);
        let Some(row) = self.get_mut(old) else { return };
        let mut walk = core::mem::replace(&mut row.bucket, NIL);
        let (mut staying, mut moving) = (NIL, NIL);
        while let Some(row) = self.get_mut(walk) {
            let list = if row.lane.hash() & mask == new { &mut moving } else { &mut staying };
            walk = core::mem::replace(&mut row.next_in_bucket, core::mem::replace(list, walk));
        }
        for (bucket, list) in [(old, staying), (new, moving)] {
            if let Some(row) = self.get_mut(bucket) {
                row.bucket = list;
            }
        }
    }

    /// Forgets an idle lane; the one idle for longest is at the head of its list.
    fn evict(&mut self, at: u32) {
        self.move_to(at, Place::Vacant);
        self.last = NIL;
        let Some(row) = self.get(at) else { return };
        let (home, after) = (self.bucket_of(row.lane), row.next_in_bucket);
        let mut walk = self.get(home).map_or(NIL, |row| row.bucket);
        if walk == at {
            if let Some(row) = self.get_mut(home) {
                row.bucket = after;
            }
            return;
        }
        while let Some(row) = self.get_mut(walk) {
            if row.next_in_bucket == at {
                row.next_in_bucket = after;
                return;
            }
            walk = row.next_in_bucket;
        }
    }

    fn list(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Idle => Some(&mut self.idle),
            Place::Lingering => Some(&mut self.lingering),
            Place::Ready => Some(&mut self.ready),
            Place::Held => Some(&mut self.held),
            Place::Vacant | Place::Quiet | Place::Out => None,
        }
    }

    /// Moves a lane to the end of the list of `place`; it stays where it is if it is there already.
    pub(crate) fn move_to(&mut self, at: u32, place: Place) {
        let Some(row) = self.get_mut(at) else { return };
        let from = row.place;
        if from == place {
            return;
        }
        row.place = place;
        if place == Place::Idle {
            row.rest();
        }
        self.idle_len += u32::from(place == Place::Idle);
        self.idle_len -= u32::from(from == Place::Idle);
        let Some(row) = self.get_mut(at) else { return };
        let links = core::mem::replace(&mut row.links, Links::NONE);
        if self.list(from).is_some() {
            match self.get_mut(links.previous) {
                Some(previous) => previous.links.next = links.next,
                None => self.list(from).into_iter().for_each(|list| list.head = links.next),
            }
            match self.get_mut(links.next) {
                Some(next) => next.links.previous = links.previous,
                None => self.list(from).into_iter().for_each(|list| list.tail = links.previous),
            }
        }
        if let Some(list) = self.list(place) {
            let tail = core::mem::replace(&mut list.tail, at);
            if tail == NIL {
                list.head = at;
            }
            if let Some(previous) = self.get_mut(tail) {
                previous.links.next = at;
            }
            if let Some(row) = self.get_mut(at) {
                row.links.previous = tail;
            }
        }
    }

    /// The batch of the lane that has been ready for longest is out: the lane is in no list.
    pub(crate) fn hand_off_first(&mut self) {
        let Some(row) = self.get_mut(self.ready.head) else { return };
        row.place = Place::Out;
        let next = core::mem::replace(&mut row.links, Links::NONE).next;
        self.ready.head = next;
        match self.get_mut(next) {
            Some(next) => next.links.previous = NIL,
            None => self.ready.tail = NIL,
        }
    }

    /// The lane that has been ready for longest.
    pub(crate) fn first_ready(&self) -> Option<u32> {
        (self.ready.head != NIL).then_some(self.ready.head)
    }

    /// The lane that has been held back for longest.
    pub(crate) fn first_held(&self) -> Option<u32> {
        (self.held.head != NIL).then_some(self.held.head)
    }

    /// The lane that has been lingering for longest.
    pub(crate) fn first_lingering(&self) -> Option<u32> {
        (self.lingering.head != NIL).then_some(self.lingering.head)
    }
}
