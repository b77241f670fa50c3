//! A record's outcome, as its caller sees it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};

mod error;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use crate::Runtime;
use crate::completion::{CellHandle, Origin};
use crate::record::from_millis;
use crate::runtime::{counts_as_call, poll_turn};
use crate::shared::Shared;
use crate::topics::Topics;
use crate::trouble::Troubles;

pub use self::error::DeliveryError;
pub(crate) use self::error::Spent;

/// What all deliveries of a producer know.
pub(crate) struct Context {
    pub(crate) topics: Arc<Topics>,
    /// Whose turns deliveries take.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Set when the producer starts.
    pub(crate) shared: OnceLock<Weak<Shared>>,
    pub(crate) errors: Spent,
    pub(crate) troubles: Troubles,
    pub(crate) delivery_timeout: Option<Duration>,
}

/// The outcome of one accepted record, pending until the record's own delivery report.
///
/// Dropping it does not cancel the record. It needs no runtime, and may be awaited after the producer is gone.
///
/// Who awaits thousands that are ready lets others have their turn on the thread in between: one of them is pending at its
/// first poll, and wakes its task, now and then.
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
        if counts_as_call()
            && let Some(context) = self.cell.context_if_ended()
        {
            ready!(poll_turn(&*context.runtime, cx));
        }
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

    /// The same as a time of the system's.
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.timestamp_millis().and_then(from_millis)
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
