//! Replaces librdkafka's client by a new one, if the application asks for that: after a fatal error, or when a partition makes no
//! progress although its leader is connected.
//!
//! The driver does not notice. It holds [`handle::RenewedHandle`] in the place of a client's handle, and each client holds a
//! [`link::Link`] in the place of the driver. Both share [`shared::Shared`], which keeps the records that the old client gives back as not
//! persisted, and hands them to the new one before any other. Without a policy none of this is in the way of a record.
//!
//! ```text
//!            Running ──fatal error, stall──▶ Draining ──nothing changes any more──▶ Ending ──ended──▶ Resending ──▶ Running
//! hand-off   the driver's batches            none                                   none             kept records only
//! reports    passed on                       passed on; kept after a fatal error    kept             passed on
//! ```
//!
//! This room starts no threads and knows librdkafka only by [`client::Client`].

mod client;
mod handle;
mod kept;
mod link;
mod numbered;
mod policy;
mod shared;
mod state;
mod steps;

pub(crate) use client::{Client, Stalled};
pub(crate) use handle::RenewedHandle;
pub(crate) use link::Link;
pub(crate) use policy::Policy;
pub use policy::{OnFatal, OnStall};
pub(crate) use shared::{Opener, Shared};
pub(crate) use steps::Tries;
