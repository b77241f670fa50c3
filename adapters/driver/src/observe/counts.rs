//! The counts that metrics are made from.

use aioproducer_core::Stats;

/// Callbacks since the start, and those that wait now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallbackCounts {
    pub(crate) waiting: usize,
    pub(crate) panicked: u64,
    pub(crate) stalled: u64,
}

/// The pool, as it is now and since the start.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics read it"))]
pub(crate) struct PoolCounts {
    pub(crate) machine: Stats,
    pub(crate) waiters: usize,
}
