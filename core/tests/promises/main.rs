//! What the project promises, as far as the machine alone can show it. The names carry the promises' numbers.

mod batching;
mod close;
mod failures;
mod flush;
mod isolation;
mod overflow;
mod own_timeouts;
mod pool;
mod purge;
mod queue_full;
mod replay;
mod room;
mod scopes;

use aioproducer_core::{
    FlushScope, Heap, Instant, Lane, Limits, MessageBatch, Overflow, Producer, Record, Refusal, SlotId, TopicId,
};
use core::time::Duration;

/// A record. Its name, which is its ticket too, sets it apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: u64,
    pub(crate) lane: Lane,
    pub(crate) size: usize,
    /// A timeout of its own.
    pub(crate) own: Option<Duration>,
}

impl Record for Item {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size
    }

    fn is_urgent(&self) -> bool {
        self.name & URGENT != 0
    }

    fn is_placed(&self) -> bool {
        self.name & PLACED != 0
    }

    fn timeout(&self) -> Option<Duration> {
        self.own
    }
}

/// Marks the names of urgent records,
pub(crate) const URGENT: u64 = 1 << 32;

/// and of those whose partition was chosen by their key.
pub(crate) const PLACED: u64 = 1 << 33;

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
    isolation: None,
    overflow: Overflow::Wait,
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
    let item = Item { name, lane, size, own: None };
    machine.produce(now, item.clone(), name).map_err(|refused| {
        assert_eq!((refused.record, refused.ticket), (item, name), "not handed back as it was");
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

/// What the contract asks for before a batch: expiry first. Of records with a timeout of their own the machine gets a copy.
pub(crate) fn take(machine: &mut Machine, now: Instant) -> Option<HandOff> {
    assert_eq!(expire(machine, now), []);
    let mut records = Vec::new();
    let batch = machine.poll_batch(now, |id, item, _| {
        let copy = item.own.is_some().then(|| item.clone());
        records.push((id, item));
        copy
    })?;
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

/// Takes back all that is buffered.
pub(crate) fn purge(machine: &mut Machine) -> Vec<u64> {
    machine.purge(aioproducer_core::PurgeScope::Queued);
    purged(machine)
}

pub(crate) fn purged(machine: &mut Machine) -> Vec<u64> {
    core::iter::from_fn(|| machine.poll_purged()).map(|(item, _)| item.name).collect()
}

pub(crate) fn report(machine: &mut Machine, id: SlotId) -> Option<u64> {
    machine.handle_report(id).map(|completed| completed.ticket)
}
