//! `Librdkafka`: the backend's configuration, and its start.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, BackgroundTask, Clock, Connect, Driver, Message, Severity};
use rdkafka::ClientConfig;

use crate::catch_panic::catch_panic;
use crate::config::secrets::Secrets;
use crate::config::{self, ConfigError, Effective};
use crate::coordination::Signals;
use crate::events::{self, Event, EventHandler, EventRouter, EventSink, EventSinks, Events, RawEvent};
use crate::ffi::{AtOnce, CallbackContext, Client};
use crate::oauth::{self, TokenMailbox, TokenProvider};
use crate::partition::partitioner::Partitioner;
use crate::partition::rule::{Partition, ToPartition};
use crate::threads::{self, Handle};

/// The part of the pool that is many records for a partition that does not answer.
const CROWD: usize = 16;

/// librdkafka as a backend, not connected yet.
///
/// The configuration is librdkafka's own, and values that the application sets stay as they are, with three exceptions. The
/// `partitioner` is this crate's; librdkafka's names mean the same, see [`Partitioner`]. `message.timeout.ms` /
/// `delivery.timeout.ms` is the producer's delivery timeout, see below. A blank `transactional.id` counts as not set. For keys that
/// the application does not set, these are the defaults:
///
/// | key | default | reason |
/// | --- | --- | --- |
/// | `linger.ms` | 0 | the driver has batched the records before |
/// | `queue.buffering.max.messages` | 0 (no limit) | the pool is the limit |
/// | `queue.buffering.max.kbytes` | 2147483647 | the pool is the limit |
/// | `enable.idempotence` | true, unless a value conflicts; see below | order and no duplicates |
/// | `message.timeout.ms` | 120000; with a `transactional.id` at most `transaction.timeout.ms` | as in Kafka's Java client (KIP-91) |
/// | `reconnect.backoff.ms` | 20, at most `reconnect.backoff.max.ms` | the first record waits for half of it |
/// | `reconnect.backoff.max.ms` | 1000, at least `reconnect.backoff.ms` | as in Kafka's Java client; see below |
///
/// These keys are those of Kafka's Java client, and not passed to librdkafka. They are about records without a key, and others that
/// may go to any partition (KIP-794):
///
/// | key | default | meaning |
/// | --- | --- | --- |
/// | `partitioner.adaptive.partitioning.enable` | true | partitions for which many records wait are chosen less often |
/// | `partitioner.availability.timeout.ms` | 1000, plus `linger.ms` | a partition from which no answer has come for this long is not chosen until one comes; 0 for never |
///
/// As to the choice of partitions, the second one needs the first one. It also is the time after which records of a partition that
/// does not answer may have less of the pool; with 0, partitions leave each other no room there. In Kafka's Java client its default
/// is 0. But then records that could go anywhere gather in front of a leader that has stopped, until they fill the pool and no other
/// record is accepted.
///
/// librdkafka decides what a value means: `acks=all`, `ALL` and `-1` are the same, and so are a key and its aliases. These are
/// refused: two names of one setting with different values, numbers that librdkafka would misread, everything that librdkafka
/// refuses, and `delivery.report.only.error`.
///
/// # The delivery timeout
///
/// It is the builder's, or `message.timeout.ms` / `delivery.timeout.ms`. The producer keeps it. librdkafka itself gets 2147483647
/// instead: if its own timeout fires, it may write records again that are in the log already, although it is idempotent.
///
/// With a `transactional.id`, librdkafka keeps the timeout, too, as it allows no more than `transaction.timeout.ms`. While a broker is
/// not reachable, it notices timeouts only when it tries to reconnect, so the slots of such records may be free later by
/// `reconnect.backoff.max.ms`, which is 10 seconds by librdkafka's own default. The records' outcomes are in time.
///
/// # Idempotence
///
/// An idempotent producer numbers its records. When a record is sent again, because an answer was lost or a leader moved, it is
/// in the log once and in its order. Only these values turn idempotence off:
///
/// | key | idempotence stays on with | and is turned off by |
/// | --- | --- | --- |
/// | `enable.idempotence` | true | false |
/// | `acks`, `request.required.acks` | `all`, `-1` | `0`, `1` or any other |
/// | `retries`, `message.send.max.retries` | 1 or more | 0 |
/// | `max.in.flight`, `max.in.flight.requests.per.connection` | 5 or less | more |
/// | `queuing.strategy` | `fifo` | `lifo` |
/// | `queue.buffering.backpressure.threshold` | 1 | more |
///
/// Without idempotence, retries may write records twice and out of order, and such records are reported as delivered. So it is
/// reported when the producer starts: as [`Event::IdempotenceOff`], and as a warning to the operator's log. If
/// `enable.idempotence` is set to true, or `transactional.id` is set, which needs it, a conflicting value is refused instead.
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
///
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "localhost:9092").set("compression.type", "lz4");
/// let backend = Librdkafka::new(config).workers(2).partitioner(Partitioner::ConsistentRandom);
/// # let _ = backend;
/// ```
///
/// # The operator's log
///
/// Without a reader of events ([`Librdkafka::events`], [`Librdkafka::on_event`]), librdkafka's errors and warnings are written to
/// the operator's log: as events of `tracing` with the driver's feature of that name and a subscriber, else through the crate
/// `log` if it has a logger, else to standard error. A line is repeated after 30 seconds at the earliest, and at most 10 lines
/// are written in a row. These are written in any case: that idempotence is off, that a topic does not exist or must not be
/// used, and which records are lost when the last handle is dropped. No line contains the value of a secret key.
///
/// librdkafka's log and statistics are only read if there is a reader of events. The level of the log is librdkafka's `log_level`,
/// or 7 if `debug` is set; `ClientConfig::set_log_level` is ignored.
///
/// # Clones
///
/// A clone has the same handlers and token provider, and writes to the event streams that were created before it.
#[derive(Clone)]
pub struct Librdkafka {
    config: ClientConfig,
    workers: usize,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    sinks: Vec<EventSink>,
    handlers: Vec<Arc<dyn EventHandler>>,
    provider: Option<Arc<dyn TokenProvider>>,
    /// Created with the provider's task.
    mailbox: Option<Arc<TokenMailbox>>,
}

impl Librdkafka {
    /// A backend with librdkafka's configuration, which is checked when the producer is built.
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, Librdkafka};
    ///
    /// let mut config = ClientConfig::new();
    /// config.set("bootstrap.servers", "localhost:9092");
    /// let backend = Librdkafka::new(config);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            workers: 1,
            partitioner: None,
            delivery_timeout: None,
            sinks: Vec::new(),
            handlers: Vec::new(),
            provider: None,
            mailbox: None,
        }
    }

    /// Sets the number of threads that hand batches to librdkafka; 1 by default. The order within a partition and of a key holds
    /// for any number. More than one helps if records go to several topics, have keys, or name their partition.
    ///
    /// 0 is refused with [`ConfigError::NoWorkers`] when the producer is built.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ClientConfig, Librdkafka};
    /// let backend = Librdkafka::new(ClientConfig::new()).workers(4);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the rule for records that name no partition. It replaces a `partitioner` in the configuration.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ClientConfig, Librdkafka, Partitioner};
    /// let backend = Librdkafka::new(ClientConfig::new()).partitioner(Partitioner::Fnv1aRandom);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = Some(partitioner);
        self
    }

    /// A stream of the producer's events, which holds up to 1,024 of them.
    ///
    /// Each call creates one more stream, and every stream gets all events. A stream ends when all writers are gone: this backend,
    /// its clones, and the producers that they have started.
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, Event, Librdkafka};
    ///
    /// let mut backend = Librdkafka::new(ClientConfig::new());
    /// let mut events = backend.events();
    /// let watch = async move {
    ///     while let Some(event) = events.next().await {
    ///         println!("{event:?}");
    ///     }
    /// };
    /// // Start a producer with `backend`, and spawn `watch`.
    /// # let _ = watch;
    /// ```
    pub fn events(&mut self) -> Events {
        self.events_with_capacity(events::CAPACITY)
    }

    /// A stream as from [`events`](Self::events) that holds up to `capacity` events, and at least one.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ClientConfig, Librdkafka};
    /// let mut backend = Librdkafka::new(ClientConfig::new());
    /// let events = backend.events_with_capacity(16);
    /// # let _ = events;
    /// ```
    pub fn events_with_capacity(&mut self, capacity: usize) -> Events {
        let (sink, events) = Events::new(capacity);
        self.sinks.push(sink);
        events
    }

    /// Adds a handler for the producer's events. Each handler has a task of its own on the application's runtime, and a buffer as
    /// that of [`events`](Self::events).
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, EventHandler, Librdkafka, Throttle};
    ///
    /// struct Log;
    ///
    /// impl EventHandler for Log {
    ///     fn on_throttle(&self, throttle: &Throttle) {
    ///         eprintln!("{} throttles for {:?}", throttle.broker, throttle.time);
    ///     }
    /// }
    ///
    /// let backend = Librdkafka::new(ClientConfig::new()).on_event(Log);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn on_event(mut self, handler: impl EventHandler) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Sets the provider of OAuth tokens, which runs in a task of its own on the application's runtime. It is used if
    /// `sasl.mechanisms` is `OAUTHBEARER`, which needs the feature `ssl`. [`TokenProvider`] shows how to write one.
    ///
    /// The producer does not start if that mechanism has no source of tokens, or two: a provider, and a configuration with which
    /// librdkafka gets the tokens itself (`sasl.oauthbearer.method=oidc`, `enable.sasl.oauthbearer.unsecure.jwt=true`).
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ClientConfig, Librdkafka, TokenError, TokenFuture, TokenProvider};
    /// # struct Identity;
    /// # impl TokenProvider for Identity {
    /// #     fn token<'a>(&'a self, _config: &'a str) -> TokenFuture<'a> {
    /// #         Box::pin(async { Err(TokenError::new("not in this example")) })
    /// #     }
    /// # }
    /// let mut config = ClientConfig::new();
    /// config.set("security.protocol", "SASL_SSL").set("sasl.mechanisms", "OAUTHBEARER");
    /// let backend = Librdkafka::new(config).oauth(Identity);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn oauth(mut self, provider: impl TokenProvider) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    fn effective(&self) -> Result<Effective, ConfigError> {
        if self.workers == 0 {
            return Err(ConfigError::NoWorkers);
        }
        config::effective(&self.config, self.partitioner.clone(), self.delivery_timeout, self.provider.is_some())
    }
}

/// Shows the configured keys without their values, which may be secret.
impl fmt::Debug for Librdkafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.config.config_map().into_keys().collect();
        f.debug_struct("Librdkafka")
            .field("keys", &keys)
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

    fn background(&mut self, _clock: &Arc<dyn Clock>) -> Vec<BackgroundTask> {
        let mut tasks: Vec<BackgroundTask> = Vec::new();
        for handler in std::mem::take(&mut self.handlers) {
            tasks.push(Box::pin(events::handle(self.events(), handler)));
        }
        if let Some(provider) = self.provider.clone() {
            let mailbox = Arc::new(TokenMailbox::default());
            tasks.push(Box::pin(oauth::serve(Arc::clone(&mailbox), provider)));
            self.mailbox = Some(mailbox);
        }
        tasks
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, capacity: usize) -> Result<Arc<dyn Backend>, ConfigError> {
        let Effective { mut config, mut partitioning, has_spare_room, idempotence_off, limits, .. } =
            self.effective()?;
        // Partitions that do not answer must not get the pool before that is known.
        partitioning.crowd = u32::try_from(capacity / CROWD).unwrap_or(u32::MAX).max(1);
        let log_level = config::log_level(&config::native(&config)?);
        let sinks = Arc::new(EventSinks::new(self.sinks, Secrets::of(&config)).with_log_level(log_level));
        if let Partitioner::Custom(rule) = partitioning.partitioner {
            let sinks = Arc::clone(&sinks);
            partitioning.partitioner = Partitioner::Custom(Arc::new(CatchingRule { rule, sinks }));
        }
        if sinks.is_empty() {
            config.set("statistics.interval.ms", "0");
        }
        let native = config::native(&config)?;
        if let Some(off) = idempotence_off {
            if !off.is_explicit() {
                driver.log(Severity::Warning, &off.to_string());
            }
            sinks.write(|| RawEvent::Event(Event::IdempotenceOff(off)));
        }
        // A transactional producer gets its producer id with `InitTransactions`.
        let warm_up = config::is_true(&native, "enable.idempotence") && !limits.transactional;
        let signals = Arc::new(Signals::new(self.workers));
        let context = CallbackContext {
            sinks: Arc::clone(&sinks),
            tokens: self.mailbox,
            signals: Arc::clone(&signals),
            router: EventRouter::new(),
        };
        let weak = Arc::downgrade(&driver);
        let at_once = has_spare_room.then(|| at_once(weak.clone()));
        let client = Client::new(&config, native, capacity, context, at_once)
            .map_err(|error| config::client_error(&config, &error))?;
        let (topics, connections) = (Arc::clone(client.topic_states()), client.connections());
        let started = threads::start(client, driver, Arc::clone(&signals), self.workers, &partitioning, warm_up)
            .map_err(|error| ConfigError::Thread { reason: error.to_string() })?;
        Ok(Arc::new(Handle::new(started, signals, weak, sinks, topics, connections)))
    }
}

/// Reports a success to the driver on librdkafka's thread.
fn at_once<R, E: Driver<R>>(driver: Weak<E>) -> AtOnce {
    Box::new(move |slot, delivered| driver.upgrade().is_some_and(|driver| driver.report_at_once(slot, delivered)))
}

/// The application's rule. A panic is caught and reported, and its record gets no partition.
struct CatchingRule {
    rule: Arc<dyn Partition>,
    sinks: Arc<EventSinks>,
}

impl Partition for CatchingRule {
    fn partition(&self, record: ToPartition<'_>) -> i32 {
        catch_panic(|| self.rule.partition(record)).unwrap_or_else(|| {
            self.sinks.panic_caught("the partitioner");
            -1
        })
    }

    fn reads_value(&self) -> bool {
        self.rule.reads_value()
    }
}

#[cfg(all(test, feature = "embedded-broker"))]
mod tests {
    use std::time::Instant;

    use aioproducer_core::backend::Status;

    use super::*;
    use crate::common::{Rec, Rig, broker, client, eventually};
    use crate::ffi::resolving;
    use crate::threads::clients_left_behind;

    /// Large enough to be borrowed.
    fn large(id: u64) -> Rec {
        Rec::new(id).payload(vec![id as u8; 100_000]).to(0)
    }

    #[test]
    fn s25_the_end_does_not_wait_for_a_host_name_to_be_resolved() {
        resolving::use_here();
        let broker = broker(1);
        let config = client(broker.bootstrap_servers(), &[("broker.address.ttl", "1"), ("reconnect.backoff.ms", "10")]);
        let rig = Rig::with(Librdkafka::new(config), 100, &["t"]);
        rig.send([large(0)]);
        rig.wait(1);
        // The threads of all brokers lose their connections and resolve the address again.
        resolving::hang(true);
        broker.broker_down(-1).unwrap();
        eventually("a name is being resolved", || resolving::hanging() > 0);
        rig.send((1..50).map(large));
        rig.wait_handed_off(49);
        let before = clients_left_behind();
        let start = Instant::now();
        // This checks that each record comes back unchanged.
        let outcomes = rig.end();
        // An end that waits would hang, so a busy machine gets plenty of time.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        for id in 1..50 {
            let Err((failure, record)) = &outcomes[&id] else { panic!("{id} was delivered") };
            assert_ne!(failure.status, Status::Persisted, "{id}");
            assert_eq!(record, &large(id));
        }
        assert!(resolving::hanging() > 0, "it still hangs");
        assert_eq!(clients_left_behind(), before + 1);
        resolving::hang(false);
        eventually("the client ends", || clients_left_behind() == before);
    }
}
