//! What the promise suite stands on: four executors under one interface, a backend that does what a test says, and
//! ways to look at a broker's log and at this process's threads; and [`kafka`], a real broker, for what only that shows.
//!
//! A suite is a file in `tests/` with `async fn sNN_…(host: Host)` functions, named after the promises that they show;
//! [`promises!`] makes a test of each on every executor.
//!
//! # S9: what does not exist does not compile
//!
//! An option that the builder does not know:
//!
//! ```compile_fail,E0599
//! use aioproducer_driver::AioProducer;
//! use aioproducer_tests::scripted::Script;
//!
//! let builder = AioProducer::builder(Script::new().backend()).max_workers(4);
//! ```
//!
//! The same without it does:
//!
//! ```
//! use aioproducer_driver::AioProducer;
//! use aioproducer_tests::scripted::Script;
//!
//! let builder = AioProducer::builder(Script::new().backend()).slots(4);
//! ```
//!
//! An option of the backend that there is not:
//!
//! ```compile_fail,E0599
//! use aioproducer_rdkafka::{ClientConfig, Librdkafka};
//!
//! let backend = Librdkafka::new(ClientConfig::new()).executor(4);
//! ```
//!
//! ```
//! use aioproducer_rdkafka::{ClientConfig, Librdkafka};
//!
//! let backend = Librdkafka::new(ClientConfig::new()).workers(4);
//! ```
//!
//! A second argument to `produce`, such as a callback, is not dropped silently:
//!
//! ```compile_fail,E0061
//! # use aioproducer_driver::{AioProducer, Record};
//! fn send(producer: &AioProducer) {
//!     let _ = producer.produce(Record::to("t"), |_report| ());
//! }
//! ```
//!
//! Nor is a part of a record that there is not:
//!
//! ```compile_fail,E0599
//! let record = aioproducer_driver::Record::to("t").on_delivery("print");
//! ```
//!
//! ```
//! let record = aioproducer_driver::Record::to("t").payload("print");
//! ```
//!
//! A delay is a `Duration`, not a number of unknown unit:
//!
//! ```compile_fail,E0308
//! use aioproducer_driver::AioProducer;
//! use aioproducer_tests::scripted::Script;
//!
//! let builder = AioProducer::builder(Script::new().backend()).linger(5);
//! ```
//!
//! A delivery that is not used is a warning:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # use aioproducer_driver::{AioProducer, Record};
//! async fn send(producer: &AioProducer) {
//!     producer.produce(Record::to("t")).await.unwrap();
//! }
//! ```

pub mod broker;
pub mod executor;
pub mod immediate;
pub mod kafka;
pub mod probe;

pub mod proxy;
pub mod records;
pub mod scripted;
pub mod sources;

/// A page's examples, as tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/executors.md")]
    struct Executors;
}
