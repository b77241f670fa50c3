//! Records that fail, and the others that must not notice.

use aioproducer_core::{Limits, RetractError, Timeout, TimeoutReason};

use super::*;

const EXPIRY: Limits = Limits { delivery_timeout: Some(Duration::from_millis(50)), ..PLAIN };

#[test]
fn s15_a_rejected_record_leaves_its_neighbours() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..5);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(report(&mut machine, ids[2]), Some(2), "rejected at hand-off");
    assert_eq!(settle(&mut machine, &off, usize::MAX), None);
    assert!(!machine.has_batch() && take(&mut machine, at(0)).is_none(), "nothing is sent again");
    for name in [0, 1, 3, 4] {
        assert_eq!(report(&mut machine, ids[name]), Some(name as u64));
    }
    let point = machine.flush(FlushScope::All);
    assert!(machine.is_flushed(point) && machine.is_empty());
}

#[test]
fn s15_rejected_and_refused_in_one_batch() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..5);
    let off = take(&mut machine, at(0)).expect("ready");
    for (id, item) in &off.records[3..] {
        assert!(machine.handle_refused(*id, item.clone()).is_ok());
    }
    assert_eq!(report(&mut machine, ids[0]), Some(0), "rejected");
    assert_eq!(machine.handle_settled(&off.batch), None);
    assert_eq!((machine.stats().buffered, machine.stats().handed_off), (2, 2));
    assert_eq!(report(&mut machine, ids[1]), Some(1));
    assert_eq!(take(&mut machine, at(0)).expect("unblocked").names(), [3, 4]);
}

#[test]
fn s17_expired_in_the_buffer() {
    let mut machine = machine(Limits { linger: Duration::from_secs(1), ..EXPIRY });
    give(&mut machine, at(0), A, 0);
    give(&mut machine, at(10), B, 1);
    give(&mut machine, at(20), A, 2);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(50), reason: TimeoutReason::Delivery }));
    assert_eq!(expire(&mut machine, at(49)), []);
    assert_eq!(expire(&mut machine, at(50)), [0]);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(60), reason: TimeoutReason::Delivery }));
    assert_eq!(expire(&mut machine, at(1_000)), [1, 2]);
    assert_eq!((machine.len(), machine.poll_timeout()), (0, None));
}

#[test]
fn s17_the_time_of_produce_counts_also_after_a_refusal() {
    let mut machine = machine(EXPIRY);
    let first = give(&mut machine, at(0), A, 0);
    give(&mut machine, at(5), A, 1);
    let off = take(&mut machine, at(30)).expect("ready");
    settle(&mut machine, &off, 1);
    assert_eq!(report(&mut machine, first), Some(0));
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(55), reason: TimeoutReason::Delivery }));
    assert_eq!(expire(&mut machine, at(55)), [1]);
}

#[test]
fn s17_behind_a_batch_that_is_out() {
    let mut machine = machine(EXPIRY);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(7), A, 1);
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(50)), "the one that is out");
    assert_eq!(expire(&mut machine, at(57)), [0, 1]);
    settle(&mut machine, &off, usize::MAX);
    assert_eq!((machine.len(), machine.held(), machine.has_batch()), (0, 1, false));
}

#[test]
fn s17_refused_and_not_yet_settled() {
    let mut machine = machine(EXPIRY);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    assert!(machine.handle_refused(off.records[0].0, off.records[0].1.clone()).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(50)));
    assert_eq!(expire(&mut machine, at(50)), [0]);
    assert_eq!(machine.handle_settled(&off.batch), None, "it has ended");
}

#[test]
fn s17_the_earliest_deadline_comes_first() {
    let mut machine = machine(Limits { linger: Duration::from_millis(20), ..EXPIRY });
    let gone = give(&mut machine, at(0), A, 0);
    give(&mut machine, at(10), B, 2);
    give(&mut machine, at(19), C, 3);
    give(&mut machine, at(20), A, 1);
    assert!(machine.retract(gone).is_ok());
    assert_eq!(expire(&mut machine, at(500)), [2, 3, 1], "not the oldest deadline first");
}

#[test]
fn s17_expiry_leaves_the_rest_of_a_full_lane_to_wait() {
    let limits = Limits { linger: Duration::from_millis(40), batch_records: 2, ..EXPIRY };
    let mut machine = machine(limits);
    give(&mut machine, at(0), A, 0);
    give(&mut machine, at(30), A, 1);
    assert!(machine.has_batch());
    assert_eq!(expire(&mut machine, at(50)), [0]);
    assert!(!machine.has_batch(), "one record is no full batch");
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(70), reason: TimeoutReason::Linger }));
    assert_eq!(take(&mut machine, at(70)).expect("linger is over").names(), [1]);
}

const REPORTS: Limits = Limits { report_timeout: Some(Duration::from_millis(30)), ..EXPIRY };

#[test]
fn s17_a_record_that_the_backend_has_ends_in_time_and_its_slot_follows() {
    let mut machine = machine(REPORTS);
    let lost = give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    give(&mut machine, at(10), A, 1);
    let point = machine.flush(FlushScope::All);
    let off = take(&mut machine, at(10)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(50), reason: TimeoutReason::Delivery }));
    assert_eq!(expire(&mut machine, at(49)), []);
    let ended = machine.poll_expired(at(50)).expect("its time is over");
    assert_eq!((ended.ended.slot, ended.ended.ticket, ended.handed_off), (lost, 0, true));
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(60), reason: TimeoutReason::Delivery }));
    assert_eq!(report(&mut machine, off.records[0].0), Some(1));
    assert!(machine.is_flushed(point) && machine.is_empty() && machine.len_of(A) == 0);
    assert_eq!(machine.retract(lost).err(), Some(RetractError::Ended));

    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(80), reason: TimeoutReason::Report }));
    assert_eq!((expire(&mut machine, at(79)), machine.held()), (vec![], 1));
    assert_eq!((expire(&mut machine, at(80)), machine.held(), machine.poll_timeout()), (vec![], 0, None));
    let stats = machine.stats();
    assert_eq!((stats.in_use, stats.overdue, stats.bytes, stats.handed_off), (1, 1, 10, 0), "the backend has it");
    assert_eq!(report(&mut machine, lost), None);
    let stats = machine.stats();
    assert_eq!((stats.in_use, stats.overdue, stats.bytes, stats.stale_reports), (0, 0, 0, 0));
    assert_eq!(report(&mut machine, lost), None);
    assert_eq!(machine.stats().stale_reports, 1);
}

#[test]
fn s17_a_batch_that_is_out_is_not_overdue() {
    let mut machine = machine(REPORTS);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!((expire(&mut machine, at(50)), machine.poll_timeout()), (vec![0], None));
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(80), reason: TimeoutReason::Report }));
}

#[test]
fn s17_the_wait_for_room_is_part_of_the_time() {
    let mut machine = machine(EXPIRY);
    give(&mut machine, at(30), A, 0);
    let item = Item { name: 1, lane: B, size: 10, own: None };
    assert!(machine.produce_since(at(40), at(20), item, 1).is_ok());
    assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(70)));
    let off = take(&mut machine, at(40)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(expire(&mut machine, at(70)), [1], "accepted later, and produced before");
    assert_eq!(expire(&mut machine, at(80)), [0]);
}

#[test]
fn s17_slots_of_overdue_records_are_not_used_again() {
    let mut machine = Producer::new(REPORTS, Heap { slots: 8, lanes: 2 }).expect("limits");
    let lost = give_all(&mut machine, A, 0..8);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(expire(&mut machine, at(50)), (0..8).collect::<Vec<_>>(), "the oldest first");
    assert_eq!((expire(&mut machine, at(80)), machine.stats().overdue), (vec![], 8));
    assert_eq!(offer(&mut machine, at(80), B, 10, 8), Err(Refusal::Full));
    assert_eq!(report(&mut machine, lost[3]), None);
    assert_eq!(give(&mut machine, at(80), B, 8).index(), lost[3].index());
}

#[test]
fn s17_a_full_queue_is_tried_again_when_nothing_will_be_reported() {
    let mut machine = machine(REPORTS);
    give(&mut machine, at(0), A, 0);
    give(&mut machine, at(40), A, 1);
    let off = take(&mut machine, at(40)).expect("ready");
    settle(&mut machine, &off, 1);
    assert!(!machine.has_batch(), "the queue is full until a report");
    assert_eq!((expire(&mut machine, at(50)), machine.has_batch()), (vec![0], false));
    assert_eq!((expire(&mut machine, at(80)), machine.stats().overdue), (vec![], 1));
    assert_eq!(take(&mut machine, at(80)).expect("worth a try").names(), [1]);
}

#[test]
fn s17_a_copy_is_wanted_of_a_lane_that_was_not_heard_of_lately() {
    let mut machine = machine(Limits { delivery_timeout: Some(Duration::from_secs(9)), ..PLAIN });
    let wants = |machine: &mut Machine, now: Instant, name: u64| {
        let slot = give(machine, now, A, name);
        let mut wanted = None;
        let batch = machine.poll_batch(now, |_, item, wants| {
            wanted = Some(wants);
            Some(item)
        });
        machine.handle_settled(&batch.expect("ready"));
        (slot, wanted.expect("a record"))
    };
    let (first, wanted) = wants(&mut machine, at(1), 0);
    assert!(wanted && machine.has_copies(), "nothing is known of the lane");
    assert_eq!(report(&mut machine, first), Some(0));
    let (second, wanted) = wants(&mut machine, at(200), 1);
    assert!(!wanted && !machine.has_copies(), "it answers");
    assert_eq!(report(&mut machine, second), Some(1));
    let (third, wanted) = wants(&mut machine, at(450), 2);
    assert!(wanted, "it is silent");
    let ended = machine.poll_expired(at(9_450)).expect("its time is over");
    assert_eq!((ended.ended.slot, ended.record.map(|item| item.name)), (third, Some(2)));
}
