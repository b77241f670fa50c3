//! Who ended a producer: what its errors say then depends on it.

use aioproducer_core::backend::{CallError, Failure, FailureKind, Status};

/// Who ended a producer, or is about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EndedBy {
    #[default]
    Close,
    /// The last handle went without a close.
    LastHandle,
    /// The runtime dropped the driver task.
    Runtime,
}

/// The failure of records that a closing or vanishing producer did not send; [`EndedBy::failure`] has the reason.
pub(crate) const CLOSED: Failure = Failure {
    kind: FailureKind::Closed,
    status: Status::NotPersisted,
    code: 0,
    reason: "the producer was closed before the record was delivered",
};

impl EndedBy {
    /// What becomes of a record with `status` that the end came before.
    pub(crate) fn failure(self, status: Status) -> Failure {
        let reason = match self {
            Self::Close => CLOSED.reason,
            Self::LastHandle => {
                "the producer's last handle was dropped before the record was delivered; close() would have waited for it"
            }
            Self::Runtime => {
                "the runtime that the producer was started on ended before the record was delivered; \
                 start a producer on each runtime"
            }
        };
        Failure { status, reason, ..CLOSED }
    }

    /// The error of calls that a producer does not make any more.
    pub(crate) fn call_error(self) -> CallError {
        let reason = String::from(match self {
            Self::Close | Self::LastHandle => "the producer was closed before the call was answered",
            Self::Runtime => {
                "the runtime that the producer was started on ended before the call was answered; \
                 start a producer on each runtime"
            }
        });
        CallError { code: 0, reason, retriable: false, txn_requires_abort: false, fatal: false }
    }
}
