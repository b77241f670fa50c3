//! Lost acknowledgements, duplicates, writes that should not be there, bytes, and places.

use aioproducer_history::{Allow, Anomaly, LogEntry, Payload, Status, check};

use crate::story::{Story, TOPIC, call};

#[test]
fn a_delivered_record_that_is_not_there_is_a_lost_ack() {
    let mut story = Story::default();
    story.deliver(call(55).payload("order 55"), 2, 17);
    story.is(Anomaly::LostAck, r#"LOST ACK orders/2@17 "order 55""#);
    story.log.push(TOPIC, 2, 17, LogEntry::record(55));
    story.is_right();
}

#[test]
fn a_record_of_another_topic_is_no_copy() {
    let mut story = Story::default();
    story.deliver(call(1), 0, None);
    story.log.push("others", 0, 0, LogEntry::record(1));
    story.is(Anomaly::LostAck, "LOST ACK orders/0 #1");
    assert_eq!(story.verdict(Allow::nothing()).counts().unknown, 1);
}

#[test]
fn a_record_before_the_log_begins_is_cut_off() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 6);
    story.deliver(call(2), 0, 7);
    story.deliver(call(3), 0, None);
    story.log.push(TOPIC, 0, 7, LogEntry::record(2));
    assert_eq!(story.lines(), ["LOST ACK orders/0@6 #1", "LOST ACK orders/0 #3"]);
    story.log.begins(TOPIC, 0, 7);
    story.is_right();
    assert_eq!(story.verdict(Allow::nothing()).counts().cut_off, 2);
    // The offset at which it begins is there.
    story.deliver(call(4), 0, 8);
    story.is(Anomaly::LostAck, "LOST ACK orders/0@8 #4");
}

#[test]
fn a_record_that_is_there_twice_is_a_duplicate() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 0);
    story.logged(&[1]);
    story.is_right();
    story.log.push(TOPIC, 1, 3, LogEntry::record(1));
    story.is(Anomaly::Duplicate, "DUPLICATE orders/0@0, orders/1@3 #1");
    assert!(!story.verdict(Allow::nothing().duplicates_in_doubt()).is_right());
    let verdict = story.verdict(Allow::nothing().duplicates());
    assert_eq!((verdict.is_right(), verdict.counts().duplicates), (true, 1));
}

#[test]
fn a_record_in_doubt_may_be_there_once() {
    let mut story = Story::default();
    story.fail(call(1), Status::PossiblyPersisted);
    story.is_right();
    story.logged(&[1]);
    story.is_right();
    assert_eq!(story.verdict(Allow::nothing()).counts().written_in_doubt, 1);
    story.log.push(TOPIC, 0, 1, LogEntry::record(1));
    story.is(Anomaly::Duplicate, "DUPLICATE orders/0@0, orders/0@1 #1: it is not known to be in the log");
    for allow in [Allow::nothing().duplicates(), Allow::nothing().duplicates_in_doubt()] {
        let verdict = story.verdict(allow);
        assert_eq!((verdict.is_right(), verdict.counts().duplicates_in_doubt), (true, 1));
    }
}

#[test]
fn a_record_that_was_produced_again_may_be_there_as_often() {
    let mut story = Story::default();
    story.fail(call(1), Status::PossiblyPersisted);
    story.deliver(call(1), 0, 1);
    story.logged(&[1, 1]);
    story.is_right();
    story.log.push(TOPIC, 0, 2, LogEntry::record(1));
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::Duplicate), 1);
}

#[test]
fn of_two_acknowledged_calls_with_one_id_the_one_without_a_copy_is_lost() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 0);
    story.deliver(call(1), 0, 5);
    story.logged(&[1]);
    story.is(Anomaly::LostAck, "LOST ACK orders/0@5 #1");
    story.log.push(TOPIC, 0, 5, LogEntry::record(1));
    story.is_right();
}

#[test]
fn two_calls_with_one_id_have_two_places() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 0);
    story.deliver(call(1), 0, 0);
    story.logged(&[1]);
    story.is(Anomaly::LostAck, "LOST ACK orders/0@0 #1");
}

#[test]
fn one_copy_is_not_two_records() {
    let mut story = Story::default();
    story.deliver(call(1), 0, None);
    story.deliver(call(1), 0, None);
    story.logged(&[1]);
    story.is(Anomaly::LostAck, "LOST ACK orders/0 #1");
}

#[test]
fn a_copy_that_may_be_of_another_call_is_no_wrong_place_of_one_that_was_cut_off() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 2);
    story.fail(call(1), Status::PossiblyPersisted);
    story.log.push(TOPIC, 0, 7, LogEntry::record(1));
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::WrongOffset), 1);
    story.log.begins(TOPIC, 0, 7);
    story.is_right();
}

#[test]
fn a_record_that_should_not_be_there_is_one_finding() {
    let mut story = Story::default();
    story.fail(call(1).partition(1), Status::NotPersisted);
    story.logged(&[1]);
    story.is(Anomaly::G1a, "G1a orders/0@0 #1: it failed as not in the log");
}

#[test]
fn a_copy_of_an_aborted_call_is_not_that_of_a_committed_one() {
    let mut story = Story::default();
    let first = story.history.begin_transaction();
    story.deliver(call(1).transaction(first), 0, 0);
    story.history.aborted(first);
    let second = story.history.begin_transaction();
    story.deliver(call(1).transaction(second), 0, 2);
    story.history.committed(second);
    story.log.push(TOPIC, 0, 0, LogEntry::record(1).committed(false));
    story.is(Anomaly::LostAck, "LOST ACK orders/0@2 #1");
    story.log.push(TOPIC, 0, 2, LogEntry::record(1));
    story.is_right();
}

#[test]
fn a_record_that_failed_as_not_persisted_and_is_there_is_g1a() {
    let mut story = Story::default();
    story.fail(call(1), Status::NotPersisted);
    story.is_right();
    story.logged(&[1]);
    story.is(Anomaly::G1a, "G1a orders/0@0 #1: it failed as not in the log");
}

#[test]
fn a_record_that_was_refused_and_is_there_is_g1a() {
    let mut story = Story::default();
    let record = story.history.produce(story.now, call(1));
    story.history.refused(record, story.now);
    story.is_right();
    story.logged(&[1]);
    story.is(Anomaly::G1a, "G1a orders/0@0 #1: it was refused");
}

#[test]
fn a_dropped_record_may_be_there_or_not() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    story.history.dropped(record, story.now);
    story.is_right();
    story.logged(&[1]);
    story.is_right();
    story.log.push(TOPIC, 0, 1, LogEntry::record(1));
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::Duplicate), 1);
}

#[test]
fn a_record_that_failed_as_persisted_is_there() {
    let mut story = Story::default();
    story.fail(call(1), Status::Persisted);
    story.is(Anomaly::PersistedNotInLog, "PERSISTED, NOT IN THE LOG orders #1");
    story.logged(&[1]);
    story.is_right();
}

#[test]
fn a_record_that_was_retracted_is_not_there() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    story.history.retracted(record, story.now);
    story.is_right();
    story.logged(&[1]);
    story.is(Anomaly::RetractedButWritten, "RETRACTED, BUT WRITTEN orders/0@0 #1");
}

#[test]
fn a_delivered_record_is_at_its_offset() {
    let mut story = Story::default();
    story.deliver(call(1), 0, 1);
    story.log.push(TOPIC, 0, 2, LogEntry::record(1));
    let line = "WRONG OFFSET orders/0@1 #1: it is not where it was delivered; the log has orders/0@2 #1";
    story.is(Anomaly::WrongOffset, line);

    let mut story = Story::default();
    story.deliver(call(1), 0, 1);
    story.log.push(TOPIC, 0, 1, LogEntry::record(1));
    story.is_right();
}

#[test]
fn a_delivered_record_without_an_offset_is_in_its_partition() {
    let mut story = Story::default();
    story.deliver(call(1), 0, None);
    story.log.push(TOPIC, 1, 0, LogEntry::record(1));
    let line = "WRONG OFFSET orders/0 #1: it is not where it was delivered; the log has orders/1@0 #1";
    story.is(Anomaly::WrongOffset, line);

    let mut story = Story::default();
    story.deliver(call(1), 1, None);
    story.log.push(TOPIC, 1, 0, LogEntry::record(1));
    story.is_right();
}

#[test]
fn a_record_goes_to_the_partition_that_it_names() {
    let mut story = Story::default();
    story.deliver(call(1).partition(0), 1, 0);
    story.log.push(TOPIC, 1, 0, LogEntry::record(1));
    assert!(story.lines()[0].contains("delivered to another partition than it names"), "{:?}", story.lines());

    let mut story = Story::default();
    story.fail(call(1).partition(0), Status::PossiblyPersisted);
    story.log.push(TOPIC, 1, 0, LogEntry::record(1));
    let line = "WRONG OFFSET orders/0 #1: it is in another partition than it names; the log has orders/1@0 #1";
    story.is(Anomaly::WrongOffset, line);

    let mut story = Story::default();
    story.deliver(call(1).partition(1), 1, 0);
    story.log.push(TOPIC, 1, 0, LogEntry::record(1));
    story.is_right();
}

#[test]
fn the_log_has_the_bytes_that_were_given() {
    let given = [Payload::from("order 1"), Payload::Null, Payload::from(""), Payload::Hash(7)];
    for (index, one) in given.iter().enumerate() {
        for (other_index, other) in given.iter().enumerate() {
            let mut story = Story::default();
            story.deliver(call(1).payload(*one), 0, 0);
            story.log.push(TOPIC, 0, 0, LogEntry::record(1).payload(*other));
            let found = story.verdict(Allow::nothing()).count(Anomaly::WrongBytes);
            assert_eq!(found, usize::from(index != other_index), "{one:?} {other:?}");
        }
    }
    let mut story = Story::default();
    story.deliver(call(1).payload("order 1"), 0, 0);
    story.log.push(TOPIC, 0, 0, LogEntry::record(1).payload("order 2"));
    let line = r#"WRONG BYTES orders/0@0 "order 1": the log has other bytes than the call gave"#;
    story.is(Anomaly::WrongBytes, line);
}

#[test]
fn a_record_comes_back_with_the_bytes_that_were_given() {
    let mut story = Story::default();
    let record = story.fail(call(1).payload("order 1"), Status::NotPersisted);
    story.history.handed_back(record, "order 1");
    story.is_right();
    story.history.handed_back(record, Payload::Null);
    let line = r#"WRONG BYTES orders "order 1": it came back with other bytes than the call gave"#;
    story.is(Anomaly::WrongBytes, line);
}

#[test]
fn of_many_findings_the_first_are_kept_and_all_are_counted() {
    let mut story = Story::default();
    for id in 0..1_500 {
        story.deliver(call(id), 0, id as i64);
    }
    let verdict = check(&story.history, &story.log);
    assert_eq!((verdict.findings().len(), verdict.count(Anomaly::LostAck)), (1_000, 1_500));
    let text = verdict.to_string();
    assert!(text.contains("\nLOST ACK: 500 more\n1500 calls: 1500 delivered, 0 failed"), "{text}");
}
