//! Order, by partition and by key.

use aioproducer_history::{Allow, Anomaly, LogEntry, ProduceCall, Status};

use crate::story::{Story, TOPIC, call};

/// Two calls, one after the other, whose records are in the log the other way round.
fn swapped(calls: [ProduceCall<'_>; 2]) -> Story {
    let mut story = Story::default();
    for (call, offset) in calls.into_iter().zip([1, 0]) {
        story.deliver(call, 0, offset);
    }
    story.logged(&[2, 1]);
    story
}

#[test]
fn records_of_a_partition_are_in_order() {
    let line = "REORDERED orders/0@1 #1: it is behind orders/0@0 #2, which was produced later";
    swapped([call(1).partition(0), call(2).partition(0)]).is(Anomaly::Reordered, line);
    let mut story = Story::default();
    story.deliver(call(1).partition(0), 0, 0);
    story.deliver(call(2).partition(0), 0, 1);
    story.logged(&[1, 2]);
    story.is_right();
}

#[test]
fn records_of_a_key_are_in_order_and_those_of_others_need_not_be() {
    let line = "REORDERED orders/0@1 #1: it is behind orders/0@0 #2, which was produced later";
    let story = swapped([call(1).key("a"), call(2).key("a")]);
    story.is(Anomaly::Reordered, line);
    let verdict = story.verdict(Allow::nothing().reordered());
    assert_eq!((verdict.is_right(), verdict.counts().reordered), (true, 1));

    swapped([call(1).key("a"), call(2).key("b")]).is_right();
    swapped([call(1), call(2)]).is_right();
    swapped([call(1).key("a"), call(2).key("a").partition(0)]).is_right();
}

#[test]
fn records_of_other_partitions_are_in_no_order() {
    let mut story = Story::default();
    story.deliver(call(1).key("a"), 1, 1);
    story.deliver(call(2).key("a"), 0, 0);
    story.log.push(TOPIC, 1, 1, LogEntry::record(1));
    story.log.push(TOPIC, 0, 0, LogEntry::record(2));
    story.is_right();
}

#[test]
fn calls_that_overlap_are_in_no_order() {
    let mut story = Story::default();
    let records = [1, 2].map(|id| story.history.produce(story.now, call(id).partition(0)));
    for (record, offset) in records.into_iter().zip([1, 0]) {
        story.history.accepted(record);
        story.history.delivered(record, story.now, 0, offset);
    }
    story.logged(&[2, 1]);
    story.is_right();
}

#[test]
fn a_record_that_is_not_noted_as_accepted_was_so_at_its_outcome() {
    let mut story = Story::default();
    let first = story.history.produce(story.now, call(1).partition(0));
    story.history.delivered(first, story.now, 0, 1);
    story.deliver(call(2).partition(0), 0, 0);
    story.logged(&[2, 1]);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::Reordered), 1);
}

#[test]
fn records_that_are_not_known_to_be_written_are_in_no_order() {
    let mut story = Story::default();
    story.fail(call(1).partition(0), Status::PossiblyPersisted);
    story.deliver(call(2).partition(0), 0, 0);
    story.logged(&[2, 1]);
    story.is_right();
}

#[test]
fn the_first_copy_counts() {
    let mut story = Story::default();
    story.deliver(call(1).partition(0), 0, 0);
    story.deliver(call(2).partition(0), 0, 1);
    story.logged(&[1, 2, 1]);
    assert!(story.verdict(Allow::nothing().duplicates()).is_right());
}

#[test]
fn each_record_behind_a_later_one_is_found() {
    let mut story = Story::default();
    for (id, offset) in (1..=4).zip([1, 2, 3, 0]) {
        story.deliver(call(id).partition(0), 0, offset);
    }
    story.logged(&[4, 1, 2, 3]);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::Reordered), 3);
}
