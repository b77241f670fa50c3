//! `Librdkafka`: the backend's configuration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, BackgroundTask, Clock, Connect, Driver, Message};
use rdkafka::ClientConfig;

use crate::config::{self, ConfigError, Effective};
use crate::events::{self, EventHandler, EventSink, Events};
use crate::oauth::{self, TokenMailbox, TokenProvider};
use crate::opening::{self, Settings};
use crate::partition::partitioner::Partitioner;
use crate::renewal::{OnFatal, OnStall, Policy};

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
/// These keys are not passed to librdkafka. Those of partitions are Kafka's Java client's, about records without a key, and others that
/// may go to any partition (KIP-794):
///
/// | key | default | meaning |
/// | --- | --- | --- |
/// | `enable.strict.idempotence` | false | a record is rather given up than perhaps written twice, see below |
/// | `partitioner.adaptive.partitioning.enable` | true | partitions for which many records wait are chosen less often |
/// | `partitioner.availability.timeout.ms` | 1000, plus `linger.ms` | a partition from which no answer has come for this long is not chosen until one comes; 0 for never |
///
/// As to the choice of partitions, the timeout needs the other one. It also is the time after which records of a partition that
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
/// reported when the producer starts: as [`Event::IdempotenceOff`](crate::Event::IdempotenceOff), and as a warning to the
/// operator's log. If `enable.idempotence` is set to true, or `transactional.id` is set, which needs it, a conflicting value is
/// refused instead.
///
/// An idempotent producer may still write a record twice: if an answer is lost, and a broker refuses records of another partition for
/// good, or fails one of several requests, before the record is sent again. librdkafka then numbers all records anew (its issue 4953).
/// With `enable.strict.idempotence` there is one request at a time on its way to each broker, a record that is refused for good is a
/// fatal error for the producer, and a purge leaves what librdkafka has. Values that contradict are refused: those of the table,
/// `max.in.flight` above 1, `retries` below 2147483647, and `enable.gapless.guarantee=false`.
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
/// Without a reader of events ([`Librdkafka::events`], [`Librdkafka::on_event`]), librdkafka's errors and warnings, and which leaders do
/// not answer, are written to the operator's log: as events of `tracing` with the driver's feature of that name and a subscriber, else through the crate
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
    policy: Policy,
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
            policy: Policy::default(),
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

    /// Sets what happens after a fatal error. By default the producer rejects records from then on, and each pending one fails.
    ///
    /// With [`OnFatal::Renew`] the client is replaced by a new one, with the same configuration:
    ///
    /// - It gets no more records, and has 5 seconds to answer for what it has sent, or half a second without an answer.
    /// - What it has sent without an answer ends as [possibly persisted](aioproducer_core::backend::Status::PossiblyPersisted), so the
    ///   application gets it before anything later of its partition is sent.
    /// - What it has not sent goes to the new client, in its order, before anything else. Its deliveries stay open, and their time
    ///   counts from the first call.
    /// - [`Event::Renewed`](crate::Event::Renewed) says what happened, and so does a warning to the operator's log.
    ///
    /// Meanwhile the producer accepts records, and its calls wait; one that is under way fails as retriable. After three renewals in a
    /// row without a delivery, a fatal error ends the producer as it does by default. A new client has another producer id: if a
    /// record that ended as possibly persisted is sent again by the application, it may be in the log twice.
    ///
    /// A transactional producer cannot be renewed: its transaction would be lost. The producer does not start then
    /// ([`ConfigError::Renewal`]).
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, Librdkafka, OnFatal};
    ///
    /// let backend = Librdkafka::new(ClientConfig::new()).on_fatal(OnFatal::Renew);
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn on_fatal(mut self, policy: OnFatal) -> Self {
        self.policy.on_fatal = policy;
        self
    }

    /// Sets what happens when a partition makes no progress. By default its records wait.
    ///
    /// With [`OnStall::Renew`] the client is replaced as by [`on_fatal`](Self::on_fatal), when a partition has left records without an
    /// answer for a given time, although its leader is connected or has not answered before. This is for clients that miss that a
    /// partition has a leader again. A leader that is paused looks the same until `socket.timeout.ms` has passed: so the time should
    /// be longer than such pauses usually are.
    ///
    /// The producer does not start ([`ConfigError::Renewal`]) with a time of zero, with a `transactional.id`, or with
    /// `partitioner.adaptive.partitioning.enable=false`, without which it is not known which partitions answer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use aioproducer_rdkafka::{ClientConfig, Librdkafka, OnStall};
    ///
    /// let backend = Librdkafka::new(ClientConfig::new()).on_stall(OnStall::Renew { after: Duration::from_secs(90) });
    /// # let _ = backend;
    /// ```
    #[must_use]
    pub fn on_stall(mut self, policy: OnStall) -> Self {
        self.policy.on_stall = policy;
        self
    }

    fn effective(&self) -> Result<Effective, ConfigError> {
        if self.workers == 0 {
            return Err(ConfigError::NoWorkers);
        }
        let effective =
            config::effective(&self.config, self.partitioner.clone(), self.delivery_timeout, self.provider.is_some())?;
        match self.policy.refusal(effective.limits.transactional, effective.partitioning.adaptive) {
            Some(reason) => Err(ConfigError::Renewal { reason }),
            None => Ok(effective),
        }
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
        let effective = self.effective()?;
        let settings =
            Settings { workers: self.workers, sinks: self.sinks, mailbox: self.mailbox, policy: self.policy, capacity };
        opening::open(effective, settings, driver)
    }
}
