//! The model: one list of records in the order of acceptance, and everything else computed from it.

use core::time::Duration;

use aioproducer_core::{
    Action, AdmitDecision, CutReason, FlushGroup, FlushPoint, Instant, Lane, LaneStats, Limits, MessageBatch, Overflow,
    Phase, PurgeScope, Refusal, SlotId, Stats, TimeoutReason,
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

    fn has_pool_room(&self, size: usize) -> bool {
        self.held().count() < self.slots && self.bytes() + size <= self.limits.pool_bytes
    }

    pub(crate) fn has_room(&self, lane: Lane, size: usize) -> bool {
        self.has_pool_room(size) && self.has_row(lane) && self.has_share(lane, size)
    }

    fn has_row(&self, lane: Lane) -> bool {
        let lanes = self.lanes();
        lanes.contains(&lane) || lanes.len() < self.rows
    }

    /// Records of a lane that hold a slot, and their bytes.
    fn held_by(&self, lane: Lane) -> (usize, usize) {
        let of_lane = self.held().filter(|entry| entry.lane == lane);
        of_lane.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.item.size))
    }

    /// Records of a lane at the backend whose report is expected.
    fn in_flight(&self, lane: Lane) -> usize {
        let live = self.live.iter().filter(|entry| entry.lane == lane && entry.batch.is_some()).count();
        live + self.kept.iter().filter(|kept| kept.entry.lane == lane && kept.late.is_some()).count()
    }

    pub(crate) fn is_unavailable(&self, lane: Lane) -> bool {
        self.in_flight(lane) > 0 && self.windows.is_silent(lane, self.now)
    }

    pub(crate) fn shares_due(&self) -> Option<Instant> {
        self.windows.shares_due(self.now)
    }

    fn has_share(&self, lane: Lane, size: usize) -> bool {
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
    fn credit(&self, lane: Lane) -> usize {
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

    fn waits(&self, lane: Lane) -> bool {
        self.is_out(lane) || !self.buffered(lane).is_empty()
    }

    /// Whether the lane stays behind records that were produced before the number of partitions was known.
    fn is_behind(&self, lane: Lane) -> bool {
        self.waits(Lane::unplaced(lane.topic())) && self.windows.is_behind(lane)
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

    fn ask(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    pub(crate) fn purge(&mut self, scope: PurgeScope) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        if scope.queued() {
            let buffered = self.live.iter().filter(|entry| entry.batch.is_none());
            self.purging = buffered.map(|entry| entry.item.number).collect();
            self.purge_below = self.acquired;
        }
        self.asked = Some(self.asked.map_or(scope, |before| before.and(scope)));
        self.purge_after = self.out.iter().map(|out| out.number).collect();
    }

    /// A record came back from a batch that is out.
    pub(crate) fn purge_refused(&mut self, number: u64, batch: u64) {
        if let Some((scope, batches, below)) = &self.waiting
            && scope.queued()
            && batches.contains(&batch)
            && number < *below
        {
            self.came_back.push(number);
        }
        let scopes = self.asked.into_iter().chain(self.waiting.as_ref().map(|(scope, ..)| *scope));
        let is_meant = self.purge_after.contains(&batch) && number < self.purge_below;
        if is_meant && scopes.into_iter().any(PurgeScope::queued) {
            self.purging.push(number);
        }
    }

    /// Stops what has not given back all its records.
    pub(crate) fn stop_purge(&mut self) {
        if self.asked.is_some() && !self.to_purge().is_empty() {
            self.asked = None;
            self.purging = self.came_back.clone();
            (self.purge_after, self.purge_below) =
                self.waiting.as_ref().map_or_else(Default::default, |(_, batches, below)| (batches.clone(), *below));
        }
    }

    /// Buffered records that are to be purged.
    pub(crate) fn to_purge(&self) -> Vec<u64> {
        let is_meant = |entry: &&Accepted| entry.batch.is_none() && self.purging.contains(&entry.item.number);
        self.live.iter().filter(is_meant).map(|entry| entry.item.number).collect()
    }

    pub(crate) fn close(&mut self, within: Duration) {
        let deadline = self.now + within;
        self.phase = match self.phase {
            Phase::Open => Phase::Closing(deadline),
            Phase::Closing(before) => Phase::Closing(before.min(deadline)),
            ended => ended,
        };
        if let Phase::Closing(_) = self.phase {
            self.ask(Action::Flush);
        }
    }

    pub(crate) fn end_all(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Closing(_)) {
            self.phase = Phase::Ending;
            self.flush_below.push((FlushGroup::All, self.acquired));
            (self.asked, self.waiting, self.purge_below) = (None, None, 0);
            self.purging.clear();
            self.came_back.clear();
            self.actions = vec![Action::ShutDown];
        }
    }

    pub(crate) fn handle_backend_ended(&mut self) -> Vec<Out> {
        self.end_all();
        self.backend_gone = true;
        self.blocked = false;
        std::mem::take(&mut self.out)
    }

    /// What the backend is to do next.
    pub(crate) fn action(&mut self, settled: bool) -> Option<Action> {
        if let Phase::Closing(deadline) = self.phase
            && (deadline <= self.now || settled && self.live.is_empty())
        {
            self.end_all();
        }
        if self.to_purge().is_empty()
            && let Some(asked) = self.asked.take()
        {
            let scope = self.waiting.take().map_or(asked, |(scope, ..)| scope.and(asked));
            self.waiting = Some((scope, self.purge_after.clone(), self.purge_below));
        }
        let is_settled = |out: &Out| !self.purge_after.contains(&out.number);
        if self.to_purge().is_empty() && self.out.iter().all(is_settled) {
            let due = self.waiting.take().map(|(scope, ..)| scope);
            if let Some(scope) = due {
                return Some(Action::Purge(scope));
            }
        }
        if self.actions.is_empty() { None } else { Some(self.actions.remove(0)) }
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

    fn is_settled(&self, number: u64) -> bool {
        self.out.iter().all(|out| out.number != number)
    }

    /// When the report of the record that is late for longest is overdue.
    fn late_due(&self) -> Option<Instant> {
        let after = self.limits.report_timeout?;
        let first = self.kept.iter().find(|kept| kept.late.is_some())?;
        self.is_settled(first.entry.batch?).then(|| first.late.expect("late") + after)
    }

    /// Counts late records as overdue whose time has come.
    pub(crate) fn give_up_late(&mut self) {
        while self.late_due().is_some_and(|at| at <= self.now) {
            let first = self.kept.iter_mut().find(|kept| kept.late.is_some()).expect("due");
            first.late = None;
            self.blocked &= self.handed_off() > 0;
        }
    }

    fn due(&self, lane: Lane) -> Option<CutReason> {
        let buffered = self.buffered(lane);
        let bytes: usize = buffered.iter().map(|entry| entry.item.size).sum();
        let oldest = buffered.first()?;
        let flushed = |(group, below): &(FlushGroup, u64)| oldest.item.number < *below && is_in(*group, lane);
        if self.is_out(lane) {
            None
        } else if self.limits.linger.is_zero() {
            Some(CutReason::Idle)
        } else if buffered.len() >= self.limits.batch_records as usize {
            Some(CutReason::Count)
        } else if bytes >= self.limits.batch_bytes {
            Some(CutReason::Bytes)
        } else if self.flush_below.iter().any(flushed) {
            Some(CutReason::Flush)
        } else {
            (oldest.accepted_at + self.limits.linger <= self.now).then_some(CutReason::Linger)
        }
    }

    fn place(&self, lane: Lane) -> At {
        match self.due(lane) {
            None => At::Lingering,
            Some(_) if self.is_behind(lane) => At::Held,
            Some(_) if self.credit(lane) == 0 => At::Held,
            Some(_) => At::Ready,
        }
    }

    /// Notes where lanes are after this step.
    pub(crate) fn note_places(&mut self, step: usize) {
        let waiting = |lane: &Lane| !self.is_out(*lane) && !self.buffered(*lane).is_empty();
        let all = self.lanes();
        let places: Vec<(Lane, At)> =
            all.iter().copied().filter(waiting).map(|lane| (lane, self.place(lane))).collect();
        self.windows.rest(&all);
        self.placed.retain(|placed| places.contains(&(placed.lane, placed.at)));
        for (lane, at) in places {
            if at == At::Held {
                self.windows.limit(lane);
            }
            if !self.placed.iter().any(|placed| placed.lane == lane) {
                self.placed.push(Placed { lane, at, since: step });
            }
        }
    }

    /// A lane without a partition is held back for so long that the backend may send its records elsewhere.
    pub(crate) fn relieve(&mut self, step: usize) {
        self.note_places(step);
        while let Some(lane) = self.placed.iter().map(|placed| placed.lane).find(|lane| self.is_relieved(*lane)) {
            self.windows.relieve(lane, self.in_flight(lane), self.now);
            self.note_places(step);
        }
    }

    fn is_relieved(&self, lane: Lane) -> bool {
        self.relief_due(lane).is_some_and(|at| at <= self.now)
    }

    fn relief_due(&self, lane: Lane) -> Option<Instant> {
        let is_held = self.placed.iter().any(|placed| placed.lane == lane && placed.at == At::Held);
        let flies = is_held && lane.partition().is_none() && self.in_flight(lane) > 0;
        flies.then(|| self.windows.relief_at(lane)).flatten()
    }

    pub(crate) fn has_batch(&self) -> bool {
        let open = matches!(self.phase, Phase::Open | Phase::Closing(_));
        open && self.connected && !self.blocked && self.placed.iter().any(|placed| placed.at == At::Ready)
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

    /// All reasons to wake at the earliest deadline: two may share it.
    pub(crate) fn timeout(&self) -> Option<(Instant, Vec<TimeoutReason>)> {
        let of_lane = |lane: Lane| {
            let oldest = self.buffered(lane).first()?.accepted_at;
            let lingers = !self.is_out(lane) && self.due(lane).is_none();
            let linger = lingers.then(|| (oldest + self.limits.linger, TimeoutReason::Linger));
            linger.or_else(|| self.relief_due(lane).map(|at| (at, TimeoutReason::Credit)))
        };
        let reports = self.late_due().into_iter().map(|at| (at, TimeoutReason::Report));
        let own = self.live.iter().filter_map(|entry| {
            let reason = if entry.timed { TimeoutReason::Record } else { TimeoutReason::Delivery };
            self.deadline(entry).map(|at| (at, reason))
        });
        let oldest = self.live.first().and_then(|entry| Some(entry.accepted_at + self.limits.delivery_timeout?));
        let own = own.chain(oldest.map(|at| (at, TimeoutReason::Delivery)));
        let close = if let Phase::Closing(at) = self.phase { Some((at, TimeoutReason::Close)) } else { None };
        let lanes = self.lanes().into_iter().filter_map(of_lane);
        let timeouts: Vec<_> = lanes.chain(reports).chain(own).chain(close).collect();
        let earliest = timeouts.iter().map(|(at, _)| *at).min()?;
        Some((earliest, timeouts.into_iter().filter(|(at, _)| *at == earliest).map(|(_, reason)| reason).collect()))
    }

    /// When a record's time is over, wherever it is.
    pub(crate) fn deadline(&self, entry: &Accepted) -> Option<Instant> {
        let after = self.limits.delivery_timeout.into_iter().chain(entry.item.own).min();
        after.map(|after| entry.accepted_at + after)
    }

    /// Numbers of the records whose time is over.
    pub(crate) fn expired(&self) -> Vec<u64> {
        let late = |entry: &&Accepted| self.deadline(entry).is_some_and(|at| at <= self.now);
        self.live.iter().filter(late).map(|entry| entry.item.number).collect()
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
