//! The librdkafka backend of aioproducer: worker threads that hand batches of records to librdkafka and bring the delivery
//! reports back in bulk.
//!
//! [`Librdkafka`] is configured with librdkafka's own keys and implements the seam to the driver,
//! [`Connect`](aioproducer_core::backend::Connect). Payloads are not copied: librdkafka borrows them from the records,
//! which this backend owns until they are reported. The partition of records that name none is chosen here
//! ([`Partitioner`]).
//!
//! | thread | does |
//! | --- | --- |
//! | `aioproducer-worker-N` | takes a batch, chooses partitions, enqueues, settles; reads delivery reports and errors |
//! | `aioproducer-control` | flush, purge, shutdown: the calls that block |
//! | `aioproducer-caller` | transactions, metadata, credentials: the calls that wait for a broker; from the first one on |
//!
//! With the feature `embedded-broker` (on by default) `EmbeddedBroker` is librdkafka's mock cluster, in process, for
//! examples and tests.

mod backend;
mod calls;
mod config;
mod control;
mod desk;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod error;
mod failure;
mod ffi;
mod partitioner;
mod reports;
mod runs;
mod signals;
mod topics;
mod worker;

pub use backend::Librdkafka;
#[cfg(feature = "embedded-broker")]
pub use embedded::{ApiKey, BrokerError, EmbeddedBroker, ErrorCode};
pub use error::ConfigError;
pub use ffi::consumer_group;
pub use partitioner::{Partition, Partitioner};
pub use rdkafka::ClientConfig;
