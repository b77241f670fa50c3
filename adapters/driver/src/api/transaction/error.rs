//! Why a transaction does not go on, and what is left to do.

use std::fmt;

use aioproducer_core::TransactionRefusal;
use aioproducer_core::backend::{CallError, ErrorCode, Failure};

use super::Transaction;
use crate::outcome::ended_by::EndedBy;
use crate::state::transactions::Transactions;

/// What is left to do after an error of a transaction.
///
/// ```
/// # use aioproducer_driver::{Transaction, error::EndError, transaction::Remedy};
/// /// The transaction whose commit is to be called again.
/// fn to_commit_again(error: EndError) -> Option<Transaction> {
///     if error.remedy() == Remedy::Resolve { error.into_transaction() } else { None }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// The same call may be made again.
    Retry,
    /// Abort the transaction, by [`Transaction::abort`] or by dropping it; then a new one may do the same work.
    Abort,
    /// What became of a commit is not known. Commit the same transaction again, until it is; [`EndError::into_transaction`]
    /// and [`AioProducer::in_doubt`](crate::AioProducer::in_doubt) have it. To close the producer instead leaves it to its
    /// coordinator, which has committed it or will abort it.
    Resolve,
    /// This producer is of no more use, or was never fit for it.
    GiveUp,
}

/// Why a call of a transaction failed. [`TransactionError::remedy`] says what is left to do.
///
/// ```
/// # use aioproducer_driver::{AioProducer, error::TransactionError, transaction::Remedy};
/// /// Initializes a producer with a transactional id, as often as it takes.
/// async fn initialize(producer: &AioProducer) -> Result<(), TransactionError> {
///     loop {
///         match producer.init_transactions().await {
///             Err(error) if error.remedy() == Remedy::Retry => eprintln!("again: {error}"),
///             outcome => return outcome,
///         }
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// The producer has no transactional id (librdkafka: `transactional.id`).
    NotTransactional,
    /// A transaction of this producer is open, or about to be.
    AlreadyOpen,
    /// What became of an earlier transaction's commit is not known, or its caller has not seen it; see
    /// [`AioProducer::in_doubt`](crate::AioProducer::in_doubt).
    InDoubt,
    /// The commit was called, and what became of it is not known.
    Unknown(CallError),
    /// Records of the transaction were not delivered.
    Undelivered {
        /// How many.
        records: u64,
        /// Why the first of them was not.
        first: Option<Failure>,
    },
    /// The transaction can only be aborted.
    MustAbort,
    /// The broker or the client library refused a call.
    Call {
        /// Why.
        error: CallError,
        /// What is left to do.
        remedy: Remedy,
    },
    /// The transaction is over: a close aborted it.
    Over,
    /// The producer was closed.
    Closed,
    /// The runtime that the producer was started on has ended, and the producer with it.
    RuntimeEnded,
    /// The producer met an error that it cannot recover from: another one with its transactional id has taken its place
    /// (it is *fenced*), for one.
    Fatal {
        /// The error of the broker or the client library, if it came from there.
        code: Option<ErrorCode>,
        /// What went wrong, in words.
        reason: &'static str,
    },
}

impl TransactionError {
    /// What is left to do.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::AlreadyOpen => Remedy::Retry,
            Self::InDoubt | Self::Unknown(_) => Remedy::Resolve,
            Self::Undelivered { .. } | Self::MustAbort => Remedy::Abort,
            Self::Call { remedy, .. } => *remedy,
            Self::NotTransactional | Self::Over | Self::Closed | Self::RuntimeEnded | Self::Fatal { .. } => {
                Remedy::GiveUp
            }
        }
    }

    /// The error's number and name, if it came from the backend or a broker.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Unknown(error) | Self::Call { error, .. } => error.code(),
            Self::Undelivered { first, .. } => first.and_then(|failure| failure.code()),
            Self::Fatal { code, .. } => *code,
            _ => None,
        }
    }

    /// `otherwise` is the remedy of an error that says nothing about it.
    pub(super) fn of_call(error: Option<CallError>, otherwise: Remedy) -> Self {
        let Some(error) = error else { return Self::Closed };
        let remedy = if error.is_fatal() {
            Remedy::GiveUp
        } else if error.requires_abort() {
            Remedy::Abort
        } else if error.is_retriable() {
            Remedy::Retry
        } else {
            otherwise
        };
        Self::Call { error, remedy }
    }

    /// The producer is closed, or has ended.
    pub(super) fn closed(by: EndedBy) -> Self {
        match by {
            EndedBy::Close | EndedBy::LastHandle => Self::Closed,
            EndedBy::Runtime => Self::RuntimeEnded,
        }
    }

    pub(super) fn of_refusal(refusal: TransactionRefusal, fatal: Option<&Failure>, ended_by: EndedBy) -> Self {
        match refusal {
            TransactionRefusal::AlreadyOpen => Self::AlreadyOpen,
            TransactionRefusal::InDoubt => Self::InDoubt,
            TransactionRefusal::MustAbort => Self::MustAbort,
            TransactionRefusal::Fatal => {
                let (code, reason) = fatal.map_or((None, "unknown"), |failure| (failure.code(), failure.reason));
                Self::Fatal { code, reason }
            }
            TransactionRefusal::Closed => Self::closed(ended_by),
            // It is not aborted yet: its coordinator will do so.
            _ if ended_by == EndedBy::Runtime => Self::RuntimeEnded,
            _ => Self::Over,
        }
    }

    /// Why a transaction can only be aborted.
    pub(super) fn of_failed(transactions: &Transactions) -> Self {
        match transactions.machine.failed() {
            0 => {
                transactions.error.clone().map_or(Self::MustAbort, |error| Self::Call { error, remedy: Remedy::Abort })
            }
            records => Self::Undelivered { records, first: transactions.first_failure },
        }
    }

    /// Why an abort failed, after which nothing but another one is left unless all is lost.
    pub(super) fn of_abort(error: Option<CallError>) -> Self {
        match Self::of_call(error, Remedy::Abort) {
            Self::Call { error, remedy: Remedy::Retry } => Self::Call { error, remedy: Remedy::Abort },
            other => other,
        }
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTransactional => f.write_str("the producer has no transactional id"),
            Self::AlreadyOpen => TransactionRefusal::AlreadyOpen.fmt(f),
            Self::InDoubt => TransactionRefusal::InDoubt.fmt(f),
            Self::Unknown(_) => f.write_str("the outcome of the commit is unknown; commit again to find it out"),
            Self::Undelivered { records, .. } => {
                write!(f, "{records} record(s) of the transaction were not delivered; abort it")
            }
            Self::MustAbort => TransactionRefusal::MustAbort.fmt(f),
            Self::Call { error, .. } => error.fmt(f),
            Self::Over => TransactionRefusal::Over.fmt(f),
            Self::Closed => TransactionRefusal::Closed.fmt(f),
            Self::RuntimeEnded => f.write_str(
                "the runtime that the producer was started on has ended: start a producer on each runtime that produces",
            ),
            Self::Fatal { reason, .. } => write!(f, "the producer met a fatal error: {reason}"),
        }
    }
}

impl std::error::Error for TransactionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::Undelivered { first, .. } => first.as_ref().map(|failure| failure as _),
            // Its text is this one's.
            Self::Call { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// Why a transaction did not end as wanted, and the transaction, if it can still be ended.
///
/// Dropped, it drops the transaction, which is aborted then, or in doubt.
///
/// ```
/// # use aioproducer_driver::{Transaction, error::TransactionError, transaction::Remedy};
/// /// Commits, or aborts if nothing else is left.
/// async fn end(transaction: Transaction) -> Result<(), TransactionError> {
///     let Err(error) = transaction.commit().await else { return Ok(()) };
///     match (error.remedy(), error.into_parts()) {
///         (Remedy::Abort, (error, Some(transaction))) => {
///             eprintln!("aborted: {error}");
///             Ok(transaction.abort().await?)
///         }
///         (_, (error, _)) => Err(error),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct EndError {
    error: TransactionError,
    transaction: Option<Transaction>,
}

impl EndError {
    pub(super) fn new(error: TransactionError, transaction: Transaction) -> Self {
        let lost = error.remedy() == Remedy::GiveUp;
        Self { error, transaction: (!lost).then_some(transaction) }
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> &TransactionError {
        &self.error
    }

    /// What is left to do.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.error.remedy()
    }

    /// The transaction, to be committed or aborted as [`EndError::remedy`] says.
    #[must_use]
    pub fn into_transaction(self) -> Option<Transaction> {
        self.transaction
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (TransactionError, Option<Transaction>) {
        (self.error, self.transaction)
    }
}

impl From<EndError> for TransactionError {
    fn from(error: EndError) -> Self {
        error.error
    }
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// The text is [`EndError::error`]'s, so the source is that error's source.
impl std::error::Error for EndError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
