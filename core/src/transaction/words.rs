//! What is said of transactions: to the machine and by it.

use core::fmt;

/// Tells one transaction from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub(super) u64);

/// A call that is to be made.
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

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It may be called again. Of a commit that means: nobody knows yet.
    Retry,
    /// The transaction can only be aborted.
    Abort,
    /// It was refused, for a reason that says nothing about the transaction.
    Refused,
    /// Nothing is left to be done.
    Fatal,
}

/// How a transaction stands, for its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its begin is under way, or waits for its turn.
    Beginning,
    /// Records may be written.
    Open,
    /// Its commit is under way.
    Committing,
    /// Its commit was called, and what became of it is not known.
    InDoubt,
    /// It is committed, and its holder has yet to take note.
    Committed,
    /// It can only be aborted.
    Failed,
    /// Its abort is under way.
    Aborting,
    /// Its abort did not succeed, and may be called again.
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
    /// What became of an earlier transaction's commit is not known, or nobody has taken note of it.
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
