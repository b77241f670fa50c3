//! The machine against a simple model, step by step, and against callers that break its contract.
//!
//! `PROPTEST_CASES` says how many sequences of each kind are tried.

mod chaos;
mod contract;
mod reference;
mod twin;

use aioproducer_core::{Lane, Limits, Record, TopicId};
use core::time::Duration;
use proptest::prelude::*;

/// A record that knows its place in the order of acceptance, which is its ticket too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) lane: Lane,
    pub(crate) size: usize,
}

impl Record for Item {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size
    }
}

/// More lanes than any storage under test has rows, so rows change hands.
pub(crate) const LANES: usize = 7;

pub(crate) fn lane(index: usize) -> Lane {
    let partition = (index % LANES) as i32 - 1;
    Lane::new(TopicId(index as u32 % 2), (partition >= 0).then_some(partition))
}

/// Slots and lanes of the storages under test; inline storage needs them at compile time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    One,
    Small,
    Middle,
    Large,
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        1 => Just(Shape::One),
        3 => Just(Shape::Small),
        3 => Just(Shape::Middle),
        2 => Just(Shape::Large),
    ]
}

/// Runs `$run::<SLOTS, LANES>` for a shape.
macro_rules! with_shape {
    ($shape:expr, $run:ident ( $($argument:expr),* )) => {
        match $shape {
            $crate::Shape::One => $run::<1, 1>($($argument),*),
            $crate::Shape::Small => $run::<4, 2>($($argument),*),
            $crate::Shape::Middle => $run::<8, 3>($($argument),*),
            $crate::Shape::Large => $run::<24, 6>($($argument),*),
        }
    };
}
pub(crate) use with_shape;

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let linger = prop_oneof![1 => Just(0_u64), 2 => 1_u64..60];
    let timeout = prop_oneof![1 => Just(None), 2 => (0_u64..120).prop_map(Some)];
    let grace = prop_oneof![1 => Just(None), 1 => (0_u64..60).prop_map(Some)];
    (20_usize..300, 1_usize..200, 1_u32..8, 1_usize..100, linger, (timeout, grace)).prop_map(
        |(pool_bytes, record_bytes, batch_records, batch_bytes, linger, (timeout, grace))| Limits {
            pool_bytes,
            record_bytes: record_bytes.min(pool_bytes),
            batch_records,
            batch_bytes: batch_bytes.min(pool_bytes),
            linger: Duration::from_nanos(linger),
            delivery_timeout: timeout.map(Duration::from_nanos),
            report_timeout: timeout.zip(grace).map(|(timeout, grace)| Duration::from_nanos(timeout + grace)),
        },
    )
}
