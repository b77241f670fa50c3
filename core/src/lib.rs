//! The sans-IO state machine of aioproducer: a fixed pool of slots, batches, timeouts, flushes, purges, and an orderly end.
//!
//! [`Producer`] is the machine, and its documentation is the calling contract: commands, inputs, outputs, getters. It does
//! no I/O, reads no clock, starts no thread and allocates nothing. Time is an argument ([`Instant`]), and memory is the
//! caller's ([`Inline`], or, with the feature `alloc`, `Heap`). A driver connects it to a runtime and a backend to a
//! broker; a test needs neither.
//!
//! ```
//! use aioproducer_core::{Inline, Instant, Lane, Limits, Producer, Record, TopicId};
//!
//! struct Reading(u32);
//! impl Record for Reading {
//!     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
//!     fn size(&self) -> usize { 4 }
//! }
//!
//! let limits = Limits { batch_records: 8, ..Limits::default() };
//! let mut machine: Producer<Reading, &str, Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
//! let now = Instant::ZERO;
//!
//! // The application produces a record, and leaves a ticket with it.
//! let slot = machine.produce(now, Reading(7), "ticket").ok().unwrap();
//! // A free worker takes a batch, and has queued it.
//! let batch = machine.poll_batch(now, |_slot, record, _wants_copy| { assert_eq!(record.0, 7); None }).unwrap();
//! assert!(machine.handle_settled(&batch).is_none());
//! // The broker's answer ends the record: its ticket comes back, and its slot is free.
//! assert_eq!(machine.handle_report(slot).unwrap().ticket, "ticket");
//! assert!(machine.is_empty());
//! ```
//!
//! [`Transaction`] is a second machine beside it, for producers with a transactional id. The module `backend` (feature
//! `alloc`) is the seam between driver and backend.

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

mod action;
#[cfg(feature = "alloc")]
pub mod backend;
mod batch;
mod ended;
mod flushes;
mod lanes;
mod limits;
mod overflow;
mod pool;
mod producer;
mod record;
mod slot;
mod storage;
mod time;
mod timers;
mod transaction;

pub use action::{Action, Phase, PurgeScope};
pub use batch::{BatchError, BatchLimits, CutReason, MessageBatch};
pub use ended::{Completed, Unreported};
pub use flushes::{FlushGroup, FlushPoint, FlushScope, Flushed};
pub use limits::{Isolation, Limits, LimitsError};
pub use overflow::{Overflow, WaitEnd};
pub use producer::{
    AdmitDecision, LaneStats, Producer, Refusal, Refused, RetractError, Room, Stats, Timeout, TimeoutReason,
};
pub use record::{Lane, Record, TopicId};
pub use slot::SlotId;
#[cfg(feature = "alloc")]
pub use storage::{Boxed, Heap};
pub use storage::{Inline, Storage, Table};
pub use time::Instant;
pub use transaction::{CallOutcome, Step, Transaction, TransactionId, TransactionRefusal, TransactionStatus};
