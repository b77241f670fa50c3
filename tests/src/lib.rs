//! The base of the tests: four executors under one interface, a backend that the test controls, access to a broker's log and
//! to this process's threads, [`kafka`], a real broker, and [`cluster`], three of them.
//!
//! Each test binary is a folder in `tests/`, with modules that are named after what they show. A test of a promise is an
//! `async fn sNN_…(host: Host)`; [`promises!`] runs it on every executor. Tests that count what the whole process has are
//! binaries of their own.
//!
//! # S9: what does not exist does not compile
//!
//! An option that the builder does not have:
//!
//! ```compile_fail,E0599
//! use aioproducer_driver::AioProducer;
//! use aioproducer_tests::scripted::Script;
//!
//! let builder = AioProducer::builder(Script::new().backend()).max_workers(4);
//! ```
//!
//! The same without it compiles:
//!
//! ```
//! use aioproducer_driver::AioProducer;
//! use aioproducer_tests::scripted::Script;
//!
//! let builder = AioProducer::builder(Script::new().backend()).slots(4);
//! ```
//!
//! An option that the backend does not have:
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
//! A second argument to `produce`, such as a callback:
//!
//! ```compile_fail,E0061
//! # use aioproducer_driver::{AioProducer, Record};
//! fn send(producer: &AioProducer) {
//!     let _ = producer.produce(Record::to("t"), |_report| ());
//! }
//! ```
//!
//! A field that records do not have:
//!
//! ```compile_fail,E0599
//! let record = aioproducer_driver::Record::to("t").on_delivery("print");
//! ```
//!
//! ```
//! let record = aioproducer_driver::Record::to("t").payload("print");
//! ```
//!
//! A number instead of a `Duration`, which has a unit:
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

pub mod batches;
pub mod broker;
pub mod cluster;
pub mod executor;
pub mod immediate;
pub mod kafka;
pub mod probe;

pub mod proxy;
pub mod records;
pub mod scripted;
pub mod slow_wire;
pub mod sources;

/// A page's examples, as tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/executors.md")]
    struct Executors;
}
