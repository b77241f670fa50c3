//! What becomes of a record that finds the pool full.

use aioproducer_core::{AdmitDecision, Limits};

use super::*;

fn full(overflow: Overflow) -> Machine {
    let limits = Limits { overflow, batch_records: 1, ..PLAIN };
    let mut machine = Machine::new(limits, Heap { slots: 4, lanes: 3 }).expect("limits");
    for (name, lane) in [(0, A), (1, B), (2, A), (3, B)] {
        give(&mut machine, at(name), lane, name);
    }
    machine
}

fn admit(machine: &mut Machine, lane: Lane, size: usize, first: bool) -> (AdmitDecision, Vec<u64>) {
    let mut evicted = Vec::new();
    let admission = machine.admit(lane, size, first, |item, ended| {
        assert_eq!(item.name, ended.ticket);
        evicted.push(item.name);
    });
    (admission, evicted)
}

#[test]
fn s01_it_waits_or_is_refused() {
    for (policy, expected) in [
        (Overflow::Wait, AdmitDecision::Wait),
        (Overflow::WaitFor(Duration::from_secs(1)), AdmitDecision::Wait),
        (Overflow::Fail, AdmitDecision::Refuse(Refusal::Full)),
        (Overflow::DropNewest, AdmitDecision::Drop),
    ] {
        let mut machine = full(policy);
        assert_eq!(admit(&mut machine, A, 10, true), (expected, vec![]));
        assert_eq!(machine.stats().dropped, u64::from(expected == AdmitDecision::Drop));
        assert!(machine.poll_drained().is_some());
        assert_eq!(admit(&mut machine, A, 10, false), (expected, vec![]), "others wait for room");
        assert_eq!(admit(&mut machine, A, 10, true), (AdmitDecision::Enter, vec![]));
    }
}

#[test]
fn s01_the_oldest_of_the_lane_that_has_waited_longest_makes_way() {
    let mut machine = full(Overflow::DropOldest);
    assert_eq!(admit(&mut machine, C, 10, true), (AdmitDecision::Enter, vec![0]));
    give(&mut machine, at(4), C, 4);
    assert_eq!(admit(&mut machine, C, 10, true), (AdmitDecision::Enter, vec![2]));
    give(&mut machine, at(5), C, 5);
    assert_eq!((machine.stats().dropped, machine.len()), (2, 4));
}

#[test]
fn s01_as_many_as_it_takes_and_no_more_than_64() {
    let limits =
        Limits { overflow: Overflow::DropOldest, pool_bytes: 1_000, record_bytes: 1_000, batch_bytes: 1_000, ..PLAIN };
    let mut machine = Machine::new(limits, Heap { slots: 200, lanes: 1 }).expect("limits");
    give_all(&mut machine, A, 0..100);
    assert_eq!(admit(&mut machine, A, 35, true), (AdmitDecision::Enter, (0..4).collect()));
    assert_eq!(admit(&mut machine, A, 900, true), (AdmitDecision::Drop, (4..68).collect()));
    assert_eq!(machine.stats().dropped, 4 + 64 + 1);
    let above = AdmitDecision::Refuse(Refusal::AbovePool { cost: 1_001, limit: 1_000 });
    assert_eq!(admit(&mut machine, A, 1_001, true), (above, vec![]), "it never fits");
}

#[test]
fn s01_records_that_were_handed_off_stay() {
    let mut machine = full(Overflow::DropOldest);
    let off = take(&mut machine, at(4)).expect("ready");
    assert_eq!(off.names(), [0]);
    assert_eq!(admit(&mut machine, C, 10, true), (AdmitDecision::Enter, vec![1]));
    give(&mut machine, at(4), B, 4);
    assert_eq!(admit(&mut machine, C, 30, true).1, [3]);
    give(&mut machine, at(4), B, 5);
    assert_eq!(admit(&mut machine, C, 10, true).1, [4]);
    give(&mut machine, at(4), A, 6);
    assert_eq!(admit(&mut machine, C, 10, true).1, [5]);
    give(&mut machine, at(4), A, 7);
    // What is behind a batch that is out does not make way either: some of that may come back, and it is older.
    assert_eq!(admit(&mut machine, C, 10, true), (AdmitDecision::Drop, vec![]));
}

#[test]
fn s01_no_record_makes_way_for_want_of_a_lane() {
    let limits = Limits { overflow: Overflow::DropOldest, ..PLAIN };
    let mut machine = Machine::new(limits, Heap { slots: 16, lanes: 1 }).expect("limits");
    give(&mut machine, at(0), A, 0);
    assert_eq!(admit(&mut machine, B, 10, true), (AdmitDecision::Drop, vec![]));
    assert_eq!(admit(&mut machine, A, 10, true), (AdmitDecision::Enter, vec![]));
}

#[test]
fn s25_a_closed_producer_refuses() {
    let mut machine = full(Overflow::DropOldest);
    machine.close(at(4), Duration::from_secs(1));
    assert_eq!(admit(&mut machine, A, 10, true), (AdmitDecision::Refuse(Refusal::Closed), vec![]));
}
