//! What is known of a topic's partitions, and which one the next records go to.
//!
//! Nobody asks for metadata. While a topic's partitions are unknown, its records go to librdkafka without a partition;
//! when metadata has come, librdkafka calls our partitioner for each of them, and with that call we learn how many
//! partitions there are. From then on workers choose the partition themselves, which allows librdkafka's cheapest path.
//! Every so often one batch takes the old way again, so that a change in the number of partitions is noticed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::catch_panic::catch_panic;
use crate::partition::partitioner::{Partition, Place};
use crate::{Partitioner, ToPartition};

/// How long a partition count is trusted.
const REFRESH: Duration = Duration::from_secs(1);

/// How partitions are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Partitioning {
    /// The rule.
    pub(crate) partitioner: Partitioner,
    /// Keyless records stay with one partition for this time (librdkafka's `sticky.partitioning.linger.ms`, KIP-480),
    pub(crate) sticky_time: Duration,
    /// or until it has this many bytes, which fill a batch of librdkafka's (its `batch.size`; as in KIP-794).
    pub(crate) sticky_bytes: usize,
}

/// The longest name that a topic may have, in bytes.
const MAX_NAME: usize = 249;

/// Checks a topic's name as a broker does; says what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if name.is_empty() {
        return Err("the topic has no name".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("the topic's name has {} bytes, {MAX_NAME} is the limit", name.len()));
    }
    if let Some(character) = name.chars().find(|character| !is_legal(*character)) {
        return Err(format!(
            "the topic's name {name:?} has {character:?}, and only letters, digits, '.', '_' and '-' may be"
        ));
    }
    if name == "." || name == ".." {
        return Err(format!("a topic cannot have the name {name:?}"));
    }
    Ok(())
}

/// What a keyless record counts for when librdkafka asks for its partition, which does not tell its size.
const ASSUMED_BYTES: usize = 256;

/// How the records of a batch find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// librdkafka is to call [`TopicState::assign`] for each, now or when it knows the partitions.
    Ask,
    /// The rule decides among `count` partitions; what sticks goes to `sticky`.
    Choose { count: i32, sticky: i32 },
}

pub(crate) struct TopicState {
    name: Box<str>,
    partitioning: Partitioning,
    /// The rule is the application's, and reads the records' values.
    reads_value: bool,
    chooser: Mutex<Chooser>,
}

struct Chooser {
    /// 0 while it is unknown.
    count: i32,
    /// Partitions that have a leader.
    available: Vec<i32>,
    /// The next call of `assign` looks at the partitions anew.
    stale: bool,
    trusted_until: Option<Instant>,
    sticky: Option<i32>,
    /// Bytes that `sticky` has got, and since when.
    spent: usize,
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
            spent: 0,
            since: None,
            random: seed | 1,
        };
        let reads_value = match &partitioning.partitioner {
            Partitioner::Custom(rule) => catch_panic(|| rule.reads_value()).unwrap_or(true),
            _ => false,
        };
        Self { name: name.into(), partitioning, reads_value, chooser: Mutex::new(chooser) }
    }

    /// Decides how a batch of `bytes` finds its partitions. One batch a second asks librdkafka.
    pub(crate) fn plan(&self, now: Instant, bytes: usize) -> Plan {
        let mut chooser = self.lock();
        if chooser.count == 0 || chooser.trusted_until.is_none_or(|until| now >= until) {
            chooser.trusted_until = (chooser.count != 0).then(|| now + REFRESH);
            chooser.stale = true;
            return Plan::Ask;
        }
        if chooser.since.is_none_or(|since| now.saturating_duration_since(since) >= self.partitioning.sticky_time) {
            chooser.since = Some(now);
            chooser.spent = usize::MAX;
        }
        Plan::Choose { count: chooser.count, sticky: chooser.sticky(bytes, self.partitioning.sticky_bytes) }
    }

    /// Whether whoever asks for a partition has to know the record's value.
    pub(crate) fn reads_value(&self) -> bool {
        self.reads_value
    }

    /// The place of a record. The application's rule gives none if it reads the value and that is not known: `None`, where
    /// `Some(None)` is null.
    fn place(&self, key: Option<&[u8]>, value: Option<Option<&[u8]>>, partitions: i32) -> Place {
        let ask = |rule: &dyn Partition, key: &[u8]| match value {
            None if self.reads_value => -1,
            _ => {
                let value = value.flatten().filter(|_| self.reads_value);
                rule.partition(ToPartition { topic: &self.name, key, value, partitions })
            }
        };
        self.partitioning.partitioner.place(key, partitions, ask)
    }

    /// The partition of a record with `key`, of [`Plan::Choose`]; `None` if the application's rule has no valid answer.
    pub(crate) fn route(&self, key: Option<&[u8]>, value: Option<&[u8]>, count: i32, sticky: i32) -> Option<i32> {
        match self.place(key, Some(value), count) {
            Place::Partition(partition) => Some(partition),
            Place::Sticky => Some(sticky),
            Place::Anywhere => Some(self.lock().any()),
            Place::Nowhere => None,
        }
    }

    /// Whether librdkafka has told how many partitions there are.
    pub(crate) fn has_partitions(&self) -> bool {
        self.lock().count > 0
    }

    /// Forgets the partitions: one that we chose does not exist (any more).
    pub(crate) fn forget(&self) {
        self.lock().count = 0;
    }

    /// librdkafka's question, asked under its lock of the topic; `value` as for [`TopicState::place`].
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
        match self.place(key, value, count) {
            Place::Partition(partition) => Some(partition),
            Place::Sticky => Some(self.lock().sticky(ASSUMED_BYTES, self.partitioning.sticky_bytes)),
            Place::Anywhere => Some(self.lock().any()),
            Place::Nowhere => None,
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

    /// The partition for keyless records, of which `bytes` are about to go.
    fn sticky(&mut self, bytes: usize, limit: usize) -> i32 {
        let sticky = match self.sticky {
            Some(sticky) if self.spent < limit => sticky,
            _ => {
                self.spent = 0;
                self.next()
            }
        };
        self.sticky = Some(sticky);
        self.spent = self.spent.saturating_add(bytes);
        sticky
    }

    /// Another available partition by chance; any at all if none has a leader.
    fn next(&mut self) -> i32 {
        let Some(last) = self.available.len().checked_sub(1) else { return self.any() };
        // One place less than there are, and the last one stands in for the partition that is left.
        let place = self.by_chance(last.max(1));
        let chosen = self.available[place];
        if Some(chosen) == self.sticky { self.available[last] } else { chosen }
    }

    /// Any available partition; any at all if none has a leader.
    fn any(&mut self) -> i32 {
        match self.available.len() {
            0 => self.by_chance(self.count.max(1) as usize) as i32,
            available => {
                let place = self.by_chance(available);
                self.available[place]
            }
        }
    }

    fn by_chance(&mut self, choices: usize) -> usize {
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
    fn growth_is_noticed_within_the_refresh_interval() {
        let (state, start) = (state(), Instant::now());
        assert_eq!(state.plan(start, 1), Plan::Ask, "nothing is known yet");
        assert!(state.assign(Some(b"k"), None, 3, |_| true).is_some());
        assert_eq!(state.plan(start, 1), Plan::Ask, "not verified yet");
        assert!(matches!(state.plan(start, 1), Plan::Choose { count: 3, .. }));
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
        assert!(state.assign(None, None, 5, |_| true).is_some());
        assert!(matches!(state.plan(start + REFRESH, 1), Plan::Choose { count: 5, .. }));
        state.forget();
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
    }

    #[test]
    fn keyless_records_stick_for_some_time_or_bytes_and_then_move_to_an_available_partition() {
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
            assert_eq!(sticky(), first, "half of the bytes are left");
            assert_ne!(Some(first), last, "the bytes are spent");
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
    fn a_sticky_partition_that_loses_its_leader_is_left() {
        let (state, start) = (state(), Instant::now());
        let first = state.assign(None, None, 3, |_| true);
        assert_eq!(state.plan(start, 1), Plan::Ask);
        assert_ne!(state.assign(None, None, 3, |partition| Some(partition) != first), first);
    }

    #[test]
    fn random_records_go_to_every_partition_that_has_a_leader_whoever_asks() {
        let state = state_with(Partitioner::Random);
        let mut seen = [[0; 4]; 2];
        for _ in 0..300 {
            let asked = state.assign(Some(b"k"), None, 4, |partition| partition != 2).expect("a partition");
            let chosen = state.route(Some(b""), None, 4, 3).expect("a partition");
            seen[0][asked as usize] += 1;
            seen[1][chosen as usize] += 1;
        }
        assert!(seen.iter().all(|seen| seen[2] == 0 && [0, 1, 3].iter().all(|at| seen[*at] > 60)), "{seen:?}");
        assert_eq!([state.route(None, None, 4, 3), state.route(None, None, 4, 0)], [Some(3), Some(0)], "they stick");
    }

    #[test]
    fn without_any_leader_there_is_still_a_partition() {
        let answer = state().assign(None, None, 3, |_| false);
        assert!(answer.is_some_and(|partition| (0..3).contains(&partition)));
    }

    #[test]
    fn s09_a_rule_that_reads_the_value_has_no_answer_without_it() {
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
