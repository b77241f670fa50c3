//! Where a delivered record is in the log.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use crate::outcome::completion::Origin;
use crate::outcome::context::Context;
use crate::outcome::error::DeliveryError;
use crate::record::from_millis;
use crate::record::topics::Topics;

/// Where a record is in the log.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record, SendError};
/// async fn note(producer: &AioProducer) -> Result<(), SendError> {
///     let report = producer.send(Record::to("orders").key("customer-7").payload("two apples")).await?;
///     println!("{report}");   // orders [3] @ 41
///     assert_eq!(report.topic(), "orders");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct DeliveryReport {
    source: Source,
    topic: TopicId,
    delivered: Delivered,
}

/// Where the topics' names are. A delivery passes on what it holds anyway, which costs no reference count.
#[derive(Clone)]
enum Source {
    Cell(Origin<DeliveryError, Context>),
    Topics(Arc<Topics>),
}

impl DeliveryReport {
    pub(crate) fn of_cell(topic: TopicId, delivered: Delivered, origin: Origin<DeliveryError, Context>) -> Self {
        Self { source: Source::Cell(origin), topic, delivered }
    }

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

    /// The record's offset in its partition; `None` if the broker did not say: with `acks=0`, and for a record that a retry
    /// found in the log already.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        self.delivered.offset()
    }

    /// Milliseconds since the Unix epoch: creation or log-append time, as the topic is configured. `None` if unknown.
    #[must_use]
    pub fn timestamp_millis(&self) -> Option<i64> {
        self.delivered.timestamp()
    }

    /// The same as a [`SystemTime`].
    #[must_use]
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.timestamp_millis().and_then(from_millis)
    }
}

/// `topic [partition] @ offset`, the last only if it is known.
impl fmt::Display for DeliveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.topic(), self.partition())?;
        self.offset().map_or(Ok(()), |offset| write!(f, " @ {offset}"))
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
