//! What is known about a topic's partitions, and the partition of the next records.
//!
//! No metadata is requested for this. While a topic's partitions are unknown, its records go to librdkafka unassigned. When
//! metadata has arrived, librdkafka calls our partitioner for each of them, and this call carries the number of partitions.
//! From then on partitions are chosen here, which allows librdkafka's cheapest path. About once a second one batch goes unassigned
//! again, so a change in the number of partitions is noticed.
//!
//! They are chosen at the hand-off as long as all partitions answer: records then stay in the order in which they were produced, which
//! is the fastest. Once a partition of a topic holds others up, the topic is split: its records with a key are placed when they are
//! produced, so those for that partition wait apart.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{PartitionLoad, Placement};

use crate::catch_panic::catch_panic;
use crate::partition::candidates::View;
use crate::partition::chooser::Chooser;
use crate::partition::leaders::Leaders;
use crate::partition::load::{Answer, Loads};
use crate::partition::partitioner::{Choice, Partitioner};
use crate::partition::partitioning::Partitioning;
use crate::partition::rule::{Partition, ToPartition};
use crate::partition::trust::Trust;
use crate::partition::watch::{Change, Watch};

/// The assumed size of a record without a key when librdkafka asks for its partition, as librdkafka does not pass the size.
const ASSUMED_BYTES: usize = 256;

/// How the records of a batch get their partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// librdkafka calls [`TopicState::assign`] for each record, now or when it knows the partitions.
    Ask,
    /// The partitioner chooses among `count` partitions; sticky records go to `sticky`.
    Choose { count: i32, sticky: i32 },
}

pub(crate) struct TopicState {
    name: Box<str>,
    partitioning: Partitioning,
    /// The rule is the application's and reads the records' values.
    reads_value: bool,
    /// The number of partitions by which records are placed; 0 until it is known for the first time. It stays when the number is
    /// forgotten: most records keep their partition until the next one is known.
    placed_by: AtomicI32,
    /// Records with a key are placed when they are produced, from now on.
    is_split: AtomicBool,
    /// How long their number is trusted.
    trust: Trust,
    /// Records at librdkafka, if the choice depends on them.
    loads: Option<Loads>,
    watch: Arc<Watch>,
    chooser: Apart<Mutex<Chooser>>,
}

/// Other threads read what is beside the chooser while one changes it.
#[repr(align(64))]
struct Apart<T>(T);

impl TopicState {
    pub(super) fn new(
        name: &str,
        partitioning: Partitioning,
        seed: u64,
        leaders: &Arc<Leaders>,
        watch: &Arc<Watch>,
    ) -> Self {
        let reads_value = match &partitioning.partitioner {
            Partitioner::Custom(rule) => catch_panic(|| rule.reads_value()).unwrap_or(true),
            _ => false,
        };
        Self {
            name: name.into(),
            reads_value,
            placed_by: AtomicI32::new(0),
            is_split: AtomicBool::new(partitioning.splits_at_once()),
            trust: Trust::new(leaders.start()),
            loads: partitioning.adaptive.then(|| Loads::new(Arc::clone(leaders))),
            watch: Arc::clone(watch),
            chooser: Apart(Mutex::new(Chooser::new(seed, partitioning.sticky_time, partitioning.sticky_bytes))),
            partitioning,
        }
    }

    /// Places records as `before` does, which is the state of the topic in the client that this one replaces.
    pub(super) fn inherit(&self, before: &Self) {
        self.placed_by.store(before.placed_by.load(Ordering::Acquire), Ordering::Release);
        self.is_split.store(before.is_split.load(Ordering::Acquire), Ordering::Release);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Decides where a record goes, before it is accepted.
    pub(crate) fn place(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        match self.placed_by.load(Ordering::Acquire) {
            0 => Placement::Unknown,
            _ if key.is_some() && !self.is_split.load(Ordering::Relaxed) => Placement::Unknown,
            // So all records of the topic are in the order of the calls.
            1 if key.is_none() => Placement::Partition(0),
            count => match self.choose(key, Some(value), count) {
                Choice::Partition(partition) => Placement::Partition(partition),
                Choice::Sticky | Choice::Random => Placement::Any,
                // The hand-off rejects it.
                Choice::Invalid => Placement::Unknown,
            },
        }
    }

    /// Decides how a batch of `bytes` gets its partitions. One batch per second asks librdkafka.
    pub(crate) fn plan(&self, now: Instant, bytes: usize) -> Plan {
        let mut chooser = self.lock();
        if chooser.count() == 0 || self.trust.is_over(now, || true) {
            chooser.observe_again();
            return Plan::Ask;
        }
        let random = matches!(self.partitioning.partitioner, Partitioner::Random);
        Plan::Choose { count: chooser.count(), sticky: chooser.plan(bytes, random, self.view(now)) }
    }

    /// Whether a batch whose partition is known asks librdkafka for the number of partitions, as one per second does, if it may.
    pub(crate) fn asks(&self, now: Instant, may: impl FnOnce() -> bool) -> bool {
        let asks = self.trust.is_over(now, may);
        if asks {
            self.lock().observe_again();
        }
        asks
    }

    /// Whether the partitioner needs the record's value.
    pub(crate) fn reads_value(&self) -> bool {
        self.reads_value
    }

    /// The partitioner's choice for a record. `value` is `None` if it is not known and `Some(None)` if it is null. A rule that
    /// reads a value that is not known is not called: its choice is invalid.
    fn choose(&self, key: Option<&[u8]>, value: Option<Option<&[u8]>>, partitions: i32) -> Choice {
        let call = |rule: &dyn Partition, key: &[u8]| match value {
            None if self.reads_value => -1,
            _ => {
                let value = value.flatten().filter(|_| self.reads_value);
                rule.partition(ToPartition { topic: &self.name, key, value, partitions })
            }
        };
        self.partitioning.partitioner.choose(key, partitions, call)
    }

    /// The partition of a record under [`Plan::Choose`]; `None` if the application's rule gives no valid one.
    pub(crate) fn route(&self, key: Option<&[u8]>, value: Option<&[u8]>, count: i32, sticky: i32) -> Option<i32> {
        match self.choose(key, Some(value), count) {
            Choice::Partition(partition) => Some(partition),
            Choice::Sticky => Some(sticky),
            Choice::Random => Some(self.lock().any()),
            Choice::Invalid => None,
        }
    }

    /// Whether the number of partitions is known.
    pub(crate) fn has_partitions(&self) -> bool {
        self.lock().count() > 0
    }

    /// Forgets the number of partitions, because a chosen partition does not exist (any more).
    pub(crate) fn forget(&self) {
        self.lock().forget();
        self.trust.end();
    }

    /// librdkafka knows the number of partitions, and which of them have a leader.
    pub(crate) fn observe(&self, count: i32, has_leader: impl Fn(i32) -> bool) {
        if self.lock().observe(count, has_leader) {
            if count == 1 {
                // Those without a key are placed now, and stay in order with the others.
                self.is_split.store(true, Ordering::Relaxed);
            }
            self.placed_by.store(count, Ordering::Release);
        }
    }

    /// Answers librdkafka's partitioner callback after [`TopicState::observe`]. It runs under librdkafka's lock of the topic.
    /// `value` is as for [`TopicState::choose`].
    pub(crate) fn assign(&self, key: Option<&[u8]>, value: Option<Option<&[u8]>>, count: i32) -> Option<i32> {
        // The application's rule runs without our lock.
        match self.choose(key, value, count) {
            Choice::Partition(partition) => Some(partition),
            Choice::Sticky => Some(self.lock().sticky(ASSUMED_BYTES, self.view(Instant::now()))),
            Choice::Random => {
                let mut chooser = self.lock();
                chooser.update(self.view(Instant::now()));
                Some(chooser.any())
            }
            Choice::Invalid => None,
        }
    }

    /// librdkafka has accepted `count` records for a partition. `now` may be called.
    pub(crate) fn sent(&self, partition: i32, count: usize, now: impl FnOnce() -> Instant) {
        if let Some(loads) = &self.loads
            && count > 0
        {
            let had_none = if self.is_split.load(Ordering::Relaxed) {
                loads.sent(partition, count, now)
            } else {
                let now = now();
                let had_none = loads.sent(partition, count, || now);
                if loads.holds_up(partition, self.partitioning.crowd, now) {
                    self.is_split.store(true, Ordering::Relaxed);
                }
                had_none
            };
            if had_none && self.partitioning.availability_timeout.is_some() {
                self.watch.waits();
            }
        }
    }

    /// librdkafka has reported `count` records of a partition, whose outcome a broker has decided if there is an `answer`.
    pub(crate) fn ended(&self, partition: i32, count: u32, answer: Option<Answer>, now: Instant) {
        let answers_again = self.loads.as_ref().is_some_and(|loads| loads.ended(partition, count, answer, now));
        if answers_again {
            // It may have been without a leader.
            self.trust.end();
            self.watch.answers();
        }
    }

    /// As [`Loads::note_silent`].
    pub(super) fn note_silent(&self, now: Instant) {
        if let Some(loads) = &self.loads {
            loads.note_silent(now);
        }
    }

    /// As [`Loads::look`].
    pub(super) fn look(&self, topic: TopicId, now: Instant, changes: &mut Vec<Change>) -> Option<Instant> {
        self.loads.as_ref()?.look(topic, now, changes)
    }

    /// What librdkafka has of each partition.
    pub(super) fn partition_loads(&self, topic: TopicId, now: Instant) -> impl Iterator<Item = PartitionLoad> {
        self.loads.iter().flat_map(move |loads| loads.all(topic, now))
    }

    fn view(&self, now: Instant) -> View<'_> {
        View { loads: self.loads.as_ref(), crowd: self.partitioning.crowd, now }
    }

    fn lock(&self) -> MutexGuard<'_, Chooser> {
        self.chooser.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
