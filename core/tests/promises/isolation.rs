//! Lanes that are kept from each other's records: shares of the pool, credit, and the order of keyed records.

use aioproducer_core::{AdmitDecision, Isolation, Limits, Timeout, TimeoutReason};

use super::*;

const APART: Limits =
    Limits { isolation: Some(Isolation { availability_timeout: Duration::from_millis(100), window: 4 }), ..PLAIN };

fn admit(machine: &mut Machine, lane: Lane) -> AdmitDecision {
    machine.admit(lane, 10, true, |_, _| panic!("nothing makes way"))
}

/// Hands off what there is and leaves it with the backend.
fn lose(machine: &mut Machine, now: Instant) -> Vec<SlotId> {
    let mut lost = Vec::new();
    while let Some(off) = take(machine, now) {
        settle(machine, &off, usize::MAX);
        lost.extend(off.records.iter().map(|(id, _)| *id));
    }
    lost
}

#[test]
fn isolation_the_backend_has_a_window_of_a_lane_and_the_rest_can_be_taken_back() {
    let mut machine = machine(APART);
    let ids = give_all(&mut machine, A, 0..8);
    assert_eq!(
        take(&mut machine, at(0)).map(|off| (settle(&mut machine, &off, 9), off.names())),
        Some((None, vec![0, 1, 2, 3]))
    );
    assert!(!machine.has_batch(), "there is no credit left");
    assert!(machine.retract(ids[7]).is_ok());
    machine.purge(aioproducer_core::PurgeScope::Queued);
    assert_eq!(purged(&mut machine), [4, 5, 6], "a purge is exact for what has no credit");
}

#[test]
fn isolation_each_report_doubles_the_window_while_records_wait() {
    let mut machine = machine(APART);
    let first = give_all(&mut machine, A, 0..16);
    assert_eq!(
        take(&mut machine, at(0)).map(|off| {
            settle(&mut machine, &off, 9);
            off.names().len()
        }),
        Some(4)
    );
    first[..4].iter().for_each(|id| assert!(report(&mut machine, *id).is_some()));
    assert_eq!(
        take(&mut machine, at(0)).map(|off| {
            settle(&mut machine, &off, 9);
            off.names().len()
        }),
        Some(8)
    );
}

#[test]
fn isolation_a_dead_lane_leaves_room_for_the_others() {
    let mut machine = machine(APART);
    let other = give(&mut machine, at(0), B, 100);
    give_all(&mut machine, A, 0..3);
    lose(&mut machine, at(0));
    assert_eq!(admit(&mut machine, A), AdmitDecision::Enter, "it is not known to be dead");
    expire(&mut machine, at(100));
    assert!(machine.is_unavailable(A));
    assert_eq!((admit(&mut machine, A), machine.shares_due()), (AdmitDecision::Enter, None), "no lane is answered");
    assert_eq!(report(&mut machine, other), Some(100));
    assert_eq!(machine.shares_due(), Some(at(200)));
    // It has 3 of 16, and 13 are free.
    assert_eq!(admit(&mut machine, A), AdmitDecision::Wait);
    for name in 0..11 {
        assert_eq!(admit(&mut machine, C), AdmitDecision::Enter, "record {name} of a lane that does not stand still");
        give(&mut machine, at(100), C, name);
    }
}

#[test]
fn isolation_a_dead_lane_may_have_more_as_soon_as_it_answers() {
    let mut machine = machine(APART);
    let other = give(&mut machine, at(0), B, 100);
    give_all(&mut machine, A, 0..5);
    let lost = lose(&mut machine, at(0));
    expire(&mut machine, at(100));
    assert_eq!(report(&mut machine, other), Some(100));
    assert_eq!((machine.is_unavailable(A), admit(&mut machine, A)), (true, AdmitDecision::Wait));
    assert!(!machine.has_batch());
    assert!(report(&mut machine, *lost.iter().find(|id| **id != other).expect("of A")).is_some());
    assert_eq!((machine.is_unavailable(A), admit(&mut machine, A)), (false, AdmitDecision::Enter));
    assert_eq!(take(&mut machine, at(100)).expect("it has credit again").names(), [4]);
}

#[test]
fn isolation_one_lane_alone_may_use_the_whole_pool() {
    let mut machine = machine(APART);
    give_all(&mut machine, A, 0..4);
    lose(&mut machine, at(0));
    for name in 4..16 {
        expire(&mut machine, at(500));
        assert_eq!(admit(&mut machine, A), AdmitDecision::Enter);
        give(&mut machine, at(500), A, name);
    }
    assert_eq!(admit(&mut machine, A), AdmitDecision::Wait);
}

#[test]
fn isolation_says_which_lane_is_full() {
    let mut machine = machine(Limits { overflow: Overflow::Fail, ..APART });
    let other = give(&mut machine, at(0), B, 100);
    give_all(&mut machine, A, 0..4);
    lose(&mut machine, at(0));
    expire(&mut machine, at(100));
    assert_eq!(report(&mut machine, other), Some(100));
    assert_eq!(admit(&mut machine, A), AdmitDecision::Refuse(Refusal::LaneFull));
    assert_eq!(admit(&mut machine, C), AdmitDecision::Enter);
    assert!(machine.room().slots > 0);
    // The inbox cannot tell lanes apart: after a record for a dead lane each is looked at.
    give(&mut machine, at(100), A, 4);
    give(&mut machine, at(100), A, 5);
    assert_eq!(machine.room().slots, 0);
}

#[test]
fn isolation_a_lane_without_a_partition_gets_more_credit_in_time() {
    let mut machine = machine(APART);
    give_all(&mut machine, C, 0..8);
    lose(&mut machine, at(0));
    // Once after a tenth of the timeout, and each time that it has passed.
    for (due, name) in [(10, 4), (100, 5), (200, 6), (300, 7)] {
        assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(due), reason: TimeoutReason::Credit }));
        assert_eq!((expire(&mut machine, at(due - 1)), machine.has_batch()), (vec![], false));
        let batch = take(&mut machine, at(due)).expect("for another partition");
        assert_eq!(batch.names(), [name]);
        settle(&mut machine, &batch, usize::MAX);
    }
}

#[test]
fn isolation_a_lane_of_unplaced_records_gets_more_credit_in_time() {
    let mut machine = machine(APART);
    give_all(&mut machine, Lane::unplaced(C.topic()), 0..6);
    lose(&mut machine, at(0));
    // All that the backend has may be with a partition that does not answer, and the rest goes to others.
    for (due, name) in [(10, 4), (100, 5)] {
        let batch = take(&mut machine, at(due)).expect("for another partition");
        assert_eq!(batch.names(), [name]);
        settle(&mut machine, &batch, usize::MAX);
    }
}

#[test]
fn isolation_overdue_records_use_no_credit() {
    let timeouts = Limits {
        delivery_timeout: Some(Duration::from_millis(50)),
        report_timeout: Some(Duration::from_millis(30)),
        ..APART
    };
    let mut machine = machine(timeouts);
    give_all(&mut machine, A, 0..4);
    lose(&mut machine, at(0));
    give(&mut machine, at(40), A, 4);
    assert_eq!(expire(&mut machine, at(50)), [0, 1, 2, 3]);
    assert!(!machine.has_batch(), "they may still be sent");
    assert_eq!(take(&mut machine, at(80)).expect("the others are waited for no longer").names(), [4]);
}

/// The lane of placed records waits, and the others need no credit any more.
#[test]
fn isolation_placed_records_stay_behind_those_that_are_not() {
    const UNPLACED: Lane = Lane::unplaced(TopicId(0));
    let mut machine = Producer::new(APART, Heap { slots: 256, lanes: 10 }).expect("limits");
    let ids = give_all(&mut machine, UNPLACED, 0..6);
    // The number of partitions is known from here on.
    give(&mut machine, at(0), A, PLACED + 6);
    give(&mut machine, at(0), Lane::new(TopicId(0), Some(9)), 7);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!((off.batch.lane(), off.names()), (UNPLACED, vec![0, 1, 2, 3, 4, 5]));
    let named = take(&mut machine, at(0)).expect("a record that names its partition has no part in it");
    assert_eq!(named.names(), [7]);
    assert!(!machine.has_batch(), "some of what is out may come back");
    settle(&mut machine, &off, 5);
    assert!(report(&mut machine, ids[0]).is_some(), "the backend's queue has room again");
    let rest = take(&mut machine, at(0)).expect("it came back");
    assert_eq!(rest.names(), [5]);
    assert!(!machine.has_batch());
    settle(&mut machine, &rest, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).map(|off| (off.batch.lane(), off.names())), Some((A, vec![PLACED + 6])));
}

/// A thread that found the number of partitions unknown may come late.
#[test]
fn isolation_placed_records_stay_in_order_when_one_that_is_not_comes_late() {
    const UNPLACED: Lane = Lane::unplaced(TopicId(0));
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, PLACED + 1);
    give(&mut machine, at(0), UNPLACED, 2);
    give(&mut machine, at(0), A, PLACED + 3);
    let first = take(&mut machine, at(0)).expect("ready");
    assert_eq!(first.names(), [2]);
    settle(&mut machine, &first, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).map(|off| off.names()), Some(vec![PLACED + 1, PLACED + 3]));
}

/// A burst need not learn again what the backend has answered before. After a pause it may have half of that.
#[test]
fn isolation_a_lane_keeps_its_window_while_it_has_nothing() {
    for (pause, window) in [(0, 16), (99, 16), (100, 8)] {
        let mut machine = Producer::new(APART, Heap { slots: 256, lanes: 10 }).expect("limits");
        let answer = |machine: &mut Machine, lost: Vec<SlotId>| {
            lost.iter().for_each(|id| assert!(report(machine, *id).is_some()));
            lost.len()
        };
        give_all(&mut machine, A, 0..16);
        for handed_off in [4, 8, 4, 0] {
            let lost = lose(&mut machine, at(0));
            assert_eq!(answer(&mut machine, lost), handed_off);
        }
        give(&mut machine, at(pause), A, 16);
        let lost = lose(&mut machine, at(pause));
        assert_eq!(answer(&mut machine, lost), 1);
        for name in 17..57 {
            give(&mut machine, at(pause), A, name);
        }
        assert_eq!(lose(&mut machine, at(pause)).len(), window, "after {pause} ms");
    }
}

/// The window counts bytes, too, so it grows by them: else large records would hold each other up.
#[test]
fn isolation_a_report_of_a_large_record_counts_for_its_bytes() {
    let large = Limits { record_bytes: 4 << 10, pool_bytes: 1 << 20, batch_bytes: 4 << 10, batch_records: 1, ..APART };
    let mut machine = Producer::new(large, Heap { slots: 256, lanes: 10 }).expect("limits");
    let mut name = 0;
    let mut give = |machine: &mut Machine| {
        offer(machine, at(0), A, 4 << 10, name).expect("room");
        name += 1;
    };
    (0..12).for_each(|_| give(&mut machine));
    for handed_off in [1, 2, 4, 5] {
        let lost = lose(&mut machine, at(0));
        lost.iter().for_each(|id| assert!(report(&mut machine, *id).is_some()));
        assert_eq!(lost.len(), handed_off);
    }
}

/// All of such a batch may go to one partition, of which it is not known yet that it does not answer.
#[test]
fn isolation_a_batch_without_a_partition_has_a_part_of_the_pool() {
    let mut machine = Producer::new(APART, Heap { slots: 48, lanes: 10 }).expect("limits");
    give_all(&mut machine, C, 0..8);
    assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [0, 1, 2]);
}

#[test]
fn isolation_lanes_that_are_not_known_to_be_dead_leave_room_too() {
    let mut machine = Producer::new(APART, Heap { slots: 1_000, lanes: 10 }).expect("limits");
    let lanes: Vec<Lane> = (0..6).map(|partition| Lane::new(TopicId(0), Some(partition))).collect();
    for lane in &lanes {
        let id = give(&mut machine, at(0), *lane, 0);
        lose(&mut machine, at(0));
        assert!(report(&mut machine, id).is_some());
    }
    let mut name = 0;
    // The first one takes what it may have, and then the second.
    for lane in &lanes[..2] {
        while machine.has_room(*lane, 10) {
            assert_eq!(admit(&mut machine, *lane), AdmitDecision::Enter);
            offer(&mut machine, at(0), *lane, 1, name).expect("room");
            name += 1;
        }
        lose(&mut machine, at(0));
    }
    assert!(name > 900 && machine.has_room(lanes[2], 10), "{name}");
}
