//! Transactions: what is visible of them.

use aioproducer_history::{Allow, Anomaly, LogEntry, Status, TransactionHandle};

use crate::story::{Story, TOPIC, call};

/// A transaction with a delivered record in each of two partitions; `visible` says which of them consumers see.
fn transaction(visible: [bool; 2]) -> (Story, TransactionHandle) {
    let mut story = Story::default();
    let transaction = story.history.begin_transaction();
    for (partition, is_visible) in (0..).zip(visible) {
        let id = partition as u64;
        story.deliver(call(id).partition(partition).transaction(transaction), partition, 0);
        story.log.push(TOPIC, partition, 0, LogEntry::record(id).in_transaction(9));
        let marker = if is_visible { LogEntry::commit(9) } else { LogEntry::abort(9) };
        story.log.push(TOPIC, partition, 1, marker);
    }
    (story, transaction)
}

#[test]
fn a_record_of_an_aborted_transaction_is_not_visible() {
    let (mut story, handle) = transaction([false, true]);
    story.history.aborted(handle);
    story.is(Anomaly::AbortedRead, "ABORTED READ orders/1@0 #1: its transaction was aborted");
    let (mut story, handle) = transaction([false, false]);
    story.history.aborted(handle);
    story.is_right();
}

#[test]
fn a_record_of_a_transaction_that_did_not_end_is_not_visible() {
    let (story, _) = transaction([true, false]);
    story.is(Anomaly::AbortedRead, "ABORTED READ orders/0@0 #0: its transaction did not end");
    let (story, _) = transaction([false, false]);
    story.is_right();
}

#[test]
fn a_committed_transaction_is_visible_as_a_whole() {
    let (mut story, handle) = transaction([true, false]);
    story.history.committed(handle);
    let line = "PARTIAL COMMIT orders/1@0 #1: its transaction was committed: 1 records are visible, and 1 are not";
    story.is(Anomaly::PartialCommit, line);
    let (mut story, handle) = transaction([true, true]);
    story.history.committed(handle);
    story.is_right();
}

#[test]
fn a_committed_transaction_has_no_failed_record() {
    for status in [Status::NotPersisted, Status::PossiblyPersisted] {
        let (mut story, handle) = transaction([true, true]);
        story.fail(call(7).transaction(handle), status);
        story.history.committed(handle);
        assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::PartialCommit), 1, "{status}");
    }
    let (mut story, handle) = transaction([true, true]);
    let record = story.history.produce(story.now, call(7).transaction(handle));
    story.history.refused(record, story.now);
    story.history.committed(handle);
    story.is_right();
}

#[test]
fn a_lost_record_of_a_committed_transaction_is_a_lost_ack() {
    let (mut story, handle) = transaction([true, true]);
    story.deliver(call(7).transaction(handle), 0, 5);
    story.history.committed(handle);
    story.is(Anomaly::LostAck, "LOST ACK orders/0@5 #7");
}

#[test]
fn a_transaction_in_doubt_is_visible_as_a_whole_or_not_at_all() {
    for visible in [[true, true], [false, false]] {
        let (mut story, handle) = transaction(visible);
        story.history.in_doubt(handle);
        story.is_right();
    }
    let (mut story, handle) = transaction([false, true]);
    story.history.in_doubt(handle);
    let line = "PARTIAL COMMIT orders/0@0 #0: its transaction is in doubt: 1 records are visible, and 1 are not";
    story.is(Anomaly::PartialCommit, line);
    // What the application learns later counts.
    story.history.aborted(handle);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::AbortedRead), 1);
}

#[test]
fn a_record_of_a_transaction_in_doubt_that_is_gone_is_a_part() {
    let (mut story, handle) = transaction([true, true]);
    story.deliver(call(7).transaction(handle), 0, 5);
    story.history.in_doubt(handle);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::PartialCommit), 1);
}

#[test]
fn a_reader_of_committed_records_need_not_see_aborted_ones() {
    let mut story = Story::default();
    let handle = story.history.begin_transaction();
    story.deliver(call(1).transaction(handle), 0, 0);
    story.history.aborted(handle);
    story.is_right();
}

#[test]
fn a_record_that_was_aborted_and_produced_again_is_visible_once() {
    let (mut story, first) = transaction([false, false]);
    story.history.aborted(first);
    let second = story.history.begin_transaction();
    story.deliver(call(0).transaction(second), 0, 2);
    story.history.committed(second);
    story.log.push(TOPIC, 0, 2, LogEntry::record(0).in_transaction(9));
    story.log.push(TOPIC, 0, 3, LogEntry::commit(9));
    story.is_right();
}

#[test]
fn a_record_that_was_cut_off_is_no_part() {
    let (mut story, handle) = transaction([true, true]);
    story.deliver(call(7).transaction(handle), 2, 5);
    story.history.in_doubt(handle);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::PartialCommit), 1);
    story.log.begins(TOPIC, 2, 6);
    story.is_right();
}

#[test]
fn of_two_transactions_with_one_id_it_is_not_known_whose_record_is_there() {
    let (mut story, first) = transaction([true, true]);
    story.deliver(call(7).transaction(first), 0, None);
    story.history.in_doubt(first);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::PartialCommit), 1);
    let second = story.history.begin_transaction();
    story.deliver(call(7).transaction(second), 0, None);
    story.history.committed(second);
    story.log.push(TOPIC, 0, 5, LogEntry::record(7).committed(true));
    story.is_right();
}
