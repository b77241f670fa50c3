//! The arena's promise: in a steady flow of records, copying what a caller lends allocates (almost) nothing.
#![cfg(not(interleave))]

use std::collections::VecDeque;

use bytes::Bytes;

#[path = "../src/record/arena.rs"]
#[allow(dead_code, reason = "the crate uses more of it than this test")]
mod arena;

use arena::Arena;

/// Allocations per record of `len` bytes, once `in_flight` of them have gone round.
fn allocations_per_record(len: usize, in_flight: usize, limit: usize) -> f64 {
    const RECORDS: usize = 20_000;
    let data = vec![7; len];
    let mut arena = Arena::new(limit);
    let mut live: VecDeque<Bytes> = VecDeque::with_capacity(in_flight + 1);
    let mut run = |records: usize| {
        for _ in 0..records {
            live.push_back(arena.copy(&data));
            if live.len() > in_flight {
                live.pop_front();
            }
        }
    };
    // Until every chunk that the flow needs is there: the records in flight fill them, and a few more.
    run(5 * in_flight + (4 << 20) / len.clamp(8, 1 << 20) + (1 << 19) / len);
    let counted = allocation_counter::measure(|| run(RECORDS));
    counted.count_total as f64 / RECORDS as f64
}

#[test]
fn a_steady_flow_allocates_nothing() {
    for (len, in_flight) in [(1, 10_000), (100, 10_000), (1000, 10_000), (2048, 5000), (2049, 5000), (10_000, 2000)] {
        let each = allocations_per_record(len, in_flight, 64 << 20);
        assert!(each == 0.0, "{len} bytes: {each} allocations per record");
    }
}

#[test]
fn above_the_limit_and_for_large_data_it_is_one_allocation_each() {
    for (len, limit) in [(64 << 10 | 1, 64 << 20), (1000, 0)] {
        let each = allocations_per_record(len, 50, limit);
        assert!(each == 1.0, "{len} bytes: {each} allocations per record");
    }
}
