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
    machine.close();
    assert_eq!(machine.room(), Room::NONE);
}

#[test]
fn s25_records_are_taken_back_one_at_a_time_a_lane_s_in_order() {
    let mut machine = machine(PLAIN);
    give_all(&mut machine, A, 0..3);
    give_all(&mut machine, B, 10..12);
    let mut back: Vec<_> = std::iter::from_fn(|| machine.poll_drained()).map(|(_, ticket)| ticket).collect();
    assert!(machine.is_empty());
    back.sort_by_key(|ticket| ticket / 10);
    assert_eq!(back, [0, 1, 2, 10, 11]);
}
