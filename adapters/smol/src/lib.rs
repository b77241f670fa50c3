//! aioproducer on smol, on an `async_executor::Executor` of your own, and on async-std: a producer's runtime, and every name
//! that an application needs.
//!
//! ```
//! use aioproducer_smol::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Smol};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::start()?;
//! let mut config = ClientConfig::new();
//! config.set("bootstrap.servers", broker.bootstrap_servers());
//!
//! smol::block_on(async {
//!     let producer = AioProducer::builder(Librdkafka::new(config)).start(Smol::global())?;
//!     let report = producer.send(Record::to("greetings").key("en").payload("hello")).await?;
//!     assert_eq!((report.topic(), report.offset()), ("greetings", Some(0)));
//!     Ok(())
//! })
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};
use std::time;

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
use async_executor::Executor;

/// smol as a producer's [`Runtime`]: its global executor, or one of your own. Its timers are async-io's. They run on a thread of
/// their own, and so work under any executor, async-std's included.
///
/// ```
/// use std::sync::Arc;
///
/// use aioproducer_smol::Smol;
///
/// let executor = Arc::new(async_executor::Executor::new());
/// let (everywhere, there) = (Smol::global(), Smol::executor(Arc::clone(&executor)));
/// # drop((everywhere, there));
/// ```
#[derive(Clone, Debug)]
pub struct Smol {
    /// `None` is the global executor. The executor owns the producer's task, which owns this: no cycle.
    executor: Option<Weak<Executor<'static>>>,
    origin: time::Instant,
}

impl Smol {
    /// smol's global executor, which runs its own thread. async-std applications use this one.
    #[must_use]
    pub fn global() -> Self {
        Self { executor: None, origin: time::Instant::now() }
    }

    /// An executor that the caller runs, and keeps. When it is dropped, the producer ends.
    #[must_use]
    pub fn executor(executor: Arc<Executor<'static>>) -> Self {
        Self { executor: Some(Arc::downgrade(&executor)), origin: time::Instant::now() }
    }
}

impl Runtime for Smol {
    fn now(&self) -> Instant {
        Instant::after_origin(self.origin.elapsed())
    }

    fn sleep_until(&self, at: Instant) -> Task {
        match self.origin.checked_add(at.since_origin()) {
            Some(at) => Box::pin(async move {
                smol::Timer::at(at).await;
            }),
            None => Box::pin(std::future::pending()),
        }
    }

    fn spawn(&self, task: Task) {
        match &self.executor {
            Some(executor) => {
                if let Some(executor) = executor.upgrade() {
                    executor.spawn(task).detach();
                }
            }
            None => smol::spawn(task).detach(),
        }
    }
}
