//! The settings of a client, with librdkafka's defaults.

use std::time::Duration;

use aioproducer_core::Instant;

use super::start::Start;
use crate::cluster::{Acks, Shared};
use crate::journal::ProducerJournal;
use crate::sync::Arc;

/// The backend of one producer of a [`SimCluster`](crate::SimCluster): `AioProducer::builder(cluster.backend())`.
///
/// It does what librdkafka does with one request for each partition at a time. The partition of a key is the one that
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

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) idempotent: bool,
    pub(super) acks: Acks,
    pub(super) transactional_id: Option<Arc<str>>,
    pub(super) transaction_timeout: Duration,
    /// How long the client keeps the records of a transaction.
    pub(super) delivery_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) retry_backoff: Duration,
    pub(super) request_timeout: Duration,
    pub(super) metadata_age: Duration,
    pub(super) record_bytes: usize,
    pub(super) queue_records: usize,
}

impl Settings {
    pub(super) fn is_transactional(&self) -> bool {
        self.transactional_id.is_some()
    }

    /// When the client gives up on a record that it gets now. Without transactions it does not: the producer does.
    pub(super) fn expires(&self, now: Instant) -> Option<Instant> {
        Some(now + self.delivery_timeout.filter(|_| self.is_transactional())?)
    }
}

impl SimBackend {
    pub(crate) fn new(cluster: Shared) -> Self {
        let settings = Settings {
            idempotent: true,
            acks: Acks::All,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            delivery_timeout: None,
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
    ///
    /// # Panics
    /// If it is to be off and there is a transactional id, or on and `acks` is not `all`.
    #[must_use]
    #[track_caller]
    pub fn idempotence(mut self, enabled: bool) -> Self {
        assert!(
            enabled || !self.settings.is_transactional(),
            "transactions need idempotence: leave one of the two out"
        );
        assert!(!enabled || self.settings.acks == Acks::All, "idempotence needs acks=all: leave one of the two out");
        self.settings.idempotent = enabled;
        self
    }

    /// `acks`, `all` by default. With 0 or 1 the producer is not idempotent, as with librdkafka.
    ///
    /// ```
    /// use aioproducer_driver::{AioProducer, Record};
    /// use aioproducer_sim::{Acks, Sim, SimCluster};
    ///
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_topic("metrics", 1);
    ///     let producer = AioProducer::builder(kafka.backend().acks(Acks::None)).start(sim).unwrap();
    ///     let report = producer.send(Record::to("metrics").payload("17")).await.unwrap();
    ///     assert_eq!(report.offset(), None);
    /// });
    /// ```
    ///
    /// # Panics
    /// If it is not `all` and there is a transactional id.
    #[must_use]
    #[track_caller]
    pub fn acks(mut self, acks: Acks) -> Self {
        let is_all = acks == Acks::All;
        assert!(is_all || !self.settings.is_transactional(), "transactions need acks=all: leave one of the two out");
        self.settings.idempotent &= is_all;
        self.settings.acks = acks;
        self
    }

    /// `transactional.id`: records are written in transactions. A later producer of the same id fences this one.
    ///
    /// ```
    /// use aioproducer_driver::{AioProducer, Record};
    /// use aioproducer_sim::{Sim, SimCluster};
    ///
    /// Sim::run(7, |sim| async move {
    ///     let kafka = SimCluster::new().with_topic("ledger", 1);
    ///     let producer = AioProducer::builder(kafka.backend().transactional_id("bank")).start(sim).unwrap();
    ///     let transaction = producer.begin().await.unwrap();
    ///     transaction.send(Record::to("ledger").payload("-5")).await.unwrap();
    ///     assert!(kafka.topic("ledger").committed().is_empty());
    ///     transaction.commit().await.unwrap();
    ///     assert_eq!(kafka.topic("ledger").committed().len(), 1);
    /// });
    /// ```
    ///
    /// # Panics
    /// If `acks` is not `all`, or idempotence is off.
    #[must_use]
    #[track_caller]
    pub fn transactional_id(mut self, id: impl AsRef<str>) -> Self {
        assert!(self.settings.acks == Acks::All, "transactions need acks=all: leave one of the two out");
        assert!(self.settings.idempotent, "transactions need idempotence: leave one of the two out");
        self.settings.transactional_id = Some(Arc::from(id.as_ref()));
        self
    }

    /// `transaction.timeout.ms`: after this time the coordinator aborts a transaction, and fences its producer. 60 s by default.
    /// The delivery timeout is not longer.
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.settings.transaction_timeout = timeout;
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
