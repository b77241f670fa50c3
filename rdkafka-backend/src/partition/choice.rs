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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::coordination::Signals;
    use crate::partition::partitioning::SMALL;
    use crate::partition::trust::REFRESH;

    const AVAILABILITY: Duration = Duration::from_secs(5);
    const ANSWER: Option<Answer> = Some(Answer { broker: None });

    impl TopicState {
        /// What the partitioner callback does.
        fn called(
            &self,
            key: Option<&[u8]>,
            value: Option<Option<&[u8]>>,
            count: i32,
            has_leader: impl Fn(i32) -> bool,
        ) -> Option<i32> {
            self.observe(count, has_leader);
            self.assign(key, value, count)
        }
    }

    fn state() -> TopicState {
        state_with(Partitioner::Murmur2Random)
    }

    fn state_with(partitioner: Partitioner) -> TopicState {
        with(|it| it.partitioner = partitioner)
    }

    fn with(change: impl FnOnce(&mut Partitioning)) -> TopicState {
        let mut partitioning = Partitioning {
            partitioner: Partitioner::Murmur2Random,
            sticky_time: Duration::from_millis(10),
            sticky_bytes: 16 * 1024,
            adaptive: true,
            crowd: 100,
            availability_timeout: Some(AVAILABILITY),
        };
        change(&mut partitioning);
        let leaders = Leaders::new(partitioning.availability_timeout, Instant::now());
        let watch = Arc::new(Watch::new(Arc::new(Signals::new(1))));
        TopicState::new("t", partitioning, 42, &Arc::new(leaders), &watch)
    }

    #[test]
    fn a_change_in_the_number_of_partitions_is_noticed_within_the_refresh_interval() {
        let (state, start) = (state(), Instant::now());
        assert_eq!(state.plan(start, 1), Plan::Ask, "the count is unknown");
        assert!(state.called(Some(b"k"), None, 3, |_| true).is_some());
        assert_eq!(state.plan(start, 1), Plan::Ask, "the count is not trusted yet");
        assert!(matches!(state.plan(start, 1), Plan::Choose { count: 3, .. }));
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
        assert!(state.called(None, None, 5, |_| true).is_some());
        assert!(matches!(state.plan(start + REFRESH, 1), Plan::Choose { count: 5, .. }));
        state.forget();
        assert_eq!(state.plan(start + REFRESH, 1), Plan::Ask);
    }

    #[test]
    fn a_sticky_partition_without_a_leader_is_replaced() {
        let (state, start) = (state(), Instant::now());
        let first = state.called(None, None, 3, |_| true);
        assert_eq!(state.plan(start, 1), Plan::Ask);
        assert_ne!(state.called(None, None, 3, |partition| Some(partition) != first), first);
    }

    #[test]
    fn random_records_go_to_every_partition_that_has_a_leader() {
        let state = state_with(Partitioner::Random);
        let mut seen = [[0; 4]; 2];
        for _ in 0..300 {
            let asked = state.called(Some(b"k"), None, 4, |partition| partition != 2).expect("a partition");
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
        let answer = state().called(None, None, 3, |_| false);
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
        let asked = |value| state.called(Some(b"k"), value, 3, |_| true);
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
        let state = state_with(Partitioner::Custom(Arc::new(ByKey)));
        assert_eq!(
            [state.called(Some(b"k"), None, 3, |_| true), state.route(Some(b"k"), Some(b"x"), 3, 0)],
            [Some(2); 2]
        );
    }

    #[test]
    fn records_with_a_key_are_placed_once_a_partition_holds_others_up() {
        let placed = |state: &TopicState| state.place(Some(b"k"), None) != Placement::Unknown;
        let (early, crowded) = (AVAILABILITY / 10 - Duration::from_nanos(1), AVAILABILITY / 10);
        // Records that it has answered, then leaves without an answer for a time, and whether that is too much.
        for (answered, left, after, is_split) in [
            (0, 2, AVAILABILITY - Duration::from_nanos(1), false),
            (0, 2, AVAILABILITY, true),
            (0, 20_000, Duration::ZERO, false),
            (0, 20_001, Duration::ZERO, true),
            (11_000, 22_000, early, false),
            (11_000, 22_001, early, true),
            (3_000, 5_000, crowded, false),
            (3_000, 5_001, crowded, true),
        ] {
            let (state, start) = (with(|it| it.crowd = 5_000), Instant::now());
            state.observe(3, |_| true);
            state.sent(1, answered, || start);
            state.ended(1, answered as u32, ANSWER, start);
            state.sent(1, left - 1, || start);
            assert!(!placed(&state) || after.is_zero());
            state.sent(2, 1, || start + after);
            state.sent(1, 1, || start + after);
            assert_eq!(placed(&state), is_split, "{answered}, {left} records, {after:?}");
            state.ended(1, left as u32, ANSWER, start + after);
            assert_eq!(placed(&state), is_split, "it stays so");
        }
    }

    #[test]
    fn records_with_a_key_are_placed_at_once_where_it_would_be_found_out_too_late() {
        let placed = |change: fn(&mut Partitioning)| {
            let state = with(change);
            state.observe(3, |_| true);
            state.place(Some(b"k"), None) != Placement::Unknown
        };
        assert!(!placed(|it| it.crowd = SMALL) && placed(|it| it.crowd = SMALL - 1), "a small pool");
        assert!(placed(|it| (it.crowd, it.adaptive) = (SMALL, false)), "nothing is counted");
        assert!(!placed(|it| (it.crowd, it.availability_timeout) = (1, None)), "lanes leave each other no room");
        let state = with(|it| it.crowd = SMALL);
        state.observe(1, |_| true);
        assert_eq!(state.place(Some(b"k"), None), Placement::Partition(0), "in the order of those without a key");
    }

    #[test]
    fn s09_a_record_is_placed_by_its_key_as_soon_as_the_count_is_known() {
        let state = state();
        assert_eq!(state.place(Some(b"k"), None), Placement::Unknown);
        assert!(state.called(Some(b"k"), None, 3, |_| true).is_some());
        for key in [&b"k"[..], b"", b"another key"] {
            let assigned = state.called(Some(key), None, 3, |_| true).expect("a partition");
            assert_eq!(state.place(Some(key), Some(b"v")), Placement::Partition(assigned));
            assert_eq!(state.route(Some(key), Some(b"v"), 3, 7), Some(assigned));
        }
        // Most records keep their partition until the next number is known.
        let before = state.place(Some(b"k"), None);
        state.forget();
        assert_eq!(state.place(Some(b"k"), None), before);
        state.observe(1, |_| true);
        assert_eq!(state.place(Some(b"k"), None), Placement::Partition(0));
    }

    #[test]
    fn s09_a_record_that_may_go_anywhere_and_an_invalid_choice_are_not_placed() {
        let placed = |partitioner, key: &[u8]| {
            let state = state_with(partitioner);
            state.observe(3, |_| true);
            state.place(Some(key), Some(b"value"))
        };
        assert_eq!(placed(Partitioner::Random, b"k"), Placement::Any);
        assert_eq!(placed(Partitioner::ConsistentRandom, b""), Placement::Any);
        assert!(matches!(placed(Partitioner::ConsistentRandom, b"k"), Placement::Partition(0..3)));
        assert_eq!(placed(Partitioner::custom(|record| record.value.map_or(0, |_| 2)), b"k"), Placement::Partition(2));
        assert_eq!(placed(Partitioner::custom(|record| record.partitions), b"k"), Placement::Unknown);
        assert_eq!(placed(Partitioner::custom(|_| panic!("on purpose")), b"k"), Placement::Unknown);
    }

    #[test]
    fn s18_records_without_a_key_are_placed_if_there_is_a_single_partition() {
        for partitioner in [Partitioner::Murmur2Random, Partitioner::Random, Partitioner::ConsistentRandom] {
            let state = state_with(partitioner);
            assert_eq!(state.place(None, Some(b"v")), Placement::Unknown);
            state.observe(1, |_| true);
            assert_eq!(state.place(None, Some(b"v")), Placement::Partition(0));
            state.observe(2, |_| true);
            assert_eq!(state.place(None, Some(b"v")), Placement::Any);
        }
    }

    #[test]
    fn one_batch_per_second_asks_whether_its_partition_is_known_or_not() {
        let state = state();
        let start = state.trust.start;
        state.observe(3, |_| true);
        let first = start + REFRESH;
        assert!(!state.asks(first, || false) && state.asks(first, || true));
        assert!(!state.asks(first, || panic!("it is not due")));
        assert!(matches!(state.plan(first + REFRESH - Duration::from_nanos(1), 1), Plan::Choose { .. }));
        assert_eq!(state.plan(first + REFRESH, 1), Plan::Ask);
        assert!(!state.asks(first + REFRESH, || true));
        state.forget();
        assert!(state.asks(first + REFRESH, || true), "a partition does not exist");
        assert_eq!(state.plan(first + REFRESH, 1), Plan::Ask, "the count is unknown");
    }

    /// Plans until librdkafka need not be asked.
    fn plan(state: &TopicState, now: Instant) {
        while state.plan(now, 1) == Plan::Ask {
            state.observe(3, |_| true);
        }
    }

    #[test]
    fn a_partition_that_answers_again_is_looked_at_by_the_next_batch() {
        let state = state();
        let start = state.trust.start;
        plan(&state, start);
        state.sent(1, 2, || start);
        state.ended(1, 1, ANSWER, start);
        assert!(matches!(state.plan(start, 1), Plan::Choose { .. }), "it was never silent");
        state.ended(1, 1, ANSWER, start + AVAILABILITY);
        assert_eq!(state.plan(start, 1), Plan::Ask);
    }

    #[test]
    fn random_records_leave_a_partition_that_does_not_answer() {
        let state = state_with(Partitioner::Random);
        let start = state.trust.start;
        plan(&state, start);
        state.sent(2, 1, || start);
        let late = start + AVAILABILITY;
        plan(&state, late);
        assert!((0..100).all(|_| state.route(Some(b"k"), None, 3, 0) != Some(2)));
    }
}
