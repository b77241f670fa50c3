//! `Librdkafka`: the configured backend.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, BackgroundTask, Connect, Driver, Message, Request, Severity};
use rdkafka::ClientConfig;

use crate::catch_panic::catch_panic;
use crate::config::secrets::Secrets;
use crate::config::{self, Effective};
use crate::events::voice::Voice;
use crate::events::{EventSink, EventSinks, RawEvent};
use crate::ffi::{self, AtOnce, Client, Listeners};
use crate::oauth::mailbox as tokens;
use crate::oauth::mailbox::TokenMailbox;
use crate::threads::control;
use crate::threads::end::End;
use crate::threads::inline_worker::InlineWorker;
use crate::threads::signals::Signals;
use crate::{ConfigError, Event, EventHandler, Events, Partition, Partitioner, ToPartition, TokenProvider, events};

/// librdkafka as a backend, yet to be connected.
///
/// The configuration is librdkafka's own, and what the application sets in it stays as it is, with three exceptions: the
/// `partitioner` is this crate's (librdkafka's names mean what they mean there, see [`Partitioner`]), a delivery timeout that
/// the producer's builder is given goes before `message.timeout.ms` / `delivery.timeout.ms`, and a blank `transactional.id` is
/// none. Where the application leaves it open, these are set:
///
/// | key | value | because |
/// | --- | --- | --- |
/// | `linger.ms` | 0 | batches are cut before |
/// | `queue.buffering.max.messages` | 0 (no limit) | the pool is the limit |
/// | `queue.buffering.max.kbytes` | 2147483647 | the pool is the limit |
/// | `enable.idempotence` | true, unless a value conflicts; see below | order and no duplicates |
/// | `message.timeout.ms` | 120000, or `transaction.timeout.ms` if that is less and there is a `transactional.id` | as in Kafka's Java client (KIP-91) |
/// | `reconnect.backoff.ms` | 20, or `reconnect.backoff.max.ms` if that is less | the first record waits for half of it |
/// | `reconnect.backoff.max.ms` | 1000, or `reconnect.backoff.ms` if that is more | as in Kafka's Java client; see below |
///
/// What a value means is librdkafka's to say: `acks=all`, `ALL` and `-1` are the same, and so are a key and its aliases. Two
/// names of one setting with two values are refused. So is what librdkafka refuses, also an empty number, and
/// `delivery.report.only.error`.
///
/// While a broker is away, librdkafka looks at the timeouts of the records for it when it tries to reconnect. A record's
/// delivery timeout is late by up to `reconnect.backoff.max.ms` then, which would be 10 seconds.
///
/// # Idempotence
///
/// An idempotent producer numbers its records, so that one which is sent again, as an answer got lost or a leader moved, is
/// in the log once and in its order. These values conflict with it, and nothing else turns it off:
///
/// | key | idempotence stays on with | and goes off with |
/// | --- | --- | --- |
/// | `enable.idempotence` | true | false |
/// | `acks`, `request.required.acks` | `all`, `-1` | `0`, `1` or any other |
/// | `retries`, `message.send.max.retries` | 1 or more | 0 |
/// | `max.in.flight`, `max.in.flight.requests.per.connection` | 5 or less | more |
/// | `queuing.strategy` | `fifo` | `lifo` |
/// | `queue.buffering.backpressure.threshold` | 1 | more |
///
/// When it is off, retries may write records twice and out of order, and such records are reported as delivered. So it is said
/// when the producer starts: by [`Event::IdempotenceOff`] and as a warning (see below). If `enable.idempotence` is
/// set to true, or `transactional.id` is set, which needs it, a value that conflicts is refused instead.
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
/// # What it says
///
/// Errors and warnings of librdkafka's are written for the operator unless somebody listens, by [`Librdkafka::events`] or
/// [`Librdkafka::on_event`]: as events of `tracing` with the driver's feature of that name and a subscriber, else by the crate
/// `log` if it has a logger, else as lines on standard error. The same line comes once in 30 seconds at most, and no more than 10
/// come in a row. What nobody who listens is told is always written: that idempotence is off, a topic that does not exist or may
/// not be used, records that are lost when the last handle goes. No line has the value of a secret key.
///
/// librdkafka's log and statistics are told only if somebody listens. The log's level is librdkafka's `log_level` then, or 7
/// with `debug`; `ClientConfig::set_log_level` is not looked at.
///
/// A clone has the same handlers and token provider, and tells the streams that were made before it.
#[derive(Clone)]
pub struct Librdkafka {
    config: ClientConfig,
    workers: usize,
    partitioner: Option<Partitioner>,
    delivery_timeout: Option<Duration>,
    sinks: Vec<EventSink>,
    handlers: Vec<Arc<dyn EventHandler>>,
    provider: Option<Arc<dyn TokenProvider>>,
    /// There once the provider's task is made.
    mailbox: Option<Arc<TokenMailbox>>,
}

impl Librdkafka {
    /// A backend with librdkafka's configuration, which is checked when the producer is built.
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

    /// The number of threads that hand batches to librdkafka; 1 unless set. The order of a partition and of a key holds
    /// for any number. More than one helps if records go to several topics or name their partition.
    ///
    /// 0 is refused with [`ConfigError::NoWorkers`] when the producer is built.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The rule for records that name no partition; it goes before a `partitioner` in the configuration.
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = Some(partitioner);
        self
    }

    /// The producer's events as a stream, which holds up to 1,024 of them.
    ///
    /// A second call makes a second stream, which gets all events, too. A stream ends when everything has that could
    /// tell it something: this backend, its clones, and the producers started from them.
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
    /// // … start a producer with `backend`, and spawn `watch`.
    /// # let _ = watch;
    /// ```
    pub fn events(&mut self) -> Events {
        self.events_with_capacity(events::CAPACITY)
    }

    /// The same for a stream that holds up to `capacity` events, and at least one.
    pub fn events_with_capacity(&mut self, capacity: usize) -> Events {
        let (sink, events) = Events::new(capacity);
        self.sinks.push(sink);
        events
    }

    /// Has `handler` called with the producer's events, by a task of its own on the application's runtime. Each call
    /// adds a handler. Between one and its events there is a buffer as in [`Librdkafka::events`].
    #[must_use]
    pub fn on_event(mut self, handler: impl EventHandler) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Has `provider` asked for tokens, by a task of its own on the application's runtime. It is asked if `sasl.mechanisms`
    /// is `OAUTHBEARER`, for which librdkafka has to be built with the feature `ssl`. That mechanism without a provider is
    /// refused when the producer is built, unless librdkafka is configured to get tokens itself
    /// (`sasl.oauthbearer.method=oidc`, `enable.sasl.oauthbearer.unsecure.jwt=true`), and so are both at once.
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

    fn background(&mut self) -> Vec<BackgroundTask> {
        let mut tasks: Vec<BackgroundTask> = Vec::new();
        for handler in std::mem::take(&mut self.handlers) {
            tasks.push(Box::pin(events::handle(self.events(), handler)));
        }
        if let Some(provider) = self.provider.clone() {
            let mailbox = Arc::new(TokenMailbox::default());
            tasks.push(Box::pin(tokens::serve(Arc::clone(&mailbox), provider)));
            self.mailbox = Some(mailbox);
        }
        tasks
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, capacity: usize) -> Result<Arc<dyn Backend>, ConfigError> {
        let Effective { mut config, mut partitioning, has_spare_room, idempotence_off, limits, .. } =
            self.effective()?;
        let log_level = config::log_level(&config::native(&config)?);
        let sinks = Arc::new(EventSinks::new(self.sinks, Secrets::of(&config)).with_log_level(log_level));
        if let Partitioner::Custom(rule) = partitioning.partitioner {
            let sinks = Arc::clone(&sinks);
            partitioning.partitioner = Partitioner::Custom(Arc::new(Contained { rule, sinks }));
        }
        if sinks.is_empty() {
            config.set("statistics.interval.ms", "0");
        }
        let native = config::native(&config)?;
        if let Some(off) = idempotence_off {
            if !off.is_asked_for() {
                driver.say(Severity::Warning, &off.to_string());
            }
            sinks.tell(|| RawEvent::Event(Event::IdempotenceOff(off)));
        }
        // A transactional producer gets its id by a call of its own.
        let is_set = |key| native.get(key).is_ok_and(|value| value == "true");
        let warm_up = is_set("enable.idempotence") && !limits.transactional;
        let signals = Arc::new(Signals::new(self.workers));
        let listeners = Listeners {
            sinks: Arc::clone(&sinks),
            tokens: self.mailbox,
            signals: Arc::clone(&signals),
            voice: Voice::default(),
        };
        let served = Arc::downgrade(&driver);
        let at_once = has_spare_room.then(|| at_once(served.clone()));
        let client = Client::new(&config, native, capacity, listeners, at_once)
            .map_err(|error| config::refused(&config, &error))?;
        let (inline_worker, end) =
            control::start(client, driver, Arc::clone(&signals), self.workers, &partitioning, warm_up)
                .map_err(|error| ConfigError::Thread { reason: error.to_string() })?;
        Ok(Arc::new(Handle { signals, inline_worker, end, driver: served, sinks }))
    }
}

/// Has the driver hear of a success on librdkafka's thread.
fn at_once<R, E: Driver<R>>(driver: Weak<E>) -> AtOnce {
    Box::new(move |slot, delivered| driver.upgrade().is_some_and(|driver| driver.report_at_once(slot, delivered)))
}

/// The application's partitioner. A record whose partitioner panics has no partition, and its caller is told.
struct Contained {
    rule: Arc<dyn Partition>,
    sinks: Arc<EventSinks>,
}

impl Partition for Contained {
    fn partition(&self, record: ToPartition<'_>) -> i32 {
        catch_panic(|| self.rule.partition(record)).unwrap_or_else(|| {
            self.sinks.contained("the partitioner");
            -1
        })
    }

    fn reads_value(&self) -> bool {
        self.rule.reads_value()
    }
}

/// The driver's hold on the threads: they end with it, if it was not done before.
struct Handle<R: Message, E: Driver<R>> {
    signals: Arc<Signals>,
    inline_worker: Arc<InlineWorker<R>>,
    end: Arc<End<R, E>>,
    driver: Weak<E>,
    sinks: Arc<EventSinks>,
}

impl<R: Message, E: Driver<R>> Backend for Handle<R, E> {
    fn wake(&self) {
        self.signals.wake();
    }

    fn wake_for_one(&self) {
        // A waker that runs a task at once may get here from within librdkafka.
        let here = if ffi::is_telling() { None } else { self.driver.upgrade() };
        let served = here.is_some_and(|driver| self.inline_worker.serve(&*driver));
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
        self.end.begin();
        self.signals.shut_down();
    }

    fn contained(&self, code: &'static str) {
        self.sinks.contained(code);
    }
}

impl<R: Message, E: Driver<R>> Drop for Handle<R, E> {
    fn drop(&mut self) {
        self.shut_down();
    }
}
