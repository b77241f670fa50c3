//! The async API of aioproducer.

#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an error hands the record back, which must not allocate when full")]

// Unit tests share it with those in `tests/`, which know this crate by its name.
#[cfg(all(test, not(interleave)))]
extern crate self as aioproducer_driver;
#[cfg(all(test, not(interleave)))]
#[path = "../tests/still/mod.rs"]
mod still;

mod admission;
mod api;
mod callbacks;
mod observe;
mod outcome;
mod record;
mod runtime;
mod state;

pub use aioproducer_core::backend::{
    Broker, CallError, ErrorCode, Failure, FailureKind, Group, GroupOffset, Metadata, MetadataError, PartitionMetadata,
    Status, TopicMetadata,
};
pub use aioproducer_core::{Instant, LimitsError};
pub use api::builder::{Builder, StartError};
pub use api::calls::FatalError;
pub use api::close::{Close, CloseReport, Unsent};
pub use api::delivery::Delivery;
pub use api::error::{ProduceError, SendError};
pub use api::flush::{Flush, FlushError};
pub use api::overflow::Overflow;
pub use api::produce::{Produce, SendRecord};
pub use api::produce_all::{Outcomes, ProduceAll};
pub use api::producer::{AioProducer, Statistics};
pub use api::purge::Purge;
pub use api::reports::{Reporter, Reports};
pub use api::retract::TooLate;
pub use api::transaction::{EndError, Remedy, Transaction, TransactionError};
pub use bytes::Bytes;
pub use outcome::error::DeliveryError;
pub use outcome::report::DeliveryReport;
pub use record::topics::{Topic, TopicError, TopicRef};
pub use record::trace_context::{TraceContext, TraceContextError};
pub use record::{Data, Header, OwnedRecord, Record, RecordError};
pub use runtime::{ClockHold, Runtime, RuntimeError, Task};
