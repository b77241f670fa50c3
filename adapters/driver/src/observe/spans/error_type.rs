//! Failures by name, of which there are few: the values of `error.type`. `docs/tracing.md` lists them.

use aioproducer_core::backend::{Failure, FailureKind};

use crate::observe::names::kind_name;

/// What the broker answered, by the name that Kafka's protocol has for it; the failure's kind if it answered nothing, or
/// nothing that is known here.
pub(super) fn error_type(failure: &Failure) -> &'static str {
    // What the producer itself decides may have the backend's last error with it.
    match failure.kind {
        FailureKind::TimedOut | FailureKind::Purged | FailureKind::Dropped | FailureKind::Closed => {
            kind_name(failure.kind)
        }
        kind => failure.code().and_then(|code| protocol_name(code.number())).unwrap_or(kind_name(kind)),
    }
}

/// The errors of Kafka's protocol that a producer may meet. <https://kafka.apache.org/protocol#protocol_error_codes>
fn protocol_name(code: i32) -> Option<&'static str> {
    Some(match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        8 => "BROKER_NOT_AVAILABLE",
        9 => "REPLICA_NOT_AVAILABLE",
        10 => "MESSAGE_TOO_LARGE",
        13 => "NETWORK_EXCEPTION",
        14 => "COORDINATOR_LOAD_IN_PROGRESS",
        15 => "COORDINATOR_NOT_AVAILABLE",
        16 => "NOT_COORDINATOR",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        21 => "INVALID_REQUIRED_ACKS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        32 => "INVALID_TIMESTAMP",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        42 => "INVALID_REQUEST",
        43 => "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        44 => "POLICY_VIOLATION",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        46 => "DUPLICATE_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        48 => "INVALID_TXN_STATE",
        49 => "INVALID_PRODUCER_ID_MAPPING",
        50 => "INVALID_TRANSACTION_TIMEOUT",
        51 => "CONCURRENT_TRANSACTIONS",
        52 => "TRANSACTION_COORDINATOR_FENCED",
        53 => "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        54 => "SECURITY_DISABLED",
        56 => "KAFKA_STORAGE_ERROR",
        57 => "LOG_DIR_NOT_FOUND",
        58 => "SASL_AUTHENTICATION_FAILED",
        59 => "UNKNOWN_PRODUCER_ID",
        74 => "FENCED_LEADER_EPOCH",
        75 => "UNKNOWN_LEADER_EPOCH",
        76 => "UNSUPPORTED_COMPRESSION_TYPE",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        90 => "PRODUCER_FENCED",
        100 => "UNKNOWN_TOPIC_ID",
        120 => "TRANSACTION_ABORTABLE",
        _ => return None,
    })
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use aioproducer_core::backend::{ErrorCode, Status};

    use super::*;

    #[test]
    fn the_document_lists_every_error_type() {
        let document = include_str!("../../../../../docs/tracing.md");
        for name in (-1..=200).filter_map(protocol_name) {
            assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/tracing.md");
        }
    }

    #[test]
    fn an_error_type_is_the_brokers_answer_or_the_failures_kind() {
        let of = |kind, code| error_type(&Failure::new(kind, Status::NotPersisted, Some(ErrorCode::new(code)), ""));
        assert_eq!(of(FailureKind::Broker, 19), "NOT_ENOUGH_REPLICAS");
        assert_eq!(of(FailureKind::TooLarge, 10), "MESSAGE_TOO_LARGE");
        assert_eq!(of(FailureKind::TooLarge, 0), "too_large");
        assert_eq!(of(FailureKind::Fatal, 90), "PRODUCER_FENCED");
        assert_eq!(of(FailureKind::Broker, -195), "broker");
        assert_eq!(of(FailureKind::TimedOut, 7), "timed_out");
    }
}
