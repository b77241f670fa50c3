//! What has changed since it was last told.

use aioproducer_core::backend::{FailureKind, Status};

use crate::callbacks::{Callbacks, Counts};
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

/// The counts that were told.
#[derive(Default)]
pub(crate) struct CallbackChanges(Mutex<Counts>);

impl CallbackChanges {
    /// The change since the last call. The counts are read under the lock: so changes add up, in whatever order they are
    /// told.
    pub(crate) fn take(&self, callbacks: &Callbacks) -> CallbackChange {
        let mut told = lock(&self.0);
        let now = callbacks.counts();
        let before = std::mem::replace(&mut *told, now);
        CallbackChange {
            #[cfg(feature = "metrics")]
            waiting: now.waiting as i64 - before.waiting as i64,
            #[cfg(feature = "metrics")]
            panicked: now.panicked - before.panicked,
            stalled: now.stalled - before.stalled,
        }
    }
}

/// A failure's kind, as spans and metrics call it.
pub(crate) fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::TimedOut => "timed_out",
        FailureKind::TooLarge => "too_large",
        FailureKind::UnknownTopic => "unknown_topic",
        FailureKind::UnknownPartition => "unknown_partition",
        FailureKind::Purged => "purged",
        FailureKind::Dropped => "dropped",
        FailureKind::Closed => "closed",
        FailureKind::QueueFull => "queue_full",
        FailureKind::Fatal => "fatal",
        FailureKind::State => "state",
        FailureKind::Authentication => "authentication",
        FailureKind::Tls => "tls",
        FailureKind::NotAuthorized => "not_authorized",
        FailureKind::Broker => "broker",
        _ => "_OTHER",
    }
}

/// Whether a failed record is in the log, as spans and metrics say it.
pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::NotPersisted => "not_persisted",
        Status::Persisted => "persisted",
        // What a later version may add is not known to be in the log, nor not to be.
        _ => "possibly_persisted",
    }
}
