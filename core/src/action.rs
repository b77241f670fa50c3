//! The phases of a producer's life, and what it asks of its backend.

use crate::Instant;

/// How far the producer has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Records are accepted.
    Open,
    /// New records are refused. The others have until the deadline.
    Closing(Instant),
    /// The backend was asked to shut down, and nothing is handed off any more. Records come back by
    /// [`Producer::poll_unsent`](crate::Producer::poll_unsent), or by reports.
    Ending,
    /// The backend has ended and no record is left.
    Ended,
}

/// What the backend is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send lingering records now.
    Flush,
    /// Give up what it holds, as far as the scope says.
    Purge(PurgeScope),
    /// Give up everything and end; then comes [`Producer::handle_backend_ended`](crate::Producer::handle_backend_ended).
    ShutDown,
}

/// What a purge gives up.
///
/// ```
/// use aioproducer_core::PurgeScope;
///
/// let scope = PurgeScope::Queued;
/// assert!(scope.queued() && !scope.in_flight());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PurgeScope {
    /// Records that were not sent: those that wait in the producer, and those in the backend's queue.
    Queued,
    /// Records that were sent and that no broker has acknowledged.
    InFlight,
    /// Both.
    All,
}

impl PurgeScope {
    /// Whether records that were not sent are meant.
    #[must_use]
    pub const fn queued(self) -> bool {
        matches!(self, Self::Queued | Self::All)
    }

    /// Whether records are meant that were sent and that no broker has acknowledged.
    #[must_use]
    pub const fn in_flight(self) -> bool {
        matches!(self, Self::InFlight | Self::All)
    }

    /// What either of two purges gives up.
    ///
    /// ```
    /// use aioproducer_core::PurgeScope;
    ///
    /// assert_eq!(PurgeScope::Queued.and(PurgeScope::InFlight), PurgeScope::All);
    /// ```
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::All }
    }
}
