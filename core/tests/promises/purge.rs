//! Purges.

use aioproducer_core::{Action, PurgeScope};

use super::*;

fn action(machine: &mut Machine) -> Option<Action> {
    machine.poll_action(true)
}

#[test]
fn s24_buffered_records_come_back_and_then_it_is_the_backend_s_turn() {
    let mut machine = machine(LINGER);
    give_all(&mut machine, A, 0..2);
    give(&mut machine, at(0), B, 2);
    machine.purge(PurgeScope::All);
    assert_eq!(action(&mut machine), None, "the buffered ones come first");
    assert_eq!(purged(&mut machine), [0, 1, 2]);
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::All)));
    assert_eq!(action(&mut machine), None);
}

#[test]
fn s24_nothing_is_handed_off_that_is_to_be_purged() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    machine.purge(PurgeScope::Queued);
    give(&mut machine, at(0), B, 2);
    assert!(!machine.has_batch() && take(&mut machine, at(0)).is_none());
    assert_eq!(purged(&mut machine), [0, 1], "what came later stays");
    assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [2]);
}

#[test]
fn s24_records_of_a_lane_whose_batch_is_out_and_what_the_backend_refuses_of_it() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 3);
    machine.purge(PurgeScope::Queued);
    assert_eq!(purged(&mut machine), [3]);
    give(&mut machine, at(0), A, 4);
    assert_eq!(action(&mut machine), None, "a batch is on its way to the backend");
    settle(&mut machine, &off, 1);
    assert_eq!(action(&mut machine), None, "some of it came back");
    assert_eq!(purged(&mut machine), [1, 2]);
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::Queued)));
    assert_eq!(report(&mut machine, off.records[0].0), Some(0));
    assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [4]);
}

#[test]
fn s24_refused_records_that_wait_for_room_are_purged_too() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, 1);
    assert!(!machine.has_batch());
    assert_eq!(purge(&mut machine), [1, 2]);
    assert_eq!(machine.len(), 1);
}

#[test]
fn s24_a_purge_of_what_is_in_flight_leaves_the_rest() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), B, 2);
    machine.purge(PurgeScope::InFlight);
    assert_eq!((purged(&mut machine), action(&mut machine)), (vec![], None));
    settle(&mut machine, &off, 1);
    assert_eq!(purged(&mut machine), [], "what was refused waits again");
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::InFlight)));
}

#[test]
fn s24_two_purges_become_one() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    let first = take(&mut machine, at(0)).expect("ready");
    machine.purge(PurgeScope::InFlight);
    give(&mut machine, at(0), B, 1);
    let second = take(&mut machine, at(0)).expect("ready");
    machine.purge(PurgeScope::Queued);
    settle(&mut machine, &first, usize::MAX);
    assert_eq!(action(&mut machine), None, "the later one waits for more");
    settle(&mut machine, &second, usize::MAX);
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::All)));
}

#[test]
fn s24_a_batch_cut_after_the_purge_is_not_waited_for() {
    let mut machine = machine(PLAIN);
    machine.purge(PurgeScope::Queued);
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::Queued)));
    settle(&mut machine, &off, 0);
    assert_eq!(purged(&mut machine), []);
}

#[test]
fn s30_a_purge_that_is_stopped_leaves_the_rest() {
    let mut machine = machine(LINGER);
    give_all(&mut machine, A, 0..3);
    machine.purge(PurgeScope::All);
    assert_eq!(machine.poll_purged().map(|(item, _)| item.name), Some(0));
    machine.stop_purge();
    assert_eq!((purged(&mut machine), action(&mut machine), machine.len()), (vec![], None, 2));
    machine.flush(FlushScope::All);
    assert_eq!(take(&mut machine, at(0)).expect("flushed").names(), [1, 2]);
}

#[test]
fn s30_an_earlier_purge_that_waits_for_a_hand_off_goes_on() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    let off = take(&mut machine, at(0)).expect("ready");
    machine.purge(PurgeScope::Queued);
    assert_eq!((purged(&mut machine), action(&mut machine)), (vec![], None));
    give(&mut machine, at(0), A, 2);
    give(&mut machine, at(0), B, 3);
    machine.purge(PurgeScope::All);
    machine.stop_purge();
    assert_eq!((purged(&mut machine), action(&mut machine)), (vec![], None));
    settle(&mut machine, &off, 1);
    assert_eq!(purged(&mut machine), [1], "of the batch that the first one waited for");
    assert_eq!(action(&mut machine), Some(Action::Purge(PurgeScope::Queued)));
    machine.stop_purge();
    assert_eq!(machine.len(), 3);
}
