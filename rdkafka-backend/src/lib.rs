//! The librdkafka backend of aioproducer: worker threads hand batches of records to librdkafka and pass the delivery reports on in
//! bulk.
//!
//! [`Librdkafka`] takes librdkafka's own configuration and implements the seam to the driver,
//! [`Connect`](aioproducer_core::backend::Connect). Payloads are not copied: librdkafka borrows them from the records, which this
//! backend owns until they are reported. Only some short records are copied: those that are handed off alone, and those with
//! keys or partitions of their own. The partition of records that name none is chosen here, see [`Partitioner`].
//!
//! Errors, statistics, log lines and requests for OAuth tokens reach the application on its own runtime:
//! [`Librdkafka::events`], [`Librdkafka::on_event`], [`Librdkafka::oauth`].
//!
//! | thread | what it does |
//! | --- | --- |
//! | `aioproducer-worker-N` | takes batches, chooses partitions, enqueues, settles; reads delivery reports and events |
//! | `aioproducer-control` | short calls that block: flush, purge, tokens; finds out which partitions fall silent; starts and ends the other threads |
//! | `aioproducer-transactions` | the calls of transactions; starts with the first one |
//! | `aioproducer-metadata` | the other calls that wait for a broker: metadata, readiness, credentials; starts with the first one |
//! | `aioproducer-probe` | requests metadata early, so the first record is fast, and finds out why a topic's records wait; ends when all topics are known |
//! | `aioproducer-renewer` | replaces the client by a new one, if the application asks for that, see [`Librdkafka::on_fatal`] |
//! | `aioproducer-end` | at the end, completes what librdkafka cannot end in time, see [`clients_left_behind`] |
//!
//! With the feature `embedded-broker`, `EmbeddedBroker` is librdkafka's mock cluster, in process, for examples and tests.

#![cfg_attr(docsrs, feature(doc_cfg))]

// Unit tests share the rig of the tests in `tests/`, which use this crate by its name.
#[cfg(test)]
extern crate self as aioproducer_rdkafka;
#[cfg(all(test, feature = "embedded-broker"))]
#[path = "../tests/common/mod.rs"]
mod common;

mod backend;
mod catch_panic;
mod config;
mod coordination;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod events;
mod failure;
mod ffi;
mod oauth;
mod opening;
mod partition;
mod renewal;
mod reports;
mod threads;
mod topic_name;

pub use aioproducer_core::backend::ErrorCode;
pub use backend::Librdkafka;
pub use config::{ConfigError, IdempotenceOff};
#[cfg(feature = "embedded-broker")]
pub use embedded::{ApiKey, BrokerError, EmbeddedBroker, ReceivedRecord};
pub use events::{
    Availability, ClientError, Event, EventHandler, Events, LogLevel, LogLine, RenewalCause, Renewed, Throttle,
};
pub use ffi::consumer_group;
pub use oauth::{Token, TokenError, TokenFuture, TokenProvider};
pub use partition::partitioner::Partitioner;
pub use partition::rule::{Partition, ToPartition};
pub use rdkafka::{ClientConfig, statistics};
pub use renewal::{OnFatal, OnStall};
pub use threads::clients_left_behind;
