//! The sans-IO state machine of aioproducer: batching, buffer timeouts and a fixed pool of slots that own their record
//! until its one outcome.
//!
//! [`Producer`] is the machine, and its documentation is the calling contract. It does no I/O, reads no clock, starts
//! no thread and allocates nothing; time is an argument ([`Instant`]) and memory is the caller's ([`Inline`], or, with
//! the feature `alloc`, `Heap`). A driver brings it to a runtime, a backend to a broker, and a test to anything.
//!
//! | seed component | here |
//! | --- | --- |
//! | orchestrator | [`Producer`] |
//! | batch manager | `lanes`, [`Producer::poll_batch`] |
//! | buffer timeout manager | [`Producer::poll_timeout`], [`Producer::poll_expired`] |
//! | message batch and its factory | [`MessageBatch`] |
//! | callback pool | `pool`, [`SlotId`], [`Producer::handle_report`] |
//! | batch executor | the seam to it, `backend` (feature `alloc`) |
//!
//! [`Transaction`] is a second machine beside it, for producers with a transactional id.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::alloc_instead_of_core,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_core,
    clippy::unreachable,
    clippy::unwrap_used
)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod backend;
mod batch;
mod lanes;
mod limits;
mod pool;
mod producer;
mod record;
mod slot;
mod storage;
mod time;
mod transaction;

pub use batch::{BatchError, BatchLimits, CutReason, MessageBatch};
pub use lanes::LaneRow;
pub use limits::{Limits, LimitsError};
pub use producer::{
    Completed, Expired, FlushPoint, Producer, Refusal, Refused, RetractError, Room, Stats, Timeout, TimeoutReason,
};
pub use record::{Lane, Record, TopicId};
pub use slot::{Slot, SlotId};
#[cfg(feature = "alloc")]
pub use storage::{Boxed, Heap};
pub use storage::{Inline, Storage, Table};
pub use time::Instant;
pub use transaction::{Standing, Step, Transaction, TransactionId, TransactionRefusal, Verdict};
