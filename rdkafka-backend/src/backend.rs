//! `Librdkafka`: the configured backend.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Exchange, Message, Request};
use rdkafka::ClientConfig;

use crate::config::{self, Effective};
use crate::desk::Desk;
use crate::ffi::Client;
use crate::signals::Signals;
use crate::{ConfigError, Partitioner, control};

/// librdkafka as a backend, yet to be connected.
///
/// The configuration is librdkafka's own, and what the application sets in it stays as it is, with two exceptions: the
/// `partitioner` is this crate's (librdkafka's names for murmur2 and CRC32 are understood), and a delivery timeout that
/// the producer's builder is given goes before `message.timeout.ms` / `delivery.timeout.ms`. Where the application
/// leaves it open, these are set:
///
/// | key | value | because |
/// | --- | --- | --- |
/// | `linger.ms` | 0 | batches are cut before |
/// | `queue.buffering.max.messages` | 0 (no limit) | the pool is the limit |
/// | `queue.buffering.max.kbytes` | 2147483647 | the pool is the limit |
/// | `enable.idempotence` | true, unless keys are set that it touches (`acks`, `retries`, …) | order and no duplicates |
/// | `message.timeout.ms` | 120000 | as in Kafka's Java client (KIP-91) |
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
///
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "localhost:9092").set("compression.type", "lz4");
/// let backend = Librdkafka::new(config).workers(2).partitioner(Partitioner::Crc32);
/// # let _ = backend;
/// ```
#[derive(Clone)]
pub struct Librdkafka {
    config: ClientConfig,
    workers: usize,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
}

impl Librdkafka {
    /// A backend with librdkafka's configuration, which is checked when the producer is built.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self { config, workers: 1, partitioner: None, delivery_timeout: None }
    }

    /// The number of threads that hand batches to librdkafka; 1 unless set. The order of a partition and of a key holds
    /// for any number. More than one helps if records go to several topics or name their partition.
    ///
    /// 0 is refused with [`ConfigError::NoWorkers`] when the producer is built.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The rule for records with a key; it goes before a `partitioner` in the configuration.
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = Some(partitioner);
        self
    }

    fn effective(&self) -> Result<Effective, ConfigError> {
        if self.workers == 0 {
            return Err(ConfigError::NoWorkers);
        }
        config::effective(&self.config, self.partitioner.clone(), self.delivery_timeout)
    }
}

/// Names the configured keys; their values, among which may be secrets, are left out.
impl fmt::Debug for Librdkafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Librdkafka")
            .field("keys", &config::keys(&self.config))
            .field("workers", &self.workers)
            .field("partitioner", &self.partitioner)
            .finish_non_exhaustive()
    }
}

impl<R: Message> Connect<R> for Librdkafka {
    type Error = ConfigError;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, ConfigError> {
        self.delivery_timeout = delivery_timeout;
        self.effective().map(|effective| effective.limits)
    }

    fn connect<E: Exchange<R>>(self, exchange: Arc<E>, capacity: usize) -> Result<Arc<dyn Backend>, ConfigError> {
        let Effective { config, partitioning, .. } = self.effective()?;
        let native = config::native(&config)?;
        let signals = Arc::new(Signals::new(self.workers));
        let client = Client::new(&config, native, capacity, Arc::clone(&signals))
            .map_err(|error| config::refused(&config, &error))?;
        let served = Arc::downgrade(&exchange);
        let desk = control::start(client, exchange, Arc::clone(&signals), self.workers, &partitioning)
            .map_err(|error| ConfigError::Thread { reason: error.to_string() })?;
        Ok(Arc::new(Handle { signals, desk, exchange: served }))
    }
}

/// The driver's hold on the threads: they end with it, if it was not done before.
struct Handle<R, E> {
    signals: Arc<Signals>,
    desk: Arc<Desk<R>>,
    exchange: Weak<E>,
}

impl<R: Message, E: Exchange<R>> Backend for Handle<R, E> {
    fn wake(&self) {
        self.signals.wake();
    }

    fn wake_for_one(&self) {
        let served = self.exchange.upgrade().is_some_and(|exchange| self.desk.serve(&*exchange));
        if !served {
            self.signals.wake();
        }
    }

    fn flush(&self) {
        self.signals.flush();
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        self.signals.purge(queued, in_flight);
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        self.signals.call(request)
    }

    fn shut_down(&self) {
        self.signals.shut_down();
    }
}

impl<R, E> Drop for Handle<R, E> {
    fn drop(&mut self) {
        self.signals.shut_down();
    }
}
