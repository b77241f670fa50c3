//! The model: one list of records in the order of acceptance, and everything else computed from it.

mod due;
mod ends;
mod room;

use core::time::Duration;

use aioproducer_core::{
    Action, FlushGroup, FlushPoint, Instant, Lane, LaneStats, Limits, MessageBatch, Phase, PurgeScope, SlotId, Stats,
};

use crate::lanes::Windows;
use crate::{Item, is_in};

pub(crate) struct Accepted {
    pub(crate) item: Item,
    pub(crate) id: SlotId,
    /// Where it is: with the unplaced ones of its topic, or in its own lane.
    pub(crate) lane: Lane,
    /// When it was produced.
    pub(crate) accepted_at: Instant,
    /// It does not end in the order of acceptance.
    pub(crate) timed: bool,
    /// Handed off, and with which batch.
    pub(crate) batch: Option<u64>,
    /// The machine has a copy of it.
    pub(crate) copied: bool,
}

/// A record that ended while the backend has it.
pub(crate) struct Kept {
    pub(crate) entry: Accepted,
    /// Since when, if not yet for too long.
    pub(crate) late: Option<Instant>,
}

/// A batch that is not settled.
pub(crate) struct Out {
    pub(crate) number: u64,
    pub(crate) batch: MessageBatch,
    pub(crate) members: Vec<(SlotId, Item)>,
    pub(crate) refused: Option<usize>,
    /// Nothing else was handed off when it was cut or since.
    alone: bool,
}

/// A flush, and the groups in which it was not yet over when it was last looked at.
pub(crate) struct Flush {
    pub(crate) point: FlushPoint,
    pub(crate) waits: Vec<FlushGroup>,
}

/// Where a lane with records is whose batch is not out, in the order in which records make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Held,
    Ready,
    Lingering,
}

/// Since which step a lane is where it is.
struct Placed {
    lane: Lane,
    at: At,
    since: usize,
}

pub(crate) struct Model {
    pub(crate) limits: Limits,
    slots: usize,
    rows: usize,
    pub(crate) now: Instant,
    youngest: Instant,
    pub(crate) live: Vec<Accepted>,
    /// Late ones in the order of their ends.
    pub(crate) kept: Vec<Kept>,
    pub(crate) out: Vec<Out>,
    placed: Vec<Placed>,
    pub(crate) windows: Windows,
    flush_below: Vec<(FlushGroup, u64)>,
    pub(crate) flushes: Vec<Flush>,
    pub(crate) phase: Phase,
    pub(crate) backend_gone: bool,
    pub(crate) blocked: bool,
    pub(crate) connected: bool,
    /// What is given up by purges whose buffered records have not all come back.
    asked: Option<PurgeScope>,
    /// What the backend is to purge, and after which batches; and up to which record.
    waiting: Option<(PurgeScope, Vec<u64>, u64)>,
    /// The batches that were out at the last purge.
    purge_after: Vec<u64>,
    /// Records accepted before this one may be purged before they are sent.
    purge_below: u64,
    purging: Vec<u64>,
    /// Those that came back from a batch that an earlier purge waits for.
    came_back: Vec<u64>,
    actions: Vec<Action>,
    pub(crate) acquired: u64,
    high_water: usize,
    batches: u64,
    dropped: u64,
    pub(crate) stale: u64,
}

impl Model {
    pub(crate) fn new(limits: Limits, slots: usize, rows: usize) -> Self {
        Self {
            limits,
            slots,
            rows,
            now: Instant::ZERO,
            youngest: Instant::ZERO,
            live: Vec::new(),
            kept: Vec::new(),
            out: Vec::new(),
            placed: Vec::new(),
            windows: Windows::new(&limits, slots, rows),
            flush_below: Vec::new(),
            flushes: Vec::new(),
            phase: Phase::Open,
            backend_gone: false,
            blocked: false,
            connected: true,
            asked: None,
            waiting: None,
            purge_after: Vec::new(),
            purge_below: 0,
            purging: Vec::new(),
            came_back: Vec::new(),
            actions: Vec::new(),
            acquired: 0,
            high_water: 0,
            batches: 0,
            dropped: 0,
            stale: 0,
        }
    }

    pub(crate) fn pass(&mut self, nanos: u64) {
        self.now = self.now + Duration::from_nanos(nanos);
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = &Accepted> {
        self.live.iter().chain(self.kept.iter().map(|kept| &kept.entry))
    }

    fn bytes(&self) -> usize {
        self.held().map(|entry| entry.item.size).sum()
    }

    fn late(&self) -> usize {
        self.kept.iter().filter(|kept| kept.late.is_some()).count()
    }

    fn buffered_len(&self) -> usize {
        self.live.iter().filter(|entry| entry.batch.is_none()).count()
    }

    /// What the backend has, but for overdue records.
    pub(crate) fn handed_off(&self) -> usize {
        self.live.len() - self.buffered_len() + self.late()
    }

    pub(crate) fn buffered(&self, lane: Lane) -> Vec<&Accepted> {
        self.live.iter().filter(|entry| entry.lane == lane && entry.batch.is_none()).collect()
    }

    pub(crate) fn is_out(&self, lane: Lane) -> bool {
        self.out.iter().any(|out| out.batch.lane() == lane)
    }

    /// The lane that a record is in.
    pub(crate) fn lane(&self, number: u64) -> Lane {
        self.live.iter().find(|entry| entry.item.number == number).expect("it lives").lane
    }

    /// Lanes that hold a slot or whose batch is out.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = self.held().map(|entry| entry.lane).collect();
        lanes.extend(self.out.iter().map(|out| out.batch.lane()));
        lanes.sort();
        lanes.dedup();
        lanes
    }

    pub(crate) fn flush(&mut self, point: FlushPoint) {
        assert_eq!(point.position(), self.acquired);
        let groups = point.scope().groups().into_iter().flatten();
        let waits: Vec<_> = groups.clone().filter(|group| self.left_in(*group, self.acquired) > 0).collect();
        self.flush_below.extend(groups.map(|group| (group, self.acquired)));
        if !waits.is_empty() && matches!(self.phase, Phase::Open | Phase::Closing(_)) {
            self.ask(Action::Flush);
        }
        self.flushes.push(Flush { point, waits });
    }

    pub(crate) fn left_in(&self, group: FlushGroup, below: u64) -> usize {
        self.live.iter().filter(|entry| entry.item.number < below && is_in(group, entry.lane)).count()
    }

    pub(crate) fn len_in(&self, is_meant: impl Fn(Lane) -> bool) -> usize {
        self.live.iter().filter(|entry| is_meant(entry.lane)).count()
    }

    /// Ends a record. Panics if it is not held: an outcome that came twice, or to a record never accepted.
    pub(crate) fn end(&mut self, number: u64) -> Accepted {
        let at = self.live.iter().position(|entry| entry.item.number == number).expect("an outcome for no record");
        let entry = self.live.remove(at);
        if entry.batch.is_some() {
            self.blocked = false;
        } else {
            self.rest();
        }
        entry
    }

    fn rest(&mut self) {
        self.windows.rest(&self.lanes());
    }

    /// The backend has let go of a record.
    pub(crate) fn reported(&mut self, entry: &Accepted) {
        self.windows.reported(entry.lane, entry.item.size, self.now);
        self.rest();
    }

    /// Ends a record that the backend has, as its time has passed.
    pub(crate) fn end_late(&mut self, number: u64) -> &Accepted {
        let at = self.live.iter().position(|entry| entry.item.number == number).expect("an outcome for no record");
        let entry = self.live.remove(at);
        self.kept.push(Kept { entry, late: Some(self.now) });
        &self.kept[self.kept.len() - 1].entry
    }

    /// Checks a cut batch against what should have been cut, and hands it off.
    pub(crate) fn cut(&mut self, batch: MessageBatch, records: Vec<(SlotId, Item)>, wanted: &[bool]) {
        assert!(!self.blocked, "a batch while the backend's queue is full");
        assert!(self.connected, "a batch without a connection");
        let lane = batch.lane();
        let place = self.placed.iter().find(|placed| placed.lane == lane && placed.at == At::Ready);
        let mine = place.expect("a batch of a lane that is not due").since;
        let earlier = |other: &Placed| other.at == At::Ready && other.since < mine;
        assert!(!self.placed.iter().any(earlier), "another lane was ready before");
        assert_eq!(Some(batch.reason()), self.due(lane));

        let (mut expected, mut bytes) = (Vec::new(), 0);
        let is_unnamed = self.limits.isolation.is_some() && lane.partition().is_none();
        let most = if is_unnamed { (self.slots / 16).max(1) } else { usize::MAX };
        for entry in self.buffered(lane) {
            let fits = expected.is_empty() || bytes + entry.item.size <= self.limits.batch_bytes;
            if !fits || expected.len() == self.credit(lane).min(self.limits.batch_records as usize).min(most) {
                break;
            }
            bytes += entry.item.size;
            expected.push((entry.id, entry.item.clone()));
        }
        assert_eq!(records, expected, "not the lane's oldest records in order");
        assert_eq!((batch.len(), batch.bytes()), (expected.len(), bytes));

        let alone = self.handed_off() == 0;
        self.out.iter_mut().for_each(|out| out.alone = false);
        self.batches += 1;
        let number = self.batches;
        let has_slots = self.held().any(|entry| entry.lane == lane && entry.batch.is_some());
        let delivery_timeout = self.limits.delivery_timeout;
        let all_wanted = wanted.iter().all(|wanted| *wanted);
        for entry in &mut self.live {
            if let Some(at) = records.iter().position(|(id, _)| *id == entry.id) {
                let timed = entry.timed && (entry.item.own.is_some() || delivery_timeout.is_some());
                assert!(wanted[at] || !timed, "no copy is wanted of a record with a timeout of its own");
                assert!(timed || !wanted[at] || all_wanted && delivery_timeout.is_some(), "a copy without need");
                entry.batch = Some(number);
                entry.copied = entry.item.has_copy() && wanted[at];
            }
        }
        let flying = self.in_flight(lane);
        if !self.buffered(lane).is_empty() && self.credit(lane) == 0 {
            self.windows.limit(lane);
        } else {
            self.windows.unlimit(lane);
        }
        self.windows.handed_off(lane, !has_slots, flying, self.now);
        self.out.push(Out { number, batch, members: records, refused: None, alone });
        self.placed.retain(|placed| placed.lane != lane);
    }

    /// The record that is hopeless, if one is.
    pub(crate) fn settle(&mut self, at: usize) -> Option<Item> {
        let out = self.out.remove(at);
        self.rest();
        let refused = out.refused.unwrap_or(0);
        let first = self.live.iter().find(|entry| entry.id == out.members[0].0);
        let vain = out.alone && self.handed_off() == 0 && refused == out.members.len();
        self.blocked = (self.blocked || refused > 0) && self.handed_off() > 0;
        let hopeless = first.filter(|_| vain).map(|entry| entry.item.clone())?;
        self.end(hopeless.number);
        Some(hopeless)
    }

    /// What the lanes have that hold a slot, by lane; and the oldest record.
    pub(crate) fn lane_stats(&self) -> (Vec<LaneStats>, Option<Instant>) {
        let lanes = self.lanes().into_iter().filter(|lane| self.held_by(*lane).0 > 0);
        let stats = lanes.map(|lane| {
            let (buffered, (held, bytes)) = (self.buffered(lane), self.held_by(lane));
            LaneStats {
                lane,
                buffered: buffered.len(),
                oldest: buffered.first().map(|entry| entry.accepted_at),
                handed_off: held - buffered.len(),
                bytes,
                is_unavailable: self.is_unavailable(lane),
            }
        });
        (stats.collect(), self.live.first().map(|entry| entry.accepted_at))
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            capacity: self.slots,
            in_use: self.held().count(),
            high_water: self.high_water,
            bytes: self.bytes(),
            buffered: self.buffered_len(),
            handed_off: self.handed_off(),
            late: self.late(),
            overdue: self.kept.len() - self.late(),
            acquired: self.acquired,
            batches: self.batches,
            dropped: self.dropped,
            stale_reports: self.stale,
        }
    }
}
