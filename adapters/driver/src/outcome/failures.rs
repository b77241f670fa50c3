//! The failures that the producer itself decides. Those of brokers and the client library come from the backend.

use aioproducer_core::backend::{Failure, FailureKind, Status};

const fn failure(kind: FailureKind, status: Status, reason: &'static str) -> Failure {
    Failure::new(kind, status, None, reason)
}

pub(crate) const TIMED_OUT: Failure = failure(
    FailureKind::TimedOut,
    Status::NotPersisted,
    "the delivery timeout passed before the record was handed off",
);

/// The time passed while the backend had the record.
pub(crate) const TIMED_OUT_IN_FLIGHT: Failure = failure(
    FailureKind::TimedOut,
    Status::PossiblyPersisted,
    "the delivery timeout passed while the record was on its way, so it may be in the log, now or later",
);

pub(crate) const QUEUE_FULL: Failure =
    failure(FailureKind::QueueFull, Status::NotPersisted, "the record alone is more than the backend may queue");

/// The overflow policy dropped the record.
pub(crate) const DROPPED: Failure = failure(
    FailureKind::Dropped,
    Status::NotPersisted,
    "the pool was full, and the overflow policy is to drop records",
);

pub(crate) const PURGED: Failure =
    failure(FailureKind::Purged, Status::NotPersisted, "the record was purged before it was handed off");

/// The record was not handed off before its transaction was aborted.
pub(crate) const ABORTED: Failure =
    failure(FailureKind::Purged, Status::NotPersisted, "the transaction was aborted before the record was sent");

/// An abort failed while the backend keeps a record without a report. The abort cannot end before that record does.
pub(crate) const ABORT_STUCK: Failure = failure(
    FailureKind::Fatal,
    Status::PossiblyPersisted,
    "the transaction cannot be aborted: the backend keeps one of its records without a report",
);

/// The producer was closed, or ended, before the record was delivered.
/// [`EndedBy::failure`](super::ended_by::EndedBy::failure) has the reason.
pub(crate) const CLOSED: Failure =
    failure(FailureKind::Closed, Status::NotPersisted, "the producer was closed before the record was delivered");
