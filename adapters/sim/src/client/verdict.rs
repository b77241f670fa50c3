//! What an error of a coordinator means for a transaction, as librdkafka has it.

use aioproducer_core::backend::{CallError, ErrorCode};

use crate::cluster::Api;

/// What is left to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request is sent again.
    Retry,
    /// The transaction can only be aborted.
    Abort,
    /// Another producer has the id, or this one's transaction took too long.
    Fenced,
    /// The producer is of no use any more.
    Fatal,
}

/// `None` is a broken connection.
pub(super) fn verdict(api: Api, code: Option<ErrorCode>) -> Verdict {
    let Some(code) = code else { return Verdict::Retry };
    match code {
        code if code.is_retriable() => Verdict::Retry,
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => Verdict::Fenced,
        ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::InvalidTxnState => Verdict::Fatal,
        ErrorCode::InvalidProducerIdMapping if api == Api::TxnOffsetCommit => Verdict::Fatal,
        _ if api == Api::InitProducerId => Verdict::Fatal,
        _ => Verdict::Abort,
    }
}

/// The error of a call that a coordinator refused.
pub(super) fn refused(api: Api, code: ErrorCode) -> CallError {
    let description = code.description().unwrap_or("an error without a description");
    CallError::new(Some(code), format!("{} failed: {description}", api.name()))
}

/// The time of a call is over. What it asked for goes on.
pub(super) fn timed_out() -> CallError {
    let reason = "timed out; the call may go on, and the same call again waits for its result";
    CallError::new(Some(ErrorCode::LocalTimedOut), reason).with_retriable(true)
}

/// A call at the wrong time, which the producer does not make.
pub(super) fn wrong_state() -> CallError {
    CallError::new(Some(ErrorCode::LocalState), "no transaction is open")
}

/// A call after an error that leaves only the abort.
pub(super) fn must_abort() -> CallError {
    let reason = "the transaction has failed and can only be aborted";
    CallError::new(Some(ErrorCode::LocalState), reason).with_requires_abort(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_mean_what_they_mean_to_librdkafka() {
        let meaning = |code| [Api::InitProducerId, Api::TxnOffsetCommit, Api::EndTxn].map(|api| verdict(api, code));
        assert_eq!(meaning(None), [Verdict::Retry; 3]);
        for (code, expected) in [
            (ErrorCode::CoordinatorNotAvailable, [Verdict::Retry; 3]),
            (ErrorCode::ConcurrentTransactions, [Verdict::Retry; 3]),
            (ErrorCode::ProducerFenced, [Verdict::Fenced; 3]),
            (ErrorCode::InvalidTxnState, [Verdict::Fatal; 3]),
            (ErrorCode::IllegalGeneration, [Verdict::Fatal, Verdict::Abort, Verdict::Abort]),
            (ErrorCode::InvalidProducerIdMapping, [Verdict::Fatal, Verdict::Fatal, Verdict::Abort]),
        ] {
            assert_eq!(meaning(Some(code)), expected, "{code}");
        }
    }
}
