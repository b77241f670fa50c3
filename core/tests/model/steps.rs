//! What a caller does in a step.

use core::time::Duration;

use aioproducer_core::{FlushScope, PurgeScope};
use proptest::prelude::*;

use crate::{own, purge_scope, scope};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Produce {
        lane: usize,
        size: usize,
        own: Option<Duration>,
        /// How long it has waited for room.
        waited: u64,
        later: u64,
    },
    /// The same by the overflow policy.
    Admit {
        lane: usize,
        size: usize,
        first: bool,
    },
    Pass(u64),
    PollBatch {
        later: u64,
    },
    /// The backend's queue takes `keep` of the batch and refuses the others.
    Refuse {
        batch: usize,
        keep: usize,
    },
    Settle(usize),
    SettleTwice(usize),
    Report(usize),
    /// The report of a record that ended before.
    ReportKept(usize),
    ReportStale(usize),
    RefuseStale(usize),
    TakeCopy(usize),
    Retract(usize),
    Flush(FlushScope),
    Purge {
        scope: PurgeScope,
        /// Records that are asked for before another one is produced.
        first: usize,
        /// Then it is stopped.
        stops: bool,
    },
    Drain,
    Connected(bool),
    Close(u64),
    End,
    BackendEnded,
    /// Whether something else is under way that a close waits for.
    Settled(bool),
    /// Whether ends of flushes are asked for after each step.
    PollFlushed(bool),
}

/// Any step, each kind with its weight.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![3 => Just(0_u64), 1 => 0_u64..30];
    let waited = prop_oneof![3 => Just(0_u64), 1 => 0_u64..30];
    let produce = (0_usize..7, 0_usize..60, own(), waited, later.clone());
    let end = prop_oneof![
        30 => scope().prop_map(Step::Flush),
        4 => (0_u64..200).prop_map(Step::Close),
        1 => Just(Step::End),
        1 => Just(Step::BackendEnded),
    ];
    prop_oneof![
        30 => produce.prop_map(|(lane, size, own, waited, later)| Step::Produce { lane, size, own, waited, later }),
        8 => (0_usize..7, 0_usize..60, prop::bool::weighted(0.8)).prop_map(|(lane, size, first)| Step::Admit { lane, size, first }),
        10 => (0_u64..50).prop_map(Step::Pass),
        14 => later.prop_map(|later| Step::PollBatch { later }),
        6 => (any::<usize>(), 0_usize..5).prop_map(|(batch, keep)| Step::Refuse { batch, keep }),
        10 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::SettleTwice),
        14 => any::<usize>().prop_map(Step::Report),
        6 => any::<usize>().prop_map(Step::ReportKept),
        3 => any::<usize>().prop_map(Step::ReportStale),
        2 => any::<usize>().prop_map(Step::RefuseStale),
        2 => any::<usize>().prop_map(Step::TakeCopy),
        7 => any::<usize>().prop_map(Step::Retract),
        6 => scope().prop_map(Step::Flush),
        2 => (purge_scope(), 0_usize..4, any::<bool>())
            .prop_map(|(scope, first, stops)| Step::Purge { scope, first, stops }),
        1 => Just(Step::Drain),
        2 => prop::bool::weighted(0.7).prop_map(Step::Connected),
        1 => any::<bool>().prop_map(Step::Settled),
        1 => prop::bool::weighted(0.7).prop_map(Step::PollFlushed),
        1 => end,
    ]
}
