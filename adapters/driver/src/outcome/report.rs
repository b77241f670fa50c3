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
