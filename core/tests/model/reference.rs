//! The model: one list of records in the order of acceptance, and everything else computed from it.

use core::time::Duration;

use aioproducer_core::{CutReason, Instant, Lane, Limits, MessageBatch, Refusal, SlotId, Stats, TimeoutReason};

use crate::Item;

pub(crate) struct Entry {
    pub(crate) item: Item,
    pub(crate) id: SlotId,
    pub(crate) accepted_at: Instant,
    /// Handed off, and with which batch.
    pub(crate) batch: Option<u64>,
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

pub(crate) struct Model {
    pub(crate) limits: Limits,
    slots: usize,
    rows: usize,
    pub(crate) now: Instant,
    pub(crate) live: Vec<Entry>,
    /// Records that ended without a report, and whose slots wait for one.
    pub(crate) overdue: Vec<Entry>,
    pub(crate) out: Vec<Out>,
    /// Since which step a lane's batch could have been cut.
    ready_since: Vec<(Lane, usize)>,
    flush_below: u64,
    pub(crate) closed: bool,
    pub(crate) blocked: bool,
    pub(crate) acquired: u64,
    high_water: usize,
    batches: u64,
    pub(crate) stale: u64,
}

impl Model {
    pub(crate) fn new(limits: Limits, slots: usize, rows: usize) -> Self {
        Self {
            limits,
            slots,
            rows,
            now: Instant::ZERO,
            live: Vec::new(),
            overdue: Vec::new(),
            out: Vec::new(),
            ready_since: Vec::new(),
            flush_below: 0,
            closed: false,
            blocked: false,
            acquired: 0,
            high_water: 0,
            batches: 0,
            stale: 0,
        }
    }

    pub(crate) fn pass(&mut self, nanos: u64) {
        self.now = self.now + Duration::from_nanos(nanos);
    }

    fn held(&self) -> impl Iterator<Item = &Entry> {
        self.live.iter().chain(&self.overdue)
    }

    fn bytes(&self) -> usize {
        self.held().map(|entry| entry.item.size).sum()
    }

    pub(crate) fn handed_off(&self) -> usize {
        self.live.iter().filter(|entry| entry.batch.is_some()).count()
    }

    fn buffered(&self, lane: Lane) -> Vec<&Entry> {
        self.live.iter().filter(|entry| entry.item.lane == lane && entry.batch.is_none()).collect()
    }

    fn is_out(&self, lane: Lane) -> bool {
        self.out.iter().any(|out| out.batch.lane() == lane)
    }

    /// Lanes that hold a slot or whose batch is out.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = self.held().map(|entry| entry.item.lane).collect();
        lanes.extend(self.out.iter().map(|out| out.batch.lane()));
        lanes.sort();
        lanes.dedup();
        lanes
    }

    pub(crate) fn has_room(&self, lane: Lane, size: usize) -> bool {
        let lanes = self.lanes();
        self.held().count() < self.slots
            && self.bytes() + size <= self.limits.pool_bytes
            && (lanes.contains(&lane) || lanes.len() < self.rows)
    }

    pub(crate) fn refusal(&self, item: &Item) -> Option<Refusal> {
        let limit = self.limits.record_bytes;
        if self.closed {
            Some(Refusal::Closed)
        } else if item.size > limit {
            Some(Refusal::TooLarge { size: item.size, limit })
        } else {
            (!self.has_room(item.lane, item.size)).then_some(Refusal::Full)
        }
    }

    pub(crate) fn accept(&mut self, id: SlotId, item: Item) {
        assert!(id.index() < self.slots);
        assert!(self.held().all(|entry| entry.id.index() != id.index()), "a slot given twice");
        self.live.push(Entry { item, id, accepted_at: self.now, batch: None });
        self.acquired += 1;
        self.high_water = self.high_water.max(self.held().count());
    }

    pub(crate) fn flush(&mut self) -> u64 {
        self.flush_below = self.acquired;
        self.acquired
    }

    pub(crate) fn len_before(&self, below: u64) -> usize {
        self.live.iter().filter(|entry| entry.item.number < below).count()
    }

    pub(crate) fn len_in(&self, is_meant: impl Fn(Lane) -> bool) -> usize {
        self.live.iter().filter(|entry| is_meant(entry.item.lane)).count()
    }

    /// Ends a record. Panics if it is not held: an outcome that came twice, or to a record never accepted.
    pub(crate) fn end(&mut self, number: u64) -> Entry {
        let at = self.live.iter().position(|entry| entry.item.number == number).expect("an outcome for no record");
        let entry = self.live.remove(at);
        if entry.batch.is_some() {
            self.blocked = false;
        }
        entry
    }

    /// When the oldest record's report is overdue, if it is with the backend.
    pub(crate) fn report_due(&self) -> Option<Instant> {
        let after = self.limits.report_timeout?;
        let oldest = self.live.first()?;
        let number = oldest.batch?;
        let out = self.out.iter().any(|out| out.number == number);
        (!out).then(|| oldest.accepted_at + after)
    }

    /// Gives up the oldest record.
    pub(crate) fn give_up(&mut self) -> &Entry {
        let entry = self.live.remove(0);
        self.overdue.push(entry);
        self.blocked &= self.handed_off() > 0;
        &self.overdue[self.overdue.len() - 1]
    }

    fn due(&self, lane: Lane) -> Option<CutReason> {
        let buffered = self.buffered(lane);
        let bytes: usize = buffered.iter().map(|entry| entry.item.size).sum();
        let oldest = buffered.first()?;
        if self.is_out(lane) {
            None
        } else if self.limits.linger.is_zero() {
            Some(CutReason::Idle)
        } else if buffered.len() >= self.limits.batch_records as usize {
            Some(CutReason::Count)
        } else if bytes >= self.limits.batch_bytes {
            Some(CutReason::Bytes)
        } else if oldest.item.number < self.flush_below {
            Some(CutReason::Flush)
        } else {
            (oldest.accepted_at + self.limits.linger <= self.now).then_some(CutReason::Linger)
        }
    }

    /// Notes which lanes became due in this step and which are no longer.
    pub(crate) fn note_ready(&mut self, step: usize) {
        let due: Vec<Lane> = self.lanes().into_iter().filter(|lane| self.due(*lane).is_some()).collect();
        self.ready_since.retain(|(lane, _)| due.contains(lane));
        for lane in due {
            if !self.ready_since.iter().any(|(ready, _)| *ready == lane) {
                self.ready_since.push((lane, step));
            }
        }
    }

    pub(crate) fn has_batch(&self) -> bool {
        !self.blocked && !self.ready_since.is_empty()
    }

    /// Checks a cut batch against what should have been cut, and hands it off.
    pub(crate) fn cut(&mut self, batch: MessageBatch, records: Vec<(SlotId, Item)>) {
        assert!(!self.blocked, "a batch while the backend's queue is full");
        let lane = batch.lane();
        let since = |lane: Lane| self.ready_since.iter().find(|ready| ready.0 == lane).map(|ready| ready.1);
        let mine = since(lane).expect("a batch of a lane that is not due");
        assert!(self.ready_since.iter().all(|(_, other)| mine <= *other), "another lane was ready before");
        assert_eq!(Some(batch.reason()), self.due(lane));

        let (mut expected, mut bytes) = (Vec::new(), 0);
        for entry in self.buffered(lane) {
            let fits = expected.is_empty() || bytes + entry.item.size <= self.limits.batch_bytes;
            if !fits || expected.len() == self.limits.batch_records as usize {
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
        for entry in &mut self.live {
            if records.iter().any(|(id, _)| *id == entry.id) {
                entry.batch = Some(number);
            }
        }
        self.out.push(Out { number, batch, members: records, refused: None, alone });
        self.ready_since.retain(|(ready, _)| *ready != lane);
    }

    /// The record that is hopeless, if one is.
    pub(crate) fn settle(&mut self, at: usize) -> Option<Item> {
        let out = self.out.remove(at);
        let refused = out.refused.unwrap_or(0);
        let first = self.live.iter().find(|entry| entry.id == out.members[0].0);
        let vain = out.alone && self.handed_off() == 0 && refused == out.members.len();
        self.blocked = (self.blocked || refused > 0) && self.handed_off() > 0;
        let hopeless = first.filter(|_| vain).map(|entry| entry.item.clone())?;
        self.end(hopeless.number);
        Some(hopeless)
    }

    /// All reasons to wake at the earliest deadline: two lanes may share it.
    pub(crate) fn timeout(&self) -> Option<(Instant, Vec<TimeoutReason>)> {
        let of_lane = |lane: Lane| {
            let oldest = self.buffered(lane).first()?.accepted_at;
            let lingers = !self.is_out(lane) && self.due(lane).is_none();
            let linger = lingers.then(|| (oldest + self.limits.linger, TimeoutReason::Linger));
            let expiry = self.limits.delivery_timeout.map(|after| (oldest + after, TimeoutReason::Delivery));
            linger.into_iter().chain(expiry).min_by_key(|(at, _)| *at)
        };
        let report = self.report_due().map(|at| (at, TimeoutReason::Report));
        let timeouts: Vec<_> = self.lanes().into_iter().filter_map(of_lane).chain(report).collect();
        let earliest = timeouts.iter().map(|(at, _)| *at).min()?;
        Some((earliest, timeouts.into_iter().filter(|(at, _)| *at == earliest).map(|(_, reason)| reason).collect()))
    }

    /// Numbers of the records that have waited too long.
    pub(crate) fn expired(&self) -> Vec<u64> {
        let Some(after) = self.limits.delivery_timeout else { return Vec::new() };
        let late = |entry: &&Entry| entry.batch.is_none() && entry.accepted_at + after <= self.now;
        self.live.iter().filter(late).map(|entry| entry.item.number).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            capacity: self.slots,
            in_use: self.held().count(),
            high_water: self.high_water,
            bytes: self.bytes(),
            buffered: self.live.len() - self.handed_off(),
            handed_off: self.handed_off(),
            overdue: self.overdue.len(),
            acquired: self.acquired,
            batches: self.batches,
            stale_reports: self.stale,
        }
    }
}
