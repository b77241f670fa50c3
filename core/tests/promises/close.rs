//! The phases of an end.

use aioproducer_core::{Action, Phase, PurgeScope, Timeout, TimeoutReason, Unreported};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn unsent(machine: &mut Machine) -> Vec<(u64, bool)> {
    core::iter::from_fn(|| machine.poll_unsent()).map(|unsent| (unsent.ended.ticket, unsent.handed_off)).collect()
}

#[test]
fn s25_a_close_waits_for_its_records_and_no_longer() {
    let mut machine = machine(PLAIN);
    let slot = give(&mut machine, at(0), A, 0);
    machine.close(at(0), SECOND);
    assert_eq!((machine.poll_action(true), machine.poll_action(true)), (Some(Action::Flush), None));
    let off = take(&mut machine, at(0)).expect("it is sent");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.poll_action(true), None);
    assert_eq!(report(&mut machine, slot), Some(0));
    assert_eq!((machine.poll_action(false), machine.phase()), (None, Phase::Closing(at(1_000))), "a call is under way");
    assert_eq!((machine.poll_action(true), machine.phase()), (Some(Action::ShutDown), Phase::Ending));
    machine.handle_backend_ended();
    assert_eq!((unsent(&mut machine), machine.phase()), (vec![], Phase::Ended));
    assert_eq!(machine.poll_action(true), None);
}

#[test]
fn s25_a_close_ends_at_its_deadline_and_not_before() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    machine.close(at(0), SECOND);
    assert_eq!(machine.poll_action(true), Some(Action::Flush));
    assert_eq!(machine.poll_timeout(), Some(Timeout { at: at(1_000), reason: TimeoutReason::Close }));
    let before = at(1_000) - Duration::from_nanos(1);
    let off = take(&mut machine, before).expect("there is time left");
    assert_eq!((machine.poll_action(true), machine.phase()), (None, Phase::Closing(at(1_000))));
    assert_eq!(expire(&mut machine, at(1_000)), []);
    assert_eq!((machine.poll_action(false), machine.phase()), (Some(Action::ShutDown), Phase::Ending));
    assert_eq!(machine.poll_timeout(), None);
    settle(&mut machine, &off, 1);
    assert_eq!(report(&mut machine, off.records[0].0), Some(0));
    assert!(!machine.has_batch() && take(&mut machine, at(1_000)).is_none(), "nothing is handed off any more");
    assert_eq!(unsent(&mut machine), [(1, false)]);
}

#[test]
fn s25_a_later_close_may_only_shorten_it() {
    let mut machine = machine(PLAIN);
    give(&mut machine, at(0), A, 0);
    machine.close(at(0), SECOND);
    machine.close(at(10), SECOND);
    assert_eq!(machine.phase(), Phase::Closing(at(1_000)));
    machine.close(at(10), SECOND / 2);
    assert_eq!(machine.phase(), Phase::Closing(at(510)));
}

#[test]
fn s25_the_end_gives_back_what_was_not_sent_and_then_what_the_backend_had() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 3);
    give(&mut machine, at(0), B, 4);
    machine.end();
    assert_eq!(machine.poll_action(true), Some(Action::ShutDown));
    assert_eq!(unsent(&mut machine), [(4, false)], "some of the batch that is out may come back before 3");
    settle(&mut machine, &off, 1);
    assert_eq!(unsent(&mut machine), [(1, false), (2, false), (3, false)]);
    assert_eq!(machine.phase(), Phase::Ending, "the backend has one");
    machine.handle_backend_ended();
    assert_eq!(unsent(&mut machine), [(0, true)]);
    assert_eq!((machine.phase(), machine.len(), report(&mut machine, ids[0])), (Phase::Ended, 0, None));
}

#[test]
fn s25_a_backend_that_is_gone_settles_nothing() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), A, 2);
    machine.handle_backend_ended();
    assert_eq!(unsent(&mut machine), [(2, false), (0, true), (1, true)]);
    assert_eq!(machine.phase(), Phase::Ended);
    let (id, item) = off.records[0].clone();
    assert_eq!(machine.handle_refused(id, item.clone()), Err(item));
    assert_eq!((machine.handle_settled(&off.batch), machine.stats().in_use), (None, 0));
}

#[test]
fn s25_a_record_that_ended_at_its_own_time_is_not_given_back_again() {
    let mut machine = machine(PLAIN);
    let own = Some(Duration::from_millis(20));
    for name in 0..2 {
        assert!(machine.produce(at(name), Item { name, lane: A, size: 10, own }, name).is_ok());
    }
    let off = take(&mut machine, at(1)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(expire(&mut machine, at(20)), [0]);
    machine.handle_backend_ended();
    let Unreported { record, ended, handed_off } = machine.poll_unsent().expect("one is left");
    assert_eq!((record, ended.ticket, handed_off), (Some(off.records[1].1.clone()), 1, true), "with its copy");
    assert_eq!(machine.poll_unsent(), None);
    assert_eq!((machine.phase(), machine.stats().in_use, machine.poll_timeout()), (Phase::Ended, 0, None));
}

#[test]
fn s25_an_end_stops_a_purge() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..2);
    machine.purge(PurgeScope::All);
    machine.end();
    machine.purge(PurgeScope::All);
    assert_eq!(purged(&mut machine), []);
    assert_eq!((machine.poll_action(true), machine.poll_action(true)), (Some(Action::ShutDown), None));
    assert_eq!(unsent(&mut machine), [(0, false), (1, false)]);
}
