//! The settings of a client, with librdkafka's defaults.

use std::time::Duration;

use super::start::Start;
use crate::cluster::Shared;
use crate::journal::ProducerJournal;
use crate::sync::Arc;

/// The backend of one producer of a [`SimCluster`](crate::SimCluster): `AioProducer::builder(cluster.backend())`.
///
/// It does what librdkafka does with `acks=all` and one request for each partition at a time. The partition of a key is the one that
/// librdkafka chooses by default.
///
/// ```
/// use std::time::Duration;
///
/// use aioproducer_driver::AioProducer;
/// use aioproducer_sim::{Sim, SimCluster};
///
/// let kafka = SimCluster::new().with_topic("orders", 3);
/// let backend = kafka.backend().idempotence(false).retries(3).retry_backoff(Duration::from_millis(10));
/// Sim::run(7, |sim| async move { AioProducer::builder(backend).start(sim).map(drop) }).unwrap();
/// ```
#[derive(Debug)]
pub struct SimBackend {
    pub(super) cluster: Shared,
    pub(super) settings: Settings,
    pub(super) start: Arc<Start>,
    /// In a check.
    pub(super) journal: Option<Arc<ProducerJournal>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) idempotent: bool,
    pub(super) retries: u32,
    pub(super) retry_backoff: Duration,
    pub(super) request_timeout: Duration,
    pub(super) metadata_age: Duration,
    pub(super) record_bytes: usize,
    pub(super) queue_records: usize,
}

impl SimBackend {
    pub(crate) fn new(cluster: Shared) -> Self {
        let settings = Settings {
            idempotent: true,
            retries: u32::MAX,
            retry_backoff: Duration::from_millis(100),
            request_timeout: Duration::from_secs(30),
            metadata_age: Duration::from_secs(300),
            record_bytes: 1_000_000,
            queue_records: 100_000,
        };
        Self { cluster, settings, start: Arc::default(), journal: None }
    }

    /// `enable.idempotence`, true by default: brokers recognise a batch that they have appended before. Without it, a retry after a
    /// lost answer appends the batch twice.
    #[must_use]
    pub fn idempotence(mut self, enabled: bool) -> Self {
        self.settings.idempotent = enabled;
        self
    }

    /// `message.send.max.retries`: how often a batch is sent again. By default it is until the producer's delivery timeout, and
    /// longer.
    #[must_use]
    pub fn retries(mut self, count: u32) -> Self {
        self.settings.retries = count;
        self
    }

    /// `retry.backoff.ms`: how long after an error a batch is sent again, 100 ms by default.
    #[must_use]
    pub fn retry_backoff(mut self, backoff: Duration) -> Self {
        self.settings.retry_backoff = backoff;
        self
    }

    /// `request.timeout.ms`: how long the client waits for an answer, 30 s by default. Then it sends the batch again.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// `topic.metadata.refresh.interval.ms`: when the client asks again for a topic's partitions, 5 minutes by default. It does so
    /// earlier after an error. The answer takes no time.
    #[must_use]
    pub fn metadata_age(mut self, age: Duration) -> Self {
        self.settings.metadata_age = age;
        self
    }

    /// `message.max.bytes`: the largest record, 1,000,000 bytes by default.
    #[must_use]
    pub fn record_bytes(mut self, bytes: usize) -> Self {
        self.settings.record_bytes = bytes;
        self
    }

    /// `queue.buffering.max.messages`: how many records the client takes at once, 100,000 by default and at least 1. The others wait
    /// in the producer.
    #[must_use]
    pub fn queue_records(mut self, records: usize) -> Self {
        self.settings.queue_records = records.max(1);
        self
    }
}
