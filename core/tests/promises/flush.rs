//! Flush and close.

use aioproducer_core::{CutReason, Limits};

use super::*;

#[test]
fn s23_only_what_was_accepted_before() {
    let mut machine = machine(LINGER);
    let ids: Vec<_> = [(0, A), (1, B)].map(|(name, lane)| give(&mut machine, at(0), lane, name)).into();
    let point = machine.flush(FlushScope::All);
    let later = give(&mut machine, at(0), C, 2);
    for expected in [0, 1] {
        let off = take(&mut machine, at(0)).expect("flushed");
        assert_eq!((off.batch.reason(), off.names()), (CutReason::Flush, vec![expected]));
        settle(&mut machine, &off, usize::MAX);
    }
    assert!(take(&mut machine, at(0)).is_none(), "a later record lingers");
    assert!(!machine.is_flushed(point), "handed off is not ended");
    assert_eq!(report(&mut machine, ids[1]), Some(1));
    assert!(!machine.is_flushed(point));
    assert_eq!(report(&mut machine, ids[0]), Some(0));
    assert!(machine.is_flushed(point), "though another record is held");
    assert!(machine.retract(later).is_ok());
}

#[test]
fn s23_a_later_record_of_the_same_lane_lingers_on() {
    let mut machine = machine(LINGER);
    give(&mut machine, at(0), A, 0);
    let point = machine.flush(FlushScope::All);
    let off = take(&mut machine, at(0)).expect("flushed");
    give(&mut machine, at(10), A, 1);
    settle(&mut machine, &off, usize::MAX);
    assert!(!machine.has_batch(), "it was accepted after the flush");
    assert_eq!(report(&mut machine, off.records[0].0), Some(0));
    assert!(machine.is_flushed(point));
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(110)));
}

#[test]
fn s23_many_at_once() {
    let mut machine = machine(LINGER);
    let empty = machine.flush(FlushScope::All);
    assert!(machine.is_flushed(empty), "nothing to wait for");
    let first = give(&mut machine, at(0), A, 0);
    let one = machine.flush(FlushScope::All);
    let second = give(&mut machine, at(0), A, 1);
    let (two, same) = (machine.flush(FlushScope::All), machine.flush(FlushScope::All));
    assert!(one.position() < two.position() && two == same);
    let off = take(&mut machine, at(0)).expect("flushed");
    assert_eq!(off.names(), [0, 1]);
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(report(&mut machine, second), Some(1), "out of order");
    assert!(!machine.is_flushed(one) && !machine.is_flushed(two));
    assert_eq!(report(&mut machine, first), Some(0));
    assert!(machine.is_flushed(one) && machine.is_flushed(two));
}

#[test]
fn s23_reaches_records_behind_a_batch_that_is_out() {
    let mut machine = machine(Limits { batch_records: 2, ..LINGER });
    give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("full");
    machine.flush(FlushScope::All);
    settle(&mut machine, &off, usize::MAX);
    let off = take(&mut machine, at(0)).expect("flushed");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Flush, vec![2]));
}

#[test]
fn s23_every_way_to_end_counts() {
    let limits = Limits { delivery_timeout: Some(Duration::from_millis(50)), ..LINGER };
    let mut machine = machine(limits);
    let retracted = give(&mut machine, at(0), A, 0);
    give(&mut machine, at(0), B, 1);
    let point = machine.flush(FlushScope::All);
    assert!(machine.retract(retracted).is_ok());
    assert!(!machine.is_flushed(point));
    assert_eq!(expire(&mut machine, at(50)), [1]);
    assert!(machine.is_flushed(point));
}

#[test]
fn s23_what_a_flush_asked_for_and_lost_does_not_hurry_the_rest() {
    let mut machine = machine(LINGER);
    let flushed = give(&mut machine, at(0), A, 0);
    machine.flush(FlushScope::All);
    give(&mut machine, at(10), A, 1);
    assert!(machine.has_batch());
    assert!(machine.retract(flushed).is_ok());
    assert!(!machine.has_batch());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(110)));
}

#[test]
fn s25_close_refuses_and_cuts_linger() {
    let mut machine = machine(LINGER);
    let id = give(&mut machine, at(0), A, 0);
    let point = machine.close(at(0), Duration::from_secs(1));
    assert!(machine.is_closed());
    assert_eq!(offer(&mut machine, at(0), A, 1, 1), Err(Refusal::Closed));
    assert_eq!(offer(&mut machine, at(0), A, 5_000, 1), Err(Refusal::Closed), "whatever else is wrong");
    let off = take(&mut machine, at(0)).expect("close flushes");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.close(at(0), Duration::from_secs(1)), point, "a second close is the same");
    assert_eq!(report(&mut machine, id), Some(0));
    assert!(machine.is_flushed(point));
}

#[test]
fn s25_draining_gives_back_what_was_not_sent() {
    let mut machine = machine(PLAIN);
    for (name, lane) in [(0, A), (1, B), (2, A), (3, C), (4, B)] {
        give(&mut machine, at(0), lane, name);
    }
    let out = take(&mut machine, at(0)).expect("ready");
    assert_eq!(out.names(), [0, 2]);
    give(&mut machine, at(0), A, 5);
    let point = machine.close(at(0), Duration::from_secs(1));
    let some: Vec<_> = core::iter::from_fn(|| machine.poll_drained()).map(|(item, _)| item.name).collect();
    assert_eq!(some, [1, 4, 3], "some of the batch that is out may come back before 5");
    assert_eq!(purge(&mut machine), [5]);
    assert!(!machine.has_batch() && !machine.is_flushed(point));

    assert!(settle(&mut machine, &out, 1).is_none());
    assert_eq!(machine.len(), 2, "what was refused since waits again");
    assert_eq!(purge(&mut machine), [2]);
    assert_eq!(report(&mut machine, out.records[0].0), Some(0));
    assert!(machine.is_flushed(point) && machine.is_empty());
}
