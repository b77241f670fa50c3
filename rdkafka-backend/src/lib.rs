//! The librdkafka backend of aioproducer: worker threads that hand batches of records to librdkafka and bring the delivery
//! reports back in bulk.
//!
//! [`Librdkafka`] is configured with librdkafka's own keys and implements the seam to the driver,
//! [`Connect`](aioproducer_core::backend::Connect). Payloads are not copied: librdkafka borrows them from the records,
//! which this backend owns until they are reported; only short ones librdkafka copies, too: those that go alone, and those with
//! keys or partitions of their own that the producer has copied before. The partition of records that name none is chosen
//! here ([`Partitioner`]).
//!
//! What librdkafka has to say beside delivery reports, and its requests for OAuth tokens, come to the application's
//! runtime: [`Librdkafka::events`], [`Librdkafka::on_event`], [`Librdkafka::oauth`].
//!
//! | thread | does |
//! | --- | --- |
//! | `aioproducer-worker-N` | takes a batch, chooses partitions, enqueues, settles; reads delivery reports and errors |
//! | `aioproducer-control` | flush, purge, tokens, shutdown: the calls that block |
//! | `aioproducer-caller` | transactions: calls that wait for a broker; from the first one on |
//! | `aioproducer-metadata` | the other calls that wait for a broker, metadata and credentials; from the first one on |
//! | `aioproducer-scout` | gets a producer id soon, and finds out why a topic's records wait; ends when there is nothing to ask |
//! | `aioproducer-end` | sees to it at the end that nobody waits for what librdkafka cannot end: see [`clients_left_behind`] |
//!
//! With the feature `embedded-broker` (on by default) `EmbeddedBroker` is librdkafka's mock cluster, in process, for
//! examples and tests.

// Unit tests share the rig of those in `tests/`, which know this crate by its name.
#[cfg(test)]
extern crate self as aioproducer_rdkafka;
#[cfg(all(test, feature = "embedded-broker"))]
#[path = "../tests/common/mod.rs"]
mod common;

mod backend;
mod catch_panic;
mod config;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod events;
mod ffi;
mod oauth;
mod partition;
mod reports;
mod threads;

pub use aioproducer_core::backend::ErrorCode;
pub use backend::Librdkafka;
pub use config::IdempotenceOff;
pub use config::error::ConfigError;
#[cfg(feature = "embedded-broker")]
pub use embedded::{ApiKey, BrokerError, EmbeddedBroker, ReceivedRecord};
pub use events::{ClientError, Event, EventHandler, Events, LogLevel, LogLine, Throttle};
pub use ffi::consumer_group;
pub use oauth::{Token, TokenError, TokenFuture, TokenProvider};
pub use partition::partitioner::{Partition, Partitioner, ToPartition};
pub use rdkafka::{ClientConfig, statistics};
pub use threads::end::clients_left_behind;
