//! Slots: who gets one, how each comes back, and what is counted.

use aioproducer_core::{Completed, Limits, RetractError, SlotId, Stats};

use super::*;

#[test]
fn s02_full_by_count() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..16);
    assert!(!machine.has_room(A, 1));
    assert_eq!(offer(&mut machine, at(0), A, 1, 16), Err(Refusal::Full));
}

#[test]
fn s02_full_by_bytes() {
    let mut machine = machine(Limits { pool_bytes: 2_000, ..PLAIN });
    assert!(offer(&mut machine, at(0), A, 1_000, 0).is_ok());
    assert!(offer(&mut machine, at(0), A, 990, 1).is_ok());
    assert!(machine.has_room(A, 10) && !machine.has_room(A, 11));
    assert_eq!(offer(&mut machine, at(0), A, 11, 2), Err(Refusal::Full));
    assert!(offer(&mut machine, at(0), A, 10, 2).is_ok());
    assert_eq!(offer(&mut machine, at(0), A, 1, 3), Err(Refusal::Full));
    assert!(offer(&mut machine, at(0), A, 0, 3).is_ok(), "no bytes are always left");
}

#[test]
fn s02_sizes_that_overflow_are_full() {
    let limits = Limits { pool_bytes: usize::MAX, record_bytes: usize::MAX, ..PLAIN };
    let mut machine = machine(limits);
    let limit = u32::MAX as usize;
    assert_eq!(machine.limits().record_bytes, limit);
    assert_eq!(offer(&mut machine, at(0), A, usize::MAX, 0), Err(Refusal::TooLarge { size: usize::MAX, limit }));
    assert!(offer(&mut machine, at(0), A, limit, 0).is_ok());
    let overflows = usize::MAX - limit + 1;
    assert!(!machine.has_room(A, overflows) && !machine.has_room_for(1, overflows, 0));
    assert!(machine.has_room(A, overflows - 1) && machine.has_room_for(1, overflows - 1, 0));
}

#[test]
fn s02_full_by_lanes() {
    let mut machine = machine(PLAIN);
    let lane = |index: u64| Lane::new(TopicId(9), Some(index as i32));
    let ids: Vec<_> = (0..4).map(|index| give(&mut machine, at(0), lane(index), index)).collect();
    assert!(!machine.has_room(lane(4), 1) && machine.has_room(lane(3), 1));
    assert_eq!(offer(&mut machine, at(0), lane(4), 1, 4), Err(Refusal::Full));
    assert!(machine.retract(ids[1]).is_ok());
    assert!(machine.has_room(lane(4), 1));
    give(&mut machine, at(0), lane(4), 4);
    assert_eq!(offer(&mut machine, at(0), lane(1), 1, 5), Err(Refusal::Full), "its row has another lane");
}

#[test]
fn s02_a_lane_whose_batch_is_out_keeps_its_row() {
    let mut machine = Machine::new(PLAIN, Heap { slots: 16, lanes: 1 }).expect("limits");
    give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(report(&mut machine, off.records[0].0), Some(0));
    assert_eq!(offer(&mut machine, at(0), B, 1, 1), Err(Refusal::Full));
    settle(&mut machine, &off, usize::MAX);
    give(&mut machine, at(0), B, 1);
    assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [1]);
}

#[test]
fn s02_rows_change_hands_for_ever() {
    let mut machine = machine(LINGER);
    for name in 0..5_000_u64 {
        let lane = Lane::new(TopicId((name % 37) as u32), Some((name % 11) as i32));
        let id = give(&mut machine, at(name), lane, name);
        assert_eq!(machine.poll_timeout().map(|timeout| timeout.at), Some(at(name + 100)));
        match name % 3 {
            0 => drop(machine.retract(id).expect("buffered")),
            _ => {
                machine.flush(FlushScope::All);
                let off = take(&mut machine, at(name)).expect("flushed");
                assert_eq!((off.names(), off.batch.lane()), (vec![name], lane));
                settle(&mut machine, &off, usize::MAX);
                assert_eq!(report(&mut machine, id), Some(name));
            }
        }
        assert_eq!((machine.len(), machine.poll_timeout()), (0, None));
    }
}

#[test]
fn s06_retract_is_exact() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..5);
    for name in [0, 2, 4] {
        let (item, Completed { ticket, .. }) = machine.retract(ids[name]).expect("buffered");
        assert_eq!((item.name, ticket), (name as u64, name as u64));
        assert_eq!(machine.retract(ids[name]), Err(RetractError::Ended));
    }
    let off = take(&mut machine, at(0)).expect("ready");
    assert_eq!(off.names(), [1, 3], "its neighbours keep their order");
    assert_eq!(machine.retract(ids[1]), Err(RetractError::HandedOff));
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(machine.retract(ids[1]), Err(RetractError::HandedOff), "a settled record is in the backend's queue");
    assert_eq!(report(&mut machine, ids[1]), Some(1));
    assert_eq!(machine.retract(ids[1]), Err(RetractError::Ended));
}

#[test]
fn s06_neighbours_one_after_the_other() {
    for order in [[1, 2], [2, 1], [3, 2], [1, 3]] {
        let mut machine = machine(PLAIN);
        let ids = give_all(&mut machine, A, 0..4);
        order.iter().for_each(|name| assert!(machine.retract(ids[*name]).is_ok()));
        // Their slots go to another lane.
        give_all(&mut machine, B, 10..12);
        give(&mut machine, at(0), A, 4);
        let expected: Vec<u64> = (0..5).filter(|name| !order.contains(&(*name as usize))).collect();
        assert_eq!(take(&mut machine, at(0)).expect("ready").names(), expected, "without {order:?}");
        assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [10, 11], "without {order:?}");
    }
}

#[test]
fn s06_the_last_record_of_a_ready_lane() {
    let mut machine = machine(PLAIN);
    let id = give(&mut machine, at(0), A, 0);
    give(&mut machine, at(0), B, 1);
    assert!(machine.retract(id).is_ok());
    assert_eq!(take(&mut machine, at(0)).expect("the other lane").names(), [1]);
    assert!(!machine.has_batch() && take(&mut machine, at(0)).is_none(), "no empty batch");
}

#[test]
fn s06_a_refused_record_can_be_taken_back() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, 1);
    assert_eq!(machine.retract(ids[1]).expect("it waits").1.ticket, 1);
    assert_eq!(report(&mut machine, ids[0]), Some(0));
    assert_eq!(take(&mut machine, at(0)).expect("unblocked").names(), [2]);
}

#[test]
fn s21_slots_return_on_every_path() {
    let limits = Limits { delivery_timeout: Some(Duration::from_millis(50)), ..PLAIN };
    let mut machine = machine(limits);
    for round in 0..100_u64 {
        let start = at(round * 1_000);
        let ids: Vec<_> = (0..16).map(|name| give(&mut machine, start, if name < 8 { A } else { B }, name)).collect();
        assert_eq!(offer(&mut machine, start, A, 1, 16), Err(Refusal::Full), "round {round}");

        assert!(machine.retract(ids[0]).is_ok());
        let off = take(&mut machine, start).expect("ready");
        assert_eq!(report(&mut machine, ids[1]), Some(1), "rejected or delivered at once");
        settle(&mut machine, &off, 4);
        assert_eq!(report(&mut machine, ids[2]), Some(2), "delivered or failed");
        assert_eq!(report(&mut machine, ids[3]), Some(3));
        assert_eq!(expire(&mut machine, start + Duration::from_millis(50)).len(), 8 + 3 + 1);
        assert_eq!(report(&mut machine, ids[4]), None, "its time was over");

        give(&mut machine, start, C, 17);
        assert_eq!(purge(&mut machine), [17]);
        assert_eq!((machine.len(), machine.stats().bytes, machine.poll_timeout()), (0, 0, None), "round {round}");
    }
}

#[test]
fn s21_a_second_report_never_ends_another_record() {
    let mut machine = machine(PLAIN);
    let old = give(&mut machine, at(0), A, 0);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(report(&mut machine, old), Some(0));

    let new = give(&mut machine, at(0), A, 1);
    let off = take(&mut machine, at(0)).expect("ready");
    settle(&mut machine, &off, usize::MAX);
    assert_eq!(new.index(), old.index(), "the slot is in use again");
    assert_eq!(report(&mut machine, old), None);
    assert_eq!(machine.retract(old), Err(RetractError::Ended));
    assert_eq!((machine.len(), machine.stats().stale_reports), (1, 1));
    assert_eq!(report(&mut machine, new), Some(1));
}

#[test]
fn s21_reports_that_name_nothing_are_only_counted() {
    let mut machine = machine(PLAIN);
    let id = give(&mut machine, at(0), A, 0);
    for stale in
        [id, SlotId::new(5, 0), SlotId::new(u32::MAX, 0), SlotId::new(0, u32::MAX), SlotId::from_bits(u64::MAX)]
    {
        assert_eq!(report(&mut machine, stale), None);
        assert!(machine.handle_refused(stale, Item { name: 9, lane: A, size: 10, own: None }).is_err());
    }
    assert_eq!((machine.len(), machine.stats().stale_reports), (1, 10));
    assert_eq!(take(&mut machine, at(0)).expect("ready").names(), [0]);
}

#[test]
fn s21_the_pool_never_grows() {
    let mut machine = machine(PLAIN);
    let mut slots = std::collections::HashSet::new();
    for name in 0..1_000 {
        let id = give(&mut machine, at(0), A, name);
        assert!(id.index() < 16 && slots.insert(id), "a tag twice");
        assert!(machine.retract(id).is_ok());
    }
    assert!(slots.iter().all(|id| id.index() == 0), "the slot freed last is used first");
}

#[test]
fn s22_statistics() {
    let mut machine = machine(PLAIN);
    assert_eq!(machine.stats(), Stats { capacity: 16, ..Stats::default() });
    let ids = give_all(&mut machine, A, 0..3);
    let off = take(&mut machine, at(0)).expect("ready");
    give(&mut machine, at(0), B, 3);
    settle(&mut machine, &off, 2);
    report(&mut machine, ids[0]);
    report(&mut machine, ids[0]);
    let expected = Stats {
        capacity: 16,
        in_use: 3,
        high_water: 4,
        bytes: 30,
        buffered: 2,
        handed_off: 1,
        late: 0,
        overdue: 0,
        acquired: 4,
        batches: 1,
        dropped: 0,
        stale_reports: 1,
    };
    assert_eq!(machine.stats(), expected);
}

#[test]
fn s27_len_counts_all_stages() {
    let mut machine = machine(PLAIN);
    let ids = give_all(&mut machine, A, 0..3);
    assert_eq!((machine.len(), machine.is_empty()), (3, false));
    let mut records = Vec::new();
    let batch = machine.poll_batch(at(0), |id, item, _| {
        records.push((id, item));
        None
    });
    let batch = batch.expect("ready");
    assert_eq!(machine.len(), 3, "handed off");
    let (id, item) = records.pop().expect("three");
    assert!(machine.handle_refused(id, item).is_ok());
    assert_eq!(machine.len(), 3, "refused");
    machine.handle_settled(&batch);
    assert_eq!(machine.len(), 3, "settled");
    report(&mut machine, ids[0]);
    assert_eq!(machine.len(), 2);
    assert!(machine.retract(ids[2]).is_ok());
    report(&mut machine, ids[1]);
    assert_eq!((machine.len(), machine.is_empty()), (0, true));
}
