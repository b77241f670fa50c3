//! When a batch is cut, and of what.

use aioproducer_core::{BatchError, BatchLimits, CutReason, Instant, Limits, MessageBatch, TimeoutReason};
use core::time::Duration;

use super::*;

#[test]
fn s11_later_records_never_postpone_a_deadline() {
    let limits = Limits { linger: Duration::from_millis(500), ..PLAIN };
    let mut machine = machine(limits);
    let mut cut = Vec::new();
    // Five records in a second, for six seconds; the caller sleeps until whatever comes first.
    for name in 0..30 {
        let arrival = at(name * 200);
        while let Some(timeout) = machine.poll_timeout().filter(|timeout| timeout.at <= arrival) {
            let off = take(&mut machine, timeout.at).expect("the deadline was for a batch");
            assert_eq!((off.batch.reason(), timeout.reason), (CutReason::Linger, TimeoutReason::Linger));
            assert_eq!(timeout.at, at(off.names()[0] * 200 + 500), "not the oldest record's deadline");
            cut.extend(off.names());
            settle(&mut machine, &off, usize::MAX);
            off.records.iter().for_each(|(id, _)| assert!(report(&mut machine, *id).is_some()));
        }
        give(&mut machine, arrival, A, name);
    }
    assert_eq!(cut, (0..27).collect::<Vec<_>>());
}

#[test]
fn s11_full_by_count() {
    let mut machine = machine(Limits { batch_records: 3, ..LINGER });
    give_all(&mut machine, A, 0..2);
    assert!(!machine.has_batch() && take(&mut machine, at(0)).is_none());
    give(&mut machine, at(0), A, 2);
    give(&mut machine, at(0), A, 3);
    let off = take(&mut machine, at(0)).expect("full");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Count, vec![0, 1, 2]));
    settle(&mut machine, &off, 3);
    assert!(!machine.has_batch(), "the rest waits for company");
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(100)));
}

#[test]
fn s11_full_by_bytes() {
    let mut machine = machine(Limits { batch_bytes: 100, ..LINGER });
    assert!(offer(&mut machine, at(0), A, 60, 0).is_ok());
    assert!(!machine.has_batch());
    assert!(offer(&mut machine, at(0), A, 60, 1).is_ok());
    let off = take(&mut machine, at(0)).expect("full");
    assert_eq!((off.batch.reason(), off.batch.bytes(), off.names()), (CutReason::Bytes, 60, vec![0]));
}

#[test]
fn s11_a_record_above_the_batch_goes_alone() {
    let mut machine = machine(Limits { batch_bytes: 100, ..LINGER });
    for (name, size) in [(0, 10), (1, 500), (2, 10)] {
        assert!(offer(&mut machine, at(0), A, size, name).is_ok());
    }
    let mut batches = Vec::new();
    while let Some(off) = take(&mut machine, at(100)) {
        batches.push(off.names());
        settle(&mut machine, &off, usize::MAX);
    }
    assert_eq!(batches, [[0], [1], [2]]);
}

#[test]
fn s11_a_lane_that_shrinks_waits_again() {
    let mut machine = machine(Limits { batch_records: 2, ..LINGER });
    give(&mut machine, at(0), A, 0);
    let second = give(&mut machine, at(10), A, 1);
    assert!(machine.has_batch());
    assert!(machine.retract(second).is_ok());
    assert!(!machine.has_batch(), "one record is no full batch");
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(100)));
    let off = take(&mut machine, at(100)).expect("linger is over");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Linger, vec![0]));
}

#[test]
fn s11_the_next_oldest_keeps_its_own_deadline() {
    let mut machine = machine(LINGER);
    let first = give(&mut machine, at(0), A, 0);
    give(&mut machine, at(40), A, 1);
    assert!(take(&mut machine, at(90)).is_none());
    assert!(machine.retract(first).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(140)));
    assert!(take(&mut machine, at(139)).is_none());
    assert_eq!(take(&mut machine, at(140)).expect("linger is over").names(), [1]);
}

#[test]
fn s11_the_earliest_of_many_lanes() {
    let limits = Limits { linger: Duration::from_secs(1), batch_records: 32, ..PLAIN };
    let mut machine = Machine::new(limits, Heap { slots: 64, lanes: 12 }).expect("limits");
    let (mut seed, mut now, mut held) = (1, 0, Vec::new());
    for name in 0..5_000 {
        let choice = super::replay::next(&mut seed);
        now += choice % 20;
        // Nothing grows old enough to be due, lanes come and go, and their rows change hands.
        while held.len() > 30 || held.first().is_some_and(|(_, accepted)| accepted + 900 < now) {
            let (id, _) = held.remove(if held.len() > 30 { choice as usize % held.len() } else { 0 });
            assert!(machine.retract(id).is_ok());
        }
        let lane = Lane::new(TopicId((choice >> 8) as u32 % 40), None);
        held.extend(offer(&mut machine, at(now), lane, 1, name).map(|id| (id, now)));
        if choice >> 40 & 1 == 0 && !held.is_empty() {
            let (id, _) = held.remove((choice >> 20) as usize % held.len());
            assert!(machine.retract(id).is_ok());
        }
        let expected = held.first().map(|(_, accepted)| at(accepted + 1_000));
        assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), expected, "record {name}");
    }
}

/// The times are such that the evicted lane leaves its heap cell to a lane with an earlier deadline than the cell above.
#[test]
fn s11_an_evicted_lane_hides_no_deadline() {
    let mut machine = Machine::new(LINGER, Heap { slots: 16, lanes: 6 }).expect("limits");
    let lane = |index: u32| Lane::new(TopicId(index), None);
    let first: Vec<_> = (0..6).map(|index| give(&mut machine, at(index), lane(index as u32), 0)).collect();
    let mut last = None;
    for (now, index) in [(20, 1), (40, 0), (45, 3), (50, 2)] {
        let id = give(&mut machine, at(now), lane(index), 1);
        last = if index == 3 { Some(id) } else { last };
    }
    for (index, id) in first.iter().enumerate().take(4) {
        assert!(machine.retract(*id).is_ok());
        assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(101 + index as u64)));
    }
    assert!(machine.retract(last.expect("produced")).is_ok());
    give(&mut machine, at(60), lane(6), 2);
    assert!(machine.retract(first[4]).is_ok() && machine.retract(first[5]).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(120)));
}

#[test]
fn s12_one_lane_in_a_batch_and_its_order() {
    let mut machine = machine(PLAIN);
    for (name, lane) in [(0, A), (1, B), (2, A), (3, C), (4, A), (5, B)] {
        give(&mut machine, at(0), lane, name);
    }
    for expected in [(A, vec![0, 2, 4]), (B, vec![1, 5]), (C, vec![3])] {
        let off = take(&mut machine, at(0)).expect("ready");
        assert_eq!((off.batch.lane(), off.names()), expected);
    }
    assert!(take(&mut machine, at(0)).is_none());
}

#[test]
fn s12_one_batch_of_a_lane_out() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 1);
    assert!(!machine.has_batch() && take(&mut machine, at(0)).is_none());
    assert_eq!(report(&mut machine, off.records[0].0), Some(0), "before it is settled");
    assert!(!machine.has_batch());
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).expect("free again").names(), [1]);
}

#[test]
fn s12_a_second_settling_does_not_free_the_lane() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let first = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &first, usize::MAX);
    give(&mut machine, at(0), A, 1);
    let second = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 2);
    assert_eq!(machine.handle_settled(&first.batch), None);
    assert_eq!(machine.stats().stale_reports, 1);
    assert!(take(&mut machine, at(0)).is_none(), "two batches of one lane are out");
    settle(&mut machine, &second, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).expect("free again").names(), [2]);
}

#[test]
fn s12_the_lane_ready_for_longest_goes_first() {
    let mut machine = machine(Limits { batch_records: 1, ..PLAIN });
    for (name, lane) in [(0, A), (1, A), (2, B), (3, C)] {
        give(&mut machine, at(0), lane, name);
    }
    let mut order = Vec::new();
    while let Some(off) = take(&mut machine, at(0)) {
        order.extend(off.names());
        settle(&mut machine, &off, usize::MAX);
    }
    assert_eq!(order, [0, 2, 3, 1], "a busy lane does not starve the others");
}

#[test]
fn s13_linger_zero_means_at_once() {
    let mut machine = machine(Limits { batch_records: 1, ..PLAIN });
    give(&mut machine, at(0), A, 0);
    assert!(machine.has_batch());
    assert_eq!(machine.poll_timeout(), None, "there is nothing to wait for");
    let off = take(&mut machine, at(0)).expect("at once");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Idle, vec![0]));
}

#[test]
fn s13_linger_forever_is_cut_by_flush() {
    let mut machine = machine(Limits { linger: Duration::MAX, ..PLAIN });
    give(&mut machine, at(5), A, 0);
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(Instant::MAX));
    assert!(take(&mut machine, at(1_000_000)).is_none());
    machine.flush(FlushScope::All);
    assert_eq!(take(&mut machine, at(1_000_000)).expect("flushed").batch.reason(), CutReason::Flush);
}

#[test]
fn s14_the_factory_refuses_what_is_no_batch() {
    let limits = BatchLimits { records: 2, bytes: 100 };
    let create = |records: &[(Lane, usize)]| MessageBatch::create(limits, A, CutReason::Count, records.iter().copied());
    assert_eq!(create(&[]), Err(BatchError::Empty));
    assert_eq!(create(&[(A, 1), (B, 1)]), Err(BatchError::MixedLanes { batch: A, record: B }));
    assert_eq!(create(&[(A, 1), (A, 1), (A, 1)]), Err(BatchError::TooManyRecords { limit: 2 }));
    assert_eq!(create(&[(A, 60), (A, 60)]), Err(BatchError::TooManyBytes { limit: 100 }));
    assert_eq!(create(&[(A, 1), (A, usize::MAX)]), Err(BatchError::TooManyBytes { limit: 100 }));

    let batch = create(&[(A, 60), (A, 40)]).expect("within the limits");
    assert_eq!((batch.lane(), batch.reason(), batch.len(), batch.bytes()), (A, CutReason::Count, 2, 100));
    assert!(!batch.is_empty());
    assert_eq!(create(&[(A, 500)]).expect("alone").bytes(), 500);
}

#[test]
fn s14_a_cut_batch_stays_as_it_is() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    let before = off.batch.clone();
    give(&mut machine, at(0), A, 1);
    machine.flush(FlushScope::All);
    assert_eq!((&off.batch, off.batch.len()), (&before, 1));
}
