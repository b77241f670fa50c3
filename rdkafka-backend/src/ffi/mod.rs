//! The only place that talks to librdkafka without a net, and its safe face to the rest of the crate.
//!
//! What has to hold, and where it is kept:
//! - Memory that librdkafka borrows (payloads of records, the state of topics) outlives its use: records stay in their
//!   [`cells`] until they were reported, after which librdkafka only frees its own part of a message; topic states,
//!   unread reports and the cells themselves stay until `rd_kafka_destroy` has returned ([`Client`]'s drop order).
//! - When the end cannot wait for it, the caller gets copies that share that memory, and the records stay with the thread that
//!   waits for it, see [`Cells::duplicates`].
//! - Records that it copies during a call are held by [`Outgoing`], whose entries point to them; it forgets the entries when
//!   it gives the records away.
//! - No Rust panic unwinds into C: [`topic`]'s partitioner contains it, so does [`events`] where the application may be woken. The other
//!   callbacks run no code but ours and have nothing to panic about.
//! - Numbers from C are read as numbers: an error code that the bindings' enum does not know stays harmless.

#![allow(unsafe_code, reason = "the FFI lives here and nowhere else")]

mod calls;
mod cells;
mod client;
#[cfg(test)]
mod codes;
mod events;
mod group;
mod message;
mod metadata;
mod produce;
mod reports;
#[cfg(all(test, feature = "embedded-broker"))]
mod resolving;
mod tokens;
mod topic;

pub(crate) use cells::Cells;
pub(crate) use client::{Client, LastReports};
pub use group::consumer_group;

pub(crate) use events::{Listeners, Polled, error_text};
pub(crate) use produce::{Outgoing, UNASSIGNED};
#[cfg(test)]
pub(crate) use reports::Failed;
pub(crate) use reports::{AtOnce, RawReport, is_telling};
pub(crate) use topic::Topic;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a slot's bits travel in librdkafka's opaque pointers, which takes 64-bit pointers");
