//! The machine against a simple model, step by step, and against callers that break its contract.
//!
//! `PROPTEST_CASES` says how many sequences of each kind are tried.

mod chaos;
mod contract;
mod lanes;
mod reference;
mod steps;
mod twin;

use aioproducer_core::{FlushGroup, FlushScope, Isolation, Lane, Limits, Overflow, PurgeScope, Record, TopicId};
use core::time::Duration;
use proptest::prelude::*;

/// A record that knows its place in the order of acceptance, which is its ticket too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) lane: Lane,
    pub(crate) size: usize,
    /// A timeout of its own.
    pub(crate) own: Option<Duration>,
}

impl Item {
    /// Whether the machine gets a copy when it is handed off, if it wants one.
    pub(crate) fn has_copy(&self) -> bool {
        self.number.is_multiple_of(2)
    }
}

impl Record for Item {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size
    }

    fn timeout(&self) -> Option<Duration> {
        self.own
    }

    /// Each second one with a key, whose partition is known to its caller.
    fn is_placed(&self) -> bool {
        self.lane.partition().is_some() && self.number % 4 < 2
    }
}

impl Item {
    /// Whether it follows those whose partition is not known.
    pub(crate) fn may_follow(&self) -> bool {
        self.lane.partition().is_none() || self.is_placed()
    }
}

/// More lanes than any storage under test has rows, so rows change hands.
pub(crate) const LANES: usize = 7;

pub(crate) fn lane(index: usize) -> Lane {
    if index % LANES == 1 {
        return Lane::unplaced(TopicId(0));
    }
    let partition = (index % LANES) as i32 - 1;
    Lane::new(TopicId(index as u32 % 2), (partition >= 0).then_some(partition))
}

pub(crate) fn is_in(group: FlushGroup, lane: Lane) -> bool {
    match group {
        FlushGroup::All => true,
        FlushGroup::Topic(topic) => lane.topic() == topic,
        FlushGroup::Lane(own) => lane == own,
    }
}

pub(crate) fn scope() -> impl Strategy<Value = FlushScope> {
    let partition =
        (0_u32..2, -1_i32..6).prop_map(|(topic, partition)| FlushScope::Partition(TopicId(topic), partition));
    prop_oneof![
        2 => Just(FlushScope::All),
        2 => (0_u32..2).prop_map(|topic| FlushScope::Topic(TopicId(topic))),
        2 => partition,
    ]
}

pub(crate) fn purge_scope() -> impl Strategy<Value = PurgeScope> {
    prop_oneof![2 => Just(PurgeScope::Queued), 1 => Just(PurgeScope::InFlight), 1 => Just(PurgeScope::All)]
}

/// Mostly none.
pub(crate) fn own() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![3 => Just(None), 1 => (0_u64..120).prop_map(|nanos| Some(Duration::from_nanos(nanos)))]
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
            $crate::Shape::Large => $run::<48, 6>($($argument),*),
        }
    };
}
pub(crate) use with_shape;

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let linger = prop_oneof![1 => Just(0_u64), 2 => 1_u64..60];
    let timeout = prop_oneof![1 => Just(None), 2 => (0_u64..120).prop_map(Some)];
    let grace = prop_oneof![1 => Just(None), 1 => (0_u64..60).prop_map(Some)];
    let isolation = prop_oneof![1 => Just(None), 2 => (1_u64..60, 0_u32..6).prop_map(Some)];
    let overflow = prop_oneof![
        1 => Just(Overflow::Wait),
        1 => Just(Overflow::WaitFor(Duration::from_nanos(9))),
        1 => Just(Overflow::Fail),
        1 => Just(Overflow::DropNewest),
        3 => Just(Overflow::DropOldest),
    ];
    (20_usize..300, 1_usize..200, 1_u32..8, 1_usize..100, linger, (timeout, grace, isolation), overflow).prop_map(
        |(pool_bytes, record_bytes, batch_records, batch_bytes, linger, (timeout, grace, isolation), overflow)| {
            Limits {
                pool_bytes,
                record_bytes: record_bytes.min(pool_bytes),
                batch_records,
                batch_bytes: batch_bytes.min(pool_bytes),
                linger: Duration::from_nanos(linger),
                delivery_timeout: timeout.map(Duration::from_nanos),
                report_timeout: grace.map(Duration::from_nanos),
                isolation: isolation
                    .map(|(timeout, window)| Isolation { availability_timeout: Duration::from_nanos(timeout), window }),
                overflow,
            }
        },
    )
}
