//! Flushes, purges, closes and slots.

use aioproducer_history::{Allow, Anomaly, History, Operation, Status};

use crate::story::{Story, TOPIC, call, ms};

/// A record that is accepted, then a call that returns at 5 ms, and the record's failure at another time.
fn around(operation: Operation<'_>, ended: u64, tick: u64) -> Story {
    let mut story = Story { history: History::new().tick(ms(tick)), ..Story::default() };
    let record = story.accept(call(1).partition(0));
    let operation = story.history.begin(ms(1), operation);
    story.at(5).returned(operation);
    story.history.failed(record, ms(ended), Status::NotPersisted);
    story
}

#[test]
fn a_flush_returns_when_its_records_have_an_outcome() {
    let line = "RETURNED EARLY orders/0 #1: a flush from 1ms returned at 5ms, and 1 records had no outcome";
    around(Operation::Flush, 6, 0).is(Anomaly::ReturnedEarly, line);
    around(Operation::Flush, 5, 0).is_right();
    // A tick covers the task that runs a little later.
    around(Operation::Flush, 6, 1).is_right();
    around(Operation::Flush, 7, 1).is(Anomaly::ReturnedEarly, line);
}

#[test]
fn a_purge_or_a_close_returns_when_its_records_have_an_outcome() {
    let line = |name: &str| {
        format!("RETURNED EARLY orders/0 #1: a {name} from 1ms returned at 5ms, and 1 records had no outcome")
    };
    around(Operation::Purge, 6, 0).is(Anomaly::ReturnedEarly, &line("purge"));
    around(Operation::Purge, 5, 0).is_right();
    around(Operation::Close, 6, 0).is(Anomaly::ReturnedEarly, &line("close"));
    around(Operation::Close, 5, 0).is_right();
}

#[test]
fn a_flush_is_about_its_topic_and_partition() {
    for (operation, is_meant) in [
        (Operation::FlushTopic(TOPIC), true),
        (Operation::FlushTopic("others"), false),
        (Operation::FlushPartition(TOPIC, 0), true),
        (Operation::FlushPartition(TOPIC, 1), false),
        (Operation::FlushPartition("others", 0), false),
    ] {
        let count = around(operation, 6, 0).verdict(Allow::nothing()).count(Anomaly::ReturnedEarly);
        assert_eq!(count, usize::from(is_meant), "{operation:?}");
    }
}

#[test]
fn a_flush_is_about_what_was_accepted_before_it_and_a_close_before_its_end() {
    for (operation, is_meant) in [(Operation::Flush, false), (Operation::Close, true)] {
        let mut story = Story::default();
        let operation = story.history.begin(ms(0), operation);
        let record = story.accept(call(1));
        story.at(1).returned(operation);
        story.history.failed(record, ms(2), Status::NotPersisted);
        let count = story.verdict(Allow::nothing()).count(Anomaly::ReturnedEarly);
        assert_eq!(count, usize::from(is_meant));
    }
}

#[test]
fn a_flush_that_did_not_return_and_a_record_that_was_dropped_say_nothing() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    let flush = story.history.begin(ms(0), Operation::Flush);
    story.at(5).history.dropped(record, ms(5));
    story.history.returned(flush, ms(1));
    story.is_right();

    let mut story = Story::default();
    let record = story.accept(call(1));
    story.history.begin(ms(0), Operation::Flush);
    story.history.failed(record, ms(5), Status::NotPersisted);
    story.is_right();
}

#[test]
fn a_flush_whose_record_never_ends_returned_early() {
    let mut story = Story::default();
    story.accept(call(1));
    let flush = story.history.begin(ms(0), Operation::Flush);
    story.at(1).returned(flush);
    let verdict = story.verdict(Allow::nothing());
    assert_eq!((verdict.count(Anomaly::ReturnedEarly), verdict.count(Anomaly::NoOutcome)), (1, 1));
}

#[test]
fn records_without_an_outcome_have_a_slot_and_others_have_none() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    story.history.slots_in_use(ms(1), 1);
    story.history.failed(record, ms(2), Status::NotPersisted);
    story.history.slots_in_use(ms(2), 0);
    story.is_right();
    story.history.slots_in_use(ms(3), 1);
    story.is(Anomaly::SlotLeak, "SLOT LEAK: 1 slots are in use at 3ms, and 0 records may have one");
}

#[test]
fn observations_that_are_noted_late_count_at_their_time() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    story.history.failed(record, ms(5), Status::NotPersisted);
    story.history.slots_in_use(ms(9), 0);
    story.history.slots_in_use(ms(3), 1);
    story.is_right();
}

#[test]
fn a_slot_may_return_a_tick_after_the_outcome() {
    let mut story = Story { history: History::new().tick(ms(2)), ..Story::default() };
    let record = story.accept(call(1));
    story.history.failed(record, ms(2), Status::NotPersisted);
    story.history.slots_in_use(ms(3), 1);
    story.is_right();
    story.history.slots_in_use(ms(4), 1);
    assert_eq!(story.verdict(Allow::nothing()).count(Anomaly::SlotLeak), 1);
}

#[test]
fn the_slot_of_a_record_in_doubt_is_back_after_the_close() {
    let mut story = Story::default();
    story.fail(call(1), Status::PossiblyPersisted);
    let dropped = story.accept(call(2));
    story.history.dropped(dropped, ms(0));
    story.history.slots_in_use(ms(9), 2);
    story.is_right();
    let close = story.history.begin(ms(9), Operation::Close);
    story.at(10).returned(close);
    story.history.slots_in_use(ms(10), 0);
    story.is_right();
    story.history.slots_in_use(ms(10), 1);
    story.is(Anomaly::SlotLeak, "SLOT LEAK: 1 slots are in use at 10ms, and 0 records may have one");
}
