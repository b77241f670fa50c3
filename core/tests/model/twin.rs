//! Two machines on different storage, which must give the same answers.

use core::fmt::Debug;

use aioproducer_core::{
    Completed, FlushPoint, Heap, Inline, Instant, Lane, Limits, MessageBatch, Producer, Refusal, RetractError, SlotId,
    Stats, Storage, Timeout, TopicId,
};

use crate::Item;

/// A batch and its records.
pub(crate) type HandOff = (MessageBatch, Vec<(SlotId, Item)>);

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
    assert_eq!((item.number, item.number, item.lane), (ended.ticket, ended.sequence, ended.lane));
    item
}

fn produce<S: Storage<Item, u64>>(
    machine: &mut Producer<Item, u64, S>,
    now: Instant,
    item: &Item,
) -> Result<SlotId, Refusal> {
    machine.produce(now, item.clone(), item.number).map_err(|refused| {
        assert_eq!((&refused.record, refused.ticket), (item, item.number));
        refused.reason
    })
}

fn poll_batch<S: Storage<Item, u64>>(machine: &mut Producer<Item, u64, S>, now: Instant) -> Option<HandOff> {
    let mut records = Vec::new();
    let batch = machine.poll_batch(now, |id, item| records.push((id, item)));
    assert!(batch.is_some() || records.is_empty(), "records without a batch");
    batch.map(|batch| (batch, records))
}

fn drain<S: Storage<Item, u64>>(machine: &mut Producer<Item, u64, S>) -> Vec<Item> {
    let mut lanes = (0..crate::LANES).map(crate::lane).peekable();
    core::iter::from_fn(|| {
        machine.poll_drained().or_else(|| {
            while let Some(lane) = lanes.peek() {
                if let Some(taken) = machine.poll_lane(*lane) {
                    return Some(taken);
                }
                lanes.next();
            }
            None
        })
    })
    .map(pair)
    .collect()
}

fn abandon<S: Storage<Item, u64>>(machine: &mut Producer<Item, u64, S>) -> Vec<u64> {
    core::iter::from_fn(|| machine.poll_abandoned()).map(|ended| ended.ticket).collect()
}

impl<const SLOTS: usize, const LANES: usize> Twin<SLOTS, LANES> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            inline: Producer::new(limits, Inline::new()).expect("limits"),
            heap: Producer::new(limits, Heap { slots: SLOTS, lanes: LANES }).expect("limits"),
        }
    }

    pub(crate) fn produce(&mut self, now: Instant, item: &Item) -> Result<SlotId, Refusal> {
        same(produce(&mut self.inline, now, item), produce(&mut self.heap, now, item))
    }

    pub(crate) fn has_room(&self, lane: Lane, size: usize) -> bool {
        same(self.inline.has_room(lane, size), self.heap.has_room(lane, size))
    }

    pub(crate) fn retract(&mut self, id: SlotId) -> Result<Item, RetractError> {
        same(self.inline.retract(id).map(pair), self.heap.retract(id).map(pair))
    }

    pub(crate) fn flush(&mut self) -> FlushPoint {
        same(self.inline.flush(), self.heap.flush())
    }

    pub(crate) fn close(&mut self) -> FlushPoint {
        same(self.inline.close(), self.heap.close())
    }

    pub(crate) fn is_flushed(&self, point: FlushPoint) -> bool {
        same(self.inline.is_flushed(point), self.heap.is_flushed(point))
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

    pub(crate) fn drain(&mut self) -> Vec<Item> {
        same(drain(&mut self.inline), drain(&mut self.heap))
    }

    pub(crate) fn abandon(&mut self) -> Vec<u64> {
        same(abandon(&mut self.inline), abandon(&mut self.heap))
    }

    pub(crate) fn has_batch(&self) -> bool {
        same(self.inline.has_batch(), self.heap.has_batch())
    }

    pub(crate) fn poll_batch(&mut self, now: Instant) -> Option<HandOff> {
        same(poll_batch(&mut self.inline, now), poll_batch(&mut self.heap, now))
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

    pub(crate) fn poll_expired(&mut self, now: Instant) -> Option<Item> {
        let inline = self.inline.poll_expired(now).map(|expired| pair((expired.record, expired.ended)));
        same(inline, self.heap.poll_expired(now).map(|expired| pair((expired.record, expired.ended))))
    }

    pub(crate) fn poll_overdue(&mut self, now: Instant) -> Option<Completed<u64>> {
        same(self.inline.poll_overdue(now), self.heap.poll_overdue(now))
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Timeout> {
        same(self.inline.poll_timeout(), self.heap.poll_timeout())
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = same(self.inline.stats(), self.heap.stats());
        assert_eq!(self.inline.len(), stats.in_use - stats.overdue);
        assert_eq!(self.inline.is_empty(), stats.in_use == stats.overdue);
        stats
    }
}
