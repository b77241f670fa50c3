//! What is left, and taking back some records at a time.

use aioproducer_core::Room;

use super::*;

#[test]
fn s02_room_is_what_will_be_accepted() {
    let mut machine = machine(Limits { pool_bytes: 1_200, batch_bytes: 1_000, ..PLAIN });
    let room = machine.room();
    assert_eq!((room.slots, room.bytes, room.lanes), (16, 1_200, 4));
    assert!(offer(&mut machine, at(0), A, 500, 0).is_ok());
    let id = give(&mut machine, at(0), B, 1);
    let room = machine.room();
    assert_eq!((room.slots, room.lanes), (14, 2));
    assert!(offer(&mut machine, at(0), A, room.bytes, 2).is_ok(), "all bytes");
    assert_eq!(machine.room().bytes, 0);
    assert!(machine.retract(id).is_ok());
    assert_eq!((machine.room().slots, machine.room().lanes), (14, 3), "the lane is idle");
    machine.close(at(0), Duration::ZERO);
    assert_eq!(machine.room(), Room::NONE);
}

#[test]
fn s25_records_are_taken_back_one_at_a_time_a_lane_s_in_order() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..3);
    give_all(&mut machine, B, 10..12);
    let mut back: Vec<_> = std::iter::from_fn(|| machine.poll_drained()).map(|(_, ended)| ended.ticket).collect();
    assert!(machine.is_empty());
    back.sort_by_key(|ticket| ticket / 10);
    assert_eq!(back, [0, 1, 2, 10, 11]);
}

#[test]
fn s24_records_behind_a_batch_that_is_out_are_taken_back_too() {
    let mut machine = machine(PLAIN);
    let lane = |index: u64| Lane::new(TopicId(9), Some(index as i32));
    let mut out = Vec::new();
    for index in 0..4 {
        give(&mut machine, at(0), lane(index), index);
        out.push(take(&mut machine, at(0)).expect("ready"));
    }
    give(&mut machine, at(0), lane(3), 30);
    give(&mut machine, at(0), lane(1), 10);
    assert!(machine.poll_drained().is_none());
    assert_eq!(purge(&mut machine), [10, 30]);
    out.iter().for_each(|off| assert_eq!(settle(&mut machine, off, 0), None));
    assert_eq!(machine.stats().buffered, 4, "refused");
    assert_eq!(std::iter::from_fn(|| machine.poll_drained()).count(), 4);
    assert!(machine.is_empty());
}

#[test]
fn s01_only_lanes_without_records_are_needed() {
    let mut machine = machine(PLAIN);
    assert!(machine.needs_lane(A) && machine.has_room_for(1, 1, 4) && !machine.has_room_for(1, 1, 5));
    let id = give(&mut machine, at(0), A, 0);
    assert!(!machine.needs_lane(A) && machine.needs_lane(B) && !machine.has_room_for(1, 1, 4));
    assert!(machine.retract(id).is_ok());
    assert!(machine.needs_lane(A), "another lane may have its row");
}
