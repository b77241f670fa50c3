//! Settings, checked when the producer starts. Each setting is documented here; what it does is decided elsewhere.

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod observe;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::backend::{BackendLimits, Connect};
use aioproducer_core::{Isolation, Limits, LimitsError, Overflow};

use super::producer::AioProducer;
use crate::observe::{Notebook, Options};
use crate::record::OwnedRecord;
use crate::runtime::paced::Paced;
use crate::runtime::{Runtime, RuntimeError, clock, takes_tasks};
use crate::state::shared::{Settings, Shared};

/// Settings of a producer that is yet to start. [`AioProducer::builder`] makes it, [`start`](Self::start) checks it.
///
/// | setting | unit | default |
/// | --- | --- | --- |
/// | [`slots`](Self::slots) | records | 65,536 |
/// | [`pool_bytes`](Self::pool_bytes) | bytes | 32 MiB, or 4 records of the largest size |
/// | [`lanes`](Self::lanes) | (topic, partition) pairs | 16,384 or `slots`, whichever is less |
/// | [`topics`](Self::topics) | topics | 4,096 |
/// | [`batch_records`](Self::batch_records) | records | 1,024 or `slots`, whichever is less |
/// | [`batch_bytes`](Self::batch_bytes) | bytes | 1 MiB or `pool_bytes`, whichever is less |
/// | [`linger`](Self::linger) | time | zero: a batch goes as soon as the executor is free |
/// | [`send_lingers`](Self::send_lingers) | whether `send` lingers, too | no |
/// | [`delivery_timeout`](Self::delivery_timeout) | time | the backend's own, 2 minutes for librdkafka |
/// | [`overflow`](Self::overflow) | what a record does that finds the pool full | it waits |
/// | [`callback_tasks`](Self::callback_tasks) | tasks | 64 |
/// | [`callback_stall`](Self::callback_stall) | time | 1 second |
/// | [`call_timeout`](Self::call_timeout) | time | 1 minute |
///
/// ```
/// # use aioproducer_driver::{AioProducer, Builder, Overflow};
/// # use std::time::Duration;
/// fn settings<B>(backend: B) -> Builder<B> {
///     AioProducer::builder(backend)
///         .slots(100_000)
///         .pool_bytes(64 << 20)
///         .delivery_timeout(Duration::from_secs(30))
///         .overflow(Overflow::WaitFor(Duration::from_secs(1)))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Builder<B> {
    backend: B,
    slots: usize,
    lanes: Option<usize>,
    topics: usize,
    pool_bytes: Option<usize>,
    batch_records: Option<u32>,
    batch_bytes: Option<usize>,
    linger: Duration,
    send_lingers: bool,
    delivery_timeout: Option<Duration>,
    overflow: Overflow,
    callback_tasks: usize,
    callback_stall: Duration,
    call_timeout: Duration,
    pub(crate) observe: Options,
}

impl<B> Builder<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self {
            backend,
            slots: 65_536,
            lanes: None,
            topics: 4096,
            pool_bytes: None,
            batch_records: None,
            batch_bytes: None,
            linger: Duration::ZERO,
            send_lingers: false,
            delivery_timeout: None,
            overflow: Overflow::Wait,
            callback_tasks: 64,
            callback_stall: Duration::from_secs(1),
            call_timeout: Duration::from_secs(60),
            observe: Options::default(),
        }
    }

    /// How many records the producer holds at once, from produce to delivery report. When all slots are taken,
    /// `produce` waits and `try_produce` says so.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.slots(10_000)
    /// }
    /// ```
    #[must_use]
    pub fn slots(mut self, records: usize) -> Self {
        self.slots = records;
        self
    }

    /// How many bytes of records the producer holds at once, from produce to delivery report.
    ///
    /// A record counts for its payload once, and for its key and its headers twice, since librdkafka copies them. A list of
    /// headers counts for 96 bytes more, and each header for 104; if payload, key or a part of a header is owned, each header
    /// counts for 152, and each of its owned parts for 48. Of `Bytes` it is the bytes in use that count, whatever they keep
    /// alive.
    ///
    /// So all that the producer holds, librdkafka's share included, is at most 1.5 times `pool_bytes`, and 768 bytes for each
    /// of the [`slots`](Self::slots), 4 KiB for each of the [`topics`](Self::topics) that are used, 2 KiB for each of their
    /// partitions, and 16 MiB. Deliveries, errors and records that the application keeps are its own.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.pool_bytes(256 << 20)
    /// }
    /// ```
    #[must_use]
    pub fn pool_bytes(mut self, bytes: usize) -> Self {
        self.pool_bytes = Some(bytes);
        self
    }

    /// How many (topic, partition) pairs can hold records at the same time. One more waits like a record that finds
    /// no slot.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.lanes(1_000)
    /// }
    /// ```
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// How many topics the producer may write to in its life. It keeps their names, and librdkafka what it knows of them and
    /// their partitions. Naming one more is refused, with [`TopicError::TooMany`](crate::error::TopicError::TooMany).
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.topics(100)
    /// }
    /// ```
    #[must_use]
    pub fn topics(mut self, topics: usize) -> Self {
        self.topics = topics;
        self
    }

    /// The most records in one hand-off to the backend.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.batch_records(10_000)
    /// }
    /// ```
    #[must_use]
    pub fn batch_records(mut self, records: u32) -> Self {
        self.batch_records = Some(records);
        self
    }

    /// The most bytes in one hand-off to the backend; a single larger record goes alone.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.batch_bytes(256 << 10)
    /// }
    /// ```
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = Some(bytes);
        self
    }

    /// How long a lane's oldest record waits for others to share its batch. With zero, records gather only while the
    /// executor is busy, so low traffic gets latency and high traffic gets batches.
    ///
    /// A backend may linger by itself, librdkafka by `linger.ms`. The two would add up, so one of them has to be zero, and the
    /// other less than the [delivery timeout](Self::delivery_timeout).
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// # use std::time::Duration;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.linger(Duration::from_millis(5))
    /// }
    /// ```
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Whether records of [`AioProducer::send`] linger, too. By default they do not: the caller waits for the record, and
    /// records that come while a batch is on its way go with the next one. With many tasks that may take their time, true
    /// makes larger batches.
    ///
    /// A backend's own linger, librdkafka's `linger.ms`, is not ended by that.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// # use std::time::Duration;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.linger(Duration::from_millis(5)).send_lingers(true)
    /// }
    /// ```
    #[must_use]
    pub fn send_lingers(mut self, lingers: bool) -> Self {
        self.send_lingers = lingers;
        self
    }

    /// How long after `produce` a record fails that has no outcome, with `FailureKind::TimedOut`, wherever it is: while it waits for
    /// room in the pool, in the pool, and when the backend has it. In the pool, where most records of a broker that does not answer
    /// are, it is not in the log ([`Status::NotPersisted`](crate::error::Status)). If the backend has it, it may be in the log, now
    /// or later, and its slot stays taken until the backend lets go of it. Zero, in which nothing can be delivered, is refused when
    /// the producer starts.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// # use std::time::Duration;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.delivery_timeout(Duration::from_secs(30))
    /// }
    /// ```
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = Some(timeout);
        self
    }

    /// What becomes of a record that finds no room: the pool is full, or its partition has its share.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.overflow(aioproducer_driver::Overflow::Fail)
    /// }
    /// ```
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How many tasks run callbacks at the same time, at most and at least 1. Each partition's callbacks are run by one of
    /// them at a time; one that waits for something holds its task.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.callback_tasks(4)
    /// }
    /// ```
    #[must_use]
    pub fn callback_tasks(mut self, tasks: usize) -> Self {
        self.callback_tasks = tasks.max(1);
        self
    }

    /// How long a callback, or some in a row, may take before they are counted as stalled, in
    /// [`Statistics::callbacks_stalled`](crate::Statistics::callbacks_stalled).
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// # use std::time::Duration;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.callback_stall(Duration::from_millis(100))
    /// }
    /// ```
    #[must_use]
    pub fn callback_stall(mut self, limit: Duration) -> Self {
        self.callback_stall = limit;
        self
    }

    /// How long a call waits for a broker: each step of a transaction, [`AioProducer::metadata`], [`AioProducer::ready`]. What happens after it depends on the
    /// call; a commit's outcome is unknown then.
    ///
    /// ```
    /// # use aioproducer_driver::Builder;
    /// # use std::time::Duration;
    /// fn settings<B>(builder: Builder<B>) -> Builder<B> {
    ///     builder.call_timeout(Duration::from_secs(10))
    /// }
    /// ```
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }
}

impl<B: Connect<OwnedRecord>> Builder<B> {
    /// Starts the producer: the backend's threads, and one task on `runtime`.
    ///
    /// # Errors
    /// [`StartError`] names the setting, the backend's key or the runtime that is at fault. Nothing is left running then.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Builder, Runtime, error::StartError};
    /// # use aioproducer_core::backend::Connect;
    /// # use aioproducer_driver::record::OwnedRecord;
    /// fn start<B: Connect<OwnedRecord>>(backend: B, runtime: impl Runtime) -> Result<AioProducer, StartError<B::Error>> {
    ///     AioProducer::builder(backend).slots(10_000).start(runtime)
    /// }
    /// ```
    pub fn start(self, runtime: impl Runtime) -> Result<AioProducer, StartError<B::Error>> {
        runtime.check().and_then(|()| takes_tasks(&runtime)).map_err(StartError::Runtime)?;
        if self.delivery_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(StartError::NoDeliveryTimeout);
        }
        let mut backend = self.backend;
        let found = backend.limits(self.delivery_timeout).map_err(StartError::Backend)?;
        check_linger(self.linger, &found)?;
        let pool_bytes = self.pool_bytes.unwrap_or_else(|| (32 << 20).max(found.record_bytes.saturating_mul(4)));
        let slots = u32::try_from(self.slots).unwrap_or(u32::MAX);
        let limits = Limits {
            pool_bytes,
            record_bytes: found.record_bytes,
            batch_records: self.batch_records.unwrap_or(1024.min(slots)),
            batch_bytes: self.batch_bytes.unwrap_or((1 << 20).min(pool_bytes)),
            linger: self.linger,
            delivery_timeout: found.delivery_timeout,
            report_timeout: found.delivery_timeout.map(grace),
            isolation: found
                .availability_timeout
                .map(|availability_timeout| Isolation { availability_timeout, ..Isolation::default() }),
            overflow: self.overflow,
        };
        let lanes = self.lanes.unwrap_or(self.slots.min(16_384));
        let settings = Settings {
            slots: self.slots,
            lanes,
            topics: self.topics,
            callback_tasks: self.callback_tasks,
            callback_stall: self.callback_stall,
            record_overhead: found.record_overhead,
            record_setting: found.record_setting,
            transactional: found.transactional,
            call_limit: self.call_timeout,
            hurries_sends: !self.linger.is_zero() && !self.send_lingers,
        };
        let observe = Options { notebook: Notebook::of(&mut backend), ..self.observe };
        let shared = if runtime.can_pause() && backend.is_real_time() {
            let pace = Paced::new(runtime);
            Shared::new(limits, settings, observe, Arc::clone(&pace)).map(|shared| shared.paced(pace))
        } else {
            Shared::new(limits, settings, observe, runtime)
        };
        let shared = Arc::new(shared.map_err(StartError::Limits)?);
        let background = backend.background(&clock(&shared.runtime));
        let connected = backend.connect(Arc::clone(&shared), self.slots).map_err(StartError::Backend)?;
        shared.start(connected, background);
        Ok(AioProducer::new(shared))
    }
}

/// Refuses two lingers that add up, and one that leaves no time to deliver.
fn check_linger<E>(linger: Duration, found: &BackendLimits) -> Result<(), StartError<E>> {
    let (is_both, backend) = (!linger.is_zero() && !found.linger.is_zero(), found.linger);
    if is_both {
        return Err(StartError::LingerTwice { linger, backend });
    }
    let linger = linger.max(backend);
    match found.delivery_timeout {
        Some(delivery_timeout) if linger >= delivery_timeout => {
            Err(StartError::LingerAboveTimeout { linger, delivery_timeout })
        }
        _ => Ok(()),
    }
}

/// How much later than a record has ended the backend may report it.
fn grace(delivery_timeout: Duration) -> Duration {
    (delivery_timeout / 2).clamp(Duration::from_secs(5), Duration::from_secs(60))
}

/// Why a producer could not start. `E` is the backend's own error.
///
/// ```
/// use aioproducer_driver::error::StartError;
///
/// /// Whether another configuration may help, and not a change of the program.
/// fn is_for_the_operator<E>(error: &StartError<E>) -> bool {
///     matches!(error, StartError::Backend(_))
/// }
/// assert!(!is_for_the_operator(&StartError::<std::io::Error>::NoDeliveryTimeout));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError<E> {
    /// A setting of the builder is out of range, or does not go with another.
    Limits(LimitsError),
    /// [`Builder::delivery_timeout`] is zero: each record would fail as soon as it is accepted.
    NoDeliveryTimeout,
    /// Both [`Builder::linger`] and the backend's own linger are set, librdkafka's `linger.ms`, say. A record would wait for
    /// the one, and then for the other.
    LingerTwice {
        /// The builder's.
        linger: Duration,
        /// The backend's.
        backend: Duration,
    },
    /// Records would wait for company until their delivery timeout, or longer.
    LingerAboveTimeout {
        /// The builder's linger, or the backend's.
        linger: Duration,
        /// The delivery timeout in force.
        delivery_timeout: Duration,
    },
    /// The backend's configuration was refused.
    Backend(E),
    /// The runtime cannot run a producer: it has no timers, or has ended.
    Runtime(RuntimeError),
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(error) => error.fmt(f),
            Self::NoDeliveryTimeout => f.write_str(
                "delivery_timeout: zero leaves no time to deliver; set more, or leave it out for the backend's own",
            ),
            Self::LingerTwice { linger, backend } => write!(
                f,
                "linger: the builder's {linger:?} and the backend's own {backend:?} (librdkafka: `linger.ms`) would add up; \
                 set one of them"
            ),
            Self::LingerAboveTimeout { linger, delivery_timeout } => write!(
                f,
                "linger (librdkafka: `linger.ms`): {linger:?} is not less than the delivery timeout, {delivery_timeout:?}; \
                 lower the one or raise the other"
            ),
            Self::Backend(error) => error.fmt(f),
            Self::Runtime(error) => error.fmt(f),
        }
    }
}

/// Each error's text is this error's own, so its source is what that one has for a source.
impl<E: Error + 'static> Error for StartError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Limits(error) => error.source(),
            Self::Backend(error) => error.source(),
            Self::Runtime(error) => error.source(),
            Self::NoDeliveryTimeout | Self::LingerTwice { .. } | Self::LingerAboveTimeout { .. } => None,
        }
    }
}
