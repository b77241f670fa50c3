//! The async API of aioproducer.

#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an error hands the record back, which must not allocate when full")]

// Unit tests share it with those in `tests/`, which know this crate by its name.
#[cfg(all(test, not(interleave)))]
extern crate self as aioproducer_driver;
#[cfg(all(test, not(interleave)))]
#[path = "../tests/still/mod.rs"]
mod still;

mod arena;
mod builder;
mod callbacks;
mod calls;
mod close;
mod completion;
mod delivery;
mod effects;
mod end;
mod entry;
mod error;
mod exchange;
mod flush;
mod flushes;
mod groups;
mod inbox;
mod observe;
mod overflow;
mod pace;
mod panics;
mod produce;
mod produce_all;
mod produce_with;
mod producer;
mod purge;
mod record;
mod reports;
mod retract;
mod runtime;
mod session;
mod shared;
mod sync;
mod task;
mod ticket;
mod timeouts;
mod topics;
mod trace_context;
mod transaction;
mod trouble;
mod waiters;

pub use aioproducer_core::backend::{
    Broker, CallError, ErrorCode, Failure, FailureKind, Group, GroupOffset, Metadata, MetadataError, PartitionMetadata,
    Status, TopicMetadata,
};
pub use aioproducer_core::{Instant, LimitsError};
pub use builder::{Builder, StartError};
pub use bytes::Bytes;
pub use calls::FatalError;
pub use close::{Close, CloseReport, Unsent};
pub use delivery::{Delivery, DeliveryError, DeliveryReport};
pub use error::{ProduceError, SendError};
pub use flush::{Flush, FlushError};
pub use overflow::Overflow;
pub use produce::{Produce, Send};
pub use produce_all::{Outcomes, ProduceAll};
pub use producer::{AioProducer, Statistics};
pub use purge::Purge;
pub use record::{Data, Header, Record, RecordError, Stored};
pub use reports::{Reporter, Reports};
pub use retract::TooLate;
pub use runtime::{ClockHold, Runtime, RuntimeError, Task};
pub use topics::{Topic, TopicError, TopicRef};
pub use trace_context::{TraceContext, TraceContextError};
pub use transaction::{EndError, Remedy, Transaction, TransactionError};
