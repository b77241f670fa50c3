//! Names that spans, metrics and caught panics share.

#[cfg(any(feature = "tracing", feature = "metrics"))]
use aioproducer_core::backend::{FailureKind, Status};

/// What [`Panics`](crate::runtime::panics::Panics) calls the code that spans and metrics go to.
pub(crate) const SUBSCRIBER: &str = "a subscriber or a recorder";

/// A failure's kind, as spans and metrics call it.
#[cfg(any(feature = "tracing", feature = "metrics"))]
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
#[cfg(any(feature = "tracing", feature = "metrics"))]
pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::NotPersisted => "not_persisted",
        Status::Persisted => "persisted",
        // What a later version may add is not known to be in the log, nor not to be.
        _ => "possibly_persisted",
    }
}
