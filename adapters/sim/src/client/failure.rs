//! From an error of the simulated broker to the failure of a record.

use aioproducer_core::backend::{ErrorCode, Failure, FailureKind, Status};

const NO_TOPIC: &str = "the simulated cluster has no such topic; SimCluster::with_topic declares one";
const NO_PARTITION: &str = "the topic has no such partition in the simulated cluster";
const REFUSED: &str = "refused by the test";
const ABORT: &str = "the transaction has failed and can only be aborted";
const TIMED_OUT: &str = "timed out in the simulated client";
const FENCED_BY: &str = "fenced: another producer has the transactional id, or the transaction took too long";
const PURGED: &str = "purged";
const LOST: &str = "the simulated broker's connection broke";

/// The topic does not exist.
pub(super) const UNKNOWN_TOPIC: Failure =
    Failure::new(FailureKind::UnknownTopic, Status::NotPersisted, Some(ErrorCode::UnknownTopicOrPart), NO_TOPIC);

/// The topic has no such partition.
pub(super) const UNKNOWN_PARTITION: Failure = Failure::new(
    FailureKind::UnknownPartition,
    Status::NotPersisted,
    Some(ErrorCode::LocalUnknownPartition),
    NO_PARTITION,
);

/// The transaction can only be aborted.
pub(super) const MUST_ABORT: Failure =
    Failure::new(FailureKind::State, Status::NotPersisted, Some(ErrorCode::LocalState), ABORT);

/// A transactional record's time is over. Other records' time is the producer's matter.
pub(super) const fn timed_out(status: Status) -> Failure {
    Failure::new(FailureKind::TimedOut, status, Some(ErrorCode::LocalMsgTimedOut), TIMED_OUT)
}

/// Another producer has the transactional id, or the coordinator has aborted a transaction that took too long.
pub(super) const FENCED: Failure =
    Failure::new(FailureKind::Fatal, Status::PossiblyPersisted, Some(ErrorCode::LocalFenced), FENCED_BY);

/// A purge, or the end of the producer.
pub(super) const fn purged(status: Status) -> Failure {
    Failure::new(FailureKind::Purged, status, None, PURGED)
}

/// A test refuses a held record.
pub(super) const fn refused(kind: FailureKind) -> Failure {
    Failure::new(kind, Status::NotPersisted, None, REFUSED)
}

/// The last error of a batch that is not sent again; `None` is a broken connection.
pub(super) fn answered(code: Option<ErrorCode>, status: Status) -> Failure {
    let Some(code) = code else {
        return Failure::new(FailureKind::Broker, status, Some(ErrorCode::NetworkException), LOST);
    };
    let kind = match code {
        ErrorCode::MsgSizeTooLarge | ErrorCode::InvalidMsgSize => FailureKind::TooLarge,
        ErrorCode::UnknownTopicOrPart | ErrorCode::TopicException => FailureKind::UnknownTopic,
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => FailureKind::NotAuthorized,
        ErrorCode::SaslAuthenticationFailed => FailureKind::Authentication,
        code if is_fatal(code) => FailureKind::Fatal,
        _ => FailureKind::Broker,
    };
    Failure::new(kind, status, Some(code), code.description().unwrap_or("an error without a description"))
}

/// Whether the producer is of no use after it.
pub(super) const fn is_fatal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::UnknownProducerId
            | ErrorCode::ProducerFenced
    )
}

/// Whether the records may be in the log though the broker answered with an error.
pub(super) const fn may_be_appended(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend | ErrorCode::NetworkException)
}
