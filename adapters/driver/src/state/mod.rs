//! The one lock around the machine, its transitions, and the effects that follow when the lock is free.

pub(crate) mod driver;
pub(crate) mod effects;
pub(crate) mod end;
pub(crate) mod flushes;
pub(crate) mod pace;
pub(crate) mod retract;
pub(crate) mod shared;
pub(crate) mod task;
pub(crate) mod timeouts;
pub(crate) mod transactions;
