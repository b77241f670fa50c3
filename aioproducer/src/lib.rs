//! An asynchronous Kafka producer on librdkafka, for tokio, smol or an executor of your own.
//!
//! One future per record, backpressure instead of errors when the producer is full, and exactly one outcome for each accepted
//! record: a failed one comes back with the answer to "is it in the log?".
//!
#![cfg_attr(all(feature = "tokio", feature = "embedded-broker"), doc = "```")]
#![cfg_attr(not(all(feature = "tokio", feature = "embedded-broker")), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A broker in this process, for first steps. Name your own in `bootstrap.servers`.
//!     let broker = EmbeddedBroker::start()?;
//!     let mut config = ClientConfig::new();
//!     config.set("bootstrap.servers", broker.bootstrap_servers());
//!
//!     let producer = AioProducer::builder(Librdkafka::new(config)).start(Tokio::current()?)?;
//!     let delivery = producer.produce(Record::to("orders").key("customer-7").payload("two apples")).await?;
//!     let report = delivery.await?;
//!     println!("delivered: {report}");
//!     producer.close(Duration::from_secs(10)).await;
//!     Ok(())
//! }
//! ```
//!
//! With smol, start the producer on `Smol::global()`, or on `Smol::executor(yours)`.
//!
//! # Where to look
//!
//! [`AioProducer`] has every call, [`Builder`] every setting, and `Librdkafka` the settings of the backend. Types that you
//! rarely name are in modules: [`error`], [`future`], [`metadata`], [`transaction`] and so on.
//!
//! # Features
//!
//! | feature | default | brings |
//! | --- | --- | --- |
//! | `tokio` | yes | `Tokio`, a tokio runtime as the producer's runtime |
//! | `smol` | no | `Smol`: smol's global executor, an `async_executor::Executor` of yours, async-std |
//! | `rdkafka` | yes | `Librdkafka`, the backend; librdkafka is built along |
//! | `embedded-broker` | no | `EmbeddedBroker`, librdkafka's mock cluster in your process, for first steps and tests |
//! | `history` | no | a checker for tests: what the producer said of each record, against the log |
//! | `sim` | no | `sim`: a simulated cluster, with faults by hand, on a virtual clock, for tests |
//! | `tracing` | no | a span for each record, and its trace context in the record's headers on request |
//! | `metrics` | no | counters, gauges and histograms for the `metrics` facade |
//! | `ssl`, `ssl-vendored` | no | TLS, with the system's OpenSSL or one that is built along |
//! | `sasl`, `gssapi-vendored` | no | SASL with Kerberos, with the system's libsasl2 or one that is built along |
//! | `zstd`, `zstd-pkg-config`, `external-lz4` | no | compression beyond gzip, snappy and LZ4, or by the system's libraries |
//! | `curl`, `curl-static` | no | tokens from an OpenID Connect provider |
//! | `libz-static` | no | a zlib that is built along |
//! | `dynamic-linking` | no | the system's librdkafka instead of one that is built along |
//!
//! Without default features this crate is the API alone: bring your own [`Runtime`](runtime::Runtime) and your own
//! [`Connect`](backend::Connect).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[doc(inline)]
pub use aioproducer_driver::{
    AioProducer, Builder, Delivery, DeliveryError, DeliveryReport, ProduceError, Record, SendError, Topic,
};
#[cfg(feature = "embedded-broker")]
#[doc(inline)]
pub use aioproducer_rdkafka::EmbeddedBroker;
#[cfg(feature = "rdkafka")]
#[doc(inline)]
pub use aioproducer_rdkafka::{ClientConfig, Librdkafka};
#[cfg(feature = "smol")]
#[doc(inline)]
pub use aioproducer_smol::Smol;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use aioproducer_tokio::Tokio;

/// Every error, and what they have in common: an [`ErrorCode`](error::ErrorCode) of a broker or of librdkafka, and whether a
/// failed record is in the log ([`Status`](error::Status)).
pub mod error {
    #[doc(inline)]
    pub use aioproducer_driver::error::{
        Advice, CallError, DeliveryError, EndError, ErrorCode, Failure, FailureKind, FatalError, FlushError,
        LimitsError, MetadataError, ProduceError, RecordError, RuntimeError, SendError, StartError, Status, TooLate,
        TopicError, TraceContextError, TransactionError,
    };
    #[cfg(feature = "embedded-broker")]
    #[doc(inline)]
    pub use aioproducer_rdkafka::BrokerError;
    #[cfg(feature = "rdkafka")]
    #[doc(inline)]
    pub use aioproducer_rdkafka::{ClientError, ConfigError, TokenError};
}

/// The parts of a record.
pub mod record {
    #[doc(inline)]
    pub use aioproducer_driver::Bytes;
    #[doc(inline)]
    pub use aioproducer_driver::record::{Data, Header, TopicRef, TraceContext};
}

/// What a producer does when it is full, what it counts, and what its close returns.
pub mod producer {
    #[doc(inline)]
    pub use aioproducer_driver::{CloseReport, Health, LeaderHealth, Overflow, PurgeScope, Statistics, Unsent};
    #[cfg(feature = "rdkafka")]
    #[doc(inline)]
    pub use aioproducer_rdkafka::clients_left_behind;
}

/// The futures of [`AioProducer`]'s methods, for those who have to name them.
pub mod future {
    #[doc(inline)]
    pub use aioproducer_driver::future::{Close, Flush, Outcomes, Produce, ProduceAll, Purge, SendRecord};
}

/// Outcomes of many records as one stream: [`AioProducer::reports`].
pub mod reports {
    #[doc(inline)]
    pub use aioproducer_driver::{Reporter, Reports};
}

/// Transactions: [`AioProducer::begin`] opens one, and each error says what is left to do.
pub mod transaction {
    #[doc(inline)]
    pub use aioproducer_driver::transaction::{EndError, Group, GroupOffset, Remedy, Transaction, TransactionError};
    #[cfg(feature = "rdkafka")]
    #[doc(inline)]
    pub use aioproducer_rdkafka::consumer_group;
}

/// What a broker knows of its cluster: the answer of [`AioProducer::metadata`].
pub mod metadata {
    #[doc(inline)]
    pub use aioproducer_driver::metadata::{Broker, Metadata, MetadataError, PartitionMetadata, TopicMetadata};
}

/// The runtime that a producer runs on. Implement [`Runtime`](runtime::Runtime) for an executor of your own.
pub mod runtime {
    #[doc(inline)]
    pub use aioproducer_driver::runtime::{ClockHold, Instant, Runtime, RuntimeError, Task};
}

/// The seam to a backend. Implement [`Connect`](backend::Connect) and [`Backend`](backend::Backend) for one of your own.
pub mod backend {
    #[doc(inline)]
    pub use aioproducer_core::backend::{
        Answer, Backend, BackendLimits, BackgroundTask, Call, CallId, Clock, Connect, Connections, Copied, Credentials,
        Delivered, Driver, Message, Outcome, PartitionLoad, Placement, Report, Request, Severity, Trouble, Unsent,
    };
    #[doc(inline)]
    pub use aioproducer_core::{Lane, MessageBatch, Record, SlotId, TopicId};
    #[doc(inline)]
    pub use aioproducer_driver::record::OwnedRecord;
}

/// How `Librdkafka` chooses partitions for records that name none.
#[cfg(feature = "rdkafka")]
pub mod partitioner {
    #[doc(inline)]
    pub use aioproducer_rdkafka::{Partition, Partitioner, ToPartition};
}

/// What librdkafka reports beside deliveries: errors, statistics, throttling, log lines.
#[cfg(feature = "rdkafka")]
pub mod event {
    #[doc(inline)]
    pub use aioproducer_rdkafka::{
        Availability, Event, EventHandler, Events, IdempotenceOff, LogLevel, LogLine, RenewalCause, Renewed, Throttle,
        statistics,
    };
}

/// When a client of librdkafka's that cannot go on is replaced by a new one.
#[cfg(feature = "rdkafka")]
pub mod renewal {
    #[doc(inline)]
    pub use aioproducer_rdkafka::{OnFatal, OnStall};
}

/// Tokens for SASL/OAUTHBEARER.
#[cfg(feature = "rdkafka")]
pub mod oauth {
    #[doc(inline)]
    pub use aioproducer_rdkafka::{Token, TokenFuture, TokenProvider};
}

/// A checker for tests: it compares what the producer said of each record with the log, and names each anomaly.
#[cfg(feature = "history")]
pub mod history {
    #[doc(inline)]
    pub use aioproducer_history::{
        Allow, Anomaly, Counts, Finding, FoundRecord, History, Log, LogEntry, Operation, OperationHandle, Payload,
        Place, ProduceCall, RecordHandle, Status, TransactionHandle, Verdict, check, check_with,
    };
}

/// A simulated cluster for tests: no broker, no thread, no real time.
#[cfg(feature = "sim")]
pub mod sim {
    #[doc(inline)]
    pub use aioproducer_sim::{
        Acks, Around, BrokerControl, Case, Chaos, ChaosCounts, EndTxn, Fault, FaultKind, GroupView, Held, Hold,
        InitProducerId, Joined, LeaderControl, LogRecord, On, Plan, Produce, Requests, Sim, SimBackend, SimCluster,
        TopicView, Trace, TxnOffsetCommit, check,
    };
}

/// What the embedded broker returns and can be made to do.
#[cfg(feature = "embedded-broker")]
pub mod embedded {
    #[doc(inline)]
    pub use aioproducer_rdkafka::{ApiKey, ReceivedRecord};
}

/// The crate's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
