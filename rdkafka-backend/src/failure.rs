//! librdkafka's error codes as failures of records and errors of calls.

use aioproducer_core::backend::{CallError, ErrorCode, Failure, FailureKind, Status};
use rdkafka_sys::rd_kafka_resp_err_t::{self as Code, *};

pub(crate) const QUEUE_FULL: i32 = RD_KAFKA_RESP_ERR__QUEUE_FULL as i32;
pub(crate) const UNKNOWN_PARTITION: i32 = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32;
pub(crate) const UNKNOWN_TOPIC: i32 = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as i32;
pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i32 = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32;
const FATAL: i32 = RD_KAFKA_RESP_ERR__FATAL as i32;
pub(crate) const TIMED_OUT: i32 = RD_KAFKA_RESP_ERR__TIMED_OUT as i32;
pub(crate) const TRANSPORT: i32 = RD_KAFKA_RESP_ERR__TRANSPORT as i32;
pub(crate) const DESTROY: i32 = RD_KAFKA_RESP_ERR__DESTROY as i32;
pub(crate) const INVALID_ARGUMENT: i32 = RD_KAFKA_RESP_ERR__INVALID_ARG as i32;
pub(crate) const NOT_IMPLEMENTED: i32 = RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED as i32;
const PURGED_IN_FLIGHT: i32 = RD_KAFKA_RESP_ERR__PURGE_INFLIGHT as i32;

/// The failure of a record, from `rd_kafka_message_t.err` and `rd_kafka_message_status`.
pub(crate) fn of(code: i32, status: Status) -> Failure {
    Failure::new(kind(code), status, Some(ErrorCode::new(code)), text(code))
}

/// The kind of failure of records whose delivery timeout passes while connections fail with `code`.
pub(crate) fn while_connections_fail(code: i32) -> FailureKind {
    match kind(code) {
        known @ (FailureKind::Authentication | FailureKind::Tls | FailureKind::NotAuthorized) => known,
        _ => FailureKind::TimedOut,
    }
}

/// The failure of a record that librdkafka refused. If it refused the record after a fatal error, the failure carries that
/// error, `cause`, as the application may not know it yet.
pub(crate) fn refused(code: i32, cause: Option<Failure>) -> Failure {
    match cause {
        Some(cause) if code == FATAL => cause.with_status(Status::NotPersisted),
        _ => of(code, Status::NotPersisted),
    }
}

/// The failure of the producer, from `rd_kafka_fatal_error`.
pub(crate) fn fatal(code: i32) -> Failure {
    of(code, Status::PossiblyPersisted).with_kind(FailureKind::Fatal)
}

/// The error of a call that is neither retriable nor fatal.
pub(crate) fn call(code: i32, reason: &str) -> CallError {
    CallError::new(Some(ErrorCode::new(code)), reason)
}

/// The failure of a record that the client dropped at its end without a report.
pub(crate) fn dropped() -> Failure {
    of(PURGED_IN_FLIGHT, Status::PossiblyPersisted)
}

/// The failure of a record that was purged before it was sent.
pub(crate) fn purged() -> Failure {
    of(RD_KAFKA_RESP_ERR__PURGE_QUEUE as i32, Status::NotPersisted)
}

/// The failure of the producer when a client that has ended cannot be replaced.
pub(crate) fn not_renewed() -> Failure {
    let reason = "the client has ended, and no new one could be started; the operator's log says why";
    Failure::new(FailureKind::Fatal, Status::PossiblyPersisted, None, reason)
}

/// The failure of the producer after a panic of this crate's own code.
pub(crate) fn broken() -> Failure {
    let reason = "a worker thread panicked; this is a bug in aioproducer, please report it";
    Failure::new(FailureKind::Fatal, Status::PossiblyPersisted, None, reason)
}

/// The failure of a record whose slot another record uses.
pub(crate) fn slot_in_use() -> Failure {
    let reason = "another record uses the slot of this record";
    Failure::new(FailureKind::State, Status::NotPersisted, None, reason)
}

/// librdkafka's text for an error code.
pub(crate) fn text(code: i32) -> &'static str {
    ErrorCode::new(code).description().unwrap_or("an error that the client library has no text for")
}

pub(crate) fn kind(code: i32) -> FailureKind {
    match Code::try_from(code) {
        Ok(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT | RD_KAFKA_RESP_ERR__TIMED_OUT) => FailureKind::TimedOut,
        Ok(
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
            | RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE
            | RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
        ) => FailureKind::TooLarge,
        Ok(
            RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        ) => FailureKind::UnknownTopic,
        Ok(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) => FailureKind::UnknownPartition,
        Ok(RD_KAFKA_RESP_ERR__PURGE_QUEUE | RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) => FailureKind::Purged,
        Ok(RD_KAFKA_RESP_ERR__QUEUE_FULL) => FailureKind::QueueFull,
        Ok(RD_KAFKA_RESP_ERR__FATAL) => FailureKind::Fatal,
        Ok(RD_KAFKA_RESP_ERR__DESTROY) => FailureKind::Closed,
        Ok(RD_KAFKA_RESP_ERR__STATE) => FailureKind::State,
        Ok(
            RD_KAFKA_RESP_ERR__AUTHENTICATION
            | RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
            | RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM
            | RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE,
        ) => FailureKind::Authentication,
        Ok(RD_KAFKA_RESP_ERR__SSL) => FailureKind::Tls,
        Ok(
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            | RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ) => FailureKind::NotAuthorized,
        _ => FailureKind::Broker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s19_a_record_refused_after_a_fatal_error_carries_that_error() {
        let fenced = fatal(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH as i32);
        let refused_with = |code, cause| {
            let failure = refused(code, cause);
            assert_eq!(failure.status, Status::NotPersisted);
            (failure.kind, failure.code())
        };
        assert_eq!(refused_with(FATAL, Some(fenced)), (FailureKind::Fatal, fenced.code()));
        assert_eq!(refused_with(FATAL, None), (FailureKind::Fatal, Some(ErrorCode::LocalFatal)));
        let too_large = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as i32;
        assert_eq!(refused_with(too_large, Some(fenced)), (FailureKind::TooLarge, Some(ErrorCode::MsgSizeTooLarge)));
    }

    /// So `docs/errors.md` may list codes without their kinds.
    #[test]
    fn s44_the_kind_of_a_code_gives_no_other_advice_than_the_code() {
        for code in ErrorCode::all().filter(|code| ![ErrorCode::NoError, ErrorCode::LocalQueueFull].contains(code)) {
            for status in Status::all() {
                let failure = of(code.number(), status);
                let by_code = failure.with_kind(FailureKind::Broker);
                assert_eq!(failure.advice(), by_code.advice(), "{failure:?}");
                assert_eq!(failure.is_retriable(), by_code.is_retriable(), "{failure:?}");
            }
        }
    }

    #[test]
    fn s26_a_record_that_the_client_holds_at_its_end_fails_as_closed() {
        assert_eq!(of(DESTROY, Status::NotPersisted).kind, FailureKind::Closed);
    }
}
