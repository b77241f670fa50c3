//! The types of the transaction machine's commands, inputs and answers.

use core::fmt;

/// Names one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub(super) u64);

/// A call to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Initialise transactions.
    Init,
    /// Begin a transaction.
    Begin,
    /// Commit it.
    Commit,
    /// Abort it.
    Abort,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// It succeeded.
    Done,
    /// It may be called again. The outcome of a commit is unknown then.
    Retry,
    /// The transaction can only be aborted.
    Abort,
    /// It was refused, for a reason that leaves the transaction as it is.
    Refused,
    /// The producer is unusable.
    Fatal,
}

/// The status of a transaction, for its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// Its begin is under way, or waits for its turn.
    Beginning,
    /// Records may be written.
    Open,
    /// Its commit is under way.
    Committing,
    /// Its commit was called, and the outcome is unknown.
    InDoubt,
    /// It is committed, and its holder has yet to acknowledge that.
    Committed,
    /// It can only be aborted.
    Failed,
    /// Its abort is under way.
    Aborting,
    /// Its abort failed, and may be called again.
    AbortFailed,
    /// There is no such transaction: never begun, aborted, or committed and acknowledged.
    Over,
}

/// Why a command was refused. Nothing changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionRefusal {
    /// A transaction is open, or about to be.
    AlreadyOpen,
    /// The outcome of an earlier transaction's commit is unknown, or has not been acknowledged.
    InDoubt,
    /// The transaction can only be aborted.
    MustAbort,
    /// The transaction is over.
    Over,
    /// The producer met an error that it cannot recover from.
    Fatal,
    /// The producer is closed.
    Closed,
}

impl fmt::Display for TransactionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyOpen => "a transaction is open already",
            Self::InDoubt => "the outcome of an earlier transaction's commit is unknown",
            Self::MustAbort => "the transaction can only be aborted",
            Self::Over => "the transaction is over",
            Self::Fatal => "the producer met a fatal error",
            Self::Closed => "the producer is closed",
        })
    }
}

impl core::error::Error for TransactionRefusal {}
