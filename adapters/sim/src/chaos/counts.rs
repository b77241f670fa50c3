//! What has happened.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::Arc;

/// How much chaos there was: [`Around::counts`](crate::Around::counts). Clones count the same. A test that expects chaos looks here
/// whether there was any.
///
/// ```
/// # use aioproducer_sim::{Chaos, SimCluster};
/// let counts = Chaos::seeded(7).around(SimCluster::new().backend()).counts();
/// assert_eq!((counts.delays(), counts.late_reports(), counts.refusals(), counts.rejections()), (0, 0, 0, 0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ChaosCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    delays: AtomicU64,
    late_reports: AtomicU64,
    refusals: AtomicU64,
    rejections: AtomicU64,
}

impl ChaosCounts {
    /// Hand-offs that were delayed.
    #[must_use]
    pub fn delays(&self) -> u64 {
        self.0.delays.load(Ordering::Relaxed)
    }

    /// Records whose report was late.
    #[must_use]
    pub fn late_reports(&self) -> u64 {
        self.0.late_reports.load(Ordering::Relaxed)
    }

    /// Records for which the queue was full.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Ordering::Relaxed)
    }

    /// Records that failed before they were sent.
    #[must_use]
    pub fn rejections(&self) -> u64 {
        self.0.rejections.load(Ordering::Relaxed)
    }

    pub(super) fn count_delay(&self) {
        self.0.delays.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_late_reports(&self, count: usize) {
        self.0.late_reports.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn count_refusals(&self, count: usize) {
        self.0.refusals.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn count_rejections(&self, count: usize) {
        self.0.rejections.fetch_add(count as u64, Ordering::Relaxed);
    }
}
