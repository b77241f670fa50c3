//! What concerns some lanes only, or one record: flushes of a scope, urgent records, a ticket's place.

use aioproducer_core::{CutReason, RetractError};

use super::*;

#[test]
fn s12_a_flush_of_some_lanes_leaves_others() {
    let mut machine = machine(LINGER);
    give(&mut machine, at(0), A, 0);
    let kept = give(&mut machine, at(0), C, 1);
    let point = machine.flush(FlushScope::Topic(TopicId(0)));
    let off = take(&mut machine, at(0)).expect("flushed");
    assert_eq!((off.batch.reason(), off.names()), (CutReason::Flush, vec![0]));
    assert!(take(&mut machine, at(0)).is_none(), "another topic lingers");
    give(&mut machine, at(1), A, 2);
    settle(&mut machine, &off, usize::MAX);
    assert!(!machine.has_batch(), "what came after the flush lingers");
    assert_eq!(machine.len_in(|lane| lane.topic() == TopicId(0)), 2);
    let completed = machine.handle_report(off.records[0].0).expect("in flight");
    assert!(completed.sequence < point.position() && machine.is_flushed(point));
    assert_eq!((machine.len_of(A), machine.len_in(|_| true)), (1, 2), "what came after, and the other topic's");
    assert!(machine.retract(kept).is_ok());
}

#[test]
fn s12_a_flushed_lane_whose_batch_is_out_goes_on_when_that_is_settled() {
    let mut machine = machine(LINGER);
    give(&mut machine, at(0), A, 0);
    machine.flush(FlushScope::All);
    let off = take(&mut machine, at(0)).expect("flushed");
    give(&mut machine, at(0), A, 1);
    machine.flush(FlushScope::Partition(TopicId(0), 0));
    assert!(!machine.has_batch());
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).expect("flushed").names(), [1]);
    assert_eq!(machine.len_of(A), 2);
}

#[test]
fn s11_an_urgent_record_takes_along_what_came_before_it() {
    let mut machine = machine(LINGER);
    give_all(&mut machine, A, 0..2);
    give(&mut machine, at(0), B, 2);
    assert!(!machine.has_batch());
    give(&mut machine, at(0), A, URGENT);
    let off = take(&mut machine, at(0)).expect("urgent");
    assert_eq!(off.names(), [0, 1, URGENT]);
    assert!(take(&mut machine, at(0)).is_none(), "another lane lingers");
    give(&mut machine, at(0), A, URGENT + 1);
    assert!(!machine.has_batch(), "the lane's batch is out");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(take(&mut machine, at(0)).expect("urgent").names(), [URGENT + 1]);
}

#[test]
fn s06_a_buffered_record_is_found_by_its_ticket() {
    let mut machine = machine(LINGER);
    let ids = give_all(&mut machine, A, 0..8);
    let off = take(&mut machine, at(0)).expect("full");
    let behind = give(&mut machine, at(0), A, 8);
    let beside = give(&mut machine, at(0), C, 9);
    let find = |machine: &Machine, name| machine.find_buffered(|ticket| *ticket == name);
    assert_eq!((find(&machine, 8), find(&machine, 9)), (Some(behind), Some(beside)));
    assert_eq!(find(&machine, 3), None, "it is handed off");
    assert_eq!(machine.retract(ids[3]), Err(RetractError::HandedOff));
    settle(&mut machine, &off, 3);
    assert_eq!(find(&machine, 3), Some(ids[3]), "it was refused");
    assert!(machine.retract(ids[3]).is_ok());
    assert_eq!(find(&machine, 3), None);
}

#[test]
fn s21_a_ticket_can_be_changed_while_its_record_lives() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..2);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    *machine.ticket_mut(ids[0]).expect("it lives") = 77;
    assert_eq!(report(&mut machine, ids[0]), Some(77));
    assert_eq!(machine.ticket_mut(ids[0]), None, "it has ended");
    give(&mut machine, at(0), A, 5);
    assert_eq!(machine.ticket_mut(ids[0]), None, "its slot is another's");
}
