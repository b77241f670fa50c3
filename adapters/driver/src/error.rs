//! Why a record was not accepted, with the record.

use std::fmt;

use aioproducer_core::backend::{Failure, FailureKind};

use crate::delivery::DeliveryError;
use crate::end::EndedBy;
use crate::record::{Record, RecordError};
use crate::topics::TopicError;

/// A record that was not accepted: it was not sent, and nothing else changed.
///
/// Of [`try_produce`](crate::AioProducer::try_produce) it still borrows what the record borrowed; the futures hand
/// back a copy.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum ProduceError<'a> {
    /// The pool is full, or others wait for room in it.
    Full(Record<'a>),
    /// The producer is closed.
    Closed(Record<'a>),
    /// The runtime that the producer was started on has ended, and the producer with it. A producer that outlives runtimes, in
    /// a `static` beside a runtime for each test, say, ends with the first.
    RuntimeEnded(Record<'a>),
    /// The producer met an error that it cannot recover from.
    Fatal {
        /// The record.
        record: Record<'a>,
        /// The error's description.
        reason: &'static str,
    },
    /// The producer has a transactional id, and the record did not come through a
    /// [`Transaction`](crate::Transaction).
    OutsideTransaction(Record<'a>),
    /// The transaction takes no more records: it has failed, or was ended by a close.
    TransactionOver(Record<'a>),
    /// The record has more bytes than the backend takes in one.
    TooLarge {
        /// The record.
        record: Record<'a>,
        /// Its size: key, value and headers, in bytes.
        size: usize,
        /// The largest size.
        limit: usize,
    },
    /// The topic's name is none.
    Topic {
        /// The record.
        record: Record<'a>,
        /// What is wrong with the name.
        error: TopicError,
    },
    /// A part of the record cannot be.
    Invalid {
        /// The record.
        record: Record<'a>,
        /// Which part, and why.
        error: RecordError,
    },
}

impl<'a> ProduceError<'a> {
    pub(crate) fn refused(record: Record<'a>, fatal: Option<&Failure>, ended_by: EndedBy) -> Self {
        match (fatal, ended_by) {
            (Some(fatal), _) => Self::Fatal { record, reason: fatal.reason },
            (None, EndedBy::Runtime) => Self::RuntimeEnded(record),
            (None, EndedBy::Close | EndedBy::LastHandle) => Self::Closed(record),
        }
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &Record<'a> {
        match self {
            Self::Full(record)
            | Self::Closed(record)
            | Self::RuntimeEnded(record)
            | Self::OutsideTransaction(record)
            | Self::TransactionOver(record)
            | Self::Fatal { record, .. }
            | Self::TooLarge { record, .. }
            | Self::Topic { record, .. }
            | Self::Invalid { record, .. } => record,
        }
    }

    /// The record.
    #[must_use]
    pub fn into_record(self) -> Record<'a> {
        match self {
            Self::Full(record)
            | Self::Closed(record)
            | Self::RuntimeEnded(record)
            | Self::OutsideTransaction(record)
            | Self::TransactionOver(record)
            | Self::Fatal { record, .. }
            | Self::TooLarge { record, .. }
            | Self::Topic { record, .. }
            | Self::Invalid { record, .. } => record,
        }
    }

    /// The same error, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> ProduceError<'static> {
        match self {
            Self::Full(record) => ProduceError::Full(record.into_owned()),
            Self::Closed(record) => ProduceError::Closed(record.into_owned()),
            Self::RuntimeEnded(record) => ProduceError::RuntimeEnded(record.into_owned()),
            Self::OutsideTransaction(record) => ProduceError::OutsideTransaction(record.into_owned()),
            Self::TransactionOver(record) => ProduceError::TransactionOver(record.into_owned()),
            Self::Fatal { record, reason } => ProduceError::Fatal { record: record.into_owned(), reason },
            Self::TooLarge { record, size, limit } => {
                ProduceError::TooLarge { record: record.into_owned(), size, limit }
            }
            Self::Topic { record, error } => ProduceError::Topic { record: record.into_owned(), error },
            Self::Invalid { record, error } => ProduceError::Invalid { record: record.into_owned(), error },
        }
    }
}

impl fmt::Display for ProduceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideTransaction(_) => f.write_str("with a transactional id, records go through a transaction"),
            Self::TransactionOver(_) => f.write_str("the transaction takes no more records"),
            Self::Full(_) => f.write_str("the producer's pool is full"),
            Self::Closed(_) => f.write_str("the producer is closed"),
            Self::RuntimeEnded(_) => f.write_str(
                "the runtime that the producer was started on has ended: start a producer on each runtime that produces",
            ),
            Self::Fatal { reason, .. } => write!(f, "the producer met a fatal error: {reason}"),
            Self::TooLarge { size, limit, .. } => {
                write!(f, "the record has {size} bytes, more than the {limit} that one may have")
            }
            Self::Topic { error, .. } => error.fmt(f),
            Self::Invalid { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for ProduceError<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Topic { error, .. } => Some(error),
            Self::Invalid { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why a record did not arrive, of the calls that do both: get a record accepted, and wait for its delivery.
#[derive(Debug)]
pub enum SendError {
    /// It was not accepted.
    Produce(Box<ProduceError<'static>>),
    /// It was accepted and not delivered.
    Delivery(DeliveryError),
}

impl SendError {
    /// What went wrong with an accepted record, `None` if it was not accepted.
    #[must_use]
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Produce(_) => None,
            Self::Delivery(error) => Some(error.kind()),
        }
    }

    /// The record. `None` only from a backend that ended without giving it back.
    #[must_use]
    pub fn into_record(self) -> Option<Record<'static>> {
        match self {
            Self::Produce(error) => Some(error.into_record()),
            Self::Delivery(error) => error.into_record(),
        }
    }
}

impl From<ProduceError<'static>> for SendError {
    fn from(error: ProduceError<'static>) -> Self {
        Self::Produce(Box::new(error))
    }
}

impl From<DeliveryError> for SendError {
    fn from(error: DeliveryError) -> Self {
        Self::Delivery(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Produce(error) => error.fmt(f),
            Self::Delivery(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Produce(error) => Some(error),
            Self::Delivery(error) => Some(error),
        }
    }
}
