//! How long what is known of a topic's partitions is trusted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a number of partitions is trusted.
pub(super) const REFRESH: Duration = Duration::from_secs(1);

/// The time after which one batch asks librdkafka for the number of partitions.
pub(super) struct Trust {
    pub(super) start: Instant,
    /// When it ends, in nanoseconds from `start`.
    until: AtomicU64,
}

impl Trust {
    /// It has ended. No time is before `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, until: AtomicU64::new(0) }
    }

    /// Whether it is over. One caller that may ask gets this answer, and the number is trusted again.
    pub(super) fn is_over(&self, now: Instant, may: impl FnOnce() -> bool) -> bool {
        let now = now.saturating_duration_since(self.start);
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let until = self.until.load(Ordering::Relaxed);
        nanoseconds(now) >= until && may() && {
            let next = nanoseconds(now + REFRESH);
            self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        }
    }

    /// Ends it: the next batch asks.
    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Relaxed);
    }
}
