//! What has changed about callbacks since it was last reported.

use super::counts::CallbackCounts;
use crate::runtime::sync::{Mutex, lock};

/// A change of the callbacks' counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallbackChange {
    #[cfg(feature = "metrics")]
    pub(crate) waiting: i64,
    #[cfg(feature = "metrics")]
    pub(crate) panicked: u64,
    pub(crate) stalled: u64,
}

/// The counts that were reported last.
#[derive(Default)]
pub(crate) struct CallbackChanges(Mutex<CallbackCounts>);

impl CallbackChanges {
    /// The change since the last call. The counts are read under the lock, so that changes add up in whatever order threads
    /// report them.
    pub(crate) fn take(&self, counts: impl FnOnce() -> CallbackCounts) -> CallbackChange {
        let mut reported = lock(&self.0);
        let now = counts();
        let before = std::mem::replace(&mut *reported, now);
        CallbackChange {
            #[cfg(feature = "metrics")]
            waiting: now.waiting as i64 - before.waiting as i64,
            #[cfg(feature = "metrics")]
            panicked: now.panicked - before.panicked,
            stalled: now.stalled - before.stalled,
        }
    }
}
