//! The async API of aioproducer: a Kafka producer for any runtime and any backend.
//!
//! [`AioProducer`] is the handle that an application holds, [`Builder`] has its settings, a [`Record`] is what it produces, and
//! a [`Delivery`] is the record's outcome. Errors, futures, metadata, transactions and the seam to runtimes are in modules of
//! their own.
//!
//! An application depends on an adapter for its runtime, which has all of this together with a backend.
//!
//! ```
//! use aioproducer_driver::{AioProducer, Record};
//!
//! async fn place_order(producer: &AioProducer) -> Result<(), Box<dyn std::error::Error>> {
//!     let delivery = producer.produce(Record::to("orders").key("customer-7").payload("two apples")).await?;
//!     println!("delivered: {}", delivery.await?);
//!     Ok(())
//! }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an error hands the record back, which must not allocate when full")]

// Unit tests share it with those in `tests/`, which know this crate by its name.
#[cfg(all(test, not(interleave)))]
extern crate self as aioproducer_driver;
#[cfg(all(test, not(interleave)))]
#[path = "../tests/still/mod.rs"]
mod still;

// The rooms, from low to high: runtime, record, observe, outcome, admission, callbacks, state, api. Each knows only lower ones,
// and `tests/tests/rules/imports.rs` checks it.
mod admission;
mod api;
mod callbacks;
mod observe;
mod outcome;
pub mod record;
pub mod runtime;
mod state;

pub use admission::error::{ProduceError, SendError};
/// [`try_produce`](crate::AioProducer::try_produce) never waits: with a policy that would, it is `Full`. A record with a
/// callback is `Full`, too, when callbacks are so far behind that there is no place for another, unless the policy waits.
/// A dropped record fails with [`FailureKind::Dropped`](error::FailureKind::Dropped), and its outcome hands it back.
pub use aioproducer_core::Overflow;
pub use aioproducer_core::PurgeScope;
pub use api::builder::Builder;
pub use api::close::CloseReport;
pub use api::delivery::Delivery;
pub use api::producer::AioProducer;
pub use api::reports::{Reporter, Reports};
pub use api::statistics::Statistics;
pub use api::transaction::Transaction;
pub use bytes::Bytes;
pub use observe::health::{Health, LeaderHealth};
pub use outcome::error::DeliveryError;
pub use outcome::report::DeliveryReport;
pub use outcome::unsent::Unsent;
pub use record::{Record, Topic};
pub use runtime::Runtime;

pub mod error {
    //! Every error, and what they have in common: an [`ErrorCode`] of a broker or of librdkafka, and whether a failed record is
    //! in the log ([`Status`]). [`Advice`] says what to do with the record.
    //!
    //! | from | error |
    //! | --- | --- |
    //! | `start` | [`StartError`], with [`LimitsError`], [`RuntimeError`] or the backend's own |
    //! | `produce` | [`ProduceError`], with [`RecordError`] or [`TopicError`] |
    //! | a delivery | [`DeliveryError`] |
    //! | `send`, `produce_all` | [`SendError`], one of the two before |
    //! | `flush` | [`FlushError`] |
    //! | `metadata`, `ready` and other calls | [`CallError`] |
    //! | a transaction | [`TransactionError`], [`EndError`] |
    //!
    //! Each is an [`Error`](std::error::Error), borrows nothing (but for
    //! [`try_produce_borrowed`](crate::AioProducer::try_produce_borrowed)'s, which
    //! [`into_owned`](ProduceError::into_owned) frees), and its text does not repeat its source's.

    pub use crate::admission::error::{ProduceError, SendError};
    pub use crate::api::broker::FatalError;
    pub use crate::api::builder::StartError;
    pub use crate::api::flush::FlushError;
    pub use crate::api::retract::TooLate;
    pub use crate::api::transaction::{EndError, TransactionError};
    pub use crate::outcome::error::DeliveryError;
    pub use crate::record::{RecordError, TopicError, TraceContextError};
    pub use crate::runtime::RuntimeError;
    pub use aioproducer_core::LimitsError;
    pub use aioproducer_core::backend::{Advice, CallError, ErrorCode, Failure, FailureKind, MetadataError, Status};
}

pub mod future {
    //! The futures of [`AioProducer`](crate::AioProducer)'s methods, for those who have to name them.

    pub use crate::api::close::Close;
    pub use crate::api::flush::Flush;
    pub use crate::api::produce::{Produce, SendRecord};
    pub use crate::api::produce_all::{Outcomes, ProduceAll};
    pub use crate::api::purge::Purge;
}

pub mod metadata {
    //! What a broker knows of its cluster: the answer of [`AioProducer::metadata`](crate::AioProducer::metadata).

    pub use aioproducer_core::backend::{Broker, Metadata, MetadataError, PartitionMetadata, TopicMetadata};
}

pub mod transaction {
    //! Transactions: [`AioProducer::begin`](crate::AioProducer::begin) opens one, and each error says what is left to do.

    pub use crate::api::transaction::{EndError, Remedy, Transaction, TransactionError};
    pub use aioproducer_core::backend::{Group, GroupOffset};
}
