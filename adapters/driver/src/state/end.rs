//! Who ended a producer: what its errors say then depends on it.

use std::cell::RefCell;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{CallError, Failure, FailureKind, Status};

use crate::state::shared::{Shared, State};

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
pub(crate) const CLOSED: Failure = Failure::new(
    FailureKind::Closed,
    Status::NotPersisted,
    None,
    "the producer was closed before the record was delivered",
);

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
        Failure::new(CLOSED.kind, status, None, reason)
    }

    /// What the operator is told of records that were not delivered before the end: so many of them.
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
        format!("{end} before {loss} had been delivered; they are lost, unless somebody sends them again: {remedy}")
    }

    /// The error of calls that a producer does not make any more.
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

/// Topics that a line about a loss names.
const NAMED: usize = 3;

impl State {
    /// How many records have no outcome, in words, with their topics; `None` if there are none.
    pub(crate) fn loss(&self, shared: &Shared) -> Option<String> {
        let count = self.machine.len();
        if count == 0 {
            return None;
        }
        let topics = RefCell::new(Vec::with_capacity(NAMED));
        let others = self.machine.len_in(|lane| {
            let mut topics = topics.borrow_mut();
            let is_known = topics.contains(&lane.topic());
            let is_named = is_known || topics.len() < NAMED;
            if is_named && !is_known {
                topics.push(lane.topic());
            }
            !is_named
        });
        let of = |topic: &TopicId| (*topic, self.machine.len_in(|lane| lane.topic() == *topic));
        let topics = topics.into_inner();
        let named = topics.iter().map(of).filter(|(_, count)| *count > 0);
        let named = named
            .map(|(topic, count)| format!("{count} of the topic `{}`", shared.topics.name(topic).unwrap_or_default()));
        let named: Vec<_> = named.chain((others > 0).then(|| format!("{others} of others"))).collect();
        let records = if count == 1 { "record" } else { "records" };
        Some(format!("{count} {records} ({})", named.join(", ")))
    }
}
