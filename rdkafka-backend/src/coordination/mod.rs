//! What the driver, the application's tasks and librdkafka's callbacks ask of the backend's threads: wake-ups, requests to the
//! control thread, and the broker calls that wait for their thread. Asking never blocks. Nothing here does the work, calls
//! librdkafka, or runs code of the application.

mod call_queue;
mod signals;

pub(crate) use call_queue::{CallKind, CallResult, Next, is_single};
pub(crate) use signals::{Signals, Wake};
