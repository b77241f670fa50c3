//! The backend's queue is full: what waits, what goes next, and when waiting is in vain (S16).

use aioproducer_core::{CutReason, Limits};

use super::*;

#[test]
fn s16_the_rest_waits_and_goes_in_order() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..5);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 5);
    assert_eq!(settle(&mut machine, &off, 2), None);
    assert!(!machine.has_batch(), "until the next report");
    give(&mut machine, at(0), B, 6);
    assert!(take(&mut machine, at(0)).is_none(), "other lanes share the queue");
    assert_eq!(report(&mut machine, ids[0]), Some(0));
    assert!(machine.has_batch());
    assert_eq!(take(&mut machine, at(0)).expect("unblocked").names(), [2, 3, 4, 5]);
}

#[test]
fn s16_again_and_again() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..16);
    let (mut queued, mut done) = (std::collections::VecDeque::new(), Vec::new());
    // The backend's queue holds two records.
    for _ in 0..100 {
        if let Some(off) = take(&mut machine, at(0)) {
            let room = 2 - queued.len();
            queued.extend(off.records.iter().take(room).map(|(id, _)| *id));
            assert_eq!(settle(&mut machine, &off, room), None);
        }
        if let Some(id) = queued.pop_front() {
            done.extend(report(&mut machine, id));
        }
    }
    assert_eq!(done, (0..16).collect::<Vec<_>>());
}

#[test]
fn s16_a_hopeless_record_comes_back_alone() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(settle(&mut machine, &off, 0), Some(0), "nothing else fills the queue");
    let off = take(&mut machine, at(0)).expect("the others are tried at once");
    assert_eq!(off.names(), [1, 2]);
    assert_eq!(settle(&mut machine, &off, 2), None);
    assert_eq!(machine.len(), 2);
}

#[test]
fn s16_hopeless_only_if_the_backend_held_nothing() {
    let mut machine = machine(PLAIN);
    let first = give(&mut machine, at(0), A, 0);
    let held = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &held, usize::MAX);
    give(&mut machine, at(0), B, 1);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(report(&mut machine, first), Some(0), "after the refusal, before it is settled");
    assert_eq!(settle(&mut machine, &off, 0), None);
    assert_eq!(take(&mut machine, at(0)).expect("nothing is in flight, so nothing to wait for").names(), [1]);
}

#[test]
fn s16_not_hopeless_if_another_lane_filled_the_queue_meanwhile() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let slow = take(&mut machine, at(0)).expect("ready");
    let other = give(&mut machine, at(0), B, 1);
    let quick = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &quick, usize::MAX);
    // The other lane's record filled the queue when this one came, and has left it since.
    assert_eq!(report(&mut machine, other), Some(1));
    assert_eq!(settle(&mut machine, &slow, 0), None, "it would fit an empty queue");
    assert_eq!(take(&mut machine, at(0)).expect("tried again").names(), [0]);
}

#[test]
fn s16_a_record_that_was_never_tried_is_not_hopeless() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..2);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 2);
    for (id, item) in &off.records {
        assert!(machine.handle_refused(*id, item.clone()).is_ok());
    }
    assert!(machine.retract(ids[0]).is_ok());
    assert_eq!(machine.handle_settled(&off.batch), None);
    assert_eq!(take(&mut machine, at(0)).expect("tried").names(), [1, 2]);
}

#[test]
fn s16_nothing_in_flight_means_nothing_to_wait_for() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    for (id, item) in &off.records[1..] {
        assert!(machine.handle_refused(*id, item.clone()).is_ok());
    }
    assert_eq!(report(&mut machine, ids[0]), Some(0), "its report came before the hand-off ended");
    assert_eq!(machine.handle_settled(&off.batch), None);
    assert_eq!(take(&mut machine, at(0)).expect("no report will come").names(), [1, 2]);
}

#[test]
fn s16_refused_bytes_count_for_a_full_batch() {
    let mut machine = machine(Limits { batch_bytes: 100, ..LINGER });
    (0..2).for_each(|name| assert!(offer(&mut machine, at(0), A, 60, name).is_ok()));
    let off = take(&mut machine, at(0)).expect("full");
    assert!(offer(&mut machine, at(0), B, 100, 2).is_ok());
    let other = take(&mut machine, at(0)).expect("full");
    settle(&mut machine, &other, usize::MAX);
    assert_eq!(settle(&mut machine, &off, 0), None);
    assert_eq!(report(&mut machine, other.records[0].0), Some(2));
    let off = take(&mut machine, at(0)).expect("full as before");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Bytes, vec![0]));
}

#[test]
fn s16_only_records_that_are_out_can_be_refused() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let first = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &first, usize::MAX);
    let (id, item) = first.records[0].clone();
    assert_eq!(machine.handle_refused(id, item.clone()), Err(item.clone()), "it is in the backend's queue");
    give(&mut machine, at(0), A, 1);
    let second = take(&mut machine, at(0)).expect("ready");
    assert_eq!(machine.handle_refused(id, item.clone()), Err(item), "nor while a later batch is out");
    assert_eq!(machine.stats().stale_reports, 2);
    settle(&mut machine, &second, usize::MAX);
    assert_eq!(machine.stats().handed_off, 2);
}

#[test]
fn s16_a_gap_among_refused_records_hides_no_deadline() {
    let mut machine = machine(LINGER);
    let ids = give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(100)).expect("linger is over");
    give(&mut machine, at(110), A, 3);
    // Record 1 is in the backend's queue though 0 and 2 were refused.
    for index in [0, 2] {
        let (id, item) = off.records[index].clone();
        assert!(machine.handle_refused(id, item).is_ok());
    }
    machine.handle_settled(&off.batch);
    assert!(machine.retract(ids[0]).is_ok());
    assert!(machine.retract(ids[2]).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(210)));
    assert_eq!(report(&mut machine, ids[1]), Some(1));
    assert_eq!(take(&mut machine, at(210)).expect("linger is over").names(), [3]);
}

#[test]
fn s16_a_refused_record_that_was_taken_back_leaves_the_order() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..4);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 4);
    for (index, (id, item)) in off.records.iter().enumerate().skip(1) {
        assert!(machine.handle_refused(*id, item.clone()).is_ok());
        if index == 2 {
            assert!(machine.retract(*id).is_ok());
        }
    }
    assert_eq!(machine.handle_settled(&off.batch), None);
    assert_eq!(report(&mut machine, ids[0]), Some(0));
    assert_eq!(take(&mut machine, at(0)).expect("unblocked").names(), [1, 3, 4]);
}
