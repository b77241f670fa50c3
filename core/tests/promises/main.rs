//! What the project promises, as far as the machine alone can show it. The names carry the promises' numbers.

mod batching;
mod failures;
mod flush;
mod pool;
mod queue_full;
mod replay;
mod room;
mod scopes;

use aioproducer_core::{Heap, Instant, Lane, Limits, MessageBatch, Producer, Record, Refusal, SlotId, TopicId};
use core::time::Duration;

/// A record that is told from others by its name, which is its ticket too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: u64,
    pub(crate) lane: Lane,
    pub(crate) size: usize,
}

impl Record for Item {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size
    }

    fn is_urgent(&self) -> bool {
        self.name >= URGENT
    }
}

/// Names from here on are those of urgent records.
pub(crate) const URGENT: u64 = 1 << 32;

pub(crate) type Machine = Producer<Item, u64, Heap>;

pub(crate) const A: Lane = Lane::new(TopicId(0), Some(0));
pub(crate) const B: Lane = Lane::new(TopicId(0), Some(1));
pub(crate) const C: Lane = Lane::new(TopicId(1), None);

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Roomy limits with no linger and no expiry.
pub(crate) const PLAIN: Limits = Limits {
    pool_bytes: 10_000,
    record_bytes: 1_000,
    batch_records: 8,
    batch_bytes: 2_000,
    linger: Duration::ZERO,
    delivery_timeout: None,
    report_timeout: None,
};

pub(crate) const LINGER: Limits = Limits { linger: Duration::from_millis(100), ..PLAIN };

pub(crate) fn machine(limits: Limits) -> Machine {
    Producer::new(limits, Heap { slots: 16, lanes: 4 }).expect("limits")
}

pub(crate) fn offer(
    machine: &mut Machine,
    now: Instant,
    lane: Lane,
    size: usize,
    name: u64,
) -> Result<SlotId, Refusal> {
    machine.produce(now, Item { name, lane, size }, name).map_err(|refused| {
        assert_eq!((refused.record, refused.ticket), (Item { name, lane, size }, name), "not handed back as it was");
        refused.reason
    })
}

/// Produces a record of 10 bytes.
pub(crate) fn give(machine: &mut Machine, now: Instant, lane: Lane, name: u64) -> SlotId {
    offer(machine, now, lane, 10, name).expect("room")
}

/// Produces a record of 10 bytes for each name, at the origin of time.
pub(crate) fn give_all(machine: &mut Machine, lane: Lane, names: core::ops::Range<u64>) -> Vec<SlotId> {
    names.map(|name| give(machine, at(0), lane, name)).collect()
}

/// A batch and its records.
pub(crate) struct HandOff {
    pub(crate) batch: MessageBatch,
    pub(crate) records: Vec<(SlotId, Item)>,
}

impl HandOff {
    pub(crate) fn names(&self) -> Vec<u64> {
        self.records.iter().map(|(_, item)| item.name).collect()
    }
}

/// What the contract asks for before a batch: expiry first.
pub(crate) fn take(machine: &mut Machine, now: Instant) -> Option<HandOff> {
    assert_eq!(expire(machine, now), []);
    let mut records = Vec::new();
    let batch = machine.poll_batch(now, |id, item| records.push((id, item)))?;
    Some(HandOff { batch, records })
}

pub(crate) fn expire(machine: &mut Machine, now: Instant) -> Vec<u64> {
    core::iter::from_fn(|| machine.poll_expired(now)).map(|expired| expired.ended.ticket).collect()
}

/// Ends a hand-off of which the backend's queue took the first `kept` records.
pub(crate) fn settle(machine: &mut Machine, off: &HandOff, kept: usize) -> Option<u64> {
    for (id, item) in off.records.iter().skip(kept) {
        machine.handle_refused(*id, item.clone()).expect("out");
    }
    machine.handle_settled(&off.batch).map(|(item, ended)| {
        assert_eq!(item.name, ended.ticket);
        ended.ticket
    })
}

/// Takes back all that is buffered, also in these lanes, whose batches may be out.
pub(crate) fn drain(machine: &mut Machine, lanes: &[Lane]) -> Vec<u64> {
    let of_lanes = |machine: &mut Machine| lanes.iter().find_map(|lane| machine.poll_lane(*lane));
    core::iter::from_fn(|| machine.poll_drained().or_else(|| of_lanes(machine))).map(|(item, _)| item.name).collect()
}

/// Gives up all that is handed off.
pub(crate) fn abandon(machine: &mut Machine) -> Vec<u64> {
    core::iter::from_fn(|| machine.poll_abandoned()).map(|ended| ended.ticket).collect()
}

pub(crate) fn report(machine: &mut Machine, id: SlotId) -> Option<u64> {
    machine.handle_report(id).map(|completed| completed.ticket)
}
