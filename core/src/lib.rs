//! The sans-IO state machine of aioproducer.
#![no_std]
#![forbid(unsafe_code)]
#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod backend;
mod batch;
mod record;
mod slot;
mod time;

pub use batch::{BatchError, BatchLimits, CutReason, MessageBatch};
pub use record::{Lane, Record, TopicId};
pub use slot::SlotId;
pub use time::Instant;
