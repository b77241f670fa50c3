//! The state of one topic.

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
    assert_eq!([state.route(None, None, 4, 3), state.route(None, None, 4, 0)], [Some(3), Some(0)], "they are sticky");
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
    assert_eq!([state.called(Some(b"k"), None, 3, |_| true), state.route(Some(b"k"), Some(b"x"), 3, 0)], [Some(2); 2]);
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
