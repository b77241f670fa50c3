//! Why a record was not accepted, with the record.

use std::fmt;

use aioproducer_core::backend::{Advice, ErrorCode, Failure, FailureKind, Status};

use crate::outcome::ended_by::EndedBy;
use crate::outcome::error::DeliveryError;
use crate::record::topics::TopicError;
use crate::record::{Record, RecordError};

/// A record that was not accepted: it was not sent, and nothing else changed.
///
/// It borrows nothing, so that `?` takes it out of any function; what the record borrowed is copied for that. Only that of
/// [`try_produce_borrowed`](crate::AioProducer::try_produce_borrowed) borrows what the record borrowed.
///
/// ```
/// use aioproducer_driver::{AioProducer, Record};
///
/// async fn note(producer: &AioProducer, customer: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let key = customer.to_string();
///     let record = || Record::to("orders").key(&key).payload("two apples");
///     let delivery = producer.produce(record()).await?;
///     drop(producer.try_produce(record())?);
///     delivery.await?;
///     Ok(())
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum ProduceError<'a> {
    /// The pool is full, or others wait for room in it.
    Full(Record<'a>),
    /// The records of one partition have their share of the pool, as it does not answer or is slow. Records for other partitions may
    /// find room.
    PartitionFull {
        /// The record.
        record: Record<'a>,
        /// The partition, `None` if it is not chosen yet.
        partition: Option<i32>,
    },
    /// The delivery timeout, or the record's own [timeout](Record::timeout), passed while it waited for room. It was not sent.
    TimedOut(Record<'a>),
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
    /// The [`Reports`](crate::Reports) that the record's outcome was to go to were dropped, so its outcome would be lost.
    ReportsDropped(Record<'a>),
    /// The record has more bytes than the backend takes in one.
    TooLarge {
        /// The record.
        record: Record<'a>,
        /// Its size: key, value and headers, in bytes.
        size: usize,
        /// What it takes beside that where it is written, as the backend counts.
        overhead: usize,
        /// The most that both may be together.
        limit: usize,
        /// The backend's setting that the limit is the value of, `message.max.bytes` of librdkafka.
        setting: Option<&'static str>,
    },
    /// The record counts for more than the whole pool has: keys and headers are kept twice, and a header takes more than its
    /// bytes, see [`Builder::pool_bytes`](crate::Builder::pool_bytes).
    AbovePool {
        /// The record.
        record: Record<'a>,
        /// What it counts for, in bytes.
        cost: usize,
        /// The pool's bytes.
        limit: usize,
    },
    /// The topic's name is invalid, or one more than the producer takes.
    Topic {
        /// The record.
        record: Record<'a>,
        /// What is wrong with the name.
        error: TopicError,
    },
    /// A part of the record is invalid.
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
            | Self::TimedOut(record)
            | Self::Closed(record)
            | Self::RuntimeEnded(record)
            | Self::OutsideTransaction(record)
            | Self::TransactionOver(record)
            | Self::ReportsDropped(record)
            | Self::PartitionFull { record, .. }
            | Self::Fatal { record, .. }
            | Self::TooLarge { record, .. }
            | Self::AbovePool { record, .. }
            | Self::Topic { record, .. }
            | Self::Invalid { record, .. } => record,
        }
    }

    /// What to do with the record. It is not in the log, so whatever sends it again makes no duplicate.
    ///
    /// ```
    /// use aioproducer_driver::error::Advice;
    /// use aioproducer_driver::{ProduceError, Record};
    ///
    /// assert_eq!(ProduceError::Full(Record::to("orders")).advice(), Advice::ResendAfter);
    /// assert_eq!(ProduceError::Closed(Record::to("orders")).advice(), Advice::RenewProducer);
    /// ```
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.failure().advice()
    }

    /// Whether it makes sense to produce the record again as it is, later: it found no room in time. The
    /// [advice](ProduceError::advice) is [`Advice::ResendAfter`] then.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.failure().is_retriable()
    }

    /// The failure of an accepted record that says the same.
    fn failure(&self) -> Failure {
        let (kind, code) = match self {
            Self::Full(_) | Self::PartitionFull { .. } | Self::TimedOut(_) => {
                (FailureKind::Broker, Some(ErrorCode::LocalQueueFull))
            }
            Self::Closed(_) | Self::RuntimeEnded(_) => (FailureKind::Closed, None),
            Self::Fatal { .. } => (FailureKind::Fatal, None),
            Self::OutsideTransaction(_) | Self::TransactionOver(_) | Self::ReportsDropped(_) => {
                (FailureKind::State, None)
            }
            Self::TooLarge { .. } | Self::AbovePool { .. } => (FailureKind::TooLarge, None),
            Self::Topic { .. } => (FailureKind::UnknownTopic, Some(ErrorCode::TopicException)),
            Self::Invalid { .. } => (FailureKind::Broker, Some(ErrorCode::LocalInvalidArg)),
        };
        Failure::new(kind, Status::NotPersisted, code, "")
    }

    /// The record.
    #[must_use]
    pub fn into_record(self) -> Record<'a> {
        match self {
            Self::Full(record)
            | Self::TimedOut(record)
            | Self::Closed(record)
            | Self::RuntimeEnded(record)
            | Self::OutsideTransaction(record)
            | Self::TransactionOver(record)
            | Self::ReportsDropped(record)
            | Self::PartitionFull { record, .. }
            | Self::Fatal { record, .. }
            | Self::TooLarge { record, .. }
            | Self::AbovePool { record, .. }
            | Self::Topic { record, .. }
            | Self::Invalid { record, .. } => record,
        }
    }

    /// The same error, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> ProduceError<'static> {
        self.map(Record::into_owned)
    }

    /// The same error with another record.
    pub(crate) fn map<'b>(self, change: impl FnOnce(Record<'a>) -> Record<'b>) -> ProduceError<'b> {
        match self {
            Self::Full(record) => ProduceError::Full(change(record)),
            Self::PartitionFull { record, partition } => {
                ProduceError::PartitionFull { record: change(record), partition }
            }
            Self::TimedOut(record) => ProduceError::TimedOut(change(record)),
            Self::Closed(record) => ProduceError::Closed(change(record)),
            Self::RuntimeEnded(record) => ProduceError::RuntimeEnded(change(record)),
            Self::OutsideTransaction(record) => ProduceError::OutsideTransaction(change(record)),
            Self::TransactionOver(record) => ProduceError::TransactionOver(change(record)),
            Self::ReportsDropped(record) => ProduceError::ReportsDropped(change(record)),
            Self::Fatal { record, reason } => ProduceError::Fatal { record: change(record), reason },
            Self::TooLarge { record, size, overhead, limit, setting } => {
                ProduceError::TooLarge { record: change(record), size, overhead, limit, setting }
            }
            Self::AbovePool { record, cost, limit } => ProduceError::AbovePool { record: change(record), cost, limit },
            Self::Topic { record, error } => ProduceError::Topic { record: change(record), error },
            Self::Invalid { record, error } => ProduceError::Invalid { record: change(record), error },
        }
    }
}

impl fmt::Display for ProduceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideTransaction(_) => f.write_str("with a transactional id, records go through a transaction"),
            Self::TransactionOver(_) => f.write_str("the transaction takes no more records"),
            Self::ReportsDropped(_) => f.write_str(
                "the Reports of this Reporter were dropped, so the outcome would be lost: keep them for as long as it produces",
            ),
            Self::Full(_) => f.write_str("the producer's pool is full"),
            Self::PartitionFull { partition: Some(partition), .. } => {
                write!(f, "the records of partition {partition} have their share of the pool: it does not answer, or is slow")
            }
            Self::PartitionFull { partition: None, .. } => {
                f.write_str("the records of the topic have their share of the pool: its partitions do not answer, or are slow")
            }
            Self::TimedOut(record) => match record.get_timeout() {
                Some(own) => write!(
                    f,
                    "the record waited for room in the producer's pool for {own:?}, its own timeout; it was not sent"
                ),
                None => f.write_str(
                    "the record waited for room in the producer's pool until its delivery timeout passed; it was not sent",
                ),
            },
            Self::Closed(_) => f.write_str("the producer is closed"),
            Self::RuntimeEnded(_) => f.write_str(
                "the runtime that the producer was started on has ended: start a producer on each runtime that produces",
            ),
            Self::Fatal { reason, .. } => write!(f, "the producer met a fatal error: {reason}"),
            Self::TooLarge { size, limit, setting: None, .. } => {
                write!(f, "the record has {size} bytes, more than the {limit} that one may have")
            }
            Self::TooLarge { size, overhead, limit, setting: Some(setting), .. } => write!(
                f,
                "the record has {size} bytes, and takes {overhead} more where it is written; `{setting}` is {limit}: raise \
                 that, or send less"
            ),
            Self::AbovePool { cost, limit, .. } => {
                write!(
                    f,
                    "the record counts for {cost} bytes, more than the {limit} of the whole pool; raise pool_bytes"
                )
            }
            Self::Topic { error, .. } => error.fmt(f),
            Self::Invalid { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for ProduceError<'_> {}

/// Why a record did not arrive, of the calls that do both: get a record accepted, and wait for its delivery.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record, SendError};
/// /// Sends until the record is delivered, if that makes no duplicate.
/// async fn insist(producer: &AioProducer, mut record: Record<'static>) -> Result<(), SendError> {
///     loop {
///         match producer.send(record).await {
///             Err(error) if error.is_retriable() => match error.into_record() {
///                 Some(again) => record = again,
///                 None => return Ok(()),
///             },
///             outcome => return outcome.map(drop),
///         }
///     }
/// }
/// ```
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

    /// Whether the record is in the log. One that was not accepted is [`Status::NotPersisted`].
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Produce(_) => Status::NotPersisted,
            Self::Delivery(error) => error.status(),
        }
    }

    /// The error of the broker or the client library, `None` if it came from neither.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Produce(_) => None,
            Self::Delivery(error) => error.code(),
        }
    }

    /// What to do with the record: [`ProduceError::advice`] or [`DeliveryError::advice`].
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record, error::Advice};
    /// async fn send(producer: &AioProducer, record: Record<'_>) {
    ///     let Err(error) = producer.send(record).await else { return };
    ///     match error.advice() {
    ///         Advice::Resend | Advice::ResendAfter => println!("later: {:?}", error.into_record()),
    ///         Advice::FixRecord => println!("not like this: {error}"),
    ///         Advice::RenewProducer => println!("with another producer: {error}"),
    ///         Advice::CheckLog => println!("is it in the log? {error}"),
    ///         advice => println!("{advice}: {error}"),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Produce(error) => error.advice(),
            Self::Delivery(error) => error.advice(),
        }
    }

    /// Whether it makes sense to send the record again as it is, later: it is not in the log, and the cause may pass without
    /// anyone's doing. See [`DeliveryError::is_retriable`] and [`ProduceError::is_retriable`].
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Produce(error) => error.is_retriable(),
            Self::Delivery(error) => error.is_retriable(),
        }
    }

    /// The record. `None` only from a backend that did not give it back, see [`DeliveryError::record`].
    #[must_use]
    pub fn into_record(self) -> Option<Record<'static>> {
        match self {
            Self::Produce(error) => Some(error.into_record()),
            Self::Delivery(error) => error.into_record(),
        }
    }
}

impl SendError {
    /// The same of a record that was urgent for the while.
    pub(crate) fn calmed(self) -> Self {
        match self {
            Self::Produce(error) => Self::from(error.map(Record::calmed)),
            Self::Delivery(error) => Self::Delivery(error.calmed()),
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

/// The text is that of the error inside, so the source is that error's source.
impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Produce(error) => error.source(),
            Self::Delivery(error) => error.source(),
        }
    }
}
