//! All calls into librdkafka's C API and all callbacks from it, behind a safe interface. This is the only room with unsafe code.
//! It decides nothing: partitions, failures and events are decided in other rooms.
//!
//! What must hold, and what ensures it:
//! - Memory that librdkafka borrows (payloads of records, the state of topics) outlives its use. Records stay in their
//!   [`cells`] until they are reported; after that, librdkafka only frees its own part of a message. Topic states, unread reports
//!   and the cells themselves stay until `rd_kafka_destroy` has returned ([`Client`]'s drop order).
//! - When the end of the producer cannot wait for `rd_kafka_destroy`, the driver gets copies that share the records' memory, and
//!   the records stay with the thread that waits ([`Cells::duplicates`]).
//! - Records that librdkafka copies during a call are held by [`Outgoing`], whose entries point to them. It clears the entries
//!   when it gives the records away.
//! - No Rust panic unwinds into C: the partitioner in [`topic`] catches it, and so do the callbacks that wake tasks of the
//!   application. The other callbacks run only code of this crate that does not panic.
//! - Numbers from C are read as numbers: an error code that the bindings' enum does not know is harmless.

#![expect(unsafe_code, reason = "all unsafe code of this crate is in this room")]

mod calls;
mod cells;
mod client;
#[cfg(test)]
mod codes;
mod connections;
mod context;
mod ended;
mod group;
mod interceptor;
mod metadata;
mod native_message;
mod offsets;
mod poll;
mod produce;
mod raw_report;
#[cfg(all(test, feature = "embedded-broker"))]
pub(crate) mod resolving;
mod text;
mod tokens;
mod topic;

pub(crate) use cells::Cells;
pub(crate) use client::{Client, LastReports};
pub(crate) use connections::ConnectionCounts;
pub(crate) use context::CallbackContext;
pub(crate) use ended::Ended;
pub use group::consumer_group;
pub(crate) use interceptor::{AtOnce, is_in_interceptor};
pub(crate) use poll::Polled;
pub(crate) use produce::{Outgoing, UNASSIGNED};
#[cfg(test)]
pub(crate) use raw_report::FailureDetails;
pub(crate) use raw_report::RawReport;
pub(crate) use topic::{Topic, answering};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the bits of a slot are passed in librdkafka's opaque pointers, which requires 64-bit pointers");
