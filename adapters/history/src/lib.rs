//! A checker for what a Kafka producer says.
//!
//! A test notes in a [`History`] what it asked of a producer and what the producer said of each record. It reads a cluster's
//! partitions into a [`Log`]. [`check`] compares the two: a record that was delivered and is not in the log is a lost
//! acknowledgement, one that failed as not persisted and is there is a dirty write, and so on. There are 15 [anomalies](Anomaly). Each
//! [`Finding`] names its records and their places, in one line. What a producer may do, by Kafka's rules, is counted.
//!
//! ```
//! use aioproducer_history::{Anomaly, History, Log, ProduceCall, check};
//! use std::time::Duration;
//!
//! let mut history = History::new();
//! let record = history.produce(Duration::ZERO, ProduceCall::new(55, "orders").payload("order 55"));
//! history.delivered(record, Duration::from_millis(4), 2, 17);
//!
//! // The log has nothing.
//! let verdict = check(&history, &Log::new());
//! assert_eq!(verdict.count(Anomaly::LostAck), 1);
//! assert_eq!(verdict.findings()[0].to_string(), r#"LOST ACK orders/2@17 "order 55""#);
//! ```
//!
//! The checker knows no producer, no runtime and no cluster: it is fed by simulations, mock clusters and readers of real logs alike.
//! Equal histories and logs have equal verdicts, and a million records take about a second.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod allow;
mod anomaly;
mod calls;
mod check;
mod finding;
mod handles;
mod history;
mod log;
mod payload;
mod topics;
mod verdict;

#[doc(inline)]
pub use aioproducer_core::backend::Status;

pub use allow::Allow;
pub use anomaly::Anomaly;
pub use calls::{Operation, ProduceCall};
pub use check::{check, check_with};
pub use finding::{Finding, FoundRecord, Place};
pub use handles::{OperationHandle, RecordHandle, TransactionHandle};
pub use history::History;
pub use log::{Log, LogEntry};
pub use payload::Payload;
pub use verdict::{Counts, Verdict};

/// The crate's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
