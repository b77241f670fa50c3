//! A record's outcome, as its caller sees it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, ready};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Delivered, Failure, FailureKind, Status};

use crate::completion::{CellHandle, Origin};
use crate::record::Record;
use crate::shared::Shared;
use crate::topics::Topics;

/// What all deliveries of a producer know.
pub(crate) struct Context {
    pub(crate) topics: Arc<Topics>,
    /// Set when the producer starts.
    pub(crate) shared: OnceLock<Weak<Shared>>,
}

/// The outcome of one accepted record, pending until the record's own delivery report.
///
/// Dropping it does not cancel the record. It needs no runtime, and may be awaited after the producer is gone.
#[must_use = "a delivery tells whether the record arrived"]
pub struct Delivery {
    pub(crate) cell: CellHandle<DeliveryError, Context>,
}

impl Delivery {
    pub(crate) fn new(cell: CellHandle<DeliveryError, Context>) -> Self {
        Self { cell }
    }
}

impl Future for Delivery {
    type Output = Result<DeliveryReport, DeliveryError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.cell.poll(cx)) {
            Ok((topic, delivered, origin)) => Ok(DeliveryReport { source: Source::Cell(origin), topic, delivered }),
            Err(error) => Err(error),
        })
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

/// Where a record is in the log.
#[derive(Clone)]
pub struct DeliveryReport {
    source: Source,
    topic: TopicId,
    delivered: Delivered,
}

/// Who knows the topics' names. A delivery passes on what it holds anyway, which costs no reference count.
#[derive(Clone)]
enum Source {
    Cell(Origin<DeliveryError, Context>),
    Topics(Arc<Topics>),
}

impl DeliveryReport {
    pub(crate) fn new(topics: &Arc<Topics>, topic: TopicId, delivered: Delivered) -> Self {
        Self { source: Source::Topics(Arc::clone(topics)), topic, delivered }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        let topics = match &self.source {
            Source::Cell(origin) => &origin.context().topics,
            Source::Topics(topics) => topics,
        };
        topics.name(self.topic).unwrap_or_default()
    }

    /// The partition that was written, also when the producer chose it.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.delivered.partition
    }

    /// The record's offset in its partition; -1 if the broker did not tell (`acks=0`).
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.delivered.offset
    }

    /// Milliseconds since the Unix epoch: creation or log-append time, as the topic is configured. `None` if unknown.
    #[must_use]
    pub fn timestamp_millis(&self) -> Option<i64> {
        (self.delivered.timestamp >= 0).then_some(self.delivered.timestamp)
    }
}

impl fmt::Debug for DeliveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryReport")
            .field("topic", &self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .field("timestamp_millis", &self.timestamp_millis())
            .finish()
    }
}

/// Why an accepted record was not delivered, whether it is in the log all the same, and the record.
pub struct DeliveryError(Box<Inner>);

struct Inner {
    failure: Failure,
    record: Option<Record<'static>>,
}

impl DeliveryError {
    pub(crate) fn new(failure: Failure, record: Option<Record<'static>>) -> Self {
        Self(Box::new(Inner { failure, record }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.0.failure.kind
    }

    /// Whether the record is in the log: only [`Status::NotPersisted`] can be sent again without a duplicate.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.failure.status
    }

    /// The client library's error number (`rd_kafka_resp_err_t`), `None` if the producer itself failed the record.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        (self.0.failure.code != 0).then_some(self.0.failure.code)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// The record as it was accepted. `None` only from a backend that ended without giving it back.
    #[must_use]
    pub fn record(&self) -> Option<&Record<'static>> {
        self.0.record.as_ref()
    }

    /// The record as it was accepted, see [`DeliveryError::record`].
    #[must_use]
    pub fn into_record(self) -> Option<Record<'static>> {
        self.0.record
    }
}

impl fmt::Debug for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryError")
            .field("kind", &self.kind())
            .field("status", &self.status())
            .field("code", &self.code())
            .field("reason", &self.0.failure.reason)
            .field("record", &self.0.record)
            .finish()
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.failure.reason)?;
        if let Some(record) = &self.0.record {
            write!(f, " (topic {})", record.topic())?;
        }
        write!(f, "; the record is {}", self.status())
    }
}

impl std::error::Error for DeliveryError {}
