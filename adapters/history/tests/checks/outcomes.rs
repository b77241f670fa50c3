//! Outcomes: one for each record, and in time.

use aioproducer_history::{Anomaly, History, Status};

use crate::story::{Story, call, ms};

#[test]
fn a_record_has_one_outcome() {
    let mut story = Story::default();
    let record = story.fail(call(1), Status::NotPersisted);
    story.is_right();
    story.history.delivered(record, story.now, 0, 3);
    let line = "SECOND OUTCOME orders #1: it was failed as not in the log, and then delivered to partition 0 at 3";
    story.is(Anomaly::SecondOutcome, line);
}

#[test]
fn a_record_has_an_outcome() {
    let mut story = Story::default();
    let record = story.accept(call(1).partition(3));
    story.is(Anomaly::NoOutcome, "NO OUTCOME orders/3 #1");
    story.history.dropped(record, story.now);
    story.is_right();
}

#[test]
fn an_outcome_comes_at_the_delivery_timeout_and_a_tick_at_the_latest() {
    for (end, is_right) in [(1_001, true), (1_002, false)] {
        let history = History::new().delivery_timeout(ms(1_000)).tick(ms(1));
        let mut story = Story { history, ..Story::default() };
        let record = story.at(7).accept(call(1));
        story.at(7 + end).history.failed(record, ms(7 + end), Status::NotPersisted);
        if is_right {
            story.is_right();
        } else {
            let line = "LATE TIMEOUT orders #1: its outcome came 1.002s after the call, with a timeout of 1s";
            story.is(Anomaly::LateTimeout, line);
        }
    }
}

#[test]
fn a_records_own_timeout_counts_and_without_one_nothing_is_late() {
    let mut story = Story::default();
    let record = story.accept(call(1));
    story.at(1_000_000).history.refused(record, ms(1_000_000));
    story.is_right();
    let record = story.accept(call(2).timeout(ms(3)));
    story.history.failed(record, ms(1_000_003), Status::NotPersisted);
    story.is_right();
    let record = story.accept(call(3).timeout(ms(3)));
    story.history.failed(record, ms(1_000_004), Status::NotPersisted);
    story
        .is(Anomaly::LateTimeout, "LATE TIMEOUT orders #3: its outcome came 4ms after the call, with a timeout of 3ms");
}

#[test]
fn a_dropped_record_is_not_late() {
    let history = History::new().delivery_timeout(ms(1));
    let mut story = Story { history, ..Story::default() };
    let record = story.accept(call(1));
    story.history.dropped(record, ms(9));
    story.is_right();
}
