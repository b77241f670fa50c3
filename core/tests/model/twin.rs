//! Two machines on different storage, which must give the same answers.

use core::fmt::Debug;
use core::time::Duration;

use aioproducer_core::{
    Action, AdmitDecision, Completed, FlushPoint, FlushScope, Flushed, Heap, Inline, Instant, Lane, LaneStats, Limits,
    MessageBatch, Phase, Producer, PurgeScope, Refusal, RetractError, SlotId, Stats, Storage, Timeout, TopicId,
    Unreported,
};

use crate::Item;

/// A batch and its records, and of which of them a copy was wanted.
pub(crate) type HandOff = (MessageBatch, Vec<(SlotId, Item)>, Vec<bool>);

/// What ended without a report: its account, whether it was handed off, and whether the record came with it.
pub(crate) type Ended = (Completed<u64>, bool, Option<Item>);

pub(crate) struct Twin<const SLOTS: usize, const LANES: usize> {
    inline: Producer<Item, u64, Inline<SLOTS, LANES>>,
    heap: Producer<Item, u64, Heap>,
}

fn same<A: PartialEq + Debug>(inline: A, heap: A) -> A {
    assert_eq!(inline, heap, "the storages disagree");
    inline
}

/// Record and account belong together.
fn pair((item, ended): (Item, Completed<u64>)) -> Item {
    assert_eq!((item.number, item.number), (ended.ticket, ended.sequence));
    assert_eq!(item.lane, ended.lane);
    item
}

fn unreported(Unreported { record, ended, handed_off }: Unreported<Item, u64>) -> Ended {
    assert_eq!(ended.ticket, ended.sequence);
    assert!(handed_off || record.is_some(), "a record is lost");
    if let Some(record) = &record {
        pair((record.clone(), ended));
    }
    (ended, handed_off, record)
}

fn produce<S: Storage>(
    machine: &mut Producer<Item, u64, S>,
    now: Instant,
    since: Instant,
    item: &Item,
) -> Result<SlotId, Refusal> {
    machine.produce_since(now, since, item.clone(), item.number).map_err(|refused| {
        assert_eq!((&refused.record, refused.ticket), (item, item.number));
        refused.reason
    })
}

fn admit<S: Storage>(
    machine: &mut Producer<Item, u64, S>,
    lane: Lane,
    size: usize,
    first: bool,
) -> (AdmitDecision, Vec<Item>) {
    let mut evicted = Vec::new();
    let admission = machine.admit(lane, size, first, |item, ended| evicted.push(pair((item, ended))));
    (admission, evicted)
}

/// Of records with an even number the machine gets a copy, if it wants one.
fn poll_batch<S: Storage>(machine: &mut Producer<Item, u64, S>, now: Instant) -> Option<HandOff> {
    let (mut records, mut wanted) = (Vec::new(), Vec::new());
    let batch = machine.poll_batch(now, |id, item, wants_copy| {
        let copy = item.has_copy().then(|| item.clone());
        records.push((id, item));
        wanted.push(wants_copy);
        copy
    });
    assert!(batch.is_some() || records.is_empty(), "records without a batch");
    batch.map(|batch| (batch, records, wanted))
}

impl<const SLOTS: usize, const LANES: usize> Twin<SLOTS, LANES> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            inline: Producer::new(limits, Inline::new()).expect("limits"),
            heap: Producer::new(limits, Heap { slots: SLOTS, lanes: LANES }).expect("limits"),
        }
    }

    pub(crate) fn produce(&mut self, now: Instant, since: Instant, item: &Item) -> Result<SlotId, Refusal> {
        same(produce(&mut self.inline, now, since, item), produce(&mut self.heap, now, since, item))
    }

    pub(crate) fn admit(&mut self, lane: Lane, size: usize, first: bool) -> (AdmitDecision, Vec<Item>) {
        same(admit(&mut self.inline, lane, size, first), admit(&mut self.heap, lane, size, first))
    }

    pub(crate) fn has_room(&self, lane: Lane, size: usize) -> bool {
        same(self.inline.has_room(lane, size), self.heap.has_room(lane, size))
    }

    pub(crate) fn shares_due(&self) -> Option<Instant> {
        same(self.inline.shares_due(), self.heap.shares_due())
    }

    pub(crate) fn is_unavailable(&self, lane: Lane) -> bool {
        same(self.inline.is_unavailable(lane), self.heap.is_unavailable(lane))
    }

    pub(crate) fn retract(&mut self, id: SlotId) -> Result<Item, RetractError> {
        same(self.inline.retract(id).map(pair), self.heap.retract(id).map(pair))
    }

    pub(crate) fn flush(&mut self, scope: FlushScope) -> FlushPoint {
        same(self.inline.flush(scope), self.heap.flush(scope))
    }

    pub(crate) fn left_of(&self, point: FlushPoint) -> usize {
        let left = same(self.inline.left_of(point), self.heap.left_of(point));
        assert_eq!(self.inline.is_flushed(point), left == 0);
        left
    }

    pub(crate) fn poll_flushed(&mut self) -> Option<Flushed> {
        same(self.inline.poll_flushed(), self.heap.poll_flushed())
    }

    pub(crate) fn purge(&mut self, scope: PurgeScope) {
        self.inline.purge(scope);
        self.heap.purge(scope);
    }

    pub(crate) fn stop_purge(&mut self) {
        self.inline.stop_purge();
        self.heap.stop_purge();
    }

    pub(crate) fn poll_purged(&mut self) -> Option<Item> {
        same(self.inline.poll_purged().map(pair), self.heap.poll_purged().map(pair))
    }

    pub(crate) fn close(&mut self, now: Instant, within: Duration) -> FlushPoint {
        same(self.inline.close(now, within), self.heap.close(now, within))
    }

    pub(crate) fn end(&mut self) {
        self.inline.end();
        self.heap.end();
    }

    pub(crate) fn handle_backend_ended(&mut self) {
        self.inline.handle_backend_ended();
        self.heap.handle_backend_ended();
    }

    pub(crate) fn poll_unsent(&mut self) -> Option<Ended> {
        same(self.inline.poll_unsent().map(unreported), self.heap.poll_unsent().map(unreported))
    }

    pub(crate) fn poll_action(&mut self, settled: bool) -> Option<Action> {
        same(self.inline.poll_action(settled), self.heap.poll_action(settled))
    }

    pub(crate) fn phase(&self) -> Phase {
        let phase = same(self.inline.phase(), self.heap.phase());
        assert_eq!(self.inline.is_closed(), phase != Phase::Open);
        phase
    }

    pub(crate) fn len_of(&self, lane: Lane) -> usize {
        same(self.inline.len_of(lane), self.heap.len_of(lane))
    }

    pub(crate) fn len_in(&self, topic: TopicId) -> usize {
        same(self.inline.len_in(|lane| lane.topic() == topic), self.heap.len_in(|lane| lane.topic() == topic))
    }

    pub(crate) fn needs_lane(&self, lane: Lane) -> bool {
        same(self.inline.needs_lane(lane), self.heap.needs_lane(lane))
    }

    pub(crate) fn now(&self) -> Instant {
        same(self.inline.now(), self.heap.now())
    }

    pub(crate) fn poll_drained(&mut self) -> Option<Item> {
        assert_eq!(self.inline.can_drain(), self.heap.can_drain());
        same(self.inline.poll_drained().map(pair), self.heap.poll_drained().map(pair))
    }

    pub(crate) fn has_batch(&self) -> bool {
        same(self.inline.has_batch(), self.heap.has_batch())
    }

    pub(crate) fn handle_connected(&mut self, connected: bool) {
        self.inline.handle_connected(connected);
        self.heap.handle_connected(connected);
    }

    pub(crate) fn poll_batch(&mut self, now: Instant) -> Option<HandOff> {
        same(poll_batch(&mut self.inline, now), poll_batch(&mut self.heap, now))
    }

    pub(crate) fn take_copy(&mut self, id: SlotId) -> Option<Item> {
        same(self.inline.take_copy(id), self.heap.take_copy(id))
    }

    pub(crate) fn handle_refused(&mut self, id: SlotId, item: &Item) -> bool {
        let inline = self.inline.handle_refused(id, item.clone());
        same(inline, self.heap.handle_refused(id, item.clone())).map_err(|back| assert_eq!(&back, item)).is_ok()
    }

    pub(crate) fn handle_settled(&mut self, batch: &MessageBatch) -> Option<Item> {
        same(self.inline.handle_settled(batch).map(pair), self.heap.handle_settled(batch).map(pair))
    }

    pub(crate) fn handle_report(&mut self, id: SlotId) -> Option<Completed<u64>> {
        same(self.inline.handle_report(id), self.heap.handle_report(id))
    }

    pub(crate) fn poll_expired(&mut self, now: Instant) -> Option<Ended> {
        same(self.inline.poll_expired(now).map(unreported), self.heap.poll_expired(now).map(unreported))
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Timeout> {
        same(self.inline.poll_timeout(), self.heap.poll_timeout())
    }

    /// What the lanes have, by lane; and the oldest record.
    pub(crate) fn lane_stats(&self) -> (Vec<LaneStats>, Option<Instant>) {
        fn of<S: Storage>(machine: &Producer<Item, u64, S>) -> Vec<LaneStats> {
            let half = machine.known_lanes() / 2;
            let mut lanes: Vec<_> = machine.lane_stats(0..half).chain(machine.lane_stats(half..usize::MAX)).collect();
            lanes.sort_by_key(|stats| stats.lane);
            lanes
        }
        (same(of(&self.inline), of(&self.heap)), same(self.inline.oldest(), self.heap.oldest()))
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = same(self.inline.stats(), self.heap.stats());
        assert_eq!(self.inline.held(), stats.in_use - stats.overdue);
        assert_eq!(self.inline.len(), stats.in_use - stats.overdue - stats.late);
        assert_eq!(self.inline.is_empty(), stats.in_use == stats.overdue + stats.late);
        stats
    }
}
