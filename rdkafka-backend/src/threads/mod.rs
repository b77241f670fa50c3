//! The backend's threads, and the hand-off on the thread that produces. Each file is one thread, or work that several threads do.
//! Only this room starts threads and calls librdkafka in ways that block. No lock is held during a call into librdkafka, the
//! driver or the application.

mod batch_sender;
mod broker_calls;
mod control;
mod driver_link;
mod handle;
mod inline_worker;
mod metadata_queries;
mod probe;
mod readiness;
mod renewer;
mod shutdown;
mod worker;

pub(crate) use control::start;
pub(crate) use handle::Handle;
pub(crate) use renewer::start as start_renewer;
pub use shutdown::clients_left_behind;
