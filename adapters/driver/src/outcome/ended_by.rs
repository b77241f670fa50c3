//! What ended a producer: the text of its errors depends on it.

use aioproducer_core::backend::{CallError, Failure, Status};

use super::failures::CLOSED;

/// What ended a producer, or is about to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EndedBy {
    #[default]
    Close,
    /// The last handle was dropped without a close.
    LastHandle,
    /// The runtime dropped the driver task.
    Runtime,
}

impl EndedBy {
    /// The failure of a record that was not delivered before the end.
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
        Failure::new(CLOSED.kind, status, None, reason)
    }

    /// The operator's line about the records that were not delivered before the end; `loss` counts them.
    pub(crate) fn lost(self, loss: &str) -> String {
        let (end, remedy) = match self {
            Self::Close => ("the producer was closed", "give close() more time"),
            Self::LastHandle => {
                ("the producer's last handle was dropped", "call close().await first, which waits for their delivery")
            }
            Self::Runtime => (
                "the runtime that the producer was started on ended",
                "call close().await before, which waits for their delivery",
            ),
        };
        format!(
            "{end} before {loss} had been delivered; they are lost, unless the application sends them again: {remedy}"
        )
    }

    /// The error of calls that the producer no longer makes.
    pub(crate) fn call_error(self) -> CallError {
        let reason = match self {
            Self::Close | Self::LastHandle => "the producer was closed before the call was answered",
            Self::Runtime => {
                "the runtime that the producer was started on ended before the call was answered; \
                 start a producer on each runtime"
            }
        };
        CallError::new(None, reason)
    }
}
