//! Records with a timeout of their own.

use aioproducer_core::{Limits, PurgeScope, RetractError, Timeout, TimeoutReason, Unreported};

use super::*;

fn hasty(machine: &mut Machine, now: Instant, lane: Lane, own: u64, name: u64) -> SlotId {
    machine.produce(now, item(lane, own, name), name).map_err(|refused| refused.reason).expect("room")
}

fn item(lane: Lane, own: u64, name: u64) -> Item {
    Item { name, lane, size: 10, own: Some(Duration::from_millis(own)) }
}

#[test]
fn s17_a_record_s_own_timeout_ends_it_in_the_buffer_and_no_other() {
    let mut machine = machine(LINGER);
    give(&mut machine, at(0), A, 0);
    hasty(&mut machine, at(0), A, 30, 1);
    hasty(&mut machine, at(0), A, 20, 2);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(20), reason: TimeoutReason::Record }));
    assert_eq!(expire(&mut machine, at(20) - Duration::from_nanos(1)), []);
    assert_eq!(expire(&mut machine, at(20)), [2]);
    assert_eq!(expire(&mut machine, at(30)), [1]);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(100), reason: TimeoutReason::Linger }));
    assert_eq!(take(&mut machine, at(100)).expect("linger is over").names(), [0]);
}

#[test]
fn s17_the_earliest_deadline_first_of_both_kinds() {
    let mut machine = machine(Limits { delivery_timeout: Some(Duration::from_millis(50)), ..LINGER });
    give(&mut machine, at(0), A, 0);
    hasty(&mut machine, at(5), B, 60, 1);
    hasty(&mut machine, at(10), C, 30, 2);
    give(&mut machine, at(20), A, 3);
    assert_eq!(expire(&mut machine, at(200)), [2, 0, 1, 3], "a delivery timeout may come before the record's own");
}

#[test]
fn s17_a_wait_for_room_counts() {
    let mut machine = machine(LINGER);
    assert!(machine.produce_since(at(25), at(10), item(A, 20, 0), 0).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(30)));
    assert!(machine.produce_since(at(26), at(0), item(A, 20, 1), 1).is_ok());
    assert_eq!(expire(&mut machine, at(26)), [1], "its time was over when it came");
}

#[test]
fn s17_at_the_backend_the_copy_comes_back_and_the_slot_stays() {
    let mut machine = machine(PLAIN);
    let slot = hasty(&mut machine, at(0), A, 20, 0);
    let other = give(&mut machine, at(0), A, 1);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    let flush = machine.flush(FlushScope::All);
    let Unreported { record, ended, handed_off } = machine.poll_expired(at(20)).expect("its time is over");
    assert_eq!((record, ended.slot, ended.ticket, handed_off), (Some(item(A, 20, 0)), slot, 0, true));
    assert_eq!((machine.len(), machine.held(), machine.len_of(A), machine.left_of(flush)), (1, 2, 1, 1));
    assert_eq!((machine.stats().handed_off, machine.stats().late, machine.stats().overdue), (2, 1, 0));
    assert_eq!(machine.retract(slot).err(), Some(RetractError::Ended));
    assert_eq!(report(&mut machine, other), Some(1));
    assert!(machine.is_flushed(flush) && machine.is_empty());
    assert_eq!(report(&mut machine, slot), None);
    assert_eq!((machine.held(), machine.stats().in_use, machine.stats().stale_reports), (0, 0, 0));
}

#[test]
fn s17_a_copy_is_there_until_the_report() {
    let mut machine = machine(PLAIN);
    let slots = [0, 1].map(|name| hasty(&mut machine, at(0), A, 20, name));
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.take_copy(slots[0]), Some(item(A, 20, 0)));
    assert_eq!(machine.take_copy(slots[0]), None, "it was taken");
    assert_eq!((report(&mut machine, slots[0]), report(&mut machine, slots[1])), (Some(0), Some(1)));
    assert_eq!(machine.take_copy(slots[1]), None, "it has gone with its record");
    assert_eq!(machine.poll_timeout(), None);
    // Their slots are used again, without a copy.
    let next = hasty(&mut machine, at(0), A, 20, 2);
    assert_eq!(machine.take_copy(next), None, "it is buffered");
}

#[test]
fn s17_refused_by_a_full_queue() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let late = hasty(&mut machine, at(0), A, 20, 1);
    hasty(&mut machine, at(0), A, 40, 2);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(expire(&mut machine, at(20)), [1]);
    let back = off.records[1].1.clone();
    assert_eq!(machine.handle_refused(late, back.clone()), Err(back), "it has ended");
    assert_eq!(machine.handle_refused(off.records[2].0, off.records[2].1.clone()), Ok(()));
    assert!(machine.handle_settled(&off.batch).is_none());
    assert!(!machine.has_batch(), "the queue is full until a report");
    assert_eq!((machine.stats().stale_reports, machine.stats().in_use, machine.stats().late), (0, 2, 0));
    assert_eq!(expire(&mut machine, at(40)), [2], "in the buffer again, with its own time");
    assert_eq!(report(&mut machine, off.records[0].0), Some(0));
    assert!(machine.is_empty());
}

#[test]
fn s16_a_late_record_fills_the_queue() {
    let mut machine = machine(PLAIN);
    let late = hasty(&mut machine, at(0), A, 20, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(expire(&mut machine, at(20)), [0]);
    give(&mut machine, at(20), A, 1);
    let off = take(&mut machine, at(20)).expect("ready");
    assert_eq!(settle(&mut machine, &off, 0), None, "it is not hopeless: the backend has another");
    assert!(!machine.has_batch());
    assert_eq!(report(&mut machine, late), None);
    assert_eq!(take(&mut machine, at(20)).expect("there is room").names(), [1]);
}

#[test]
fn s17_a_late_record_of_which_the_backend_says_nothing_counts_as_overdue() {
    let limits = Limits { report_timeout: Some(Duration::from_millis(50)), ..PLAIN };
    let mut machine = machine(limits);
    let late = hasty(&mut machine, at(0), A, 20, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(expire(&mut machine, at(20)), [0]);
    assert_eq!(machine.poll_timeout(), None, "the batch is out");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(70), reason: TimeoutReason::Report }));
    assert_eq!(expire(&mut machine, at(69)), []);
    assert_eq!((machine.held(), machine.stats().overdue), (1, 0));
    assert_eq!(expire(&mut machine, at(70)), [], "its outcome is known");
    assert_eq!((machine.held(), machine.stats().overdue, machine.stats().late), (0, 1, 0));
    assert_eq!(machine.poll_timeout(), None);
    assert_eq!(report(&mut machine, late), None);
    assert_eq!((machine.stats().in_use, machine.stats().stale_reports), (0, 0));
}

#[test]
fn s17_every_other_end_forgets_the_timeout() {
    let limits = Limits { delivery_timeout: Some(Duration::from_millis(15)), ..PLAIN };
    let mut machine = machine(limits);
    let retracted = hasty(&mut machine, at(0), A, 20, 0);
    assert!(machine.retract(retracted).is_ok());
    hasty(&mut machine, at(0), A, 20, 1);
    assert_eq!(purge(&mut machine), [1]);
    hasty(&mut machine, at(0), A, 20, 2);
    assert_eq!(expire(&mut machine, at(15)), [2]);
    hasty(&mut machine, at(15), A, 20, 3);
    assert!(machine.poll_drained().is_some());
    hasty(&mut machine, at(15), A, 20, 4);
    let off = take(&mut machine, at(15)).expect("ready");
    machine.purge(PurgeScope::Queued);
    assert_eq!((settle(&mut machine, &off, 0), super::purged(&mut machine)), (None, vec![4]));
    assert_eq!((machine.poll_timeout(), machine.len()), (None, 0));
}
