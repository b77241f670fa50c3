//! The backend's threads, what wakes them, and their end in time.

pub(crate) mod broker_calls;
pub(crate) mod call_queue;
pub(crate) mod control;
pub(crate) mod end;
pub(crate) mod gate;
pub(crate) mod inline_worker;
pub(crate) mod scout;
pub(crate) mod signals;
pub(crate) mod worker;
