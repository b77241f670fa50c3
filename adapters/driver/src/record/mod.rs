//! Records, and what they are made of: [`Record`] with its [`Data`], [`Header`]s and [`TraceContext`], for a [`Topic`].
//!
//! Here live records as an application makes them and as the producer owns them, their parts, and the memory for copies of
//! borrowed bytes. Nothing here knows what becomes of a record: no slot, no outcome, no lock.

pub(crate) mod arena;
mod borrowed;
mod check;
mod copying;
mod cost;
mod data;
mod memory;
mod owned;
mod packed;
#[cfg_attr(not(feature = "tracing"), path = "no_span.rs")]
mod span;
mod time;
pub(crate) mod topics;
pub(crate) mod trace_context;
mod traced;

pub use self::borrowed::Record;
pub use self::check::RecordError;
pub use self::data::{Data, Header};
pub(crate) use self::memory::Memory;
pub use self::owned::OwnedRecord;
pub(crate) use self::span::RecordSpan;
#[cfg(feature = "tracing")]
pub(crate) use self::span::{SpanOf, SpanState, set_error};
pub(crate) use self::time::from_millis;
pub use self::topics::{Topic, TopicError, TopicRef};
pub use self::trace_context::{TraceContext, TraceContextError};
