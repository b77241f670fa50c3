//! What is known about a topic's partitions, and the partition of the next records.
//!
//! No metadata is requested for this. While a topic's partitions are unknown, its records go to librdkafka unassigned. When
//! metadata has arrived, librdkafka calls our partitioner for each of them, and this call carries the number of partitions.
//! From then on workers choose partitions themselves, which allows librdkafka's cheapest path. About once a second one batch
//! goes unassigned again, so a change in the number of partitions is noticed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::catch_panic::catch_panic;
use crate::partition::partitioner::{Choice, Partitioner};
use crate::partition::rule::{Partition, ToPartition};

/// How long a number of partitions is trusted.
const REFRESH: Duration = Duration::from_secs(1);

/// How partitions are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Partitioning {
    pub(crate) partitioner: Partitioner,
    /// Sticky records move to another partition after this time (librdkafka's `sticky.partitioning.linger.ms`, KIP-480),
    pub(crate) sticky_time: Duration,
    /// or when the partition has received this many bytes, a full batch (librdkafka's `batch.size`; as in KIP-794).
    pub(crate) sticky_bytes: usize,
}

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
    chooser: Mutex<Chooser>,
}

struct Chooser {
    /// 0 while it is unknown.
    count: i32,
    /// Partitions that have a leader.
    available: Vec<i32>,
    /// The next call of `assign` refreshes `available`.
    stale: bool,
    trusted_until: Option<Instant>,
    sticky: Option<i32>,
    /// Bytes sent to `sticky`, and since when.
    sent: usize,
    since: Option<Instant>,
    random: u64,
}

impl TopicState {
    pub(crate) fn new(name: &str, partitioning: Partitioning, seed: u64) -> Self {
        let chooser = Chooser {
            count: 0,
            available: Vec::new(),
            stale: true,
            trusted_until: None,
            sticky: None,
            sent: 0,
            since: None,
            random: seed | 1,
        };
        let reads_value = match &partitioning.partitioner {
            Partitioner::Custom(rule) => catch_panic(|| rule.reads_value()).unwrap_or(true),
            _ => false,
        };
        Self { name: name.into(), partitioning, reads_value, chooser: Mutex::new(chooser) }
    }

    /// Decides how a batch of `bytes` gets its partitions. One batch per second asks librdkafka.
    pub(crate) fn plan(&self, now: Instant, bytes: usize) -> Plan {
        let mut chooser = self.lock();
        if chooser.count == 0 || chooser.trusted_until.is_none_or(|until| now >= until) {
            chooser.trusted_until = (chooser.count != 0).then(|| now + REFRESH);
            chooser.stale = true;
            return Plan::Ask;
        }
        if chooser.since.is_none_or(|since| now.saturating_duration_since(since) >= self.partitioning.sticky_time) {
            chooser.since = Some(now);
            chooser.sent = usize::MAX;
        }
        Plan::Choose { count: chooser.count, sticky: chooser.sticky(bytes, self.partitioning.sticky_bytes) }
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
        self.lock().count > 0
    }

    /// Forgets the number of partitions, because a chosen partition does not exist (any more).
    pub(crate) fn forget(&self) {
        self.lock().count = 0;
    }

    /// Answers librdkafka's partitioner callback, which runs under librdkafka's lock of the topic. `value` is as for
    /// [`TopicState::choose`].
    pub(crate) fn assign(
        &self,
        key: Option<&[u8]>,
        value: Option<Option<&[u8]>>,
        count: i32,
        available: impl Fn(i32) -> bool,
    ) -> Option<i32> {
        let mut chooser = self.lock();
        if chooser.stale || chooser.count != count {
            chooser.observe(count, available);
        }
        // The application's rule runs without our lock.
        drop(chooser);
        match self.choose(key, value, count) {
            Choice::Partition(partition) => Some(partition),
            Choice::Sticky => Some(self.lock().sticky(ASSUMED_BYTES, self.partitioning.sticky_bytes)),
            Choice::Random => Some(self.lock().any()),
            Choice::Invalid => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chooser {
    fn observe(&mut self, count: i32, available: impl Fn(i32) -> bool) {
        self.count = count;
        self.stale = false;
        self.available.clear();
        self.available.extend((0..count).filter(|partition| available(*partition)));
        self.sticky = self.sticky.filter(|sticky| self.available.contains(sticky));
    }

    /// The partition for `bytes` of sticky records.
    fn sticky(&mut self, bytes: usize, limit: usize) -> i32 {
        let sticky = match self.sticky {
            Some(sticky) if self.sent < limit => sticky,
            _ => {
                self.sent = 0;
                self.next()
            }
        };
        self.sticky = Some(sticky);
        self.sent = self.sent.saturating_add(bytes);
        sticky
    }

    /// A random available partition other than the sticky one; any partition if none has a leader.
    fn next(&mut self) -> i32 {
        let Some(last) = self.available.len().checked_sub(1) else { return self.any() };
        // The last partition is left out of the draw and replaces the sticky one if that is drawn.
        let drawn = self.draw(last.max(1));
        let chosen = self.available[drawn];
        if Some(chosen) == self.sticky { self.available[last] } else { chosen }
    }

    /// A random available partition; any partition if none has a leader.
    fn any(&mut self) -> i32 {
        match self.available.len() {
            0 => self.draw(self.count.max(1) as usize) as i32,
            available => {
                let drawn = self.draw(available);
                self.available[drawn]
            }
        }
    }

    /// A random number below `choices`.
    fn draw(&mut self, choices: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) as usize).checked_rem(choices).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STICKY_BYTES: usize = 16 * 1024;
    const STICKY_TIME: Duration = Duration::from_millis(10);

    fn state() -> TopicState {
        state_with(Partitioner::Murmur2Random)
    }

    fn state_with(partitioner: Partitioner) -> TopicState {
        TopicState::new("t", Partitioning { partitioner, sticky_time: STICKY_TIME, sticky_bytes: STICKY_BYTES }, 42)
    }

    #[test]
    fn a_change_in_the_number_of_partitions_is_noticed_within_the_refresh_interval() {
        let (state, start) = (state(), Instant::now());
        assert_eq!(state.plan(start, 1), Plan::Ask, "the count is unknown");
        assert!(state.assign(Some(b"k"), None, 3, |_| true).is_some());
        assert_eq!(state.plan(start, 1), Plan::Ask, "the count is not trusted yet");
        assert!(matches!(state.plan(start, 1), Plan::Choose { count: 3, .. }));
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
        assert!(state.assign(None, None, 5, |_| true).is_some());
        assert!(matches!(state.plan(start + REFRESH, 1), Plan::Choose { count: 5, .. }));
        state.forget();
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
    }

    #[test]
    fn sticky_records_move_to_an_available_partition_after_some_time_or_bytes() {
        let (state, start) = (state(), Instant::now());
        assert!(state.assign(Some(b"k"), None, 4, |partition| partition != 2).is_some());
        assert_eq!(state.plan(start, 0), Plan::Ask);
        assert!(state.assign(Some(b"k"), None, 4, |partition| partition != 2).is_some());
        let sticky_at = |now, bytes| match state.plan(now, bytes) {
            Plan::Choose { sticky, .. } => sticky,
            Plan::Ask => panic!("the count is known"),
        };
        let sticky = || sticky_at(start, STICKY_BYTES / 2);
        let mut seen = [0; 4];
        let mut last = None;
        for _ in 0..300 {
            let first = sticky();
            assert_eq!(sticky(), first, "half of the bytes are sent");
            assert_ne!(Some(first), last, "all bytes are sent");
            last = Some(first);
            seen[first as usize] += 1;
        }
        assert_eq!(seen[2], 0, "it has no leader");
        let first = sticky_at(start + STICKY_TIME, 1);
        assert_eq!(sticky_at(start + STICKY_TIME * 2 - Duration::from_nanos(1), 1), first);
        assert_ne!(sticky_at(start + STICKY_TIME * 2, 1), first, "the time is over");
        assert!(seen.iter().enumerate().all(|(partition, count)| partition == 2 || *count > 60), "{seen:?}");
    }

    #[test]
    fn a_sticky_partition_without_a_leader_is_replaced() {
        let (state, start) = (state(), Instant::now());
        let first = state.assign(None, None, 3, |_| true);
        assert_eq!(state.plan(start, 1), Plan::Ask);
        assert_ne!(state.assign(None, None, 3, |partition| Some(partition) != first), first);
    }

    #[test]
    fn random_records_go_to_every_partition_that_has_a_leader() {
        let state = state_with(Partitioner::Random);
        let mut seen = [[0; 4]; 2];
        for _ in 0..300 {
            let asked = state.assign(Some(b"k"), None, 4, |partition| partition != 2).expect("a partition");
            let chosen = state.route(Some(b""), None, 4, 3).expect("a partition");
            seen[0][asked as usize] += 1;
            seen[1][chosen as usize] += 1;
        }
        assert!(seen.iter().all(|seen| seen[2] == 0 && [0, 1, 3].iter().all(|at| seen[*at] > 60)), "{seen:?}");
        assert_eq!(
            [state.route(None, None, 4, 3), state.route(None, None, 4, 0)],
            [Some(3), Some(0)],
            "they are sticky"
        );
    }

    #[test]
    fn a_partition_is_chosen_even_if_none_has_a_leader() {
        let answer = state().assign(None, None, 3, |_| false);
        assert!(answer.is_some_and(|partition| (0..3).contains(&partition)));
    }

    #[test]
    fn s09_a_rule_that_reads_values_is_not_called_without_one() {
        let rule = |record: ToPartition<'_>| {
            assert_eq!((record.topic, record.key), ("t", &b"k"[..]));
            record.value.map_or(2, |value| value.len() as i32)
        };
        let state = state_with(Partitioner::custom(rule));
        assert!(state.reads_value());
        let asked = |value| state.assign(Some(b"k"), value, 3, |_| true);
        assert_eq!([asked(Some(Some(b"x"))), asked(Some(None)), asked(None)], [Some(1), Some(2), None]);
        let chosen = |value| state.route(Some(b"k"), value, 3, 0);
        assert_eq!([chosen(Some(b"x")), chosen(None), chosen(Some(b"out of range"))], [Some(1), Some(2), None]);

        struct ByKey;
        impl Partition for ByKey {
            fn partition(&self, record: ToPartition<'_>) -> i32 {
                assert!(record.value.is_none());
                record.partitions - 1
            }

            fn reads_value(&self) -> bool {
                false
            }
        }
        let state = state_with(Partitioner::Custom(std::sync::Arc::new(ByKey)));
        assert_eq!(
            [state.assign(Some(b"k"), None, 3, |_| true), state.route(Some(b"k"), Some(b"x"), 3, 0)],
            [Some(2); 2]
        );
    }
}
