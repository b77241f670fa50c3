//! A simulated Kafka cluster for tests of applications: the producer of production, with brokers, faults and a clock that the test
//! controls. It has no thread, no socket, no randomness but a seed, and takes no real time.
//!
//! [`SimCluster`] is the cluster, and [`SimCluster::backend`] what a producer is built with. [`Sim`] is an executor with a virtual
//! clock; tokio's paused one will do as well.
//!
//! ```
//! use std::time::Duration;
//!
//! use aioproducer_driver::{AioProducer, Record};
//! use aioproducer_sim::{Sim, SimCluster};
//!
//! Sim::run(7, |sim| async move {
//!     let kafka = SimCluster::new().with_topic("orders", 3);
//!     let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
//!     let report = producer.send(Record::to("orders").key("1001").payload("two apples")).await.unwrap();
//!     assert_eq!((report.offset(), sim.elapsed()), (Some(0), Duration::from_millis(2)));
//!     assert_eq!(kafka.topic("orders").records()[0].key(), Some(&b"1001"[..]));
//! });
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod api;
mod chaos;
mod check;
mod client;
mod cluster;
mod executor;
mod fnv;
mod journal;
mod log;
mod rng;
mod signal;
mod sync;
mod waiters;

pub use api::{
    BrokerControl, EndTxn, Fault, GroupView, Held, Hold, InitProducerId, LeaderControl, On, Produce, Requests,
    SimCluster, TopicView, TxnOffsetCommit,
};
pub use chaos::{Around, Chaos, ChaosCounts};
pub use check::{Case, Plan, check};
pub use client::SimBackend;
pub use cluster::{Acks, FaultKind, Trace};
pub use executor::{Joined, Sim};
pub use log::LogRecord;

/// The crate's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
