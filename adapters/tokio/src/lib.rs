//! aioproducer on tokio: the clock, the timer and the task of a producer, and everything an application names.
//!
//! ```
//! use aioproducer_tokio::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::start()?;
//! let mut config = ClientConfig::new();
//! config.set("bootstrap.servers", broker.bootstrap_servers());
//!
//! let producer = AioProducer::builder(Librdkafka::new(config)).start(Tokio::current()?)?;
//! let report = producer.send(Record::to("greetings").key("en").payload("hello")).await?;
//! assert_eq!((report.topic(), report.offset()), ("greetings", Some(0)));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

use std::panic;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use aioproducer_driver::error::{
    Advice, CallError, EndError, ErrorCode, Failure, FailureKind, FatalError, FlushError, LimitsError, MetadataError,
    RecordError, RuntimeError, StartError, Status, TooLate, TopicError, TraceContextError, TransactionError,
};
pub use aioproducer_driver::future::{Close, Flush, Outcomes, Produce, ProduceAll, Purge, SendRecord};
pub use aioproducer_driver::metadata::{Broker, Metadata, PartitionMetadata, TopicMetadata};
pub use aioproducer_driver::record::{Data, Header, OwnedRecord, TopicRef, TraceContext};
pub use aioproducer_driver::runtime::{ClockHold, Instant, Task};
pub use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
pub use aioproducer_driver::{
    AioProducer, Builder, Bytes, CloseReport, Delivery, DeliveryError, DeliveryReport, Overflow, ProduceError,
    PurgeScope, Record, Reporter, Reports, Runtime, SendError, Statistics, Topic, Transaction, Unsent,
};
#[cfg(feature = "embedded-broker")]
pub use aioproducer_rdkafka::{ApiKey, BrokerError, EmbeddedBroker, ReceivedRecord};
#[cfg(feature = "rdkafka")]
pub use aioproducer_rdkafka::{
    Availability, ClientConfig, ClientError, ConfigError, Event, EventHandler, Events, IdempotenceOff, Librdkafka,
    LogLevel, LogLine, OnFatal, OnStall, Partition, Partitioner, RenewalCause, Renewed, Throttle, ToPartition, Token,
    TokenError, TokenFuture, TokenProvider, clients_left_behind, consumer_group, statistics,
};
use tokio::runtime::{Handle, RuntimeFlavor, TryCurrentError};
use tokio::task::{self, coop};
use tokio::time;

/// A tokio runtime as a producer's [`Runtime`].
///
/// The producer ends with it, and its errors say so then ([`ProduceError::RuntimeEnded`]): where each test has a runtime of its
/// own, each needs a producer of its own.
///
/// A runtime of one thread makes progress while somebody is in its `block_on`. A future that is awaited elsewhere meanwhile, by
/// another `block_on`, waits for what the producer has to do by time: the end of the linger, of a timeout, of a close.
///
/// Deadlines follow tokio's clock. If it is paused (`tokio::time::pause`) it leaps to the next timer when there is nothing
/// to do, so a linger ends at once. While the backend's threads are at work on records or calls it is held, and goes on no
/// faster than real time, also for other timers of the runtime. What it is moved on by hand meanwhile does not count for the
/// producer.
///
/// ```
/// use aioproducer_tokio::Tokio;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Runtime::new()?;
/// let here = Tokio::new(runtime.handle().clone());
/// # drop(here);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    origin: time::Instant,
}

impl Tokio {
    /// The runtime of the calling task.
    ///
    /// # Errors
    /// When called outside of a tokio runtime.
    pub fn current() -> Result<Self, TryCurrentError> {
        Ok(Self::new(Handle::try_current()?))
    }

    /// The runtime of `handle`. A producer does not start on one whose time driver is not enabled.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        let origin = {
            let _entered = handle.enter();
            time::Instant::now()
        };
        Self { handle, origin }
    }
}

impl Runtime for Tokio {
    fn now(&self) -> Instant {
        Instant::after_origin(time::Instant::now().saturating_duration_since(self.origin))
    }

    fn sleep_until(&self, at: Instant) -> Task {
        let _entered = self.handle.enter();
        match self.origin.checked_add(at.since_origin()) {
            Some(at) => Box::pin(time::sleep_until(at)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn spawn(&self, task: Task) {
        drop(self.handle.spawn(task));
    }

    /// Refuses a runtime without a time driver, which panics when it is asked for a timer. The panic is caught.
    fn check(&self) -> Result<(), RuntimeError> {
        let _entered = self.handle.enter();
        panic::catch_unwind(|| drop(time::sleep(Duration::ZERO))).map_err(|_| {
            RuntimeError::new("the tokio runtime has no timers: call enable_time() or enable_all() on its Builder")
        })
    }

    /// As `tokio::time::pause` says, which a runtime of one thread can do.
    fn can_pause(&self) -> bool {
        self.handle.runtime_flavor() == RuntimeFlavor::CurrentThread
    }

    /// tokio does not move a paused clock on while a blocking task runs.
    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        let _entered = self.handle.enter();
        is_paused().then(|| {
            let (hold, held) = mpsc::sync_channel::<()>(0);
            drop(self.handle.spawn_blocking(move || held.recv_timeout(at_most)));
            Box::new(hold) as ClockHold
        })
    }

    /// tokio's own, which the task shares with all that it awaits of tokio.
    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        match coop::poll_proceed(cx) {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(budget) => {
                budget.made_progress();
                // What is no task of tokio's has no budget: another executor's, or one in `block_on`.
                task::try_id().map(|_| Poll::Ready(()))
            }
        }
    }
}

/// Whether the clock of the runtime that was entered stands while real time passes.
fn is_paused() -> bool {
    let (runtime_time, real) = (time::Instant::now(), std::time::Instant::now());
    // tokio's clock is read again after the real one has moved: if it is not paused it has moved, too.
    while std::time::Instant::now() == real {
        std::hint::spin_loop();
    }
    time::Instant::now() == runtime_time
}
